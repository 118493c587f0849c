"""Dynamic range processing as a differentiable function with state: compressor, limiter, expander, gate."""

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
    """What a kind of dynamics does with the level.

    Args:
        side: 1 if it acts above the threshold, -1 if below.
        slope: dB of gain per dB beyond the threshold, from the ratio.
        ratio: that it always has; None if its ratio is a parameter.
        ranged: whether a parameter bounds how far it goes.
    """

    side: float
    slope: Callable[[Tensor], Tensor]
    ratio: float | None
    ranged: bool


#: Beyond the threshold R dB of input are 1 dB of output (compressor), or 1 dB of input is R dB of output (expander).
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
    """Channels times the gain that they, or a key, ask for; see `dynamics_gain`.

    Args:
        audio: (batch, channels, time).
        parameters: as `dynamics_coefficients` takes them.
        state: what came before, (batch, 1 or channels, 3); silence if None.
        kind: a key of `CURVES`.
        sample_rate: Hz.
        smoothing: see `dynamics_gain`.
        link: whether all channels have one gain, that of the largest of them at each sample, so that a stereo image
            stands still; otherwise each has its own.
        key: what is listened to in place of the audio, (batch, channels, time), any number of channels if linked.
        block_size, skip: how the frames of the parameters lie over the audio.

    Returns:
        The output, of the audio's shape, and the state after it: (batch, 1, 3) if linked, or (batch, channels, 3).

    Raises:
        ModelError: if the shapes do not belong together.
    """
    heard = audio if key is None else key
    if audio.ndim != 3 or heard.ndim != 3 or (heard.shape[0], heard.shape[2]) != (audio.shape[0], audio.shape[2]):
        raise ModelError(
            f"dynamics: audio (batch, channels, time) and a key of that batch and time are needed, not "
            f"{tuple(audio.shape)} and {tuple(heard.shape)}."
        )
    if not link and heard.shape[1] != audio.shape[1]:
        raise ModelError(f"dynamics: a key of {heard.shape[1]} channels for {audio.shape[1]}. Link them.")
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
    """What `dynamics_gain` reads, from parameters in units.

    A pole of a time constant is exp(-1000 / (ms sample_rate)): in that time a step in dB is 63 % (1 - 1/e) done.

    Args:
        parameters: ``threshold_db``, ``attack_ms``, ``release_ms``; ``ratio`` and ``range_db`` where the kind has them
            as parameters, and if wished ``knee_db``, ``makeup_db`` and ``rms_ms``, the time over which power is
            averaged (none if left out: peaks). Each (batch,) or (batch, frames).
        kind: a key of `CURVES`.
        sample_rate: Hz.
        smoothing: see `dynamics_gain`.
        like: a tensor of their device.

    Returns:
        a, threshold, slope, knee, range, attack, release and smoothing pole, make-up: (batch, 9, frames), in float64
        (float32 on MPS).

    Raises:
        ModelError: if the kind or the smoothing is unknown, or a parameter is missing.
    """
    if kind not in CURVES or smoothing not in ("branching", "decoupled"):
        raise ModelError(
            f"dynamics: there is no '{kind}' with '{smoothing}' smoothing. Kinds: {', '.join(CURVES)}. Smoothing: "
            "branching, decoupled."
        )
    curve, wide = CURVES[kind], wide_dtype(like.device)
    values = {name: value.to(like.device, wide) for name, value in parameters.items()}
    needed = {"threshold_db", "attack_ms", "release_ms"}
    needed |= ({"ratio"} if curve.ratio is None else set()) | ({"range_db"} if curve.ranged else set())
    if missing := sorted(needed - values.keys()):
        raise ModelError(f"dynamics: a {kind} needs {', '.join(missing)} too.")
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
        raise ModelError(f"dynamics: parameters of {' and '.join(map(str, sorted(counts)))} frames do not go together.")
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
    """The gain of a dynamic range processor for each sample of what it listens to.

    Level, static curve with a quadratic knee, and smoothing of the gain in dB, as Giannoulis, Massberg and Reiss
    ("Digital dynamic range compressor design", J. Audio Eng. Soc. 60(6), 2012) recommend::

        m = a m' + (1 - a) x^2;   level = 10 log10(m + 1e-10)
        z = side (level - threshold)
        h = 0 where z <= -knee / 2;   z where z >= knee / 2;   (z + knee / 2)^2 / (2 knee) between
        u = -side max(slope h, -range)
        v = p v' + (1 - p) u,  p = attack if u > v' else release
        y = s y' + (1 - s) v
        gain = 10^((makeup - side y) / 20)

    With s = 0 these are the *branching* ballistics (one filter, whose pole is that of attack or release); with
    attack = 0 and s the pole of the attack the *decoupled* ones (a release that follows each peak at once, then a
    filter for the attack, through which the release goes too). What acts below the threshold is smoothed the other way
    up: its attack is that of opening.

    float32 and float64 on the CPU run compiled and are differentiable once, also in the state. Everything else runs in
    torch's operations: which branch is taken where is guessed, the recursion with those poles is a parallel scan, and
    that is repeated until what comes out takes the branches that went in, which is a matter of a few scans. It is
    within 1e-9 (float64) or, on devices without float64, 1e-3.

    Args:
        key: x, (batch, time).
        coefficients: (batch, 9, frames), see `dynamics_coefficients`; one frame, one per sample or, for blocks that
            end `skip` samples after the signal, one per block.
        side: 1 for what acts above the threshold, -1 below.
        state: m, v and y before the first sample, (batch, 3); after a long silence if None.
        block_size: samples of a block.
        skip: samples of the last block that come after the signal.

    Returns:
        The gain (batch, time), and the state after it, (batch, 3), in float64 (float32 on MPS).

    Raises:
        ModelError: if the shapes do not belong together, or it is traced.
    """
    (batch, time), wide = key.shape, wide_dtype(key.device)
    if coefficients.ndim != 3 or coefficients.shape[:2] != (batch, 9):
        raise ModelError(f"dynamics_gain: coefficients ({batch}, 9, frames), not {tuple(coefficients.shape)}.")
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
        raise ModelError("dynamics: its branches depend on the signal, and a trace would keep those of its example.")
    return _scanned(key, held(coefficients, time, block_size, skip), side, state)


