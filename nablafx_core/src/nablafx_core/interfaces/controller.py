"""Contract of a controller, the source of a processor's parameters."""

from __future__ import annotations

from torch import Tensor, nn

from nablafx_core.interfaces.declared import ChecksSettings
from nablafx_core.state import State
from nablafx_core.steps import Steps


class Controller(nn.Module, ChecksSettings):
    """Source of the parameters of one processor, each in [0, 1].

    The chain passes `num_parameters` and `num_controls` to the constructor and, if it has such an argument,
    `sample_rate` in Hz, for settings in Hz or seconds.

    Attributes:
        num_parameters: number of its outputs: of the processor's parameters that are not fixed.
        num_controls: number of knobs of the model; 0 if it uses none.
        latency: number of samples by which its stream lags; the chain delays the processor's audio by the same number.
        remembers_position: true if its output depends on the position in the file, as for a `Model`;
            ``initial_state(batch_size, controls=None, start=0)`` then takes `start`.
        reads: audio that it receives: ``"chain"``, the input of the chain; ``"processor"``, the input of its processor;
            ``"key"``, the second input channel of a chain with `key_input`; or the label of an earlier part of the
            chain, for the output of this part.
    """

    latency: int = 0
    remembers_position: bool = False
    reads: str = "chain"

    def __init__(self, num_parameters: int, num_controls: int = 0) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.num_controls = num_controls

    def initial_state(self, batch_size: int, controls: Tensor | None = None) -> State:
        """Return the state at the start of a file; empty if the controller has no memory.

        Args:
            batch_size: number of items.
            controls: knobs at the first sample, (batch, num_controls); None without knobs.
        """
        return {}

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor | Steps, State]:
        """Return the parameters in [0, 1], in the order of the processor's that are not fixed, and the state after it.

        The parameters have the shape (batch, num_parameters) or (batch, num_parameters, time). Parameters that are
        constant within blocks are `Steps` whose values (batch, num_parameters, blocks) cover the `time` samples.

        Args:
            audio: audio that `reads` names, (batch, 1, time); a controller that does not listen uses only its shape.
            controls: knobs of shape (batch, num_controls) or (batch, num_controls, time); None without knobs.
            state: state after the previous audio of a stream; None to process a whole file offline, in which case the
                parameters do not lag by `latency`.
        """
        raise NotImplementedError
