"""Deep state-space network (S4)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from nablafx_core.errors import ModelError
from nablafx_core.marks import Range
from nablafx_core.nn.activation import ActivationName
from nablafx_core.nn.activation import activation as activation_named
from nablafx_core.nn.rational import Degrees, FunctionName
from nablafx_core.state import State, joined, scoped
from nablafx_models.conditioning.interface import AffineModulation, Condition
from nablafx_models.conditioning.selection import ModelConditioning
from nablafx_models.functional.tanh_residual import tanh_residual
from nablafx_models.s4d import S4D
from nablafx_models.streamed import Flow, StreamedModel


class S4Block(nn.Module):
    """x' = act2(modulation(S4D(act1(linear(x))))) [+ res(x)].

    The modulation, if there is none a batch norm, and the residual are optional. The state has ``s4``, the states of
    the state-space layer; ``film.``, that of the modulation; and with a residual ``waiting``, the input whose output
    the modulation holds back.

    Args:
        channels: channels of input and output.
        num_states: complex states per channel.
        residual: add the input, through a gain per channel.
        conditioning: builds the modulation.
        norm: batch normalisation before the modulation, which then contains it, or instead of one: ``"batch"`` or
            ``"none"``.
        make_activation: builds act1 and act2 from the number of channels.
        ssm_learning_rate: learning rate of the parameters of A and dt; that of the training if None.
    """

    def __init__(
        self,
        channels: int,
        num_states: int,
        *,
        residual: bool,
        conditioning: ModelConditioning,
        norm: str,
        make_activation: Callable[[int], nn.Module],
        ssm_learning_rate: float | None,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)
        self.act1 = make_activation(channels)
        self.s4 = S4D(channels, num_states, ssm_learning_rate)
        self.film = conditioning.build_modulation(channels, norm)
        self.bn = nn.BatchNorm1d(channels) if norm == "batch" and self.film is None else None
        self.act2 = make_activation(channels)
        self.res = nn.Conv1d(channels, channels, 1, groups=channels, bias=False) if residual else None

    def initial_state(self, like: Tensor) -> State:
        """Return the state before the first sample; `like` has the batch size, dtype and device of the audio."""
        state = {"s4": self.s4.initial_state(like.shape[0])}
        if self.film is not None:
            state |= joined({"film": self.film.initial_state(like.shape[0])})
        if self.res is not None:
            state["waiting"] = like.new_zeros(like.shape[0], self.linear.in_features, 0)
        return state

    def forward(self, x: Flow, condition: Condition, state: State, final: bool) -> tuple[Flow, State]:
        """Process x, (batch, channels, time); return the output that can be used now, and the state for the next call.

        Args:
            x: input and its lag.
            condition: see `Modulation.forward`; with a time axis it may begin before x.
            state: from `initial_state` or the call before.
            final: True if no samples follow; then the modulation holds none back.
        """
        after: State = {"s4": state["s4"]}
        y = x.values
        if y.shape[-1]:
            y, after["s4"] = self.s4(self.act1(_linear(self.linear, y)), state["s4"])
        lag, activation = x.lag, self.act2
        if self.film is not None:
            if isinstance(condition, Tensor) and condition.ndim == 3:
                condition = condition[..., condition.shape[-1] - y.shape[-1] :]
            if type(activation) is nn.Tanh and isinstance(self.film, AffineModulation):
                y, film = self.film(y, condition, scoped(state, "film"), final, activation="tanh")
                activation = nn.Identity()
            else:
                y, film = self.film(y, condition, scoped(state, "film"), final)
            lag += 0 if final else self.film.held(film)
            after |= joined({"film": film})
        elif self.bn is not None and y.shape[-1]:
            y = self.bn(y)
        if self.res is None:
            return Flow(activation(y), lag), after
        residual, after["waiting"] = x.line(state["waiting"], Flow(y, lag))
        gain = self.res.weight[:, 0]
        if type(activation) is nn.Tanh:
            return Flow(tanh_residual(y, residual, gain), lag), after
        return Flow(torch.addcmul(activation(y), residual, gain), lag), after


class S4(StreamedModel):
    """Blocks of diagonal state-space layers, `S4D` (Yin et al., 2024, arXiv:2403.16331).

    x_0 = expand(audio),  x_{n+1} = act2(modulation(S4D(act1(linear(x_n))))) [+ res(x_n)],
    y = tanh(contract(x_N) [+ direct_gain(audio)])

    Before a file, all states are 0 and the network processes `pre_roll` samples of silence.

    Args:
        num_blocks: number of blocks.
        num_states: complex states per channel of a block.
        channel_width: channels of every block.
        residual: add the input of each block to its output, through a gain per channel.
        direct_path: add the audio, through a gain, before the last tanh.
        norm: batch normalisation in every block, before the second activation.
        activation: activation of every block, before and after its state-space layer.
        rational_degrees: degrees of the numerator and the denominator, for ``activation: rational``.
        rational_function: initial function of a rational activation.
        ssm_learning_rate: learning rate of the parameters of A and dt, which have no weight decay; null for that of
            the other parameters.
        pre_roll: samples of silence before a file; 0 for models made with NablAFx 1.0.

    Raises:
        ModelError: if a setting is too small, or settings or controls cannot be combined.
    """

    default_tbptt: ClassVar[int | None] = None

    def __init__(
        self,
        *,
        num_blocks: Annotated[int, Range(1, 128)] = 4,
        num_states: Annotated[int, Range(1, 4096)] = 4,
        channel_width: Annotated[int, Range(1, 4096)] = 16,
        residual: bool = True,
        direct_path: bool = False,
        norm: Literal["none", "batch"] = "none",
        activation: ActivationName = "tanh",
        rational_degrees: Degrees = (6, 5),
        rational_function: FunctionName = "tanh",
        ssm_learning_rate: float | None = 0.01,
        pre_roll: Annotated[int, Range(0, 16_777_216)] = 4800,
        **conditioning: Any,
    ) -> None:
        if min(num_blocks, num_states, channel_width) < 1 or pre_roll < 0:
            raise ModelError(
                f"S4: num_blocks {num_blocks}, num_states {num_states} and channel_width {channel_width} must be at "
                f"least 1, pre_roll {pre_roll} at least 0."
            )
        super().__init__(**conditioning)
        make_activation = partial(activation_named, activation, degrees=rational_degrees, function=rational_function)
        self.expand = nn.Linear(self.in_channels + self._conditioning.extra_channels, channel_width)
        blocks = [
            S4Block(
                channel_width,
                num_states,
                residual=residual,
                conditioning=self._conditioning,
                norm=norm,
                make_activation=make_activation,
                ssm_learning_rate=ssm_learning_rate,
            )
            for _ in range(num_blocks)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.contract = nn.Linear(channel_width, self.out_channels)
        self.direct_gain = nn.Conv1d(1, 1, 1, bias=False) if direct_path else None
        self.pre_roll = pre_roll
        # All grids begin with the audio, so the longest wait includes the others.
        parts = [part for part in (self.cond_nn, *(block.film for block in blocks)) if part is not None]
        self.latency = max((part.grid for part in parts), default=1) - 1

    def _empty(self, like: Tensor) -> State:
        state = joined({f"blocks.{n}": block.initial_state(like) for n, block in enumerate(self._blocks())})
        return state | ({"direct": like.new_zeros(like.shape[0], 1, 0)} if self.direct_gain is not None else {})

    def _blocks(self) -> list[S4Block]:
        return [block for block in self.blocks if isinstance(block, S4Block)]

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
        flow, conditions, after = self._conditions(audio, controls, state, final, constant, length)
        x = Flow(_linear(self.expand, flow.values), flow.lag)
        for n, block in enumerate(self._blocks()):
            x, after_block = block(x, conditions.of(n, x.lag), scoped(state, f"blocks.{n}"), final)
            after |= joined({f"blocks.{n}": after_block})
        y = _linear(self.contract, x.values)
        if self.direct_gain is not None:
            direct, after["direct"] = Flow(audio, 0).line(state["direct"], x)
            y = y + self.direct_gain.weight[0] * direct
        return torch.tanh(y), after


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """Apply a linear layer to the channels of x (batch, channels, time).

    The output is in memory as (channels, batch, time), so that state-space layers read it without a copy.
    """
    batch, channels, time = x.shape
    flat = x.transpose(0, 1).reshape(channels, -1)
    out = torch.addmm(layer.bias[:, None], layer.weight, flat)
    return out.view(layer.out_features, batch, time).transpose(0, 1)
