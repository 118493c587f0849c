"""Limits of a training: those that the user sets replace the limits of presets and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nablafx_core.config.layers import Layer

#: Settings of the section `train` that end a training.
LIMITS = ("max_steps", "max_minutes")


def other_limits_off(asked: Layer) -> Layer:
    """Return a layer above preset and defaults that removes all limits that the user did not set.

    A user who asks for 420 steps must not be stopped by a preset's 10 minutes. If the user sets no limit, the layer is
    empty; if the user sets both, both apply.

    Args:
        asked: merged files, sections and overrides of the user.
    """
    train = asked.value.get("train")
    if not isinstance(train, dict) or all(train.get(limit) is None for limit in LIMITS):
        return Layer({})
    return Layer({"train": {limit: None for limit in LIMITS if train.get(limit) is None}})


def limits_problem(train: Mapping[str, Any]) -> str | None:
    """Return the problem of a section `train` whose training would never end; None if it ends.

    Args:
        train: complete section.
    """
    if any(train[limit] is not None for limit in LIMITS):
        return None
    if train["lr_schedule"] == "cosine":
        return "lr_schedule: cosine requires a limit of the training. Set max_steps or max_minutes."
    if train["early_stopping_patience"] is None:
        return "this training would never end. Set max_steps, max_minutes or early_stopping_patience."
    return None
