"""The contract of a controller: the source of a processor's parameters."""

from __future__ import annotations

from torch import Tensor, nn

from nablafx_core.interfaces.declared import ChecksSettings
from nablafx_core.state import State
from nablafx_core.steps import Steps


class Controller(nn.Module, ChecksSettings):
    """Yields the parameters of one processor, each in [0, 1].

    A constructor that has an argument `sample_rate`, for what is set in Hz or seconds, is given the chain's.

    Attributes:
        num_parameters: of the processor that it drives.
        num_controls: knobs of the model.
        latency: samples by which its stream lags; the chain delays the processor's audio by as much.
        remembers_position: as of a `Model`; ``initial_state(batch_size, controls=None, start=0)`` then takes `start`.
        reads: which audio it receives: ``"chain"``, the chain's input; ``"processor"``, that of its processor; or the
            label of something before it. See `GrayBox`.
    """

    latency: int = 0
    remembers_position: bool = False
    reads: str = "chain"

    def __init__(self, num_parameters: int, num_controls: int = 0) -> None:
        super().__init__()
        self.num_parameters = num_parameters
        self.num_controls = num_controls

    def initial_state(self, batch_size: int, controls: Tensor | None = None) -> State:
        """The state at the start of a file. Empty where the controller has no memory."""
        return {}

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor | Steps, State]:
        """Parameters in [0, 1], and the state.

        They are (batch, num_parameters), (batch, num_parameters, time) or, where they stand still for blocks, `Steps`
        of values (batch, num_parameters, blocks) that cover the `time` samples.

        Args:
            audio: (batch, 1, time), for its shape or as a side chain.
            controls: (batch, num_controls) or (batch, num_controls, time); None without knobs.
            state: None at the start of a file.
        """
        raise NotImplementedError
