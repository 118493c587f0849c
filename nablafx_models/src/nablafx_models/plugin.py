"""What this pack provides. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterable

from nablafx_core.component import Component
from nablafx_core.hookspecs import hookimpl

_SMALL_TCN = {"num_blocks": 3, "kernel_size": 3, "dilation_growth": 2, "channel_width": 4}

_PRESETS = {
    "capture-lstm": "LSTM for two recordings and ten minutes on a laptop",
    "capture-tcn": "TCN for two recordings and ten minutes on a laptop",
    "tcn-45-s": "TCN, 43 ms, 5 blocks",
    "tcn-45-l": "TCN, 43 ms, 10 blocks",
    "tcn-250-s": "TCN, 284 ms, 6 blocks",
    "tcn-250-l": "TCN, 256 ms, 11 blocks",
    "tcn-2500-s": "TCN, 2.8 s, 5 blocks",
    "tcn-2500-l": "TCN, 2.5 s, 10 blocks",
    "tcn-f-45-s": "TCN with FiLM, for data with controls, 43 ms, 5 blocks",
    "tcn-f-45-l": "TCN with FiLM, for data with controls, 43 ms, 10 blocks",
    "lstm-32": "LSTM, hidden size 32",
    "lstm-96": "LSTM, hidden size 96",
    "lstm-fixed-32": "LSTM with appended controls, hidden size 32",
    "lstm-fixed-96": "LSTM with appended controls, hidden size 96",
}


@hookimpl
def nablafx_models() -> Iterable[Component]:
    """Neural architectures."""
    return [
        Component(
            "tcn",
            "nablafx_models.tcn:TCN",
            "Temporal convolutional network: dilated convolutions, causal or centred",
            example=_SMALL_TCN | {"conditioning": "film", "controls": [{"name": "drive"}, {"name": "tone"}]},
        ),
        Component(
            "lstm",
            "nablafx_models.lstm:LSTM",
            "Long short-term memory: a recurrent network without latency",
            example={
                "hidden_size": 6,
                "pre_roll": 100,
                "conditioning": "concatenated",
                "controls": [{"name": "drive"}],
            },
        ),
    ]


@hookimpl
def nablafx_presets() -> Iterable[Component]:
    """Recipes for a laptop, and the configurations of the paper."""
    return [Component(name, f"nablafx_models:presets/{name}.yaml", summary) for name, summary in _PRESETS.items()]
