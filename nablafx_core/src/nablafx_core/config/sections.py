"""Documentation of the sections of an experiment file: purpose, keys and an example."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from nablafx_core.config.defaults import DEFAULTS
from nablafx_core.config.schema import SweepSettings, TrackSettings, TrainSettings
from nablafx_core.registry.settings import REQUIRED, Setting, beside, settings_of


@dataclass(frozen=True)
class SectionHelp:
    """Documentation of a section of an experiment file or of a sweep's file.

    Args:
        summary: summary in one line.
        documentation: further documentation.
        example: example as written in a file.
        settings: keys of the section itself.
        kind: kind of the component that it names, whose settings are written beside the keys; None without one.
    """

    summary: str
    documentation: str
    example: str
    settings: Mapping[str, Setting] = field(default_factory=dict)
    kind: str | None = None


def _name(kind: str) -> Setting:
    what = f"A {kind} of an installed pack, pack/name, or package.module:Class; its own settings are written beside it."
    return Setting("name", str, REQUIRED, what)


def _beside(kind: str) -> dict[str, Setting]:
    return {setting.name: setting for setting in beside(kind)}


_PRESET = Setting("preset", str | None, None, "Preset that the whole experiment overrides, instead of a name.")


def _short(value: Any) -> str:
    """Format a value as YAML in one line."""
    return yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=200).strip()


def sections() -> dict[str, SectionHelp]:
    """Return every section by its name, in the order of a file."""
    return {
        "requires": SectionHelp(
            "Packs that must be installed.",
            "A list of requirements as pip accepts them, which are checked first.",
            "requires: [nablafx-models>=0.1]",
            {"requires": Setting("requires", list[str], [], "Requirements such as nablafx-acme>=0.2.")},
        ),
        "data": SectionHelp(
            "Recordings, and how they are cut, split and batched.",
            "Required. The keys below are the same for every dataset.",
            "data: {name: tonetwist, path: data, device: TS9, batch_size: 8}",
            {"name": _name("dataset"), **_beside("dataset")},
            "dataset",
        ),
        "model": SectionHelp(
            "Model to train.",
            "Required: a name or a preset. sample_rate and controls come from the data, unless they are set here.",
            "model: {preset: capture-tcn, conditioning: film}",
            {"name": _name("model"), "preset": _PRESET},
            "model",
        ),
        "loss": SectionHelp(
            "Training losses, of which the weighted sum is minimised.",
            f"A list of at least one loss. Default: {_short(DEFAULTS['loss'])}",
            "loss: [{name: esr, pre_emphasis: 0.95}, {name: mr_stft, weight: 0.1}]",
            {"name": _name("loss"), **_beside("loss")},
            "loss",
        ),
        "metrics": SectionHelp(
            "Metrics of validation and test.",
            f"A list of at least one metric, each a name or a mapping. Default: {_short(DEFAULTS['metrics'])}",
            "metrics: [esr, mae, mr_stft]",
            {"name": _name("metric")},
            "metric",
        ),
        "train": SectionHelp(
            "Settings of training: length, learning rate, device.",
            "Steps are optimiser steps; with tbptt one batch makes several.",
            "train: {max_minutes: 30, learning_rate: 0.005, seed: 1}",
            settings_of(TrainSettings),
        ),
        "track": SectionHelp(
            "Places where runs are recorded.",
            "The run folder is always written; MongoDB is set by --mongo, not here.",
            "track: {runs_dir: runs}",
            settings_of(TrackSettings),
        ),
        "sweep": SectionHelp(
            "Settings that vary between the trials of nablafx sweep.",
            "A section of a sweep's file, beside experiment: FILE.",
            "sweep: {search: grid, space: {model.channel_width: [8, 16]}}",
            settings_of(SweepSettings),
        ),
    }
