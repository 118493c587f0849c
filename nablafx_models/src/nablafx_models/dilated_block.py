"""Block of a network of dilated convolutions."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from nablafx_core.kernels.choice import compiled_for
from nablafx_core.state import State, joined, scoped
from nablafx_core.steps import BlockStep
from nablafx_models.conditioning.interface import AffineModulation, Condition, LayerInput, Modulation
from nablafx_models.conditioning.selection import ModelConditioning
from nablafx_models.functional.dilated_convolution import (
    ConvolutionSettings,
    FusedActivation,
    PartsRequest,
    dilated_convolution,
)
from nablafx_models.functional.modulation import modulated_convolution


class BlockLayout(NamedTuple):
    """Size and settings of one block.

    Args:
        in_channels: channels of the input.
        out_channels: channels of the output.
        kernel_size: taps of the convolution.
        dilation: samples between taps.
        bias: add a bias to each convolution.
        norm: batch normalisation of the convolution's output, ``"batch"`` or ``"none"``.
        residual_lag: number of samples by which the input that is added to an output sample as the residual comes
            before the newest input of this output sample; None for no residual.
        conditioning: conditioning of the model.
        last: True for the last block of the network.
    """

    in_channels: int
    out_channels: int
    kernel_size: int
    dilation: int
    bias: bool
    norm: str
    residual_lag: int | None
    conditioning: ModelConditioning
    last: bool


class Fused(NamedTuple):
    """The part of a block that compiled functions can compute together with its convolution and modulation.

    Args:
        activation: applied after the modulation.
        gain: gain of the residual that they add after the activation, see `dilated_convolution`; None if they add none.
    """

    activation: FusedActivation
    gain: Tensor | None = None


class DilatedBlock(nn.Module):
    """Block of a `DilatedNetwork`: a dilated convolution without padding, a modulation or norm, and a residual.

    The state has ``history``, the past input that the convolution needs for the next samples and for those that the
    modulation holds back, and the state of the modulation under ``film.``.

    Args:
        layout: size and settings.
        conv_channels: output channels of the convolution, which are modulated.
    """

    def __init__(self, layout: BlockLayout, conv_channels: int) -> None:
        super().__init__()
        self.in_channels = layout.in_channels
        self.out_channels = layout.out_channels
        self.span = (layout.kernel_size - 1) * layout.dilation
        self.residual_lag = layout.residual_lag
        self.conv = nn.Conv1d(
            layout.in_channels, conv_channels, layout.kernel_size, dilation=layout.dilation, bias=layout.bias
        )
        self.film: Modulation | None = layout.conditioning.build_modulation(conv_channels, layout.norm)
        has_norm = layout.norm == "batch" and self.film is None  # a modulation has a norm of its own
        self.bn = nn.BatchNorm1d(conv_channels) if has_norm else None

    def outputs(self, features: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the input of the next block, and this block's contribution to a sum over blocks (None without a sum).

        Args:
            features: modulated or normalised output of the convolution, (batch, conv_channels, time).
            residual: the aligned input, (batch, in_channels, time); None without a residual.
        """
        raise NotImplementedError

    def fused(self) -> Fused | None:
        """Return the part of `outputs` that compiled functions can compute; None (the default) if there is none."""
        return None

    def finish_fused(self, activated: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the same as `outputs`, from the result of the compiled functions.

        Args:
            activated: (batch, channels, time), after the activation, and with the residual if `fused` gave its gain.
            residual: the aligned input, (batch, in_channels, time); None without a residual, or if it is already
                included.
        """
        return activated, None

    def initial_state(self, batch_size: int) -> State:
        """Return the state before the first sample of the block's input: an empty history, and the modulation's."""
        film = {} if self.film is None else self.film.initial_state(batch_size)
        return {"history": self.conv.weight.new_zeros(batch_size, self.in_channels, 0)} | joined({"film": film})

    def held(self, state: State) -> int:
        """Return the number of samples that the block holds back in a state."""
        return 0 if self.film is None else self.film.held(scoped(state, "film"))

    def forward(
        self, x: Tensor, condition: Condition, state: State, final: bool = False
    ) -> tuple[Tensor, Tensor | None, State]:
        """Process x (batch, in_channels, time); return the result of `outputs`, and the state for the next call.

        The output has the samples that can be computed now; it is empty until the history fills the convolution.

        Args:
            x: new samples of the block's input.
            condition: see `Modulation.forward`; with a time axis it may begin before the new features.
            state: from `initial_state` or the call before.
            final: True if no samples follow; then the modulation holds none back.
        """
        line = torch.cat((state["history"], x), dim=-1)
        new = max(line.shape[-1] - self.held(state) - self.span, 0)
        if isinstance(condition, Tensor) and condition.ndim == 3:
            condition = condition[..., condition.shape[-1] - new :]
        film: State = scoped(state, "film")
        fast = line.shape[-1] > self.span and compiled_for(line, self.conv.weight)
        fused = self.fused() if fast else None
        if fused is not None and (self.film is None or isinstance(self.film, AffineModulation)):
            y, film, history = self._run_fused(line, condition, film, final, fused)
        else:
            fused = history = None
            y = x.new_zeros(x.shape[0], self.conv.out_channels, 0)
            if new:
                past = line[..., line.shape[-1] - self.span - new :]
                y = self._convolve(past) if fast else self.conv(past)
            if self.film is not None:
                y, film = self.film(y, condition, film, final)
        after = joined({"film": film})
        held = 0 if final else self.held(after)
        residual = None
        if self.residual_lag is not None and (fused is None or fused.gain is None):
            stop = max(line.shape[-1] - held - self.residual_lag, 0)
            residual = line[..., stop - y.shape[-1] : stop]
        if history is None:
            history = line[..., max(line.shape[-1] - self.span - held, 0) :].clone()
        after["history"] = history
        if not y.shape[-1]:  # torch cannot convolve an empty signal
            return *self._no_output(x), after
        if fused is not None:
            return *self.finish_fused(y, residual), after
        return *self.outputs(y if self.bn is None else self.bn(y), residual), after

    def _run_fused(
        self, line: Tensor, condition: Condition, film: State, final: bool, fused: Fused
    ) -> tuple[Tensor, State, Tensor | None]:
        """Compute the block up to the part in `fused`.

        Returns:
            The output of the activation, with the residual if `fused` has its gain; the modulation's next state; and
            the block's next history, or None if the caller has to copy it.
        """
        modulation = self.film
        if modulation is None:
            return self._convolve(line, fused.activation, fused.gain), {}, None
        assert isinstance(modulation, AffineModulation)

        def modulate(features: Tensor, maxima: Tensor | None) -> BlockStep:
            return modulation.scale_and_shift(LayerInput(features, condition, film, final, True, maxima))

        ready = modulation.ready(line.shape[-1] - self.span, final)
        request = PartsRequest(ready, modulation.pooled, modulation.lead(film))
        weights, settings = (self.conv.weight, self.conv.bias), self._settings(fused.activation)
        y, step, rest = modulated_convolution(line, *weights, settings, fused.gain, request, modulate)
        return y, step.state, rest

    def _convolve(self, line: Tensor, activation: FusedActivation = "identity", gain: Tensor | None = None) -> Tensor:
        """Return act(conv(line)) + gain residual; see `dilated_convolution`."""
        return dilated_convolution(line, self.conv.weight, self.conv.bias, self._settings(activation), gain)

    def _settings(self, activation: FusedActivation) -> ConvolutionSettings:
        start = 0 if self.residual_lag is None else self.span - self.residual_lag
        return ConvolutionSettings(self.conv.dilation[0], activation, start)

    def _no_output(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return an empty output and an empty contribution."""
        nothing = x.new_zeros(x.shape[0], self.out_channels, 0)
        return nothing, nothing

    def after_silence(self, x: Tensor, condition: Condition) -> tuple[Tensor, Tensor | None, State]:
        """Return the two results of `outputs` for a constant pre-roll, and the state after it.

        One sample is computed and repeated, so the modulation must be steady.

        Args:
            x: (batch, in_channels, time), constant over time, with time at least `span`. The outputs have `span`
                samples less.
            condition: (batch, channels) or None.
        """
        state = self.initial_state(x.shape[0]) | {"history": x[..., : self.span]}
        time = x.shape[-1] - self.span
        if time == 0:
            return *self._no_output(x), state
        one, contribution, _ = self(x[..., :1], condition, state)
        repeated = None if contribution is None else contribution.expand(-1, -1, time)
        return one.expand(-1, -1, time), repeated, state
