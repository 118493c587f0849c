"""Draw one stage of a chain: its response or transfer curve, its parameters, and their motion over time."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import SubFigure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import LogLocator, MaxNLocator, NullLocator
from numpy.typing import NDArray

from nablafx_core.controls import Parameter
from nablafx_core.graybox.naming import called, quantity, title_of
from nablafx_core.graybox.observing import moves
from nablafx_core.graybox.stage import Stage
from nablafx_core.pictures.excerpts import Excerpt
from nablafx_core.pictures.figure import COLOURS
from nablafx_core.pictures.plots import envelope
from nablafx_core.scoring.responses import LOWEST_HZ, Parameters, frequency_response, transfer_curve

PLAIN = "#222222"
"""Colour of text and curves that are the same at every setting."""

_POSITIONS = ((0.05, "low", ":"), (0.5, "median", "-"), (0.95, "high", "--"))
_SHOWN_DB = 60.0  # below the highest level of a response
_UNBROKEN = "\N{NO-BREAK SPACE}"
_LINE_WIDTH = 118  # number of characters in a line of text
TITLE, LINE, GAP = 0.3, 0.18, 0.2  # inches
_PANEL, _OVER_TIME, _ENVELOPE, _AXIS = 2.2, 0.95, 0.65, 0.4


def write_lines(axis: Axes, lines: Sequence[tuple[str, str]]) -> None:
    """Write lines of text, one below the other, each in its colour."""
    axis.set_axis_off()
    for number, (text, colour) in enumerate(lines):
        axis.text(
            0.0, 1 - (number + 0.5) / len(lines), text, color=colour, fontsize=9, va="center",
            transform=axis.transAxes, parse_math=False, clip_on=True,
        )  # fmt: skip


@dataclass(frozen=True)
class _Position:
    """Constant parameters for one curve, and the look of the curve."""

    parameters: Parameters
    colour: str
    style: str = "-"
    label: str = ""


class StagePanel:
    """Panel of one stage.

    Args:
        place: place of the stage in the chain.
        stage: stage to draw.
        shown: excerpts of recordings.
        reached: lowest and highest input of the stage in the test; None if unknown.
    """

    def __init__(self, place: str, stage: Stage, shown: Sequence[Excerpt], reached: tuple[float, float] | None) -> None:
        self.stage, self.shape, self.reached = stage, stage.processor.shape, reached
        self.title, self.rate = title_of(place, stage), stage.processor.sample_rate
        self.parameters = {parameter.name: parameter for parameter in stage.processor.effect_parameters}
        curves = [{name: excerpt.parameters[place][name].numpy() for name in self.parameters} for excerpt in shown]
        if all(_alike(curves[0], other) for other in curves[1:]):
            shown, curves = shown[:1], curves[:1]
        self.shown, self.curves = shown, curves
        self.colours = [PLAIN] if len(curves) == 1 else list(COLOURS[: len(curves)])
        self.moving = [self.parameters[name] for name in self.parameters if any(name in _moving(c) for c in curves)]
        self.lines = [
            (line, colour) for one, colour in zip(curves, self.colours, strict=True) for line in self._words(one)
        ]

    @property
    def groups(self) -> list[list[Parameter]]:
        """Moving parameters, grouped by unit and curve."""
        found: dict[tuple[str, str], list[Parameter]] = {}
        for parameter in self.moving:
            found.setdefault((parameter.unit, parameter.curve), []).append(parameter)
        return list(found.values())

    @property
    def sections(self) -> list[float]:
        """Heights in inches of the lines of text, the panel of the shape, the parameters over time, and a gap."""
        panel = [_PANEL + _AXIS] if self.shape in _SHAPES and self.curves else []
        titles = TITLE if len(self.shown) > 1 else 0.0
        over_time = [titles + _OVER_TIME * len(self.groups) + _ENVELOPE + _AXIS] if self.moving else []
        return [max(0.01, LINE * len(self.lines)), *panel, *over_time, GAP]

    @property
    def height(self) -> float:
        """Height of the panel in inches."""
        return TITLE + sum(self.sections)

    def draw(self, part: SubFigure) -> None:
        """Draw the panel into a part of a figure."""
        part.suptitle(self.title, x=0.006, ha="left", weight="bold", size=10, parse_math=False)
        grid = part.add_gridspec(len(self.sections), 1, height_ratios=self.sections)
        write_lines(part.add_subplot(grid[0]), self.lines)
        if self.shape in _SHAPES and self.curves:
            axes = grid[1].subgridspec(1, 2).subplots()
            _SHAPES[self.shape](self, axes, self._positions())
        if self.moving:
            _draw_over_time(self, grid[-2])

    def _words(self, curves: Mapping[str, NDArray[np.float64]]) -> list[str]:
        words = []
        for name, curve in curves.items():
            low, high, unit = float(curve.min()), float(curve.max()), self.parameters[name].unit
            value = f"{quantity(low)} to {quantity(high, unit)}" if moves(low, high) else quantity(low, unit)
            end = self.stage.at_end(name, low, high)
            value += f" ({end} of its range)" if end else ""
            words.append(f"{called(self.parameters[name])} {value}".replace(" ", _UNBROKEN))
        lines = textwrap.wrap(", ".join(words), _LINE_WIDTH, break_on_hyphens=False)
        return [line.replace(_UNBROKEN, " ") for line in lines]

    def _positions(self) -> list[_Position]:
        found = []
        leading = max(self.moving, key=self._travel, default=None)
        for curves, colour in zip(self.curves, self.colours, strict=True):
            if leading is None or not _moving(curves):
                found.append(_Position({name: float(curve.flat[0]) for name, curve in curves.items()}, colour))
                continue
            order = np.argsort(np.atleast_1d(curves[leading.name]))
            for share, label, style in _POSITIONS:
                moment = order[round(share * (len(order) - 1))]
                at = {name: float(curve[moment] if curve.ndim else curve) for name, curve in curves.items()}
                if len(self.curves) == 1:
                    label = f"{label}: {called(leading)} {quantity(at[leading.name], leading.unit)}"
                else:
                    label = f"{label} {called(leading)}"
                found.append(_Position(at, colour, style, label))
        return found

    def _travel(self, parameter: Parameter) -> float:
        """Return the largest fraction of its range that a parameter covers in an excerpt."""
        ends = [(float(one[parameter.name].min()), float(one[parameter.name].max())) for one in self.curves]
        most = max(parameter.to_unit(high) - parameter.to_unit(low) for low, high in ends)
        return round(most, 6)  # so that the first of several equal parameters is chosen


def _moving(curves: Mapping[str, NDArray[np.float64]]) -> list[str]:
    return [name for name, curve in curves.items() if curve.ndim and moves(float(curve.min()), float(curve.max()))]


def _alike(one: Mapping[str, NDArray[np.float64]], other: Mapping[str, NDArray[np.float64]]) -> bool:
    """Return true if all parameters are equal, at every sample if they move."""
    return all(one[name].shape == other[name].shape and np.allclose(one[name], other[name], 1e-5) for name in one)


def _draw_filter(panel: StagePanel, axes: Any, positions: Sequence[_Position]) -> None:
    frequencies, response, phases = frequency_response(panel.stage.processor, [one.parameters for one in positions])
    levels = 20 * np.log10(np.abs(response).clip(min=1e-15))
    for one, level, phase in zip(positions, levels, phases, strict=True):
        look: Any = {"color": one.colour, "linestyle": one.style, "linewidth": 1.5, "label": one.label}
        axes[0].plot(frequencies, level, **look)
        axes[1].plot(frequencies, phase, **look)
    top, bottom = float(levels.max()), float(levels.min())
    axes[0].set_ylim(max(bottom, top - _SHOWN_DB) - 1, top + 1)
    _at_least(axes[0], 6.0)
    _at_least(axes[1], 10.0)
    for axis, label in zip(axes, ("magnitude in dB", "phase in degrees"), strict=True):
        axis.set_xscale("log")
        axis.set_xlim(LOWEST_HZ, panel.rate / 2)
        axis.xaxis.set_major_formatter(plain_number)
        axis.set_xlabel("frequency in Hz")
        axis.set_ylabel(label)
    _legend(axes[1], plain=len(panel.curves) > 1)


def _draw_nonlinearity(panel: StagePanel, axes: Any, positions: Sequence[_Position]) -> None:
    low, high = panel.reached or (-1.0, 1.0)
    low, high = min(low, -1.0), max(high, 1.0)
    inputs, outputs = transfer_curve(panel.stage.processor, [one.parameters for one in positions], low, high)
    axis = axes[0]
    axes[1].set_axis_off()
    if panel.reached:
        label = f"range in the test,\n{quantity(panel.reached[0])} to {quantity(panel.reached[1])}"
        axis.axvspan(*panel.reached, color="#eeeeee", zorder=0, label=label)
    axis.plot(inputs, inputs, color="#999999", linewidth=0.8, label="output = input")
    for one, output in zip(positions, outputs, strict=True):
        axis.plot(inputs, output, color=one.colour, linestyle=one.style, linewidth=1.5, label=one.label)
    axis.set_xlim(low, high)
    margin = 0.05 * float(outputs.max() - outputs.min())
    axis.set_ylim(float(outputs.min()) - margin, float(outputs.max()) + margin)
    _at_least(axis, 0.1)
    axis.locator_params(axis="x", nbins=7)
    axis.set_xlabel("input")
    axis.set_ylabel("output")
    _legend(axis)


_SHAPES = {"filter": _draw_filter, "nonlinearity": _draw_nonlinearity}


def _draw_over_time(panel: StagePanel, place: SubplotSpec) -> None:
    """Draw a column for each excerpt: a row for each group of parameters, and the envelope of the dry audio below."""
    groups, columns = panel.groups, len(panel.shown)
    heights = [*[_OVER_TIME] * len(groups), _ENVELOPE]
    grid: Any = place.subgridspec(len(heights), columns, height_ratios=heights)
    axes: Any = grid.subplots(sharex="col", sharey="row", squeeze=False)
    for column, (excerpt, curves, colour) in enumerate(zip(panel.shown, panel.curves, panel.colours, strict=True)):
        if excerpt.setting and columns > 1:
            title = "\n".join(textwrap.wrap(excerpt.setting, 110 // columns))
            axes[0, column].set_title(title, color=colour, size=9, parse_math=False)
        seconds = (excerpt.start + np.arange(len(excerpt.audio))) / panel.rate
        for row, group in enumerate(groups):
            for parameter, line_colour in zip(group, _line_colours(colour, len(group)), strict=True):
                values = np.broadcast_to(curves[parameter.name], seconds.shape)
                axes[row, column].plot(seconds, values, color=line_colour, linewidth=1, label=called(parameter))
        peaks, low, high = envelope(excerpt.audio, panel.rate)
        axes[-1, column].fill_between(excerpt.start / panel.rate + peaks, low, high, color="#888888", linewidth=0.5)
        axes[-1, column].set_xlim(seconds[0], seconds[-1])
        axes[-1, column].set_xlabel("time in s")
    for row, group in enumerate(groups):
        _dress_group(axes[row], group)
    axes[-1, 0].set_ylabel("dry", fontsize=9)
    axes[-1, 0].tick_params(axis="y", labelsize=8)


def _dress_group(axes: Sequence[Axes], group: Sequence[Parameter]) -> None:
    first, unit = axes[0], f" in {group[0].unit}" if group[0].unit else ""
    if group[0].curve == "log":
        first.set_yscale("log")
        low, high = first.get_ylim()
        decades = LogLocator(subs=(1.0,) if high > 50 * low else (1.0, 2.0, 5.0))
        first.yaxis.set_major_locator(MaxNLocator(3) if high < 5 * low else decades)
        first.yaxis.set_minor_locator(NullLocator())
        first.yaxis.set_major_formatter(plain_number)
    else:
        first.locator_params(axis="y", nbins=4)
    first.tick_params(axis="y", labelsize=8)
    first.set_ylabel(f"{called(group[0])}{unit}" if len(group) == 1 else unit.strip(), fontsize=9, parse_math=False)
    if len(group) > 1:
        axes[-1].legend(loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8, labelspacing=0.2)


def _line_colours(colour: str, count: int) -> Sequence[str]:
    """Return the colour of the excerpt for one line, or different colours for several lines."""
    return [colour] if count == 1 else [COLOURS[i % len(COLOURS)] for i in range(count)]


def plain_number(value: float, _: Any = None) -> str:
    """Return the label of a tick without exponent: ``1k`` for 1000."""
    return f"{value:g}" if abs(value) < 1000 else f"{value / 1000:g}k"


def _at_least(axis: Axes, span: float) -> None:
    """Widen the vertical axis to at least `span`, so that rounding errors do not look like a response."""
    low, high = axis.get_ylim()
    if high - low < span:
        axis.set_ylim((low + high - span) / 2, (low + high + span) / 2)


def _legend(axis: Axes, plain: bool = False) -> None:
    """Add a legend on the right with one entry per label; `plain` if the entries apply to curves of every colour."""
    handles, labels = axis.get_legend_handles_labels()
    first = dict(zip(reversed(labels), reversed(handles), strict=True))
    if not first:
        return
    legend = axis.legend(
        [*first.values()][::-1], [*first][::-1], loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=8
    )
    for line in legend.get_lines() if plain else ():
        line.set_color(PLAIN)
