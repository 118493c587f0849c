"""Weights that are loaded after a model is built, and weights with optimiser settings of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn

_FOLLOW: ContextVar[bool] = ContextVar("weights_follow", default=False)


@contextmanager
def weights_follow() -> Iterator[None]:
    """Declare that the weights of models built inside the ``with`` are loaded afterwards, for example from a bundle.

    Components that read a file of initial weights then skip it; see `are_weights_to_follow`.
    """
    token = _FOLLOW.set(True)
    try:
        yield
    finally:
        _FOLLOW.reset(token)


def are_weights_to_follow() -> bool:
    """Return True inside `weights_follow`: a component need not read a file of initial weights, which may not exist."""
    return _FOLLOW.get()


def train_with(parameter: nn.Parameter, **settings: float) -> None:
    """Give one parameter optimiser settings that differ from those of the experiment.

    Args:
        parameter: parameter such as a pole of a state-space layer.
        settings: ``lr`` (learning rate), ``weight_decay`` or both. The experiment's values are the defaults. Settings
            of an earlier call are dropped.
    """
    parameter.optimizer_settings = settings  # type: ignore[attr-defined]


def trained_with(parameter: nn.Parameter) -> Mapping[str, float]:
    """Return the settings that `train_with` gave to a parameter; empty for most parameters."""
    return getattr(parameter, "optimizer_settings", {})
