"""The contract of a processor: an effect with parameters in physical units."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from nablafx_core.controls import Parameter
from nablafx_core.interfaces.declared import ChecksSettings
from nablafx_core.state import State


class Processor(nn.Module, ChecksSettings):
    """An effect with named parameters in physical units; a part of a gray-box chain.

    Attributes:
        sample_rate: Hz.
        latency: samples by which its stream lags its offline output.
        remembers_position: as of a `Model`; ``initial_state(batch_size, parameters=None, start=0)`` then takes `start`.
        effect_parameters: what a controller drives, in the order of the controller's output. (Not
            ``parameters``: that is torch's name for what is trained. See docs/decisions/0002.)
        lr_multiplier: factor on the learning rate of its own weights and of its controller's.
        takes_steps: whether it makes use of parameters that stand still for blocks. It is then given them as
            `nablafx_core.steps.Steps` where its controller yields such; without, it is given every sample of
            them. The output is the same. See docs/decisions/0012.
        shape: what a picture can show of it while its parameters stand still: of a ``"filter"`` (linear and
            time-invariant) the frequency response, of a ``"nonlinearity"`` (a sample of the output depends on the same
            sample of the input) the transfer curve; a ``"value"`` (y = a x + b) is told by its parameters.
        title: what people call it, such as ``"low shelf"``; its class's name, in words, if empty.
    """

    latency: int = 0
    remembers_position: bool = False
    effect_parameters: tuple[Parameter, ...] = ()
    lr_multiplier: float = 1.0
    takes_steps: ClassVar[bool] = False
    shape: Literal["filter", "nonlinearity", "value", "other"] = "other"
    title: str = ""

    def __init__(self, sample_rate: int = 48000) -> None:
        super().__init__()
        self.sample_rate = sample_rate

    def initial_state(self, batch_size: int, parameters: dict[str, Tensor] | None = None) -> State:
        """The state at the start of a file. Empty for a memoryless effect."""
        return {}

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time).

        Args:
            audio: (batch, 1, time).
            parameters: by name, each (batch,) or (batch, time), in physical units; with `takes_steps` also `Steps`
                of values (batch, blocks), those of the blocks that the audio touches.
            state: None at the start of a file.

        Returns:
            Audio of the same shape, lagging by `latency` whenever `state` is given, and the state after it.
        """
        raise NotImplementedError
