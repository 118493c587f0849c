"""Law of shapes: a processor is what its `shape` declares, because pictures of it rely on that."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from nablafx_core.interfaces import Processor
from nablafx_core.testing.subject import LawBroken, check, error, knobs, name_of, noise, prepared

_TOLERANCE = 1e-9  # of float64, relative to the larger of 1 and the peak


def has_its_shape(processor: Processor, *, time: int = 512) -> float:
    """Check that a processor with constant parameters is what its `shape` declares; ``"other"`` is not checked.

    ``"filter"``: f(x + y) = f(x) + f(y), and a delayed input gives the delayed output. ``"nonlinearity"``: samples in
    another order give the same outputs in that order. ``"value"``: as a nonlinearity, and
    f(x + y) + f(0) = f(x) + f(y).

    Returns:
        The largest difference relative to the larger of 1 and the peak; infinite for ``"other"``.

    Raises:
        LawBroken: if the difference is larger than 1e-9, or there is no such shape.
    """
    if processor.shape == "other":
        return float("inf")
    if processor.shape not in _LAWS:
        raise LawBroken(
            f"shape ({name_of(processor)}): unknown shape '{processor.shape}'. Shapes: {', '.join(_LAWS)}, other."
        )
    model = prepared(processor)
    controls, audio, more = knobs(model, 3), noise(model, 3, time), noise(model, 3, time, seed=1)

    def effect(signal: Tensor) -> Tensor:
        with torch.no_grad():
            return model(signal, controls)[0]  # type: ignore[no-any-return]

    law, what, advice = _LAWS[processor.shape]
    says = f"its shape, '{processor.shape}' ({name_of(processor)}): {what}"
    return check(law(effect, audio, more), _TOLERANCE, says, f"{advice} Or set `shape` to 'other'.")


Effect = Callable[[Tensor], Tensor]


def _filters(effect: Effect, audio: Tensor, more: Tensor) -> float:
    late, silence = audio.shape[-1] // 5, torch.zeros_like(audio)
    sound = torch.cat(
        [silence[..., :late], audio], dim=-1
    )  # silence first, because a look-ahead starts before the sound
    delayed = effect(torch.cat([silence[..., :late], sound], dim=-1))[..., late:]
    additive = error(effect(audio + more), effect(audio) + effect(more))
    return max(additive, error(delayed, effect(sound)))


def _is_memoryless(effect: Effect, audio: Tensor, more: Tensor) -> float:
    order = torch.randperm(audio.shape[-1], generator=torch.Generator().manual_seed(0))
    return error(effect(audio[..., order]), effect(audio)[..., order])


def _is_affine(effect: Effect, audio: Tensor, more: Tensor) -> float:
    sums = error(effect(audio + more) + effect(torch.zeros_like(audio)), effect(audio) + effect(more))
    return max(sums, _is_memoryless(effect, audio, more))


_LAWS: dict[str, tuple[Callable[[Effect, Tensor, Tensor], float], str, str]] = {
    "filter": (
        _filters,
        "f(x + y) = f(x) + f(y), and a delayed input gives the delayed output",
        "A filter is linear, and does not change while its parameters are constant.",
    ),
    "nonlinearity": (
        _is_memoryless,
        "samples in another order give the same outputs in that order",
        "A nonlinearity has no memory and does not change with time.",
    ),
    "value": (
        _is_affine,
        "f(x + y) + f(0) = f(x) + f(y), without memory",
        "A value scales or shifts each sample and does nothing else.",
    ),
}
