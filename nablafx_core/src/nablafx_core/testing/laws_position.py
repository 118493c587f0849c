"""Law of position: a component that depends on its position in the file declares it, and can start anywhere."""

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

_SILENCE = 4099  # prime, so that it is not a multiple of a period
_TIME = 512  # samples after the silence
_HOURS = 10**9  # number of samples


def begins_anywhere(subject: Subject, *, tolerance: float = 1e-6) -> float:
    """Check that a signal at one position of a file gives the same output for any start in the silence before it.

    With `remembers_position` the initial state receives the position of each start; without it, the output must not
    depend on the start. A transient of the start itself (a network that settles in silence) must at least halve from
    one start to the next earlier one. The distance of the starts is a multiple of the declared blocks; see
    `nablafx_core.interfaces.position.block_grid`. With `remembers_position`, start 0 must also equal the offline
    output, and an int a tensor with one value per item.

    Args:
        subject: model, processor or controller.
        tolerance: largest difference relative to the larger of 1 and the peak.

    Returns:
        The largest difference that is not such a transient.

    Raises:
        LawBroken: if this difference is larger than the tolerance, or `start` has another meaning than above.
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
            "If a state never forgets (a phase), set remembers_position = True and use `start` in initial_state. If "
            "it works in blocks, return their length as `samples_per_step`."
        )
    return check(found, tolerance, f"begins anywhere ({name_of(subject)}): position is declared", what)


def _fill_zeros(model: Model) -> None:
    """Set weights that are all 0, such as the initial depth of a modulation, to other values."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.parameters():
            if not bool(weight.any()):
                weight.copy_(0.1 * torch.randn(weight.shape, generator=generator))


def _steps(model: Model) -> int:
    """Return the number of samples in the blocks of a controller that returns steps; 1 for all others."""
    if not isinstance(model, ControllerAsModel):
        return 1
    with torch.no_grad():
        unit = model.inner(noise(model, 1, 1), _middle(model, 1))[0]
    return unit.block_size if isinstance(unit, Steps) else 1


def _middle(model: Model, batch_size: int) -> Tensor | None:
    """Return constant controls, equal for all items, in [0.25, 0.75]; None if the model has none."""
    controls = knobs(model, 1)
    return None if controls is None else (0.25 + 0.5 * controls).expand(batch_size, -1)


def _differences(model: Model, sound: Tensor, before: Tensor, position: int) -> float:
    """Return by how much the output of a sound at `position` depends on the number of samples of silence `before` it.

    The outputs for each two successive entries of `before`, which ascend, are compared. The result is the largest
    difference that is more than half of the previous one; 0 if each is at most half, as for a transient.
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
    """Check that start 0 is the beginning of the file, and that an int equals a tensor with one value per item.

    Raises:
        LawBroken: if the outputs differ by more than 1e-9 of the larger of 1 and the peak.
    """
    pair, controls, starts = sound.expand(2, -1, -1), _middle(model, 2), torch.tensor([0, 12_345])
    with torch.no_grad():
        whole = model(pair, controls)[0]
        both = model.offline(pair, controls, starts)
        one = model.offline(pair, controls, 12_345)
    for found, expected, what in ((both[:1], whole[:1], "0"), (both[1:], one[1:], "12345")):
        if not (measured := error(found, expected)) <= 1e-9:
            raise LawBroken(
                f"begins anywhere ({name_of(model)}): the output with start = {what} as an item of a tensor differs by "
                f"{measured:.3g} from that {'without a start' if what == '0' else 'with the int'}; allowed 1e-09. "
                "Accept an int and an integer tensor (batch,) as `start` of initial_state."
            )