def silent_state(coefficients: Tensor, side: float) -> Tensor:
    """The state after a long silence, (batch, 3), for coefficients (batch, 9)."""
    nothing = torch.zeros_like(coefficients[:, 0])
    level = nothing + 10 * torch.log10(nothing + recursion.FLOOR)
    u = -side * static_curve(side, level, *coefficients[:, 1:5].unbind(1))
    return torch.stack([nothing, u, u], dim=1)


def static_curve(
    side: float, level_db: Tensor, threshold_db: Tensor, slope: Tensor, knee_db: Tensor, range_db: Tensor
) -> Tensor:
    """The gain in dB that a level asks for once it stands still, without make-up; see `dynamics_gain`."""
    z, half = side * (level_db - threshold_db), knee_db / 2
    q = ((z + half) / knee_db.clamp(min=1e-12)).clamp(0, 1)
    h = torch.where(z >= half, z, q * (z + half) / 2)
    return torch.maximum(slope * h, -range_db)


def _scanned(key: Tensor, coefficients: Tensor, side: float, state: Tensor) -> tuple[Tensor, Tensor]:
    """As `nablafx_dsp.kernels.dynamics` has it; coefficients (batch, 9, time or 1)."""
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
    """Where the attack is taken: each pass is right for at least one sample more than the pass before."""
    enough = 1e-12 if u.dtype == torch.float64 else 1e-6
    v, taken = torch.full_like(u, float("inf")), u > before[:, None]
    for _ in range(u.shape[-1] + 1):
        new = _one_pole(u, torch.where(taken, attack, release), before)
        taken = u > torch.cat([before[:, None], new[:, :-1]], dim=1)
        if bool(((new - v).abs() <= enough * new.abs().amax().clamp(min=1)).all()):
            break
        v = new
    return taken


def _one_pole(x: Tensor, pole: Tensor, before: Tensor) -> Tensor:
    """y = p y' + (1 - p) x by a scan."""
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
