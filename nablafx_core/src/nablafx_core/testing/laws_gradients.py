"""Laws of training: all controls and parameters change the output, and gradients are right and finite.

A law works on a copy of a model, processor or controller in evaluation mode and float64.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.gradcheck import GradcheckError

from nablafx_core.testing.subject import LawBroken, Subject, automation, knobs, name_of, noise, prepared


def every_control_moves_output(subject: Subject, *, time: int = 1024, threshold: float = 1e-6) -> float:
    """Check that turning each control changes the output, for one of 32 inputs and settings of the others.

    The ends and the middle of the range are compared, because both ends of an angle may be the same. The input is noise
    whose second half is 40 dB quieter, because a release is audible when the level falls. A control whose range is a
    single value is skipped.

    Returns:
        The largest change of an output sample for each control, and of these the smallest; infinite if none is turned.

    Raises:
        LawBroken: if the largest change for a control is not more than `threshold`.
    """
    model, draws = prepared(subject), 32
    audio, setting = noise(model, draws, time), knobs(model, draws)
    audio[..., time // 2 :] *= 0.01
    moved: dict[str, float] = {}
    for some in (slice(None, None, 8), slice(None)):  # every eighth draw is enough for most controls
        for index, control in enumerate(model.controls):
            if control.minimum == control.maximum or moved.get(control.name, 0.0) > threshold:
                continue
            assert setting is not None
            outputs = []
            for place in (0.0, 0.5, 1.0):
                turned = setting[some].clone()
                turned[:, index] = place
                with torch.no_grad():
                    outputs.append(model(audio[some], turned)[0])
            moved[control.name] = max(float((output - outputs[0]).abs().max()) for output in outputs[1:])
    still = [name for name, distance in moved.items() if not distance > threshold]
    if still:
        raise LawBroken(
            f"every control moves the output ({name_of(subject)}): turning {', '.join(still)} over the "
            f"whole range changed the output by at most {max(moved[name] for name in still):.3g}; expected more than "
            f"{threshold:g}. Use the control, or do not declare it."
        )
    return min(moved.values(), default=float("inf"))


def every_parameter_moves_output(subject: Subject, *, time: int = 512) -> float:
    """Check that every trainable parameter tensor receives a gradient that is finite, and not 0 everywhere.

    Returns:
        The largest absolute gradient of each tensor, and of these the smallest; infinite without trainable parameters.

    Raises:
        LawBroken: if the gradient of a tensor is missing, 0 everywhere, NaN or infinite.
    """
    model = prepared(subject)
    named = {name: p for name, p in model.named_parameters() if p.requires_grad}
    if not named:
        return float("inf")
    out = model(noise(model, 4, time), knobs(model, 4))[0]
    weights = torch.rand(out.shape, generator=torch.Generator().manual_seed(2), dtype=out.dtype)
    gradients = torch.autograd.grad((out * weights).sum(), list(named.values()), allow_unused=True)
    peaks = {name: 0.0 if g is None else float(g.abs().max()) for name, g in zip(named, gradients, strict=True)}
    bad = [name for name, peak in peaks.items() if not 0 < peak < float("inf")]
    if bad:
        raise LawBroken(
            f"every parameter moves the output ({name_of(subject)}): the gradient of {', '.join(bad)} is missing, 0, "
            "NaN or infinite. Do not build parts that are not used."
        )
    return min(peaks.values())


def gradients_are_right(subject: Subject, *, time: int = 24, moving_controls: bool = False) -> int:
    """Check that gradients with respect to audio, controls and trainable parameters equal finite differences.

    The check is torch's gradcheck in its fast mode, in float64.

    Args:
        subject: model, processor or controller.
        time: number of samples; keep it small, because the check repeats the call many times.
        moving_controls: if true, use controls that change at every sample instead of one setting per item.

    Returns:
        The number of tensors that were checked.

    Raises:
        LawBroken: if a gradient is wrong, or the output does not require a gradient.
    """
    model = prepared(subject)
    audio = noise(model, 2, time, seed=3)
    controls = automation(model, 2, time, seed=3) if moving_controls else knobs(model, 2, seed=3)
    if controls is not None:
        controls = controls * 0.9 + 0.05
    names = [name for name, p in model.named_parameters() if p.requires_grad]
    inputs = [audio, *([] if controls is None else [controls]), *(model.get_parameter(name) for name in names)]

    def call(*tensors: Tensor) -> Tensor:
        audio, *rest = tensors
        knob = rest.pop(0) if controls is not None else None
        out: Tensor = torch.func.functional_call(model, dict(zip(names, rest, strict=True)), (audio, knob))[0]
        return out

    leaves = [tensor.detach().clone().requires_grad_() for tensor in inputs]
    if not call(*leaves).requires_grad:
        raise LawBroken(
            f"gradients are right ({name_of(subject)}): the output does not require a gradient. Compute it with torch, "
            "without detach, .data, .item or no_grad."
        )
    try:
        torch.autograd.gradcheck(call, leaves, fast_mode=True, atol=1e-6, rtol=1e-4)
    except GradcheckError as problem:
        raise LawBroken(
            f"gradients are right ({name_of(subject)}): {problem}\nLook for detach, .data and .item, and check the "
            "backward methods of your own functions."
        ) from problem
    return len(leaves)


def gradients_are_finite(subject: Subject, *, time: int = 256) -> float:
    """Check that gradients are finite for silence and for noise of -1 and 1, with all controls at either end.

    Returns:
        The largest absolute gradient with respect to audio, controls and trainable parameters.

    Raises:
        LawBroken: if a gradient is NaN or infinite.
    """
    model = prepared(subject)
    largest = 0.0
    for end in (0.0, 1.0):
        for level in (0.0, 1.0):
            audio = (noise(model, 2, time).sign() * level).requires_grad_()
            controls = torch.full((2, len(model.controls)), end, dtype=torch.float64, requires_grad=True)
            wanted = [audio, controls, *(p for p in model.parameters() if p.requires_grad)]
            out = model(audio, controls if model.controls else None)[0]
            gradients = torch.autograd.grad(out.square().mean() + out.mean(), wanted, allow_unused=True)
            for gradient in gradients:
                peak = 0.0 if gradient is None or not gradient.numel() else float(gradient.abs().max())
                if not peak < float("inf"):
                    raise LawBroken(
                        f"gradients are finite ({name_of(subject)}): the largest gradient is {peak} with the input at "
                        f"{level:g} of full scale and every control at {end:g} of its range. Add a floor to "
                        "denominators, and under logarithms and roots."
                    )
                largest = max(largest, peak)
    return largest
