"""Build the model that a file describes, with memory limited by the size of the file's weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.module import (
    register_module_buffer_registration_hook,
    register_module_module_registration_hook,
    register_module_parameter_registration_hook,
)
from torch.overrides import TorchFunctionMode

from nablafx_core.errors import BundleError, NablafxError
from nablafx_core.interfaces import Model
from nablafx_core.registry.building import build

#: Largest number of modules and parameters of a model.
MOST_PARTS = 4_000
_SPARE = 100_000  # values of temporary parameters that a constructor may create
_SPARE_TENSOR = 2**24  # values of a tensor that is not a parameter, such as a table, and of all buffers


def fitting_model(section: Mapping[str, Any], weights: Mapping[str, Tensor]) -> Model:
    """Build a model whose weights have given names and shapes, without loading the weights.

    A small untrusted file may describe a model of a hundred gigabytes. The size of each tensor is therefore compared
    with the weights before it is allocated: the model may have four times as many values, and some more (see
    `at_most`). torch's meta device would allocate nothing, but imports torch's compiler for most functions, which
    takes over a second.

    Args:
        section: section of the model.
        weights: weights in the file, by name.

    Raises:
        BundleError: if the model needs much more memory than the weights, has more than `MOST_PARTS` modules and
            parameters, or a weight is missing, unexpected or of another shape; names the first such weight. The message
            is the end of a sentence.
        NablafxError: if the section cannot be built; see `build`.
    """
    count = sum(tensor.numel() for tensor in weights.values())
    parts = BundleError(
        f"the model has more than {MOST_PARTS:,} modules and parameters, the most that a model may have."
    )
    with at_most(4 * count, BundleError("the model is larger than its weights."), parts):
        model: Model = build("model", section)
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    there = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    wrong = [name for name in {**wanted, **there} if wanted.get(name) != there.get(name)]
    if wrong:
        rest = f"; {len(wrong) - 1} more differ" if len(wrong) > 1 else ""
        raise BundleError(f"{_difference(wrong[0], wanted, there)}{rest}.")
    return model


def _difference(name: str, wanted: Mapping[str, tuple[int, ...]], there: Mapping[str, tuple[int, ...]]) -> str:
    if name not in there:
        return f"{name} is missing"
    if name not in wanted:
        return f"the model has no {name}"
    return f"{name} has the shape {there[name]}, in the model {wanted[name]}"


@contextmanager
def at_most(values: int, refusal: NablafxError, parts: NablafxError | None = None) -> Iterator[None]:
    """Raise an error if a model that is built inside the ``with``, in this thread, becomes too large.

    Args:
        values: largest number of values of all parameters, which may have 100,000 more; all buffers together, and each
            tensor that a function of `_REQUESTED` allocates, may have 2^24 more.
        refusal: error to raise for too many values.
        parts: error to raise for more than `MOST_PARTS` modules and parameters; `refusal` if None.
    """
    token = _left.set(_Left(values + _SPARE, values + _SPARE_TENSOR, MOST_PARTS, refusal, parts or refusal))
    try:
        with _Largest(values + _SPARE_TENSOR, refusal):
            yield
    finally:
        _left.reset(token)


@dataclass
class _Left:
    """Number of values and parts that the model under construction in this thread may still register, and errors.

    Args:
        values: values of parameters.
        buffers: values of buffers.
        parts: modules and parameters.
        too_many_values, too_many_parts: errors to raise.
    """

    values: int
    buffers: int
    parts: int
    too_many_values: NablafxError
    too_many_parts: NablafxError


_left: ContextVar[_Left | None] = ContextVar("left", default=None)


def _count(module: nn.Module, name: str, part: nn.Module | nn.Parameter | None) -> None:
    left = _left.get()
    if left is None or part is None:
        return
    left.parts -= 1
    if isinstance(part, nn.Parameter):
        left.values -= part.numel()
    if left.parts < 0:
        raise left.too_many_parts
    if left.values < 0:
        raise left.too_many_values


def _count_buffer(module: nn.Module, name: str, buffer: Tensor | None) -> None:
    left = _left.get()
    if left is None or buffer is None:
        return
    left.buffers -= buffer.numel()
    if left.buffers < 0:
        raise left.too_many_values


# Never removed, because torch may iterate over these hooks in other threads.
register_module_module_registration_hook(_count)
register_module_parameter_registration_hook(_count)
register_module_buffer_registration_hook(_count_buffer)


class _Largest(TorchFunctionMode):
    """Raise an error if this thread allocates a tensor with more values than allowed, by a function of `_REQUESTED`."""

    def __init__(self, values: int, refusal: NablafxError) -> None:
        super().__init__()
        self.values = values
        self.refusal = refusal

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        requested: Callable[..., float] | None = _REQUESTED.get(getattr(func, "__name__", ""))
        size = 0.0
        if requested is not None:
            try:
                size = requested(*args, **kwargs)
            except OverflowError:
                size = math.inf
            except (TypeError, ValueError, ArithmeticError):  # the function itself raises it again
                pass
        if size > self.values:
            raise self.refusal
        return func(*args, **kwargs)


def _shape(*arguments: Any, size: Any = None, **_: Any) -> float:
    """Return the number of values of a shape, given as one argument or several, after a tensor or other values."""
    sequence = next((item for item in arguments if isinstance(item, (tuple, list))), None)
    given = next((item for item in (size, sequence) if item is not None), arguments)
    return math.prod(float(item) for item in given if isinstance(item, int))


def _copies(tensor: Tensor, *arguments: Any, **named: Any) -> float:
    return tensor.numel() * _shape(*arguments, **{"size" if key == "repeats" else key: named[key] for key in named})


def _square(n: int, m: int | None = None, **_: Any) -> float:
    return float(n) * (n if m is None else m)


def _first(count: int, *_: Any, **__: Any) -> float:
    return float(count)


def _steps(start: float, end: float, steps: int, *_: Any, **__: Any) -> float:
    return float(steps)


def _range(start: float, end: float | None = None, step: float = 1, **_: Any) -> float:
    return (start if end is None else end - start) / step


_WINDOWS = ("bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window")
#: Functions that return the number of values that a call allocates, by the name of the called function.
_REQUESTED: dict[str, Callable[..., float]] = {
    **dict.fromkeys(("empty", "zeros", "ones", "full", "rand", "randn", "randint", "normal"), _shape),
    **dict.fromkeys(("new_empty", "new_zeros", "new_ones", "new_full"), _shape),
    **dict.fromkeys(("repeat", "tile"), _copies),
    **dict.fromkeys(("linspace", "logspace"), _steps),
    **dict.fromkeys((*_WINDOWS, "randperm"), _first),
    "arange": _range,
    "eye": _square,
}
