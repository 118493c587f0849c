"""Draw the trials of a sweep, and check that each is a valid experiment."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nablafx_core.config import Experiment, load_experiment
from nablafx_core.config.layers import read_yaml
from nablafx_core.errors import ConfigError, NablafxError
from nablafx_core.names import figure_names
from nablafx_core.sweep.space import drawn, grid
from nablafx_core.sweep.sweep_file import Sweep

#: Number of validations of a trial without a known end. ASHA's rungs are powers, so a high bound costs nothing.
UNKNOWN = 1_000_000


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Args:
        number: number of the trial, counted from 1.
        overrides: settings of the trial, in the form of ``--set``.
        experiment: complete and checked experiment.
    """

    number: int
    overrides: tuple[str, ...]
    experiment: Experiment

    @property
    def settings(self) -> dict[str, str]:
        """Values of the trial as text, by the path of the setting."""
        return dict(item.partition("=")[::2] for item in self.overrides)

    @property
    def validations(self) -> int:
        """Largest number of validations that count; `UNKNOWN` if ``train.max_steps`` is null: minutes end the trial."""
        settings = self.experiment.train
        return UNKNOWN if settings.max_steps is None else math.ceil(settings.max_steps / settings.validate_every)


def trials(sweep: Sweep) -> list[Trial]:
    """Draw all trials of a sweep and check them.

    Raises:
        ConfigError: if the space has too few combinations, a trial is not a valid experiment (the message has its
            number and settings), a trial's validations do not have the metric, or ASHA could not stop any trial.
    """
    settings = sweep.settings
    found = (
        grid(sweep.choices) if settings.search == "grid" else drawn(sweep.space, settings.trials or 0, settings.seed)
    )
    return checked(sweep, [_overrides(values) for values in found])


def checked(sweep: Sweep, overrides: Sequence[Sequence[str]]) -> list[Trial]:
    """Return trials with the given overrides, such as ``("model.channel_width=8",)`` for each, numbered from 1.

    Raises:
        ConfigError: as `trials` does, except about the space.
    """
    made = [_trial(sweep, number, tuple(items), len(overrides)) for number, items in enumerate(overrides, 1)]
    longest = max(trial.validations for trial in made)
    if sweep.settings.search == "asha" and longest <= sweep.asha.grace_period:
        raise ConfigError(
            f"{sweep.at('asha')}sweep.asha.grace_period: a trial has at most {longest} validations (train.max_steps / "
            f"train.validate_every), so none can be stopped after {sweep.asha.grace_period}. Validate more often, or "
            "lower sweep.asha.grace_period."
        )
    return made


def _overrides(values: Mapping[str, Any]) -> tuple[str, ...]:
    """Return overrides ``NAME=VALUE`` whose values are JSON, which is also YAML; plain words have no quotes."""
    return tuple(f"{name}={_text(value)}" for name, value in values.items())


def _text(value: Any) -> str:
    word = isinstance(value, str) and re.fullmatch(r"[A-Za-z][\w/:-]*", value)
    return (
        value
        if word and read_yaml(f"value: {value}", "").value["value"] == value
        else json.dumps(value, ensure_ascii=False)
    )


def _trial(sweep: Sweep, number: int, overrides: tuple[str, ...], count: int) -> Trial:
    try:
        experiment = load_experiment(
            sections=sweep.experiment,
            overrides=[*sweep.overrides, *overrides],
            made_with=sweep.made_with,
            code=sweep.code,
        )
        _check_metric(sweep, experiment)
    except NablafxError as error:
        reason = str(error)
        for item in overrides:
            reason = reason.removeprefix(f"--set {item.partition('=')[0]}: ")
        raise ConfigError(f"{sweep.at('space')}trial {number} of {count} ({', '.join(overrides)}): {reason}") from error
    return Trial(number, overrides, experiment)


def _check_metric(sweep: Sweep, experiment: Experiment) -> None:
    parts, metrics = (figure_names(part["name"] for part in experiment.config[key]) for key in ("loss", "metrics"))
    names = ["loss", *(f"loss/{name}" for name in parts), *metrics]
    known = [f"validation/{name}" for name in names]
    if sweep.settings.metric not in known:
        raise ConfigError(
            f"sweep.metric: a trial's validations have no '{sweep.settings.metric}'.\n  metrics: {', '.join(known)}"
        )
