"""What the networks of dilated convolutions share: blocks, the start of a file, latency."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nablafx_core.controls import Control
from nablafx_core.errors import ModelError
from nablafx_core.kernels.choice import compiled_for
from nablafx_core.nn.norm import running_statistics
from nablafx_core.state import State, joined, scoped
from nablafx_core.steps import Steps
from nablafx_models.conditioning.interface import AffineModulation, Condition, Modulation
from nablafx_models.conditioning.table import Conditioned, with_condition
from nablafx_models.conditioning.tvfilm import EndAligned
from nablafx_models.kernels.dilated import ActivationName, Settings, Wanted, dilated, parted
from nablafx_models.kernels.modulated import modulated
from nablafx_models.streamed import Flow, StreamedModel


class Fused(NamedTuple):
    """What compiled functions can do in a block, beside convolution and modulation.

    Args:
        activation: after the modulation.
        gain: of the residual, if that is added after the activation; see `dilated`.
    """

    activation: ActivationName
    gain: Tensor | None = None


class DilatedBlock(nn.Module):
    """A block of a `DilatedNetwork`: a dilated convolution without padding, its modulation, and a residual.

    Its state: ``history``, the past that the convolution, and what the modulation holds back, still need.

    Args:
        in_channels: of the input.
        out_channels: of what it hands on.
        conv_channels: of the convolution's output, which is modulated.
        kernel_size: taps.
        dilation: samples between taps.
        bias: of the convolution.
        residual_lag: samples by which the residual lags the newest input; None for no residual.
        conditioned: makes the modulation.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        conv_channels: int,
        *,
        kernel_size: int,
        dilation: int,
        bias: bool,
        residual_lag: int | None,
        conditioned: Conditioned,
    ) -> None:
        super().__init__()
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.span = (kernel_size - 1) * dilation
        self.residual_lag = residual_lag
        self.conv = nn.Conv1d(in_channels, conv_channels, kernel_size, dilation=dilation, bias=bias)
        self.film: Modulation | None = conditioned.build_modulation(conv_channels)

    def outputs(self, features: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The next block's input and, where the network sums over blocks, this block's contribution.

        Args:
            features: (batch, conv_channels, time), modulated.
            residual: (batch, in_channels, time), the input at the residual's place; None without residual.
        """
        raise NotImplementedError

    def fused(self) -> Fused | None:
        """What compiled functions can do in the place of `outputs`, as far as `finished`; None if nothing."""
        return None

    def finished(self, activated: Tensor, residual: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What `outputs` gives, from what `fused` says.

        Args:
            activated: (batch, channels, time), after the activation, and with the residual if that has a gain.
            residual: (batch, in_channels, time); None without residual, or if it is in already.
        """
        return activated, None

    def initial_state(self, batch_size: int) -> State:
        """Before the first sample of the block's input."""
        film = {} if self.film is None else self.film.initial_state(batch_size)
        return {"history": self.conv.weight.new_zeros(batch_size, self.in_channels, 0)} | joined({"film": film})

    def held(self, state: State) -> int:
        """Samples that the block holds back in a state."""
        return 0 if self.film is None else self.film.held(scoped(state, "film"))

    def forward(
        self, x: Tensor, condition: Condition, state: State, final: bool = False
    ) -> tuple[Tensor, Tensor | None, State]:
        """Process x (batch, in_channels, time) to what `outputs` gives, and the state after it."""
        line = torch.cat((state["history"], x), dim=-1)
        new = max(line.shape[-1] - self.held(state) - self.span, 0)
        if isinstance(condition, Tensor) and condition.ndim == 3:
            condition = condition[..., condition.shape[-1] - new :]
        film: State = scoped(state, "film")
        fast = line.shape[-1] > self.span and compiled_for(line, self.conv.weight)
        fused = self.fused() if fast else None
        if fused is not None and (self.film is None or isinstance(self.film, AffineModulation)):
            y, film, history = self._activated(line, condition, film, final, fused)
        else:
            fused = history = None
            y = x.new_zeros(x.shape[0], self.conv.out_channels, 0)
            if new:
                past = line[..., line.shape[-1] - self.span - new :]
                y = self._compiled(past) if fast else self.conv(past)
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
        if not y.shape[-1]:  # torch convolves no empty signal
            return *self._none_yet(x), after
        return *(self.outputs(y, residual) if fused is None else self.finished(y, residual)), after

    def _activated(
        self, line: Tensor, condition: Condition, film: State, final: bool, fused: Fused
    ) -> tuple[Tensor, State, Tensor | None]:
        """The activation's output by compiled functions, the modulation's state, and the history if that is made."""
        gain = fused.gain
        if self.film is None:
            return self._compiled(line, fused.activation, gain), {}, None
        assert isinstance(self.film, AffineModulation)
        ready = self.film.ready(line.shape[-1] - self.span, final)
        channels = 1 if gain is None else len(gain)
        wanted = Wanted(channels, ready, self.film.pooled, self.film.lead(film))
        parts = parted(line, self.conv.weight, self.conv.bias, self._settings("identity"), gain, wanted)
        step = self.film.affine(parts.features, condition, film, final, whole=True, maxima=parts.maxima)
        y = modulated(step.signal, step.steps, ready, fused.activation, parts.residual, gain)
        return y, step.state, parts.rest

    def _compiled(self, line: Tensor, activation: ActivationName = "identity", gain: Tensor | None = None) -> Tensor:
        """act(conv(line)) + gain residual, compiled; see `dilated`."""
        return dilated(line, self.conv.weight, self.conv.bias, self._settings(activation), gain)

    def _settings(self, activation: ActivationName) -> Settings:
        start = 0 if self.residual_lag is None else self.span - self.residual_lag
        return Settings(self.conv.dilation[0], activation, start)

    def _none_yet(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """An empty output and contribution."""
        nothing = x.new_zeros(x.shape[0], self.out_channels, 0)
        return nothing, nothing

    def after_silence(self, x: Tensor, condition: Condition) -> tuple[Tensor, Tensor | None, State]:
        """What comes out of the pre-roll, and the state after it, where silence is the same at every sample.

        One sample is computed and repeated.

        Args:
            x: (batch, in_channels, time), what the blocks before made of silence; time is at least `span`.
            condition: (batch, channels) or None.
        """
        state = self.initial_state(x.shape[0]) | {"history": x[..., : self.span]}
        time = x.shape[-1] - self.span
        if time == 0:
            return *self._none_yet(x), state
        one, contribution, _ = self(x[..., :1], condition, state)
        repeated = None if contribution is None else contribution.expand(-1, -1, time)
        return one.expand(-1, -1, time), repeated, state


class DilatedNetwork(StreamedModel):
    """Blocks of dilated convolutions, as one stream.

    A file begins in silence: a causal network sees receptive_field - 1 zeros before its first sample, one that is not
    causal half of them, and the other half after its last. Blocks shorten what goes through them instead of padding it,
    so that each block's sequence begins at a place of its own, which is where the grid of its conditioning begins.

    A subclass makes the blocks and calls `_prepare`.
    """

    blocks: nn.ModuleList

    def __init__(self, sample_rate: int, controls: Sequence[Control], causal: bool, conditioned: Conditioned) -> None:
        super().__init__(sample_rate, controls, conditioned)
        self.causal = causal

    def _prepare(self, blocks: list[DilatedBlock], residual_delay: int, aligned_at_end: bool) -> None:
        """Take the blocks and find out reach, latency and delays.

        Args:
            blocks: in order.
            residual_delay: samples by which what goes round the blocks arrives late in a causal network.
            aligned_at_end: hand steps to the blocks as NablAFx 1.0 does; see `EndAligned`.
        """
        self.blocks = nn.ModuleList(blocks)
        offsets = list(accumulate(block.span for block in blocks))
        self._past = past = offsets[-1]
        self.receptive_field = 1 + past
        self._silence_after = after = 0 if self.causal else past // 2
        self.pre_roll = self._swallowed = past - after
        films = [(offset, block.film) for offset, block in zip(offsets, blocks, strict=True) if block.film is not None]
        parts = [film for _, film in films] + ([] if self.cond_nn is None else [self.cond_nn])
        self._steady = all(part.steady for part in parts)
        self.recurrent = not self._steady
        self._aligned = EndAligned(offsets, self._conditioned.blocks.block_size) if aligned_at_end else None
        grids = [] if self.cond_nn is None else [(0, self.cond_nn.grid)]
        grids += [(offset, film.grid) for offset, film in films]
        extra = max(self._aligned.shifts()) if self._aligned else 0
        self.latency = after + _longest_wait(grids, extra, past)
        # Samples from the newest input back to the middle of what a block has seen.
        self._centres = [0 if self.causal else offset // 2 for offset in offsets]
        self._direct_delay = residual_delay if self.causal else after
        self._sum_delays = [residual_delay if self.causal else (past - offset) // 2 for offset in offsets[:-1]] + [0]

    @abstractmethod
    def _output(self, x: Flow, contributions: list[Flow | None], audio: Flow, state: State) -> tuple[Tensor, State]:
        """The model's output where x ends, and the state of what goes round the blocks."""

    def _lines(self, batch_size: int, like: Tensor) -> State:
        """The delay lines round the blocks, empty."""
        return {}

    def _start(self, batch_size: int, controls: Tensor | None, length: int = 0) -> State:
        """The state after silence; views of few numbers, where the silence is steady."""
        if self._steady:
            silence = self._blocks()[0].conv.weight.new_zeros(batch_size, 1, 1)
            with running_statistics(self):
                return self._after_silence(silence.expand(-1, -1, self._past), controls)
        return super()._start(batch_size, controls, length)

    def _blocks(self) -> list[DilatedBlock]:
        return [block for block in self.blocks if isinstance(block, DilatedBlock)]

    def _empty(self, like: Tensor) -> State:
        batch_size = like.shape[0]
        parts = {f"blocks.{n}": block.initial_state(batch_size) for n, block in enumerate(self._blocks())}
        if self.cond_nn is not None and self._aligned is not None:
            parts["aligned"] = self._aligned.initial_state(batch_size, like, self.cond_nn.condition_size)
        return joined(parts) | self._lines(batch_size, like)

    def _after_silence(self, audio: Tensor, controls: Tensor | None) -> State:
        condition: Condition = controls
        if self.cond_nn is not None:
            _, condition, _ = self.cond_nn(audio, controls, {})
        x = with_condition(audio, condition) if self._conditioned.chosen.appended else audio
        state: State = {}
        contributions: list[Flow | None] = []
        for n, block in enumerate(self._blocks()):
            x, contribution, after = block.after_silence(x, condition)
            state |= joined({f"blocks.{n}": after})
            contributions.append(None if contribution is None else Flow(contribution, 0))
        lines = self._output(Flow(x, 0), contributions, Flow(audio, 0), self._lines(audio.shape[0], audio))[1]
        return state | lines | self._remembered(controls, condition, {}, self._past, constant=True)

    def _run(
        self,
        audio: Tensor,
        controls: Tensor | None,
        state: State,
        *,
        final: bool = False,
        constant: bool = False,
        length: int = 0,
    ) -> tuple[Tensor, State]:
        (x, lag), conditions, after = self._conditions(audio, controls, state, final, constant, length)
        contributions: list[Flow | None] = []
        for n, block in enumerate(self._blocks()):
            own = conditions.of(n, lag + self._centres[n])
            x, contribution, after_block = block(x, own, scoped(state, f"blocks.{n}"), final)
            after |= joined({f"blocks.{n}": after_block})
            lag += 0 if final else block.held(after_block)
            contributions.append(None if contribution is None else Flow(contribution, lag))
        out, lines = self._output(Flow(x, lag), contributions, Flow(audio, 0), state)
        return out, after | lines

    def _conditioner(
        self, audio: Tensor, controls: Tensor | None, state: State, final: bool, length: int
    ) -> tuple[Flow, Condition, Sequence[Condition] | None, State]:
        ready, condition, each, after = super()._conditioner(audio, controls, state, final, length)
        if self._aligned is None or not isinstance(condition, Steps):
            return ready, condition, each, after
        shifts = self._aligned.shifts(length)
        audio, each, aligned = self._aligned(ready.values, condition, scoped(state, "aligned"), shifts, final)
        lag = ready.lag + aligned["held"].shape[-1]
        return Flow(audio, lag), condition, each, after | joined({"aligned": aligned})


def _longest_wait(grids: list[tuple[int, int]], extra: int, past: int) -> int:
    """The most samples that an output sample waits for the ends of blocks.

    Args:
        grids: (where it begins, samples of a block) from the input to the output, in samples of the padded audio.
        extra: samples by which the first grid is read later.
        past: samples of padded audio before that of the first output.
    """

    def ready(sample: int) -> int:
        for index, (begin, size) in reversed(list(enumerate(grids))):
            late = extra if index == 0 else 0
            sample = begin + ((sample + late - begin) // size + 1) * size - 1
        return sample

    period = max((size for _, size in grids), default=1)
    return max(ready(past + phase) - past - phase for phase in range(period))


def check_settings(
    name: str,
    num_blocks: int,
    kernel_size: int,
    causal: bool,
    residual_delay: int,
    alignment: str,
    conditioning: str,
    lookahead: bool,
) -> None:
    """Refuse settings that exclude each other.

    Raises:
        ModelError: saying which.
    """
    if num_blocks < 1 or kernel_size < 1:
        raise ModelError(f"{name}: num_blocks {num_blocks} and kernel_size {kernel_size} must be at least 1.")
    if not causal and kernel_size % 2 == 0:
        raise ModelError(
            f"{name}: kernel_size {kernel_size} has no middle; a model that is not causal needs an odd one."
        )
    if not 0 <= residual_delay < kernel_size:
        raise ModelError(
            f"{name}: residual_delay {residual_delay} must be from 0 to kernel_size - 1 = {kernel_size - 1}."
        )
    if residual_delay and not causal:
        raise ModelError(f"{name}: residual_delay belongs to causal models; leave it 0 when `causal: false`.")
    if alignment == "end" and (conditioning != "tvfilm" or not lookahead):
        raise ModelError(f"{name}: alignment: end belongs to `conditioning: tvfilm` with look-ahead.")
