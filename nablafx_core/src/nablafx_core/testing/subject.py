"""Prepare components for the laws: wrap processors and controllers as models, and generate inputs for them."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nablafx_core.controls import Control
from nablafx_core.interfaces import Controller, Model, Processor, Start
from nablafx_core.interfaces.position import state_at
from nablafx_core.state import State, joined, scoped
from nablafx_core.steps import Steps

Subject = Model | Processor | Controller


class LawBroken(AssertionError):
    """Raised if a component does not keep a law; the message says what is wrong and what to do."""


class _AsModel(Model):
    """Wrapper that makes a processor or controller a model.

    The keys of the inner part's state get the prefix ``inner.``. With latency, the last controls are stored under
    ``controls``, for `flush`.
    """

    inner: Processor | Controller

    def initial_state(self, batch_size: int, controls: Tensor | None = None, start: Start = 0) -> State:
        controls = self._controls_for(batch_size, controls, None, controls)  # in the stream's precision
        return self._keeping(controls, state_at(self.inner, batch_size, self._given(controls), start))

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        controls = self.checked_controls(audio, controls)
        out, after = self._run(audio, controls, None if state is None else scoped(state, "inner"))
        return out, self._keeping(controls, after)

    def flush(self, state: State) -> Tensor:
        if self.latency == 0:
            return next(self.inner.parameters(), torch.zeros(())).new_zeros(0, self.out_channels, 0)
        return super().flush(state)

    def _given(self, controls: Tensor | None) -> Tensor | dict[str, Tensor] | None:
        """Return the second argument of the inner part's `initial_state`."""
        return controls

    def _run(self, audio: Tensor, controls: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        raise NotImplementedError

    def _keeping(self, controls: Tensor | None, inner: State) -> State:
        state = joined({"inner": inner})
        if self.latency and controls is not None:
            state["controls"] = controls[..., -1] if controls.ndim == 3 else controls
        return state


class ProcessorAsModel(_AsModel):
    """Wrapper that makes a processor a model: each control, in [0, 1], is mapped to the range of one parameter."""

    def __init__(self, processor: Processor) -> None:
        controls = [Control(p.name, p.minimum, p.maximum, p.unit, p.curve) for p in processor.effect_parameters]
        super().__init__(processor.sample_rate, controls)
        self.inner, self.latency = processor, processor.latency
        self.remembers_position = processor.remembers_position

    def _run(self, audio: Tensor, controls: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        return self.inner(audio, self._given(controls), state)  # type: ignore[no-any-return]

    def _given(self, controls: Tensor | None) -> dict[str, Tensor]:
        if controls is None:
            return {}
        return {p.name: p.from_unit(controls[:, i]) for i, p in enumerate(self.controls)}


class ControllerAsModel(_AsModel):
    """Wrapper that makes a controller a model: each output channel is one parameter, with a value at every sample."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(controls=[Control(f"knob_{i}") for i in range(controller.num_controls)])
        self.inner, self.latency, self.out_channels = controller, controller.latency, controller.num_parameters
        self.remembers_position = controller.remembers_position

    def _run(self, audio: Tensor, controls: Tensor | None, state: State | None) -> tuple[Tensor, State]:
        out, after = self.inner(audio, controls, state)
        if isinstance(out, Steps):
            return samples(out, audio.shape[-1], name_of(self.inner)), after
        return (out if out.ndim == 3 else out[..., None].expand(-1, -1, audio.shape[-1])), after


def samples(steps: Steps, time: int, name: str) -> Tensor:
    """Return a controller's steps as one value per sample, of shape (batch, n, time).

    Args:
        steps: steps that the controller returned for a signal.
        time: number of samples of the signal.
        name: name of the controller, for the message.

    Raises:
        LawBroken: if there are too few steps for the samples, or `skip` is not in 0 to block_size - 1.
    """
    over = steps.over(time)
    if over.shape[-1] != time or not 0 <= steps.skip < steps.block_size:
        raise LawBroken(
            f"steps cover the samples ({name}): {steps.values.shape[-1]} steps of {steps.block_size} samples with a "
            f"skip of {steps.skip} samples do not fit a signal of {time} samples. Return one step for each block that "
            "overlaps the signal, and as skip the number of samples of the last block that come after the signal."
        )
    return over


def prepared(subject: Subject, dtype: torch.dtype = torch.float64) -> Model:
    """Return a copy of the subject as a model in evaluation mode, with its numbers in `dtype`."""
    subject = copy.deepcopy(subject)
    if isinstance(subject, Processor):
        subject = ProcessorAsModel(subject)
    elif isinstance(subject, Controller):
        subject = ControllerAsModel(subject)
    return subject.to(dtype).eval()


def noise(model: Model, batch_size: int, time: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    """Return uniform white noise (batch, in_channels, time): the first item in [-1, 1], the last in [-0.05, 0.05]."""
    generator = torch.Generator().manual_seed(seed)
    audio = torch.rand(batch_size, model.in_channels, time, generator=generator, dtype=torch.float64) * 2 - 1
    return (audio * torch.logspace(0, -1.3, batch_size, dtype=torch.float64).view(-1, 1, 1)).to(dtype)


def knobs(model: Model, batch_size: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor | None:
    """Return random controls (batch, num_controls), about a third of them 0 or 1; None if the model has none."""
    if not model.controls:
        return None
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(batch_size, len(model.controls), generator=generator, dtype=torch.float64)
    return (values * 1.5 - 0.25).clamp(0, 1).to(dtype)


def automation(
    model: Model, batch_size: int, time: int, dtype: torch.dtype = torch.float64, seed: int = 0
) -> Tensor | None:
    """Return moving controls (batch, num_controls, time) in [0, 1]; None if the model has none.

    They are straight lines between random points, mirrored about 0.5 from the middle on, so that they jump there.
    """
    if not model.controls:
        return None
    generator = torch.Generator().manual_seed(seed)
    points = torch.rand(batch_size, len(model.controls), time // 64 + 2, generator=generator, dtype=torch.float64)
    curve = F.interpolate(points, size=time, mode="linear", align_corners=True)
    curve[..., time // 2 :] = 1 - curve[..., time // 2 :]
    return curve.to(dtype)


def name_of(subject: nn.Module) -> str:
    """Return the name of the subject's class, for messages."""
    return type(subject).__name__


def check(measured: float, limit: float, law: str, advice: str) -> float:
    """Return `measured` if it is at most `limit`.

    Args:
        measured: measured value.
        limit: largest allowed value.
        law: beginning of the message.
        advice: end of the message.

    Raises:
        LawBroken: if the value is larger than the limit, or NaN.
    """
    if not measured <= limit:
        raise LawBroken(f"{law}: measured {measured:.3g}, allowed {limit:.3g}. {advice}")
    return measured


def error(actual: Tensor, expected: Tensor) -> float:
    """Return the largest difference relative to the larger of 1 and the peak of `expected`.

    Return infinity if the shapes differ, and 0 if both are empty.
    """
    if actual.shape != expected.shape:
        return float("inf")
    if expected.numel() == 0:
        return 0.0
    peak = max(1.0, float(expected.abs().max()))
    return float((actual - expected).abs().max()) / peak
