"""Nonlinearity defined by a curve through points."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Literal

import torch
from torch import Tensor, nn

from nablafx_core.errors import ModelError
from nablafx_core.marks import Range
from nablafx_dsp.processors.memoryless import Memoryless

Interpolation = Literal["linear", "cubic", "monotone"]


class LookUp(Memoryless):
    """y = f(x), where f is a curve through trained points over evenly spaced inputs, continued as a line beyond them.

    It has no parameters that a controller drives. The inputs are x_k = max_input (2 k / (num_points - 1) - 1) and the
    outputs ``points``, (num_points,). Interpolation:

    - linear: a line;
    - cubic: Hermite's cubic whose slope at a point is that of the chord through its neighbours (Catmull and Rom), so
      that the slope is continuous; it may overshoot;
    - monotone: like cubic, with the harmonic mean of the slopes on both sides, or 0 if their signs differ, so that the
      curve is monotone wherever the points are and does not overshoot. Fritsch and Butland, "A method for constructing
      local monotone piecewise cubic interpolants", SIAM J. Sci. Stat. Comput. 5, 1984.

    Args:
        sample_rate: sample rate in Hz.
        num_points: number of points, 3 or more.
        max_input: input of the last point, above 0.
        interpolation: curve between the points.
        function: function whose values are the initial outputs: x itself, or tanh.

    Raises:
        ModelError: if `num_points` is below 3, or `max_input` is not above 0.
    """

    shape = "nonlinearity"
    title = "look-up curve"

    def __init__(
        self,
        sample_rate: int = 48000,
        num_points: Annotated[int, Range(3, 65_536)] = 33,
        max_input: float = 2.0,
        interpolation: Interpolation = "cubic",
        function: Literal["identity", "tanh"] = "tanh",
    ) -> None:
        super().__init__(sample_rate)
        if num_points < 3 or not max_input > 0:
            raise ModelError(
                f"curve: num_points must be 3 or more and max_input above 0, got {num_points} and {max_input:g}."
            )
        self.max_input, self._slopes = max_input, _SLOPES[interpolation]
        inputs = torch.linspace(-max_input, max_input, num_points)
        self.points = nn.Parameter(inputs.tanh() if function == "tanh" else inputs)

    def effect(self, audio: Tensor) -> Tensor:  # type: ignore[override]
        """Return f of each sample."""
        place = (audio / self.max_input + 1) * ((len(self.points) - 1) / 2)
        interval = place.detach().floor().clamp(0, len(self.points) - 2)
        inside = (place - interval).clamp(0, 1)
        table = self.cubics().to(audio).index_select(0, interval.long().flatten())
        a, b, c, d = table.reshape(*audio.shape, 4).unbind(-1)
        slope = b + inside * (2 * c + inside * (3 * d))
        return a + inside * (b + inside * (c + inside * d)) + slope * (place - interval - inside)

    def cubics(self) -> Tensor:
        """Return a, b, c, d of a + b t + c t^2 + d t^3 for each interval, over which t goes from 0 to 1.

        Returns:
            The coefficients, (num_points - 1, 4).
        """
        rise = self.points.diff()
        if self._slopes is None:
            return torch.stack([self.points[:-1], rise, torch.zeros_like(rise), torch.zeros_like(rise)], dim=-1)
        slopes = self._slopes(rise)
        left, right = slopes[:-1], slopes[1:]
        return torch.stack([self.points[:-1], left, 3 * rise - 2 * left - right, left + right - 2 * rise], dim=-1)


def _chords(rise: Tensor) -> Tensor:
    """Return the slope per interval at each point, (points,), from the rise of each interval, (points - 1,).

    It is that of the chord through the point's neighbours, or that of the only interval beside an end.
    """
    return torch.cat([rise[:1], (rise[:-1] + rise[1:]) / 2, rise[-1:]])


def _harmonic(rise: Tensor) -> Tensor:
    """Return the slope per interval at each point, (points,), from the rise of each interval, (points - 1,).

    It is the harmonic mean of the two rises beside the point, or 0 if their signs differ; for the ends see `_end`.
    """
    left, right = rise[:-1], rise[1:]
    alike = left * right > 0
    inner = torch.where(alike, 2 * left * right / torch.where(alike, left + right, torch.ones_like(left)), 0.0)
    return torch.cat([_end(rise[0], rise[1]), inner, _end(rise[-1], rise[-2])])


def _end(rise: Tensor, following: Tensor) -> Tensor:
    """Return the slope at an end, (1,): that of the parabola through three points, limited to prevent overshoot.

    `rise` is that of the interval at the end, and `following` that of the next interval.
    """
    slope = (3 * rise - following) / 2
    slope = torch.where(slope * rise <= 0, torch.zeros_like(rise), slope)
    steep = (rise * following <= 0) & (slope.abs() > 3 * rise.abs())
    return torch.where(steep, 3 * rise, slope)[None]


_SLOPES: dict[str, Callable[[Tensor], Tensor] | None] = {"linear": None, "cubic": _chords, "monotone": _harmonic}
