"""Draw a picture of one metric in several runs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

from nablafx_core.pictures.figure import COLOURS, picture
from nablafx_core.runs.metrics_file import Series

_LINES = ("-", "--", ":", "-.")


def plot_compared(curves: Mapping[str, Series], metric: str, path: Path) -> None:
    """Draw a metric over the steps, all runs in the same axes; a ring marks the lowest point of a curve.

    Args:
        curves: values of the metric by the name of the run.
        metric: name of the metric.
        path: path of the PNG file; its folder must exist.
    """
    values = [value for one in curves.values() for value in one.values if math.isfinite(value)]
    with picture(path, height_inches=4.2 + 0.18 * max(0, len(curves) - 8)) as figure:
        axis = figure.subplots()
        axis.set_title(metric, parse_math=False)
        if values and min(values) > 0:
            axis.set_yscale("log")
        for index, (name, one) in enumerate(curves.items()):
            points = [(step, y) for step, y in zip(one.steps, one.values, strict=True) if math.isfinite(y)]
            if not points:
                continue
            steps, heights = zip(*points, strict=True)
            colour, line = COLOURS[index % len(COLOURS)], _LINES[index // len(COLOURS) % len(_LINES)]
            best = heights.index(min(heights))
            shown = name.replace("$", r"\$")
            label = f"{shown}\n{heights[best]:.4g} at step {steps[best]:,}"
            marker = "." if len(steps) < 60 else ""
            axis.plot(steps, heights, color=colour, linestyle=line, linewidth=1.6, marker=marker, label=label)
            axis.plot(steps[best], heights[best], "o", markersize=9, markerfacecolor="none", color=colour)
        axis.grid(visible=True, which="minor", linewidth=0.3)
        axis.set_xlabel("step")
        axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=9)
