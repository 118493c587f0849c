"""Deep state-space networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, ClassVar, Literal

import torch
from torch import Tensor, nn

from nablafx_core.controls import Control
from nablafx_core.errors import ModelError
from nablafx_core.kernels.choice import traced
from nablafx_core.marks import Range
from nablafx_core.nn.activation import ActivationName
from nablafx_core.nn.activation import activation as activation_named
from nablafx_core.nn.rational import Degrees, FunctionName
from nablafx_core.state import State, joined, scoped
from nablafx_models.conditioning.interface import AffineModulation, Condition
from nablafx_models.conditioning.table import BlockSettings, Conditioned, ConditioningName, conditioned
from nablafx_models.kernels.residual import TanhAndResidual
from nablafx_models.ssm import S4D
from nablafx_models.streamed import Flow, StreamedModel
from nablafx_models.tcn import CONDITIONINGS


class S4Block(nn.Module):
    """act2(modulation(S4D(act1(linear(x))))) [+ res(x)].

    Args:
        channels: of input and output.
        num_states: complex states of a channel.
        residual: add the input, through a gain per channel.
        conditioned: makes the modulation.
        norm: ``"batch"`` or ``"none"``; the modulation's own where there is one.
        make_activation: makes the activations, before and after, from the number of channels.
        ssm_learning_rate: of A and dt.
    """

    def __init__(
        self,
        channels: int,
        num_states: int,
        *,
        residual: bool,
        conditioned: Conditioned,
        norm: str,
        make_activation: Callable[[int], nn.Module],
        ssm_learning_rate: float | None,
    ) -> None:
        super().__init__()
        self.linear = nn.Linear(channels, channels)
        self.act1 = make_activation(channels)
        self.s4 = S4D(channels, num_states, ssm_learning_rate)
        self.film = conditioned.build_modulation(channels)
        self.bn = nn.BatchNorm1d(channels) if norm == "batch" and self.film is None else None
        self.act2 = make_activation(channels)
        self.res = nn.Conv1d(channels, channels, 1, groups=channels, bias=False) if residual else None

    def initial_state(self, like: Tensor) -> State:
        """Before anything: ``s4``, the states; ``waiting``, input whose output is held back."""
        state = {"s4": self.s4.initial_state(like.shape[0])}
        if self.film is not None:
            state |= joined({"film": self.film.initial_state(like.shape[0])})
        if self.res is not None:
            state["waiting"] = like.new_zeros(like.shape[0], self.linear.in_features, 0)
        return state

    def forward(self, x: Flow, condition: Condition, state: State, final: bool) -> tuple[Flow, State]:
        """Process x (batch, channels, time)."""
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
        if type(activation) is nn.Tanh and torch.is_grad_enabled() and not traced():
            return Flow(TanhAndResidual.apply(y, residual, gain), lag), after  # type: ignore[no-untyped-call]
        return Flow(torch.addcmul(activation(y), residual, gain), lag), after


class S4(StreamedModel):
    """Blocks of diagonal state-space layers (Yin et al., 2024, arXiv:2403.16331; for `S4D` see there).

    x_0 = expand(audio),  x_{n+1} = act2(modulation(S4D(act1(linear(x_n))))) + res(x_n),
    y = tanh(contract(x_N) [+ direct_gain(audio)])

    Before a file begins, `pre_roll` samples of silence run through the network; see `LSTM`.

    Args:
        num_blocks: number of blocks.
        num_states: complex states of each channel of a block.
        channel_width: channels of every block.
        residual: add each block's input to its output, through a gain per channel.
        direct_path: add the input, through a gain, before the last tanh.
        norm: batch normalisation in every block, before the second activation.
        conditioning: how controls enter; see `TCN`.
        lookahead: conditionings that work in blocks use a block's own maximum, and the model waits for it; otherwise
            that of the block before, without latency.
        cond_block_size: samples of such a block.
        cond_num_layers: recurrent layers of such a conditioning.
        activation: of every block, before and after its state-space layer.
        rational_degrees: of the numerator and the denominator of ``activation: rational``.
        rational_function: that a rational activation begins as.
        ssm_learning_rate: of the parameters of A and dt, which have no weight decay; null for that of the others.
        pre_roll: samples of silence before a file; 0 for models that were made with NablAFx 1.0.
        sample_rate: Hz.
        controls: the knobs.

    Raises:
        ModelError: if settings exclude each other.
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
        conditioning: ConditioningName = "none",
        lookahead: bool = True,
        cond_block_size: Annotated[int, Range(1, 65_536)] = 128,
        cond_num_layers: Annotated[int, Range(1, 16)] = 1,
        activation: ActivationName = "tanh",
        rational_degrees: Degrees = (6, 5),
        rational_function: FunctionName = "tanh",
        ssm_learning_rate: float | None = 0.01,
        pre_roll: Annotated[int, Range(0, 16_777_216)] = 4800,
        sample_rate: int = 48000,
        controls: Sequence[Control] = (),
    ) -> None:
        if min(num_blocks, num_states, channel_width) < 1 or pre_roll < 0:
            raise ModelError(
                f"S4: num_blocks {num_blocks}, num_states {num_states} and channel_width {channel_width} must be at "
                f"least 1, pre_roll {pre_roll} at least 0."
            )
        chosen = conditioned(
            "S4",
            conditioning,
            len(controls),
            offered=CONDITIONINGS,
            norm=norm,
            blocks=BlockSettings(cond_block_size, lookahead, cond_num_layers),
        )
        super().__init__(sample_rate, controls, chosen)
        self.expand = nn.Linear(self.in_channels + chosen.extra_channels, channel_width)
        blocks = [
            S4Block(
                channel_width,
                num_states,
                residual=residual,
                conditioned=chosen,
                norm=norm,
                make_activation=lambda size: activation_named(activation, size, rational_degrees, rational_function),
                ssm_learning_rate=ssm_learning_rate,
            )
            for _ in range(num_blocks)
        ]
        self.blocks = nn.ModuleList(blocks)
        self.contract = nn.Linear(channel_width, self.out_channels)
        self.direct_gain = nn.Conv1d(1, 1, 1, bias=False) if direct_path else None
        self.pre_roll = pre_roll
        # All grids begin where the audio begins, so that waiting for one is waiting for all.
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
    """A linear layer over the channels of (batch, channels, time).

    What comes out lies in memory as (channels, batch, time), as the state-space layers read it without a copy.
    """
    batch, channels, time = x.shape
    flat = x.transpose(0, 1).reshape(channels, -1)
    out = torch.addmm(layer.bias[:, None], layer.weight, flat)
    return out.view(layer.out_features, batch, time).transpose(0, 1)
