"""Whether weights are those of a model, found out before memory is given to the model."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from nablafx_core.building import build
from nablafx_core.errors import BundleError, ConfigError

_SPARE = 100_000  # values that a constructor may make and throw away


def check_fit(section: Mapping[str, Any], weights: Mapping[str, Tensor]) -> None:
    """Build a model without memory for its weights, and compare names and shapes.

    A file that is not trusted may name a small class and ask for a hundred gigabytes of it.

    Args:
        section: of the model.
        weights: by name, as the file has them.

    Raises:
        BundleError: naming the first weight that differs. The message is the end of a sentence.
        NablafxError: as `build` does.
    """
    count = sum(tensor.numel() for tensor in weights.values())
    try:
        with torch.device("meta"), _at_most(4 * count + _SPARE):
            model: nn.Module = build("model", section)
    except ConfigError:  # it may compute with values, which do not exist here; if that is not why, build says it again
        return
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    there = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    wrong = [name for name in {**wanted, **there} if wanted.get(name) != there.get(name)]
    if wrong:
        rest = f"; {len(wrong) - 1} more differ" if len(wrong) > 1 else ""
        raise BundleError(f"{_difference(wrong[0], wanted, there)}{rest}.")


def _difference(name: str, wanted: Mapping[str, tuple[int, ...]], there: Mapping[str, tuple[int, ...]]) -> str:
    if name not in there:
        return f"{name} is missing"
    if name not in wanted:
        return f"the model has no {name}"
    return f"{name} has the shape {there[name]}, in the model {wanted[name]}"


@contextmanager
def _at_most(values: int) -> Iterator[None]:
    """Stop the building of a model that registers more parameters than that, however many steps it takes to do so."""
    token = _left.set([values])
    try:
        yield
    finally:
        _left.reset(token)


#: Values that the model which this thread builds may still register.
_left: ContextVar[list[int] | None] = ContextVar("left", default=None)


def _count(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
    left = _left.get()
    if left is not None and parameter is not None:
        left[0] -= max(parameter.numel(), 1)
        if left[0] < 0:
            raise BundleError("the model is larger than its weights.")


# Once and for good: torch goes through these hooks while other threads build models, so that none may come or go.
register_module_parameter_registration_hook(_count)
