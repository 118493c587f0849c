"""Draw a picture of a gray-box chain: the effect of each stage on the audio, and its parameters."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import SubFigure

from nablafx_core.graybox.gray_box import GrayBox
from nablafx_core.graybox.naming import labelled_stages
from nablafx_core.graybox.observing import StageRange
from nablafx_core.interfaces import Recording
from nablafx_core.pictures.excerpts import Excerpt, excerpts
from nablafx_core.pictures.figure import COLOURS, picture
from nablafx_core.pictures.stage_panel import GAP, LINE, PLAIN, TITLE, StagePanel, write_lines


def draw_chain(model: GrayBox, recordings: Sequence[Recording], seen: Mapping[str, StageRange], path: Path) -> None:
    """Draw a chain at work on test recordings, computed in float64 on the CPU.

    Args:
        model: chain, which is not changed.
        recordings: recordings of the test; at most three settings of the knobs are drawn.
        seen: range of the input of each stage in the test, by its place.
        path: path of the PNG file.
    """
    wide = copy.deepcopy(model).cpu().double().eval()
    plot_chain(wide, excerpts(wide, recordings), {place: one.audio.ends() for place, one in seen.items()}, path)


def plot_chain(
    model: GrayBox,
    shown: Sequence[Excerpt],
    reached: Mapping[str, tuple[float, float] | None],
    path: Path,
) -> None:
    """Draw a panel for each stage, in the chain's order.

    The panel of a filter shows its magnitude and phase at the chain's sample rate, that of a nonlinearity its transfer
    curve. Parameters are written in their units, and moving ones are drawn over time. Curves that depend on the knobs
    are drawn for each excerpt in its own colour; curves that move, at the 5 %, 50 % and 95 % points of the parameter
    that moves most.

    Args:
        model: chain in eval mode and float64, on the CPU.
        shown: excerpts of recordings at different settings.
        reached: lowest and highest input of each stage in the test, by its place.
        path: path of the PNG file.
    """
    panels = [StagePanel(place, stage, shown, reached.get(place)) for place, stage in labelled_stages(model)]
    header = TITLE + LINE * len(shown) + GAP
    heights = [header, *(panel.height for panel in panels)]
    with picture(path, height_inches=sum(heights)) as figure:
        layout: Any = figure.get_layout_engine()
        layout.set(h_pad=0.03, w_pad=0.06)
        parts = figure.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0]
        _draw_header(parts[0], model, shown)
        for part, panel in zip(parts[1:], panels, strict=True):
            panel.draw(part)


def _draw_header(part: SubFigure, model: GrayBox, shown: Sequence[Excerpt]) -> None:
    part.suptitle(f"The chain at {model.sample_rate:,} Hz", x=0.006, ha="left", weight="bold")
    lines = []
    for excerpt, colour in zip(shown, COLOURS, strict=False):
        start, end = (at / model.sample_rate for at in (excerpt.start, excerpt.start + len(excerpt.audio)))
        where = f"recording {excerpt.recording}, {start:.2f} to {end:.2f} s"
        words = f"{excerpt.setting} ({where})" if excerpt.setting else where
        lines.append((words, colour if len(shown) > 1 else PLAIN))
    write_lines(part.subplots(), lines)
