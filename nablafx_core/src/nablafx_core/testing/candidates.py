"""Models for checks of exporters: registered ones, with weights that reveal mistakes of an exporter."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import torch

from nablafx_core.config import load_experiment
from nablafx_core.interfaces import Model
from nablafx_core.pack_code import contained
from nablafx_core.registry import Registry
from nablafx_core.registry.building import build
from nablafx_core.registry.packs import Pack
from nablafx_core.testing.case import build_example
from nablafx_core.testing.subject import knobs, noise
from nablafx_core.testing.tiny import TINY_DATA, TinyData


def models_to_export(pack: Pack | None) -> Iterator[tuple[str, Model]]:
    """Yield name and model of every registered architecture, in evaluation mode, with the weights of `_used`.

    Architectures of `pack` come first, built from their examples, from the examples without knobs and conditioning, and
    from their defaults. Those of other packs are built from their examples only. Models that cannot be built or run are
    skipped.
    """
    for entry in sorted(Registry.discover().entries("model"), key=lambda entry: entry.pack is not pack):
        example = dict(entry.component.example)
        variants = {"": example}
        if entry.pack is pack:
            without = {key: value for key, value in example.items() if key not in ("controls", "conditioning")}
            variants |= {" without knobs": without, " at its defaults": {}}
        different = [what for i, what in enumerate(variants) if variants[what] not in list(variants.values())[:i]]
        for what in different:
            yield from _usable(entry.component.name + what, partial(build_example, entry, variants[what]))


def preset_models(pack: Pack | None) -> Iterator[tuple[str, Model]]:
    """Yield name and model of each preset of a pack, for data without knobs and with two, as `models_to_export` does.

    Models that cannot be built or run are skipped.
    """
    for entry in Registry.discover().entries("preset"):
        for count in (0, 2) if entry.pack is pack else ():
            name = f"preset {entry.component.name} with {count} knobs"
            yield from _usable(name, partial(preset_model, entry.qualified_name, count))


def _usable(name: str, make: Callable[[], Model]) -> Iterator[tuple[str, Model]]:
    try:
        with contained():
            model = _used(make())
    except Exception:
        return
    yield name, model


def preset_model(name: str, num_controls: int) -> Model:
    """Build the model of a preset for data with a number of knobs, at 48 kHz.

    Raises:
        NablafxError: if the preset is not a valid experiment, or its model cannot be built for so many knobs.
    """
    experiment = load_experiment(sections={"data": {"name": TINY_DATA}}, preset=name)
    return model_of(experiment.config["model"], TinyData(num_controls))


def model_of(section: Mapping[str, Any], data: TinyData) -> Model:
    """Build the model of a section; the sample rate and the knobs default to those of the data.

    Raises:
        NablafxError: if there is no such model, its code cannot be imported, or it rejects its settings.
    """
    model: Model = build("model", section, sample_rate=data.sample_rate, controls=list(data.controls))
    return model


def _used(model: Model) -> Model:
    """Add noise to all weights, update the statistics of norms by a call in training mode, and return the model.

    Then no weight is at its initial value, and no statistic 0 or 1, so that an exporter that omits one is detected. The
    model is in evaluation mode.
    """
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
        model.train()(noise(model, 2, 512, torch.float32), knobs(model, 2, torch.float32))
    return model.eval()
