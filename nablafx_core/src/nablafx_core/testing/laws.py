"""Laws of components that stream: blocks, batches, look-ahead, silence. Each function returns what it measured.

A law takes a model, a processor (whose parameters become controls over their whole physical range) or a controller. It
works on a copy in evaluation mode, in float64 by default, and raises LawBroken if the law does not hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from nablafx_core.interfaces import Model
from nablafx_core.testing.subject import LawBroken, Subject, automation, check, error, knobs, name_of, noise, prepared

TOLERANCE = {torch.float64: 1e-9, torch.float32: 1e-5}  # relative to max(1, peak), see docs/packs.md


def stream_equals_offline(
    subject: Subject,
    cuts: Sequence[int],
    *,
    dtype: torch.dtype = torch.float64,
    moving_controls: bool = False,
    batch_size: int = 2,
    tolerance: float | None = None,
    seed: int = 0,
) -> float:
    """Check that the stream of a signal cut into blocks gives the offline output.

    The stream begins with `initial_state`, passes the state from block to block and ends with `flush`; its first
    `latency` samples are dropped.

    Args:
        subject: model, processor or controller.
        cuts: lengths of the blocks in samples; the signal is as long as their sum.
        dtype: precision of the computation.
        moving_controls: if true, use controls that change at every sample instead of one setting per item.
        batch_size: number of items.
        tolerance: largest allowed difference; None for 1e-9 in float64 and 1e-5 in float32.
        seed: seed of the audio and the controls.

    Returns:
        The largest difference relative to the larger of 1 and the peak.

    Raises:
        LawBroken: if the difference is larger than the tolerance, or the lengths differ.
    """
    model, time = prepared(subject, dtype), sum(cuts)
    audio = noise(model, batch_size, time, dtype, seed)
    if moving_controls:
        controls = automation(model, batch_size, time, dtype, seed)
    else:
        controls = knobs(model, batch_size, dtype, seed)
    with torch.no_grad():
        offline = model(audio, controls)[0]
        by_blocks = streamed(model, audio, controls, cuts)
    return check(
        error(by_blocks, offline),
        TOLERANCE[dtype] if tolerance is None else tolerance,
        f"stream = offline ({name_of(subject)}, blocks {list(cuts)[:8]}, {dtype})",
        "forward(x, c, state) must continue exactly from its state, and initial_state must be the state at a file's "
        "start.",
    )


def streamed(model: Model, audio: Tensor, controls: Tensor | None, cuts: Sequence[int]) -> Tensor:
    """Stream a signal in blocks of the lengths `cuts`, and flush; drop the first `latency` samples of the output.

    If the lengths add up to that of the signal, the result has the shape of the offline output, (batch, out_channels,
    time).
    """
    first = controls[..., 0] if controls is not None and controls.ndim == 3 else controls
    state, parts, start = model.initial_state(audio.shape[0], first), [], 0
    for length in cuts:
        span = slice(start, start + length)
        block = controls[..., span] if controls is not None and controls.ndim == 3 else controls
        out, state = model(audio[..., span], block, state)
        parts.append(out)
        start += length
    if model.latency:
        parts.append(model.flush(state))
    return torch.cat(parts, dim=-1)[..., model.latency :]


def items_are_independent(subject: Subject, *, time: int = 512, tolerance: float = 1e-9) -> float:
    """Check that a batch of three gives the same output as three batches of one.

    Returns:
        The largest difference relative to the larger of 1 and the peak.

    Raises:
        LawBroken: if the difference is larger than the tolerance.
    """
    model = prepared(subject)
    audio, controls = noise(model, 3, time), knobs(model, 3)
    with torch.no_grad():
        together = model(audio, controls)[0]
        alone = [model(audio[i : i + 1], None if controls is None else controls[i : i + 1])[0] for i in range(3)]
    return check(
        error(together, torch.cat(alone)),
        tolerance,
        f"items are independent ({name_of(subject)})",
        "In evaluation mode, do not use statistics over the batch, and keep no state on the module.",
    )


def no_look_ahead(subject: Subject, *, phases: int = 128, threshold: float = 1e-12, draws: int = 12) -> int:
    """Check that the subject looks ahead by exactly its declared latency.

    The look-ahead is t - n if a change of the input from sample t on changes the offline output from sample n on. The
    audio, and then the controls, are changed for `phases` successive t; the largest look-ahead counts, because that of
    a component that works in blocks depends on t. Several inputs are tried, because a look-ahead may depend only on the
    largest sample of a block.

    Args:
        subject: model, processor or controller.
        phases: number of values of t; at least the length of the subject's blocks in samples.
        threshold: largest difference that does not count as a change, relative to the larger of 1 and the peak.
        draws: maximum number of inputs that are tried until the declared latency is observed.

    Returns:
        The measured look-ahead in samples.

    Raises:
        LawBroken: if the measured look-ahead is not the declared latency.
    """
    model = prepared(subject)
    time = model.latency + phases + 64
    changes = torch.arange(model.latency, model.latency + phases)
    after = (torch.arange(time) >= changes[:, None])[:, None]
    curve = automation(model, 1, time)
    curve = None if curve is None else curve.expand(phases, -1, -1)
    used, draw = 0, 0
    while draw == 0 or (used < model.latency and draw < draws):
        audio = noise(model, 1, time, seed=2 * draw).expand(phases, -1, -1) * 0.25 / 2**draw
        with torch.no_grad():
            before = model(audio, curve)[0]
            by_audio = model(torch.where(after, noise(model, phases, time, seed=2 * draw + 1), audio), curve)[0]
            used = max(used, _look_ahead(before, by_audio, changes, threshold))
            if curve is not None:
                by_controls = model(audio, torch.where(after, 1 - curve, curve))[0]
                used = max(used, _look_ahead(before, by_controls, changes, threshold))
        draw += 1
    if used != model.latency:
        raise LawBroken(
            f"no look-ahead beyond the latency ({name_of(subject)}): it declares a latency of {model.latency} samples "
            f"and looks {used} samples ahead. Declare exactly the latency that is used."
        )
    return used


def _look_ahead(before: Tensor, changed: Tensor, changes: Tensor, threshold: float) -> int:
    limit = threshold * max(1.0, float(before.abs().max()))
    moved = ((before - changed).abs() > limit).any(dim=1)
    first = torch.where(moved.any(dim=1), moved.to(torch.int8).argmax(dim=1), before.shape[-1])
    return int((changes - first).max())


def silence_gives_no_nan(subject: Subject, *, time: int = 512) -> float:
    """Check that silence, a constant of 1 and a step from 1 to -1 give finite output, offline and as a stream.

    All controls together are at 0, at 0.5 and at 1. A model that cannot stream is checked offline only.

    Returns:
        The largest absolute value of the output.

    Raises:
        LawBroken: if a value of the output is NaN or infinite.
    """
    model = prepared(subject)
    square = torch.ones(time, dtype=torch.float64)
    square[time // 2 :] = -1
    audio = torch.stack([torch.zeros_like(square), torch.ones_like(square), square])[:, None]
    audio = audio.expand(-1, model.in_channels, -1)
    peak = 0.0
    for end in (0.0, 0.5, 1.0):
        controls = torch.full((3, len(model.controls)), end, dtype=torch.float64) if model.controls else None
        with torch.no_grad():
            outputs = [model(audio, controls)[0]]
            if model.streams:
                outputs.append(streamed(model, audio, controls, [1, time - 1]))
        for out in outputs:
            if not bool(out.isfinite().all()):
                raise LawBroken(
                    f"silence gives no NaN ({name_of(subject)}): for silence, a constant or a step of full scale, with "
                    f"every control at {end:g}, {int((~out.isfinite()).sum())} values of the output are NaN or "
                    "infinite. Add a floor to denominators, and under logarithms and roots."
                )
            peak = max(peak, float(out.abs().max()))
    return peak
