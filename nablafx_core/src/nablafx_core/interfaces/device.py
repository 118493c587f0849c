"""Contract of a ground-truth effect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from nablafx_core.controls import Control
from nablafx_core.interfaces.declared import ChecksSettings


class Device(ChecksSettings):
    """A ground-truth effect with knobs that renders audio for synthetic data, for example a circuit.

    Attributes:
        controls: knobs of the effect.
    """

    controls: tuple[Control, ...] = ()

    def render(self, audio: Any, sample_rate: int, controls: Sequence[float] = ()) -> Any:
        """Render a mono signal.

        Args:
            audio: float64 array of shape (time,), full scale ±1.
            sample_rate: sample rate in Hz.
            controls: one value in [0, 1] per knob.

        Returns:
            A float64 array of shape (time,).
        """
        raise NotImplementedError
