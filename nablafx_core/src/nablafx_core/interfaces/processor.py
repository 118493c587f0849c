"""Contract of a processor, an effect with parameters in physical units."""

from __future__ import annotations

from typing import ClassVar, Literal

from torch import Tensor, nn

from nablafx_core.controls import Parameter
from nablafx_core.interfaces.declared import ChecksSettings
from nablafx_core.state import State


class Processor(nn.Module, ChecksSettings):
    """An effect with named parameters in physical units; a part of a gray-box chain.

    Attributes:
        sample_rate: sample rate in Hz.
        latency: number of samples by which its stream lags its offline output.
        remembers_position: true if its output depends on the position in the file, as for a `Model`;
            ``initial_state(batch_size, parameters=None, start=0)`` then takes `start`.
        effect_parameters: all parameters. Its controller outputs those that the chain does not fix, in this order. (The
            name ``parameters`` is taken: torch uses it for the trained weights. See docs/decisions/0002.)
        lr_multiplier: factor on the learning rate of its own weights and of its controller's weights; a key
            ``lr_multiplier`` in its section replaces it.
        takes_steps: true if it can use parameters that are constant within blocks. It then receives them as
            `nablafx_core.steps.Steps` if its controller returns them so; otherwise it receives one value per sample.
            The output is the same. See docs/decisions/0012.
        shape: kind of picture that describes it while its parameters are constant: the frequency response of a
            ``"filter"`` (linear and time-invariant), or the transfer curve of a ``"nonlinearity"`` (a sample of the
            output depends only on the same sample of the input); a ``"value"`` (y = a x + b) is described by its
            parameters alone, and so is every ``"other"`` effect, which is none of these.
        title: name for people, such as ``"low shelf"``; if empty, the name of its class in words.
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
        """Return the state at the start of a file; empty for a memoryless effect.

        Args:
            batch_size: number of items.
            parameters: values in physical units at the first sample by name, each of shape (batch,).
        """
        return {}

    def forward(self, audio: Tensor, parameters: dict[str, Tensor], state: State | None = None) -> tuple[Tensor, State]:
        """Process audio (batch, 1, time).

        Args:
            audio: audio of shape (batch, 1, time).
            parameters: values in physical units by name, each of shape (batch,) or (batch, time); with `takes_steps`
                also `Steps` of values (batch, blocks), for the blocks that the audio overlaps.
            state: state after the previous audio of a stream; None to process a whole file offline.

        Returns:
            Audio of the same shape, which lags by `latency` if `state` is given, and the state after it.
        """
        raise NotImplementedError
