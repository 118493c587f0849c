"""Law of processors that accept parameters as steps: values that are constant within blocks of samples."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from nablafx_core.interfaces import Processor
from nablafx_core.steps import Steps
from nablafx_core.testing.laws import TOLERANCE
from nablafx_core.testing.subject import check, error, name_of

_CUTS = (1, 30, 64, 128, 100, 3)


def steps_are_their_samples(
    processor: Processor,
    *,
    block_sizes: Sequence[int] = (1, 7, 64, 128),
    cuts: Sequence[int] = _CUTS,
    dtype: torch.dtype = torch.float64,
    tolerance: float | None = None,
) -> float:
    """Check that a processor with `takes_steps` gives the same output for steps and for their values at every sample.

    Signals that start and end anywhere in a block are tried, offline and as a stream, with steps for all parameters and
    for all but the first.

    Args:
        processor: processor to check; one without `takes_steps` keeps the law, with a difference of 0.
        block_sizes: numbers of samples of a step.
        cuts: lengths of the blocks of the stream; the signal is as long as their sum.
        dtype: precision of the computation.
        tolerance: largest allowed difference; None for 1e-9 in float64 and 1e-5 in float32.

    Returns:
        The largest difference relative to the larger of 1 and the peak.

    Raises:
        LawBroken: if the difference is larger than the tolerance.
    """
    if not processor.takes_steps:
        return 0.0
    processor = copy.deepcopy(processor).to(dtype).eval()
    generator, time, largest = torch.Generator().manual_seed(0), sum(cuts), 0.0
    audio = torch.rand(2, 1, time, generator=generator, dtype=torch.float64).to(dtype) * 2 - 1
    for size in block_sizes:
        for begin, steady in ((0, 0), (size // 2, 0), (size - 1, 1)):
            blocks = -(-(begin + time) // size)
            units = torch.rand(len(processor.effect_parameters), 2, blocks, generator=generator, dtype=torch.float64)
            by_step = [p.from_unit(unit.to(dtype)) for p, unit in zip(processor.effect_parameters, units, strict=True)]
            steps = {
                p.name: value[:, 0] if i < steady else Steps(value, blocks * size - begin - time, size)
                for i, (p, value) in enumerate(zip(processor.effect_parameters, by_step, strict=True))
            }
            with torch.no_grad():
                pairs = [(processor(audio, steps)[0], processor(audio, _sampled(steps, time))[0])]
                pairs.append((_streamed(processor, audio, steps, cuts), _streamed(processor, audio, steps, cuts, True)))
            largest = max(largest, *(error(given, expected) for given, expected in pairs))
    return check(
        largest,
        TOLERANCE[dtype] if tolerance is None else tolerance,
        f"steps are their samples ({name_of(processor)})",
        "Apply each value to its block; the audio ends `skip` samples before the end of the last block.",
    )


def _streamed(
    processor: Processor, audio: Tensor, steps: dict[str, Tensor | Steps], cuts: Sequence[int], sampled: bool = False
) -> Tensor:
    state, parts, end = None, [], 0
    for length in cuts:
        end += length
        block = {name: _until(value, audio.shape[-1] - end, length) for name, value in steps.items()}
        given = _sampled(block, length) if sampled else block
        if state is None:
            first = {
                name: value[..., 0] if value.ndim == 2 else value for name, value in _sampled(block, length).items()
            }
            state = processor.initial_state(audio.shape[0], first)
        out, state = processor(audio[..., end - length : end], given, state)
        parts.append(out)
    return torch.cat(parts, dim=-1)


def _until(value: Tensor | Steps, after: int, time: int) -> Tensor | Steps:
    """Return the steps of the `time` samples that end `after` samples before the end of the signal."""
    if not isinstance(value, Steps):
        return value
    later = (value.skip + after) // value.block_size
    skip = value.skip + after - later * value.block_size
    return value._replace(values=value.values[..., : value.values.shape[-1] - later], skip=skip).last(time)


def _sampled(values: dict[str, Tensor | Steps], time: int) -> dict[str, Tensor]:
    return {name: value.over(time) if isinstance(value, Steps) else value for name, value in values.items()}
