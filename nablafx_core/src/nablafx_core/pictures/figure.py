"""The common style of all pictures, and how they are written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axis import Tick
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from nablafx_core.files import replacing

DPI = 120  # sharp on a screen, under 200 kB as PNG
WIDTH_INCHES = 10.0
"""Width of every picture in inches: 1,200 pixels."""

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Colours that can be distinguished with any colour vision: Okabe and Ito, "Color universal design", 2008."""

_STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#dddddd",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.titlesize": 12,
    "figure.titleweight": "bold",
}


@contextmanager
def picture(path: Path, height_inches: float) -> Iterator[Figure]:
    """Give a figure to draw on, 1,200 pixels wide, and write it to `path` as PNG at the end of the block.

    The file is written atomically; its folder must exist.
    """
    with matplotlib.rc_context(_STYLE):
        figure = Figure(figsize=(WIDTH_INCHES, height_inches), dpi=DPI, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure
        _make_printable(figure)
        with replacing(path) as temporary:
            figure.savefig(temporary, format="png")


def _make_printable(figure: Figure) -> None:
    """Show names literally: do not parse ``$…$`` as a formula, except in tick labels, and replace invalid UTF-8."""
    labels = {id(label) for tick in figure.findobj(Tick) for label in (tick.label1, tick.label2)}
    for text in figure.findobj(Text):
        if id(text) not in labels:
            text.set_parse_math(False)
        shown = text.get_text().encode("utf-8", "replace").decode()
        if shown != text.get_text():
            text.set_text(shown)
