"""Reject models that would need too much memory.

The memory is measured on torch's meta device, where tensors have a size but no memory.
"""

from __future__ import annotations

import copy
import os
import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from nablafx_core.bundles.fitting import MOST_PARTS, at_most
from nablafx_core.errors import ModelError
from nablafx_core.interfaces import Model
from nablafx_core.registry.building import build
from nablafx_core.yaml import dotted

#: Largest receptive field, latency or pre-roll in samples: 350 s at 48 kHz.
MOST_SAMPLES = 2**24
#: Largest number of bytes of the state of a bundle's model for one item; the number of bytes of its weights is added.
STATE_OF_A_BUNDLE = 2**30
_MOST_STEPS = 300  # operations that are watched
_LARGE = 100_000  # a setting below it cannot make a model too large for a machine
#: Largest number of weights of a model whose memory is not measured before it is built.
_SMALL = 2**26
_SECONDS_TO_SEARCH = 2.0  # for the setting that is too large; without it, the message names none
_SAMPLES = {"receptive_field": "receptive field", "latency": "latency", "pre_roll": "pre-roll"}
Path = tuple[str | int, ...]


class TooLarge(ModelError):
    """Raised if a model would need too much; `need` is what it would need and the limit, the end of the message."""

    def __init__(self, need: str) -> None:
        super().__init__(f"the model would need {need}.")
        self.need = need


# Strings and not errors, because a raised error keeps the model that it stopped alive.
_TOO_MANY_PARTS = f"more than {MOST_PARTS:,} parts, the most that a model may have"
_BEYOND = "more memory than there can be"


def memory_of_this_machine() -> int:
    """Return the bytes of memory of this machine; 2^40 if the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 2**40


def build_within(section: Mapping[str, Any], most: int, **injected: Any) -> Model:
    """Build a model, as `nablafx_core.registry.building.build` does, unless it would be too large.

    Limited are the memory, the number of modules and parameters (`MOST_PARTS`), and the receptive field, latency and
    pre-roll (`MOST_SAMPLES`). The memory is not measured if every number in the section is below 100,000 and the model
    has at most 2^26 weights, or if the model cannot run on torch's meta device.

    Args:
        section: section of the model.
        most: largest number of bytes of its weights; also of its state for one item, and of each tensor.
        injected: arguments that the framework passes; see `build`.

    Raises:
        ModelError: if the model is too large. The message says what it would need and the limit, and names the setting
            that makes it too large and about the largest value that fits, if they are found within two seconds.
        NablafxError: if the section cannot be built; see `build`.
    """
    built = _built_small(section, injected) if largest_number(section) < _LARGE else None
    if built is None:
        built = _problem(section, most, injected) or build("model", section, **injected)
    problem = built if isinstance(built, TooLarge) else _too_many_samples(built)
    if problem:
        raise _with_cause(problem, section, most, injected)
    return cast(Model, built)


def _built_small(section: Mapping[str, Any], injected: Mapping[str, Any]) -> Model | TooLarge | None:
    """Build a model of at most `_SMALL` weights; return None if it has more, `TooLarge` if it has too many parts."""
    states, larger = _random_states(), TooLarge("more memory than a small model")
    try:
        with at_most(_SMALL, larger, TooLarge(_TOO_MANY_PARTS)):
            model: Model = build("model", section, **injected)
    except Exception as error:
        problem = _reason(error)
        if problem is None:
            raise
        _set_random_states(states)
        return None if problem is larger else problem
    return model


def check_model(model: Model, section: Mapping[str, Any], most: int) -> None:
    """Check that the stream of a model that is already built would not be too large.

    Limited are the receptive field, latency and pre-roll (`MOST_SAMPLES`), and, if a number in the section is 100,000
    or more, the memory of the stream.

    Args:
        model: model whose weights are already checked.
        section: section from which it was built.
        most: largest number of bytes of its state for one item; the number of bytes of the weights is added.

    Raises:
        ModelError: if a limit is exceeded; the message is as for `build_within`.
    """
    problem = _too_many_samples(model)
    if problem is None and largest_number(section) >= _LARGE:  # smaller settings cannot need so much memory
        most += _weights(model)
        problem = _problem(section, most, {})
    if problem:
        raise _with_cause(problem, section, most, {})


def largest_number(section: Mapping[str, Any]) -> float:
    """Return the largest number in a section, except in sample rate and knobs; 0 if no number is above 1."""
    return max((value for _, value in _numbers(section)), default=0)


def _too_many_samples(model: Model) -> TooLarge | None:
    for name, words in _SAMPLES.items():
        count = getattr(model, name, None)
        if isinstance(count, int) and count > MOST_SAMPLES:
            return TooLarge(f"a {words} of {_count(count)} samples; {MOST_SAMPLES:,} is the most")
    return None


def _too_large_state(model: Model, most: int) -> TooLarge | None:
    """Return the limit that the initial state of a model on the meta device exceeds, or None.

    Only the first operations of its construction are watched; None if the code cannot run on the meta device.
    """
    try:
        with torch.no_grad(), torch.device("meta"), _Watch(most):
            state = model.initial_state(1)
    except TooLarge as error:
        return error
    except Exception as error:  # the code needs values, or has many operations
        return TooLarge(_BEYOND) if "verflow" in str(error) else None
    total = sum(tensor.nbytes for tensor in state.values())
    return _bytes(total, most) if total > most else None


def _problem(section: Mapping[str, Any], most: int, injected: Mapping[str, Any]) -> TooLarge | None:
    """Return the limit that a model exceeds; None if it exceeds none or cannot run on the meta device."""
    beyond, parts = TooLarge(_BEYOND), TooLarge(_TOO_MANY_PARTS)
    try:
        with _kept_random(), torch.device("meta"), at_most(2**62, beyond, parts), _Watch(most, None):
            model: Model = build("model", section, **injected)
    except Exception as error:
        return _reason(error)
    if _weights(model) > most:
        return _bytes(_weights(model), most)
    return _too_many_samples(model) or _too_large_state(model, most)


def _weights(model: Model) -> int:
    """Return the bytes of the parameters and buffers of a model."""
    return sum(tensor.nbytes for tensor in (*model.parameters(), *model.buffers()))


def _with_cause(problem: TooLarge, section: Mapping[str, Any], most: int, injected: Mapping[str, Any]) -> ModelError:
    """Return the error about a model that is too large, with the setting that causes it and a value that fits.

    The search takes about two seconds at most; if it finds no setting, the error names the largest number in the
    section. If no number is above 1, it is `problem` itself.
    """
    end = time.monotonic() + _SECONDS_TO_SEARCH

    def fits(path: Path, number: float) -> bool:
        """Return True if the model fits with `number` at `path`; False if it does not, or the time is over."""
        return time.monotonic() < end and _problem(_with(section, path, number), most, injected) is None

    candidates = sorted(_numbers(section), key=lambda item: -item[1])
    path, value = next(((path, value) for path, value in candidates if fits(path, 1)), ((), 0))
    if path:
        allowed = _largest(lambda number: fits(path, number), value)
        hint = f"With the other settings unchanged, {dotted(path[-1:])} can be about {_count(allowed)} at most."
    elif candidates:
        path, value = candidates[0]
        hint = "It is the largest number in the section. Try a smaller one."
    else:
        return problem
    return ModelError(f"model.{dotted(path)} is {_count(value)}: the model would need {problem.need}. {hint}")


#: Operations whose result is a list, which may take more memory than its tensors would.
_MANY = (torch.ops.aten.unbind.int, torch.ops.aten.split.Tensor)


class _Done(Exception):
    """Raised after the first operations, to stop the measurement."""


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Raise `TooLarge` at a tensor on the meta device of more than `most` bytes, `_Done` after `steps` operations.

    With steps=None, all operations are watched.
    """

    def __init__(self, most: int, steps: int | None = _MOST_STEPS) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._most = most
        self._steps = steps

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _MANY and self._steps is not None and max(args[0].shape, default=0) > _LARGE:
            raise _Done
        out = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor) and tensor.is_meta and tensor.untyped_storage().nbytes() > self._most:
                raise _bytes(tensor.untyped_storage().nbytes(), self._most)
        if self._steps is not None:
            self._steps -= 1
            if self._steps < 0:
                raise _Done
        return out


