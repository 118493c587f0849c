"""Weights that a file brings after a model is built, and weights that are trained in their own way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar

from torch import nn

_FOLLOW: ContextVar[bool] = ContextVar("weights_follow", default=False)


@contextmanager
def weights_follow() -> Iterator[None]:
    """Within, models are built for weights that a file brings next, as those of a bundle do."""
    token = _FOLLOW.set(True)
    try:
        yield
    finally:
        _FOLLOW.reset(token)


def are_weights_to_follow() -> bool:
    """Whether a component that begins with weights from a file need not read them: that file may be elsewhere."""
    return _FOLLOW.get()


def train_with(parameter: nn.Parameter, **settings: float) -> None:
    """Give one parameter settings of the optimiser that differ from the experiment's.

    Args:
        parameter: such as a pole of a state-space layer.
        settings: ``lr`` and ``weight_decay``; what is not given is the experiment's.
    """
    parameter.optimizer_settings = settings  # type: ignore[attr-defined]


def trained_with(parameter: nn.Parameter) -> Mapping[str, float]:
    """Return the settings that `train_with` gave to a parameter; none for most."""
    return getattr(parameter, "optimizer_settings", {})
