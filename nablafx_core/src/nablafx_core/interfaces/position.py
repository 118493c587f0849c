"""Position of a signal in its file, and the states of models and parts that depend on it."""

from __future__ import annotations

import inspect
import math
import operator
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from nablafx_core.errors import ModelError
from nablafx_core.interfaces.declared import WorksInSteps
from nablafx_core.state import State

if TYPE_CHECKING:
    from nablafx_core.interfaces import Controller, Model, Processor

Start = int | Tensor
"""Position of a signal's first sample, in samples from the beginning of its file: an int for all items of a batch, or
an integer tensor of shape (batch,). Negative in a pre-roll, before the beginning of the file."""

# Most blocks of undeclared length have a power of two as their length.
_PHASE = 65_536


def state_at(
    part: Model | Processor | Controller,
    batch_size: int,
    given: Tensor | dict[str, Tensor] | None = None,
    start: Start = 0,
) -> State:
    """Return the initial state of a model or part whose first sample is sample `start` of the file.

    Only a part that declares `remembers_position` receives `start`. The state of any other part is that of a file's
    beginning, whatever the position.

    Args:
        part: model, processor or controller.
        batch_size: number of items.
        given: second argument of `initial_state`: controls, or a processor's parameters.
        start: position as an int, or as an integer tensor of shape (batch,) or ().

    Raises:
        ModelError: if the part declares `remembers_position`, and `start` is a tensor of another shape or type, or its
            `initial_state` takes no `start`, or it is a model that does not stream. Also as `initial_state` raises it.
        TypeError: if the part declares `remembers_position`, and `start` is neither an integer nor a tensor.
    """
    initial_state: Callable[..., State] = part.initial_state
    if not part.remembers_position:
        return initial_state(batch_size, given)
    name = type(part).__name__
    if not getattr(part, "streams", True):
        raise ModelError(f"{name} declares remembers_position but has no stream, so no state can hold a position.")
    if not _takes_start(type(part).initial_state):
        raise ModelError(
            f"{name} declares remembers_position, but its initial_state takes no argument 'start'. Define "
            f"initial_state(self, batch_size, …, start=0); start is an int or an integer tensor (batch,)."
        )
    return initial_state(batch_size, given, start=_checked(start, batch_size, part))


@lru_cache(maxsize=256)
def _takes_start(initial_state: Callable[..., State]) -> bool:
    parameters = inspect.signature(initial_state).parameters.values()
    return any(one.name == "start" or one.kind is one.VAR_KEYWORD for one in parameters)


def _checked(start: Start, batch_size: int, part: nn.Module) -> Start:
    if not isinstance(start, Tensor):
        return operator.index(start)
    if start.is_floating_point() or start.dtype == torch.bool or start.shape not in ((), (batch_size,)):
        raise ModelError(
            f"{type(part).__name__}: start: expected an int or an integer tensor of shape ({batch_size},), "
            f"got {start.dtype} of shape {tuple(start.shape)}."
        )
    weight = next(part.parameters(), next(part.buffers(), start))
    return start.to(device=weight.device, dtype=torch.int64).expand(batch_size)


def block_grid(module: nn.Module) -> int:
    """Return the period of the blocks of a model or part, in samples; 1 if it does not work in blocks.

    The period is the least common multiple of the `samples_per_step` that its modules declare; see `WorksInSteps`.
    """
    steps = (part.samples_per_step for part in module.modules() if isinstance(part, WorksInSteps))
    return math.lcm(*(int(step) for step in steps if math.isfinite(step)))


def aligned(model: Model, position: int) -> int:
    """Round a position down so that the model's blocks have the same boundaries as from the file's beginning.

    The result is a multiple of the smallest multiple of `block_grid` that is at least 65,536 samples, since not every
    block is declared.
    """
    grid = block_grid(model)
    phase = -(-_PHASE // grid) * grid
    return position // phase * phase
