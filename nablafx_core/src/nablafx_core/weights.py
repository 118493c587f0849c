"""Weights that are loaded after a model is built, and weights with optimiser settings of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn

_FOLLOW: ContextVar[bool] = ContextVar("weights_follow", default=False)


@contextmanager
def weights_follow() -> Iterator[None]:
    """Declare, inside the ``with``, that the weights of models are loaded after building, for example from a bundle."""
    token = _FOLLOW.set(True)
    try:
        yield
    finally:
        _FOLLOW.reset(token)


def are_weights_to_follow() -> bool:
    """Return True if a component can skip its file of initial weights, which may not exist on this machine."""
    return _FOLLOW.get()


def train_with(parameter: nn.Parameter, **settings: float) -> None:
    """Give one parameter optimiser settings that differ from those of the experiment.

    Args:
        parameter: parameter such as a pole of a state-space layer.
        settings: ``lr`` and ``weight_decay``; the experiment's values are the defaults.
    """
    parameter.optimizer_settings = settings  # type: ignore[attr-defined]


def trained_with(parameter: nn.Parameter) -> Mapping[str, float]:
    """Return the settings that `train_with` gave to a parameter; empty for most parameters."""
    return getattr(parameter, "optimizer_settings", {})
