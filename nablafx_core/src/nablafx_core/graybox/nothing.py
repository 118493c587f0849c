"""Controller of processors without driven parameters."""

from __future__ import annotations

from torch import Tensor

from nablafx_core.interfaces import Controller
from nablafx_core.state import State

#: Names of `NoController` in a section.
NOTHING = ("none", "core/none", "nablafx-core/none")


class NoController(Controller):
    """Controller without outputs, for processors that have no parameters or whose parameters are all fixed."""

    def __init__(self, num_controls: int = 0) -> None:
        super().__init__(0, num_controls)

    def forward(
        self, audio: Tensor, controls: Tensor | None = None, state: State | None = None
    ) -> tuple[Tensor, State]:
        """Return an empty tensor, (batch, 0), and an empty state."""
        return audio.new_zeros(audio.shape[0], 0), {}
