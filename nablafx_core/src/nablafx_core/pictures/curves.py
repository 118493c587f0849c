"""Draw a picture of the losses and metrics of a training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from nablafx_core.errors import RunError
from nablafx_core.pictures.figure import COLOURS, picture
from nablafx_core.runs.records import RunRecord
from nablafx_core.scoring.labels import labels_of_losses

Points = Sequence[tuple[float, float]]

_SMOOTHED = 60  # if there are more training values, they are drawn faint, with their running mean


def draw_curves(folder: Path) -> None:
    """Draw the losses and metrics that a run has recorded so far into ``pictures/losses.png`` of its folder.

    If there is a single loss with weight 1, only the total is drawn, which is equal to it.
    """
    record = RunRecord.read(folder)
    series = {
        name: list(zip(one.steps, one.values, strict=True))
        for name, one in record.metrics.items()
        if name.startswith(("train/", "validation/"))
    }
    pictures = folder / "pictures"
    pictures.mkdir(exist_ok=True)
    try:
        losses = record.config.get("loss") or []
    except RunError:
        losses = []
    labels = labels_of_losses(losses)
    if (
        len(labels) == 1 and losses[0].get("weight", 1) == 1
    ):  # the part equals the sum, so one curve would hide the other
        (part,) = labels
        series = {name: points for name, points in series.items() if name not in _names_of_part(part)}
    plot_losses(series, pictures / "losses.png", labels)


def _names_of_part(part: str) -> tuple[str, str]:
    """Return the names under which a part of the loss is recorded, in training and in validation."""
    return f"train/{part}", f"validation/loss/{part}"


def plot_losses(series: Mapping[str, Points], path: Path, labels: Mapping[str, str] = MappingProxyType({})) -> None:
    """Draw losses, and metrics of the validation below them, over the steps, on logarithmic axes.

    Training and validation of one quantity have the same colour: training is a dashed line, validation a solid one. A
    ring marks the lowest validation loss.

    Args:
        series: (step, value) pairs by name: ``train/loss`` and ``train/PART``; ``validation/loss``,
            ``validation/loss/PART`` and ``validation/METRIC``. Values that are not positive and finite are left out.
        path: path of the PNG file.
        labels: labels of parts of the loss, by name; see `labels_of_losses`.
    """
    groups: dict[str, dict[str, dict[str, Points]]] = {"loss": {}, "validation": {}}
    for name, points in series.items():
        part, _, quantity = name.partition("/")
        is_loss = part == "train" or quantity == "loss" or quantity.startswith("loss/")
        panel = groups["loss" if is_loss else "validation"]
        part_of_loss = quantity.removeprefix("loss/")
        label = f"loss {labels.get(part_of_loss, part_of_loss)}" if is_loss else f"metric {quantity}"
        panel.setdefault("loss" if quantity == "loss" else label, {})[part] = points
    panels = {title: group for title, group in groups.items() if group}
    with picture(path, height_inches=0.6 + 4.2 * max(1, len(panels))) as figure:
        axes = figure.subplots(max(1, len(panels)), 1, sharex=True, squeeze=False)[:, 0]
        for axis, (title, group) in zip(axes, panels.items(), strict=False):
            axis.set_title("Training losses" if title == "loss" else "Metrics of the validation")
            _draw(axis, group)
        axes[-1].set_xlabel("step")


def _draw(axis: Axes, group: Mapping[str, Mapping[str, Points]]) -> None:
    axis.set_yscale("log")
    for index, (quantity, parts) in enumerate(group.items()):
        colour = COLOURS[index % len(COLOURS)]
        if "train" in parts:
            _draw_training(axis, _drawable(parts["train"]), colour, f"{quantity}, training")
        if "validation" in parts:
            steps, values = _drawable(parts["validation"])
            label = f"{quantity}, validation"
            axis.plot(steps, values, color=colour, linewidth=2, marker=".", markersize=5, label=label)
            if quantity == "loss" and len(steps):
                _ring_lowest(axis, steps, values)
    axis.grid(visible=True, which="minor", linewidth=0.3)
    axis.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))


def _drawable(points: Points) -> NDArray[np.float64]:
    good = [(step, value) for step, value in points if math.isfinite(value) and value > 0]
    steps_and_values: NDArray[np.float64] = np.array(good, dtype=np.float64).reshape(-1, 2).T
    return steps_and_values


def _draw_training(axis: Axes, points: NDArray[np.float64], colour: str, label: str) -> None:
    steps, values = points
    if len(steps) <= _SMOOTHED:
        axis.plot(steps, values, color=colour, linewidth=1, linestyle="--", label=label)
        return
    axis.plot(steps, values, color=colour, linewidth=0.6, alpha=0.25)
    width = len(steps) // (_SMOOTHED // 2)
    kernel = np.ones(width) / width
    mean = np.exp(np.convolve(np.log(values), kernel, mode="valid"))
    axis.plot(np.convolve(steps, kernel, mode="valid"), mean, color=colour, linewidth=1, linestyle="--", label=label)


def _ring_lowest(axis: Axes, steps: NDArray[np.float64], values: NDArray[np.float64]) -> None:
    best = int(np.argmin(values))
    label = f"lowest: {values[best]:.3g}\nat step {steps[best]:,.0f}"
    axis.plot(steps[best], values[best], "o", markersize=11, markerfacecolor="none", color="#000000", label=label)
