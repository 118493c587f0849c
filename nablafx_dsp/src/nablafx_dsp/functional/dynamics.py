"""Dynamic range processing (compressor, limiter, expander, gate) as a differentiable function with state."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from nablafx_core.errors import ModelError
from nablafx_core.kernels.choice import compiled_for, traced
from nablafx_dsp.frames import Frames, frames_over, held
from nablafx_dsp.functional.linear_recursion import linear_recursion
from nablafx_dsp.functional.precision import wide_dtype
from nablafx_dsp.kernels import dynamics as recursion

Kind = Literal["compressor", "limiter", "expander", "gate"]
Smoothing = Literal["branching", "decoupled"]


class CurveKind(NamedTuple):
    """Static curve of a kind of dynamic range processor.

    Args:
        side: 1 if it acts above the threshold, -1 if below.
        slope: function from the ratio to the gain in dB per dB beyond the threshold.
        ratio: fixed ratio; None if the ratio is a parameter.
        ranged: true if a parameter, ``range_db``, limits the gain reduction.
    """

    side: float
    slope: Callable[[Tensor], Tensor]
    ratio: float | None
    ranged: bool


#: Static curves by kind. Beyond the threshold and with ratio R, R dB of input give 1 dB of output (compressor), or 1 dB
#: of input gives R dB of output (expander). A gate is an expander whose ratio of 20 is steep enough to act as a switch.
CURVES: dict[str, CurveKind] = {
    "compressor": CurveKind(1.0, lambda ratio: 1 / ratio - 1, None, False),
    "limiter": CurveKind(1.0, lambda ratio: 1 / ratio - 1, float("inf"), False),
    "expander": CurveKind(-1.0, lambda ratio: 1 - ratio, None, True),
    "gate": CurveKind(-1.0, lambda ratio: 1 - ratio, 20.0, True),
}


def dynamics(
    audio: Tensor,
    parameters: Mapping[str, Tensor],
    state: Tensor | None = None,
    *,
    kind: Kind = "compressor",
    sample_rate: float = 48000,
    smoothing: Smoothing = "branching",
    link: bool = True,
    key: Tensor | None = None,
    block_size: int = 1,
    skip: int = 0,
) -> tuple[Tensor, Tensor]:
    """Apply a dynamic range processor to several channels; see `dynamics_gain` for the equations.

    Args:
        audio: (batch, channels, time).
        parameters: parameters in dB and milliseconds, see `dynamics_coefficients`.
        state: state before the first sample, (batch, 1, 3) if linked, or (batch, channels, 3); that after a long
            silence if None.
        kind: a key of `CURVES`.
        sample_rate: sample rate in Hz.
        smoothing: see `dynamics_gain`.
        link: if true, all channels get one gain, detected from the largest absolute value of all channels at each
            sample, which keeps a stereo image in place; otherwise each channel gets its own gain.
        key: side-chain signal that is detected instead of the audio, (batch, channels, time); it may have any number of
            channels if linked, otherwise as many as the audio. The audio if None.
        block_size, skip: position of the parameters' frames over the audio, see `dynamics_gain`.

    Returns:
        The output, of the audio's shape, and the final state: (batch, 1, 3) if linked, or (batch, channels, 3).

    Raises:
        ModelError: if the shapes of audio and key do not match, the kind or the smoothing is unknown, a parameter is
            missing, the frames of the parameters do not match each other or do not cover the audio, or the function
            is traced.
    """
    heard = audio if key is None else key
    if audio.ndim != 3 or heard.ndim != 3 or (heard.shape[0], heard.shape[2]) != (audio.shape[0], audio.shape[2]):
        raise ModelError(
            f"dynamics: expected audio (batch, channels, time) and a key of the same batch and time, got "
            f"{tuple(audio.shape)} and {tuple(heard.shape)}."
        )
    if not link and heard.shape[1] != audio.shape[1]:
        raise ModelError(
            f"dynamics: the key has {heard.shape[1]} channels and the audio {audio.shape[1]}. Pass link=True, or a key "
            "with as many channels."
        )
    batch, time = audio.shape[0], audio.shape[2]
    heard = heard.abs().amax(1, keepdim=True) if link and heard.shape[1] > 1 else heard
    count = heard.shape[1]
    coefficients = dynamics_coefficients(parameters, kind, sample_rate, smoothing, audio)
    gain, after = dynamics_gain(
        heard.reshape(batch * count, time),
        coefficients.repeat_interleave(count, dim=0),
        CURVES[kind].side,
        None if state is None else state.reshape(batch * count, 3),
        block_size=block_size,
        skip=skip,
    )
    return audio * gain.reshape(batch, count, time), after.reshape(batch, count, 3)


def dynamics_coefficients(
    parameters: Mapping[str, Tensor], kind: Kind, sample_rate: float, smoothing: Smoothing, like: Tensor
) -> Tensor:
    """Convert parameters in dB and milliseconds to the coefficients that `dynamics_gain` reads.

    The pole of a time constant is exp(-1000 / (ms sample_rate)): after that time, 63 % (1 - 1/e) of a step is done, of
    the gain in dB for attack and release, and of the detected power for ``rms_ms``.

    Args:
        parameters: ``threshold_db``, ``attack_ms``, ``release_ms``; ``ratio`` for a compressor or an expander;
            ``range_db``, the largest gain reduction, for an expander or a gate; and optionally ``knee_db``, the width
            of the knee, and ``makeup_db``, 0 if not given, and ``rms_ms``, the time over which power is averaged (no
            averaging if not given, which detects peaks). Each is (batch,) or (batch, frames).
        kind: a key of `CURVES`.
        sample_rate: sample rate in Hz.
        smoothing: see `dynamics_gain`.
        like: a tensor on the device to use.

    Returns:
        Averaging pole, threshold in dB, slope in dB per dB, knee in dB, range in dB, attack pole, release pole,
        smoothing pole and make-up gain in dB: (batch, 9, frames), in float64 (float32 on MPS).

    Raises:
        ModelError: if the kind or the smoothing is unknown, a parameter is missing, or two parameters have different
            numbers of frames above 1.
    """
    if kind not in CURVES or smoothing not in ("branching", "decoupled"):
        raise ModelError(
            f"dynamics: there is no kind '{kind}' with smoothing '{smoothing}'. Kinds: {', '.join(CURVES)}. Smoothing: "
            "branching, decoupled."
        )
    curve, wide = CURVES[kind], wide_dtype(like.device)
    values = {name: value.to(like.device, wide) for name, value in parameters.items()}
    needed = {"threshold_db", "attack_ms", "release_ms"}
    needed |= ({"ratio"} if curve.ratio is None else set()) | ({"range_db"} if curve.ranged else set())
    if missing := sorted(needed - values.keys()):
        raise ModelError(f"dynamics: a {kind} also requires the parameters {', '.join(missing)}. Pass them.")
    threshold = values["threshold_db"]
    ratio = values["ratio"] if curve.ratio is None else torch.full_like(threshold, curve.ratio)
    none = torch.zeros_like(threshold)

    def pole(name: str) -> Tensor:
        return torch.exp(-1000 / (sample_rate * values[name])) if name in values else none

    attack = pole("attack_ms")
    rows = [
        pole("rms_ms"),
        threshold,
        curve.slope(ratio),
        values.get("knee_db", none),
        values["range_db"] if curve.ranged else torch.full_like(threshold, float("inf")),
        attack if smoothing == "branching" else none,
        pole("release_ms"),
        attack if smoothing == "decoupled" else none,
        values.get("makeup_db", none),
    ]
    rows = [row if row.ndim == 2 else row[:, None] for row in rows]
    counts = {row.shape[-1] for row in rows} - {1}
    if len(counts) > 1:
        raise ModelError(
            f"dynamics: parameters have {' and '.join(map(str, sorted(counts)))} frames. Pass 1 or the same number of "
            "frames for each."
        )
    return torch.stack([row.expand(-1, max(counts, default=1)) for row in rows], dim=1)


def dynamics_gain(
    key: Tensor,
    coefficients: Tensor,
    side: float,
    state: Tensor | None = None,
    *,
    block_size: int = 1,
    skip: int = 0,
) -> tuple[Tensor, Tensor]:
    """Return the gain of a dynamic range processor, a linear factor, for each sample of the signal that it detects.

    Level, static curve with a quadratic knee, and smoothing of the gain in dB, as Giannoulis, Massberg and Reiss
    ("Digital dynamic range compressor design", J. Audio Eng. Soc. 60(6), 2012) recommend::

        m = a m' + (1 - a) x^2;   level = 10 log10(m + 1e-10)
        z = side (level - threshold)
        h = 0 where z <= -knee / 2;   z where z >= knee / 2;   (z + knee / 2)^2 / (2 knee) between
        u = -side max(slope h, -range)
        v = p v' + (1 - p) u,  p = attack if u > v' else release
        y = s y' + (1 - s) v
        gain = 10^((makeup - side y) / 20)

    With s = 0 this is *branching* smoothing: one filter, with the pole of attack or release. With attack = 0 and s the
    pole of the attack it is *decoupled* smoothing: a release that follows each peak at once, then a filter for the
    attack, which the release also passes through. A processor that acts below the threshold is smoothed with the
    opposite sign: its attack is the time it takes to open.

    float32 and float64 on the CPU run compiled and are differentiable once, also in the state. Everything else runs in
    torch's operations: the branch of each sample is guessed, the recursion with those poles runs as a parallel scan,
    and this is repeated until the result takes the guessed branches, which needs a few scans. The result is within 1e-9
    of the compiled one (float64) or, on devices without float64, 1e-3.

    Args:
        key: x, (batch, time).
        coefficients: (batch, 9, frames), see `dynamics_coefficients`: one frame, one per sample, or one per block.
        side: 1 for a processor that acts above the threshold, -1 below.
        state: m, v and y before the first sample, (batch, 3); those after a long silence if None.
        block_size: number of samples of a block.
        skip: number of samples of the last block that come after the signal.

    Returns:
        The gain (batch, time), and the final state, (batch, 3), in float64 (float32 on MPS).

    Raises:
        ModelError: if the coefficients are not of this shape, their frames do not cover the signal, or the function is
            traced.
    """
    (batch, time), wide = key.shape, wide_dtype(key.device)
    if coefficients.ndim != 3 or coefficients.shape[:2] != (batch, 9):
        raise ModelError(
            f"dynamics_gain: expected coefficients of shape ({batch}, 9, frames), got {tuple(coefficients.shape)}."
        )
    coefficients = coefficients.to(wide)
    frames = frames_over(coefficients.shape[-1], time, block_size, skip)
    if state is None:
        state = silent_state(coefficients[..., frames.first], side)
    state = state.to(key.device, wide)
    if not time:
        return key, state
    if compiled_for(key, coefficients, state, dtypes=(torch.float32, torch.float64)):
        given = key.contiguous(), coefficients.contiguous(), state.contiguous()
        keep = torch.is_grad_enabled() and any(tensor.requires_grad for tensor in given)
        gain, final = _Gain.apply(*given, side, frames, keep)  # type: ignore[no-untyped-call]
        return gain, final
    if traced():
        raise ModelError(
            "dynamics: cannot be traced, because its branches depend on the signal and a trace keeps those of its "
            "example. Call it untraced."
        )
    return _in_torch(key, held(coefficients, time, block_size, skip), side, state)


def silent_state(coefficients: Tensor, side: float) -> Tensor:
    """Return the state m, v and y of `dynamics_gain` after a long silence, (batch, 3), for coefficients (batch, 9)."""
    nothing = torch.zeros_like(coefficients[:, 0])
    level = nothing + 10 * torch.log10(nothing + recursion.FLOOR)
    u = -side * static_curve(side, level, *coefficients[:, 1:5].unbind(1))
    return torch.stack([nothing, u, u], dim=1)


def static_curve(
    side: float, level_db: Tensor, threshold_db: Tensor, slope: Tensor, knee_db: Tensor, range_db: Tensor
) -> Tensor:
    """Return the gain in dB at a constant level, without make-up gain: max(slope h, -range) of `dynamics_gain`."""
    # The clamp only avoids 0 / 0 at a hard knee.
    z, half = side * (level_db - threshold_db), knee_db / 2
    q = ((z + half) / knee_db.clamp(min=1e-12)).clamp(0, 1)
    h = torch.where(z >= half, z, q * (z + half) / 2)
    return torch.maximum(slope * h, -range_db)


def _in_torch(key: Tensor, coefficients: Tensor, side: float, state: Tensor) -> tuple[Tensor, Tensor]:
    """Compute what `nablafx_dsp.kernels.dynamics` computes, in torch; coefficients are (batch, 9, time or 1)."""
    average, *curve, attack, release, smooth, makeup = coefficients.unbind(1)
    power = key.to(coefficients.dtype).square()
    m = _one_pole(power, average, state[:, 0])
    u = -side * static_curve(side, 10 * torch.log10(m + recursion.FLOOR), *curve)
    with torch.no_grad():
        taken = _branches(u, attack, release, state[:, 1])
    v = _one_pole(u, torch.where(taken, attack, release), state[:, 1])
    y = _one_pole(v, smooth, state[:, 2])
    gain = 10 ** ((makeup - side * y) / 20)
    return gain.to(key.dtype), torch.stack([m[:, -1], v[:, -1], y[:, -1]], dim=1)


def _branches(u: Tensor, attack: Tensor, release: Tensor, before: Tensor) -> Tensor:
    """Return a mask of the samples that take the attack branch, (batch, time).

    Each pass computes the whole signal with the branches of the pass before, and is right for at least one sample more,
    so that the loop ends.

    Args:
        u: gain reduction in dB before smoothing, (batch, time).
        attack, release: poles, (batch, time or 1).
        before: v before the first sample, (batch,).
    """
    enough = 1e-12 if u.dtype == torch.float64 else 1e-6  # relative change of v that is only rounding
    v, taken = torch.full_like(u, float("inf")), u > before[:, None]
    for _ in range(u.shape[-1] + 1):
        new = _one_pole(u, torch.where(taken, attack, release), before)
        taken = u > torch.cat([before[:, None], new[:, :-1]], dim=1)
        if bool(((new - v).abs() <= enough * new.abs().amax().clamp(min=1)).all()):
            break
        v = new
    return taken


def _one_pole(x: Tensor, pole: Tensor, before: Tensor) -> Tensor:
    """Compute y = p y' + (1 - p) x by a scan."""
    return linear_recursion(pole[..., None, None], ((1 - pole) * x)[..., None], before[:, None])[..., 0]


class _Gain(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, key: Tensor, coefficients: Tensor, state: Tensor, side: float, frames: Frames, keep: bool
    ) -> tuple[Tensor, Tensor]:
        gain, levels, states = recursion.forward(key, coefficients, state, side, frames, keep)
        if keep:
            ctx.save_for_backward(key, gain, levels, states, coefficients)
            ctx.side, ctx.frames = side, frames
        return gain, states[:, -1].clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_gain: Tensor, grad_final: Tensor) -> tuple[Tensor | None, ...]:
        key, gain, levels, states, coefficients = ctx.saved_tensors
        given = key, gain, levels, states, coefficients, ctx.side, ctx.frames
        gradients = recursion.backward(grad_gain.contiguous(), grad_final, *given)
        return *(g if need else None for g, need in zip(gradients, ctx.needs_input_grad, strict=False)), *[None] * 3
