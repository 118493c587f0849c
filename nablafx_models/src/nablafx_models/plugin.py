"""Components of the pack nablafx-models, declared without importing torch."""

from __future__ import annotations

from collections.abc import Iterable

from nablafx_core.registry.component import Component
from nablafx_core.registry.hookspecs import hookimpl
from nablafx_models.preset_table import ALIASES, NABLAFX, OURS

_DRIVE, _TONE = {"name": "drive"}, {"name": "tone"}
_SMALL = {"num_blocks": 3, "kernel_size": 3, "dilation_growth": 2, "channel_width": 4}
_SMALL_LSTM = {"hidden_size": 6, "pre_roll": 100}


@hookimpl
def nablafx_models() -> Iterable[Component]:
    """Return the neural architectures."""
    return [
        Component(
            "tcn",
            "nablafx_models.tcn:TCN",
            "Temporal convolutional network: dilated convolutions, causal or centred",
            example=_SMALL | {"conditioning": "film", "controls": [_DRIVE, _TONE]},
        ),
        Component(
            "gcn",
            "nablafx_models.gcn:GCN",
            "Gated convolutional network: dilated convolutions whose gated outputs are mixed into one signal",
            example=_SMALL | {"conditioning": "tfilm", "cond_block_size": 16, "controls": [_DRIVE]},
        ),
        Component(
            "lstm",
            "nablafx_models.lstm:LSTM",
            "Long short-term memory: a recurrent network",
            example=_SMALL_LSTM | {"conditioning": "concatenated", "controls": [_DRIVE]},
        ),
        Component(
            "s4",
            "nablafx_models.s4:S4",
            "Deep state-space network: diagonal state-space layers",
            example={
                "num_blocks": 2,
                "num_states": 3,
                "channel_width": 4,
                "pre_roll": 100,
                "conditioning": "tvfilm",
                "cond_block_size": 16,
                "controls": [_DRIVE],
            },
        ),
    ]


@hookimpl
def nablafx_importers() -> Iterable[Component]:
    """Return the importer of checkpoints of the black-box models of NablAFx 1.0."""
    target = "nablafx_models.nablafx01:NablAFx01"
    return [Component("nablafx01", target, "Black-box checkpoints of NablAFx 1.0 with the YAML file of their model")]


@hookimpl
def nablafx_presets() -> Iterable[Component]:
    """Return the presets: recipes for a laptop, and NablAFx 1.0's black-box configurations, some under two names."""
    named = {name: (name, summary) for name, summary in (OURS | NABLAFX).items()}
    named |= {name: (file, NABLAFX[file]) for name, file in ALIASES.items()}
    return [Component(name, f"nablafx_models:presets/{file}.yaml", summary) for name, (file, summary) in named.items()]
