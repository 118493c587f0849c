"""Draw curves as one line of text each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from nablafx_core.runs.metrics_file import Series

_BLOCKS = "▁▂▃▄▅▆▇█"
_PLAIN = "_.:-=+*#"
_WIDTH = 50  # characters, so that two labels fit beside it


@dataclass(frozen=True)
class Chart:
    """Axes that several curves share.

    Attributes:
        first_step: step at the left end.
        last_step: step at the right end.
        low: value of the lowest block.
        high: value of the highest block.
        blocks: characters of the heights, from low to high.
    """

    first_step: int
    last_step: int
    low: float
    high: float
    blocks: str

    @classmethod
    def of(cls, curves: Sequence[Series], encoding: str) -> Chart:
        """Return axes that include all values of some curves; in ASCII if the encoding has no block characters."""
        steps = [step for one in curves for step in one.steps] or [0]
        values = [value for one in curves for value in one.values if math.isfinite(value)] or [1.0]
        try:
            _BLOCKS.encode(encoding)
        except (UnicodeEncodeError, LookupError):
            return cls(min(steps), max(steps), min(values), max(values), _PLAIN)
        return cls(min(steps), max(steps), min(values), max(values), _BLOCKS)

    @property
    def logarithmic(self) -> bool:
        """True if heights are logarithms, because all values are positive."""
        return self.low > 0

    def scale(self) -> str:
        """Describe the axes in words."""
        how = ", logarithmic" if self.logarithmic else ""
        return f"steps {self.first_step:,} to {self.last_step:,}, values {self.low:.4g} to {self.high:.4g}{how}"

    def line(self, curve: Series) -> str:
        """Return a curve as text: the mean over each piece of the steps; "x" for NaN or infinity, blank outside it."""
        pieces: list[list[float]] = [[] for _ in range(_WIDTH)]
        for step, value in zip(curve.steps, curve.values, strict=True):
            place = (step - self.first_step) / max(1, self.last_step - self.first_step)
            pieces[min(_WIDTH - 1, int(place * _WIDTH))].append(value)
        filled = [index for index, piece in enumerate(pieces) if piece]
        cells, current = [], " "
        for index, piece in enumerate(pieces):
            current = self._cell(piece) if piece else current
            cells.append(current if filled and filled[0] <= index <= filled[-1] else " ")
        return "".join(cells)

    def lowest(self, curve: Series) -> tuple[int, float] | None:
        """Return step and value of the lowest point of a curve; None if it has no finite value."""
        points = [pair for pair in zip(curve.steps, curve.values, strict=True) if math.isfinite(pair[1])]
        return min(points, key=lambda pair: pair[1], default=None)

    def _cell(self, values: Sequence[float]) -> str:
        finite = [self._height(value) for value in values if math.isfinite(value)]
        if not finite:
            return "x"
        low, high = self._height(self.low), self._height(self.high)
        place = (sum(finite) / len(finite) - low) / (high - low) if high > low else 0.0
        place = place if math.isfinite(place) else 0.0  # NaN or infinite if the values are extremely far apart
        return self.blocks[min(len(self.blocks) - 1, max(0, int(place * len(self.blocks))))]

    def _height(self, value: float) -> float:
        return math.log(value) if self.logarithmic else value
