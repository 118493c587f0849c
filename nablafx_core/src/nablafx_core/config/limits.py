"""Where a training ends: the limits that the user sets stand alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nablafx_core.config.layers import Layer

#: Settings of the section `train` that end a training.
LIMITS = ("max_steps", "max_minutes")


def other_limits_off(asked: Layer) -> Layer:
    """Return a layer to lay over preset and defaults: no limit but those that the user sets.

    A user who asks for 420 steps must not be stopped by a preset's 10 minutes. Where no limit is set, the layer is
    empty, and where both are set, both hold.

    Args:
        asked: what the user wrote: files, sections and overrides.
    """
    train = asked.value.get("train")
    if not isinstance(train, dict) or all(train.get(limit) is None for limit in LIMITS):
        return Layer({})
    return Layer({"train": {limit: None for limit in LIMITS if train.get(limit) is None}})


def limits_problem(train: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a section `train` whose training nothing ends, or None.

    Args:
        train: the section, complete.
    """
    if any(train[limit] is not None for limit in LIMITS):
        return None
    if train["lr_schedule"] == "cosine":
        return "lr_schedule: cosine needs to know where the training ends. Set max_steps or max_minutes."
    if train["early_stopping_patience"] is None:
        return "nothing ends this training. Set max_steps, max_minutes or early_stopping_patience."
    return None
