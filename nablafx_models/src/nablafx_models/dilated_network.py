"""Base of the networks of dilated convolutions: settings, blocks, the start of a file, latency."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from itertools import accumulate
from typing import Annotated, Any, Literal

from torch import Tensor, nn

from nablafx_core.errors import ModelError
from nablafx_core.marks import Range
from nablafx_core.nn.norm import running_statistics
from nablafx_core.state import State, joined, scoped
from nablafx_core.steps import Steps
from nablafx_models.conditioning.concatenated import append_condition
from nablafx_models.conditioning.interface import Condition
from nablafx_models.conditioning.table import CONDITIONINGS
from nablafx_models.conditioning.tvfilm import EndAligned
from nablafx_models.dilated_block import BlockLayout, DilatedBlock
from nablafx_models.streamed import Flow, StreamedModel


class DilatedNetwork(StreamedModel):
    """Blocks of dilated convolutions, computed as one stream.

    With P = receptive_field - 1, a causal network sees P zeros before the first sample of a file; another network sees
    P / 2 zeros before the file and P / 2 after it. Blocks do not pad their input, so the features of each block begin
    at a different sample of the padded file, and so do the blocks of samples in which its modulation works.

    A subclass builds `blocks` from `_layouts`, then its other layers, calls `_connect` and implements `_output`.

    Args:
        num_blocks: number of blocks.
        kernel_size: taps of each convolution; must be odd if ``causal: false``.
        dilation_growth: factor on the dilation from block to block; block n, counted from 0, has the dilation
            dilation_growth^(n mod stack_size).
        channel_width: channels of every block.
        channel_growth: if above 1, each block has that many times the channels of its input, and `channel_width` has
            no effect.
        stack_size: number of blocks after which the dilation starts again at 1.
        causal: use past samples only, without latency unless the conditioning looks ahead; otherwise the network sees
            as far ahead as back, and streams with a latency of (receptive_field - 1) / 2 samples, or more if the
            conditioning looks ahead.
        residual: add the input of each block to its output.
        direct_path: add the audio, through a gain, to the output of the network.
        bias: add a bias to each convolution.
        norm: batch normalisation in every block, before the modulation if there is one.
        alignment: ``start`` aligns the steps of the conditioning with the start of the audio; ``end`` aligns them with
            its end, for models made with NablAFx 1.0; only tvfilm with `lookahead` supports it.
        residual_delay: samples by which residuals, sums and direct path are delayed in a causal model, less than
            `kernel_size`; 1 for models made with NablAFx 1.0.

    Raises:
        ModelError: if `num_blocks`, `kernel_size` or `residual_delay` is out of range, or settings cannot be combined.
    """

    blocks: nn.ModuleList
    direct_gain: nn.Conv1d | None

    def __init__(
        self,
        *,
        num_blocks: Annotated[int, Range(1, 128)] = 5,
        kernel_size: Annotated[int, Range(1, 4096)] = 7,
        dilation_growth: Annotated[int, Range(1, 1024)] = 4,
        channel_width: Annotated[int, Range(1, 4096)] = 16,
        channel_growth: Annotated[int, Range(1, 16)] = 1,
        stack_size: Annotated[int, Range(1, 256)] = 12,
        causal: bool = True,
        residual: bool = True,
        direct_path: bool = False,
        bias: bool = True,
        norm: Literal["none", "batch"] = "none",
        alignment: Literal["start", "end"] = "start",
        residual_delay: Annotated[int, Range(0, 65_536)] = 0,
        **conditioning: Any,
    ) -> None:
        super().__init__(**conditioning)
        _check(type(self).__name__, num_blocks, kernel_size, causal, residual_delay)
        self.causal = causal
        self._residual_delay = residual_delay
        self._align_at_end = self._checked_alignment(alignment)
        self._has_direct_path = direct_path
        self._layouts: list[BlockLayout] = []
        channels = self.in_channels + self._conditioning.extra_channels
        for n in range(num_blocks):
            wide = channels * channel_growth if channel_growth > 1 else channel_width
            dilation = dilation_growth ** (n % stack_size)
            lag = residual_delay if causal else (kernel_size - 1) * dilation // 2
            layout = BlockLayout(
                channels,
                wide,
                kernel_size,
                dilation,
                bias,
                norm,
                residual_lag=lag if residual else None,
                conditioning=self._conditioning,
                last=n + 1 == num_blocks,
            )
            self._layouts.append(layout)
            channels = wide

    def _checked_alignment(self, alignment: str) -> bool:
        """Return True for the alignment ``end``, False for ``start``.

        Raises:
            ModelError: if the alignment is ``end`` and the conditioning does not support it.
        """
        chosen, lookahead = self._conditioning.chosen, self._conditioning.blocks.lookahead
        if alignment == "end" and not (chosen.allows_end_alignment and lookahead):
            names = " or ".join(name for name, one in CONDITIONINGS.items() if one.allows_end_alignment)
            raise ModelError(
                f"{type(self).__name__}: `alignment: end` needs `conditioning: {names}` and `lookahead: true`. "
                "Set these, or `alignment: start`."
            )
        return alignment == "end"

    def _connect(self) -> None:
        """Build the direct path, and compute receptive field, latency and delays from the blocks."""
        blocks = self._blocks()
        self.direct_gain = nn.Conv1d(1, 1, 1, bias=False) if self._has_direct_path else None
        offsets = list(accumulate(block.span for block in blocks))
        self._past = past = offsets[-1]
        self.receptive_field = 1 + past
        self._silence_after = after = 0 if self.causal else past // 2
        self.pre_roll = self._pre_roll_without_output = past - after
        films = [(offset, block.film) for offset, block in zip(offsets, blocks, strict=True) if block.film is not None]
        parts = [film for _, film in films] + ([] if self.cond_nn is None else [self.cond_nn])
        self._steady = all(part.steady for part in parts)
        self.recurrent = not self._steady
        block_size = self._conditioning.blocks.block_size
        self._end_aligned = EndAligned(offsets, block_size) if self._align_at_end else None
        grids = [] if self.cond_nn is None else [(0, self.cond_nn.grid)]
        grids += [(offset, film.grid) for offset, film in films]
        extra = max(self._end_aligned.shifts()) if self._end_aligned else 0
        self.latency = after + _longest_wait(grids, extra, past)
        # Samples from the newest input back to the middle of the receptive field of each block.
        self._centres = [0 if self.causal else offset // 2 for offset in offsets]
        self._direct_delay = self._residual_delay if self.causal else after
        delays = [self._residual_delay if self.causal else (past - offset) // 2 for offset in offsets[:-1]]
        self._sum_delays = [*delays, 0]

    @abstractmethod
    def _output(self, x: Flow, contributions: list[Flow | None], audio: Flow, state: State) -> tuple[Tensor, State]:
        """Return the output of the model for the samples of x, and the state of the delay lines for the next call.

        Args:
            x: output of the last block.
            contributions: contribution of each block, see `DilatedBlock.outputs`; not used if the network does not sum
                over blocks.
            audio: input of the model in this call.
            state: state from the call before, with the delay lines of `_delay_lines`; it may have other keys.

        Returns:
            Audio (batch, 1, samples of x), and the keys of `_delay_lines`.
        """

    def _delay_lines(self, batch_size: int, like: Tensor) -> State:
        """Return empty delay lines for the signals that bypass blocks, (batch, 1, 0) each, as part of the state."""
        return {} if self.direct_gain is None else {"direct": like.new_zeros(batch_size, 1, 0)}

    def _add_direct_path(self, y: Tensor, x: Flow, audio: Flow, state: State) -> tuple[Tensor, State]:
        """Return y plus the audio times its gain, and the state of the audio's delay line; y and {} without a gain."""
        if self.direct_gain is None:
            return y, {}
        direct, kept = audio.line(state["direct"], x, self._direct_delay)
        return y + self.direct_gain.weight[0, 0] * direct, {"direct": kept}

    def _start(self, batch_size: int, controls: Tensor | None, length: int = 0) -> State:
        """Return the state after the silence before a file; see `StreamedModel._start`.

        If all parts of the conditioning are steady, one sample of silence per block is computed and repeated, and the
        tensors are views of a few numbers.
        """
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
        if self.cond_nn is not None and self._end_aligned is not None:
            parts["aligned"] = self._end_aligned.initial_state(batch_size, like, self.cond_nn.condition_size)
        return joined(parts) | self._delay_lines(batch_size, like)

    def _after_silence(self, audio: Tensor, controls: Tensor | None) -> State:
        condition: Condition = controls
        if self.cond_nn is not None:
            _, condition, _ = self.cond_nn(audio, controls, {})
        x = append_condition(audio, condition) if self._conditioning.chosen.appended else audio
        state: State = {}
        contributions: list[Flow | None] = []
        for n, block in enumerate(self._blocks()):
            x, contribution, after = block.after_silence(x, condition)
            state |= joined({f"blocks.{n}": after})
            contributions.append(None if contribution is None else Flow(contribution, 0))
        lines = self._output(Flow(x, 0), contributions, Flow(audio, 0), self._delay_lines(audio.shape[0], audio))[1]
        return state | lines | self._condition_state(controls, condition, {}, self._past, constant=True)

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

    def _run_conditioner(
        self, audio: Tensor, controls: Tensor | None, state: State, final: bool, length: int
    ) -> tuple[Flow, Condition, Sequence[Condition] | None, State]:
        ready, condition, each, after = super()._run_conditioner(audio, controls, state, final, length)
        if self._end_aligned is None or not isinstance(condition, Steps):
            return ready, condition, each, after
        shifts = self._end_aligned.shifts(length)
        audio, each, aligned = self._end_aligned(ready.values, condition, scoped(state, "aligned"), shifts, final)
        lag = ready.lag + aligned["held"].shape[-1]
        return Flow(audio, lag), condition, each, after | joined({"aligned": aligned})


