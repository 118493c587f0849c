"""Labels of the parts of a loss."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nablafx_core.errors import NablafxError
from nablafx_core.names import figure_names
from nablafx_core.registry import Registry
from nablafx_core.registry.settings import plain_default, settings_of


def labels_of_losses(losses: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Return labels that distinguish losses from metrics of the same name, such as ``"0.5 x esr (pre_emphasis 0.95)"``.

    A label has the weight, unless it is 1, and the settings that differ from the defaults; all settings if the loss is
    not installed.

    Args:
        losses: section `loss` of an experiment, with all settings.

    Returns:
        The labels by the names under which the values of the losses are recorded.
    """
    labels = {}
    for name, part in zip(figure_names(part["name"] for part in losses), losses, strict=True):
        own = ", ".join(f"{key} {value}" for key, value in _own_settings(part).items())
        weight = part.get("weight", 1.0)
        labels[name] = ("" if weight == 1 else f"{weight:g} x ") + name + (f" ({own})" if own else "")
    return labels


def _own_settings(part: Mapping[str, Any]) -> dict[str, Any]:
    try:
        known = settings_of(Registry.discover().find("loss", part["name"]).load())
    except NablafxError:  # the run's loss may come from a pack that is no longer installed
        known = {}
    defaults = {name: plain_default(setting) for name, setting in known.items()}
    return {
        key: value
        for key, value in part.items()
        if key not in ("name", "weight", "sample_rate") and (key not in defaults or defaults[key] != value)
    }
