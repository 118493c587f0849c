"""Law of position: a part that depends on its position in the file declares it, and can begin anywhere."""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from nablafx_core.interfaces import Model
from nablafx_core.interfaces.position import block_grid
from nablafx_core.steps import Steps
from nablafx_core.testing.subject import (
    ControllerAsModel,
    LawBroken,
    Subject,
    check,
    error,
    knobs,
    name_of,
    noise,
    prepared,
)

_SILENCE = 4099  # prime, so that it is no multiple of a period
_TIME = 512  # samples after the silence
_HOURS = 10**9  # number of samples


def begins_anywhere(subject: Subject, *, tolerance: float = 1e-6) -> float:
    """Check that a signal at one place of a file gives the same output for any beginning in the silence before it.

    With `remembers_position` the initial state gets each beginning's position; without it, nothing may depend on it.
    A transient of the beginning itself (a network that settles in silence) must at least halve from one beginning to
    the next earlier one. Beginnings are a multiple of the declared blocks apart; see
    `nablafx_core.interfaces.position.block_grid`.

    Args:
        subject: a model, processor or controller.
        tolerance: largest difference relative to the larger of 1 and the peak.

    Returns:
        The largest difference that is not such a transient.
    """
    model = prepared(subject)
    _fill_zeros(model)
    grid = math.lcm(block_grid(model), _steps(model))
    before = torch.arange(5) * (-(-_SILENCE // grid) * grid)
    sound = noise(model, 1, _TIME)
    found = _differences(model, sound, before, int(before[3]) + 211)
    if model.remembers_position:
        found = max(found, _differences(model, sound, before, _HOURS))
        _check_file_start(model, sound)
        what = "Its initial state at `start` must be the state that a file has there."
    else:
        what = (
            "If a state never forgets (a phase), set remembers_position = True and take `start` in initial_state. If "
            "it works in blocks, say their length as `samples_per_step`."
        )
    return check(found, tolerance, f"begins anywhere ({name_of(subject)}): position is declared", what)


def _fill_zeros(model: Model) -> None:
    """Set weights that are all 0, such as a depth that is not learned yet, to other values."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if not bool(weight.any()):
                weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))


def _steps(model: Model) -> int:
    """Number of samples in the blocks of a controller that yields steps."""
    if not isinstance(model, ControllerAsModel):
        return 1
    with torch.no_grad():
        unit = model.inner(noise(model, 1, 1), _middle(model, 1))[0]
    return unit.block_size if isinstance(unit, Steps) else 1


def _middle(model: Model, batch_size: int) -> Tensor | None:
    """Return constant controls that are equal for all items and away from the ends of their ranges."""
    controls = knobs(model, 1)
    return None if controls is None else (0.25 + 0.5 * controls).expand(batch_size, -1)


def _differences(model: Model, sound: Tensor, before: Tensor, position: int) -> float:
    """Measure how much a sound at `position` changes between numbers of samples of silence `before` it.

    The result is the largest change that is more than half of the change before it; a transient has none.
    """
    time = sound.shape[-1]
    audio = sound.new_zeros(len(before), sound.shape[1], int(before[-1]) + time + model.latency)
    for item, silence in enumerate(before.tolist()):
        audio[item, :, silence : silence + time] = sound[0]
    with torch.no_grad():
        out = model.offline(audio, _middle(model, len(before)), position - before)
    at = [out[item, :, silence : silence + time] for item, silence in enumerate(before.tolist())]
    changes = [error(longer, shorter) for shorter, longer in pairwise(at)]
    return max((later for earlier, later in pairwise(changes) if later > earlier / 2), default=0.0)


def _check_file_start(model: Model, sound: Tensor) -> None:
    """Check that position 0 is the file's beginning, and that ints and tensors, one value per item, agree."""
    pair, controls, starts = sound.expand(2, -1, -1), _middle(model, 2), torch.tensor([0, 12_345])
    with torch.no_grad():
        whole = model(pair, controls)[0]
        both = model.offline(pair, controls, starts)
        one = model.offline(pair, controls, 12_345)
    for found, expected, what in ((both[:1], whole[:1], "0"), (both[1:], one[1:], "12345")):
        if not (measured := error(found, expected)) <= 1e-9:
            raise LawBroken(
                f"begins anywhere ({name_of(model)}): start = {what} as an item of a tensor differs by {measured:.3g} "
                f"from {'the file' if what == '0' else 'the int'}. `start` is an int or a tensor (batch,)."
            )