def _longest_wait(grids: list[tuple[int, int]], extra: int, past: int) -> int:
    """Return the largest number of samples for which an output sample waits until blocks of the conditioning complete.

    Args:
        grids: of each part that holds samples back, from input to output: index in the padded audio of the sample at
            which its first block begins, and number of samples in a block.
        extra: number of samples that are held back in addition to the first grid.
        past: number of samples of padded audio that come before the newest input of the first output sample.
    """

    def ready(sample: int) -> int:
        for index, (begin, size) in reversed(list(enumerate(grids))):
            late = extra if index == 0 else 0
            sample = begin + ((sample + late - begin) // size + 1) * size - 1
        return sample

    period = max((size for _, size in grids), default=1)
    return max(ready(past + phase) - past - phase for phase in range(period))


def _check(name: str, num_blocks: int, kernel_size: int, causal: bool, residual_delay: int) -> None:
    """Raise ModelError if settings of a `DilatedNetwork` are too small or cannot be combined."""
    if num_blocks < 1 or kernel_size < 1:
        raise ModelError(f"{name}: num_blocks {num_blocks} and kernel_size {kernel_size} must be at least 1.")
    if not causal and kernel_size % 2 == 0:
        raise ModelError(f"{name}: kernel_size {kernel_size} is even; `causal: false` needs an odd one.")
    if not 0 <= residual_delay < kernel_size:
        raise ModelError(
            f"{name}: residual_delay {residual_delay} must be from 0 to kernel_size - 1 = {kernel_size - 1}."
        )
    if residual_delay and not causal:
        raise ModelError(f"{name}: residual_delay is for causal models; set it to 0 if `causal: false`.")