def _reason(error: BaseException | None) -> TooLarge | None:
    """Return the `TooLarge` among the causes of an error, or None."""
    while error is not None and not isinstance(error, TooLarge):
        error = error.__cause__
    return error


def _random_states() -> tuple[Any, ...]:
    return random.getstate(), np.random.get_state(), torch.get_rng_state()  # noqa: NPY002


def _set_random_states(states: tuple[Any, ...]) -> None:
    random.setstate(states[0])
    np.random.set_state(states[1])  # noqa: NPY002
    torch.set_rng_state(states[2])


@contextmanager
def _kept_random() -> Iterator[None]:
    """Restore the random states at the end, so that the next model is built with the same weights."""
    states = _random_states()
    try:
        yield
    finally:
        _set_random_states(states)


def _numbers(value: Any, path: Path = ()) -> Iterator[tuple[Path, float]]:
    """Yield the path and the value of each number above 1 in plain data, except in sample rate and knobs."""
    items: Any = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        if key not in ("sample_rate", "controls"):
            yield from _numbers(item, (*path, key))
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 1:
        yield path, value


def _with(section: Mapping[str, Any], path: Path, value: float) -> dict[str, Any]:
    changed: Any = copy.deepcopy(dict(section))
    inner = changed
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = type(inner[path[-1]])(value)
    return dict(changed)


def _largest(fits: Callable[[float], bool], value: float) -> float:
    """Return about the largest number that fits, between 1, which fits, and `value`, which does not.

    It is at most 20 % too small, and rounded to two digits if the rounded number is not larger.
    """
    low, high, factor = 1.0, float(value), 4.0
    while high / low > 1.2 and high - low > 1:
        middle = min(low * factor, (low * high) ** 0.5)  # from below, where trials are fast
        if fits(int(middle) if isinstance(value, int) else middle):
            low = middle
            factor *= factor
        else:
            high = middle
    rounded = float(f"{low:.1e}")
    rounded = rounded if rounded <= low else low
    return int(rounded) if isinstance(value, int) else rounded


def _bytes(count: int, most: int) -> TooLarge:
    return TooLarge(f"{count / 1e9:,.1f} GB of memory; {most / 1e9:,.1f} GB is the most")


def _count(number: float) -> str:
    return f"{number:,}" if number < 10**15 else f"{float(number):.1e}"
