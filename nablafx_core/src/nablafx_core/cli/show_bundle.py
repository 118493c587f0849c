"""Describe a trained model, for ``nablafx show``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nablafx_core.bundles.bundle import describe_bundle
from nablafx_core.bundles.loading import bundle_path, load
from nablafx_core.commands import table
from nablafx_core.errors import BundleError
from nablafx_core.graybox import GrayBox, describe
from nablafx_core.graybox.description import end_warning
from nablafx_core.graybox.naming import labelled_stages, quantity, setting_in_words, title_of
from nablafx_core.playing.render_file import control_values


def described_bundle(name: str, controls: Mapping[str, str]) -> dict[str, Any]:
    """Return the description of a bundle, with the learned parameters of a gray-box chain.

    Args:
        name: path of a bundle or of a run's folder.
        controls: values of knobs that are not at their defaults, in their units.

    Returns:
        The description. ``learned`` has ``knobs``, in words, and ``stages``, a row for each parameter: ``stage``,
        ``parameter``, ``value`` (None if it follows the audio), ``unit``, ``seen``, its smallest and largest value in
        the test after the training, if known, and ``at_end`` if it is at an end of its range. A stage without
        parameters has a row with the number of its ``weights``.

    Raises:
        BundleError: if the file is not a bundle, or if its model cannot be built.
        ModelError: if a knob does not exist, or if a value is outside its range.
    """
    path = bundle_path(name)
    if path is None:
        raise BundleError(f"{name}: no such file.")
    description = describe_bundle(path)
    model = load(path)
    units = control_values(model, controls)
    if isinstance(model, GrayBox):
        info = description.get("info")
        tested = info.pop("stages", None) if isinstance(info, dict) else None
        knobs = setting_in_words(model.controls, [] if units is None else units[0].tolist())
        rows = _learned(model, None if units is None else units[0], _ranges_in_test(tested))
        description["learned"] = {"knobs": knobs, "stages": rows}
    return description


def _learned(model: GrayBox, controls: Any, seen: Mapping[tuple[str, str], Any]) -> list[dict[str, Any]]:
    rows: dict[str, list[dict[str, Any]]] = {title_of(place, stage): [] for place, stage in labelled_stages(model)}
    for one in describe(model, controls):
        row = {"stage": one.stage, "parameter": one.parameter, "value": one.value, "unit": one.unit}
        ends = seen.get((one.stage, one.parameter))
        at_end = {"at_end": one.at_end} if one.at_end else {}
        rows[one.stage].append(row | ({"seen": ends} if ends else {}) | at_end)
    for place, stage in labelled_stages(model):
        weights = sum(weight.numel() for weight in stage.processor.parameters())
        if not rows[title_of(place, stage)] or weights:
            rows[title_of(place, stage)].append({"stage": title_of(place, stage), "weights": weights})
    return [row for of_stage in rows.values() for row in of_stage]


def _ranges_in_test(tested: Any) -> dict[tuple[str, str], Any]:
    """Return the ranges of parameters by stage and parameter, from the record of a bundle's test."""
    rows = tested if isinstance(tested, list) else []
    return {
        (row["stage"], name): ends
        for row in rows
        if isinstance(row, dict) and isinstance(row.get("parameters"), dict) and "stage" in row
        for name, ends in row["parameters"].items()
        if isinstance(ends, list) and len(ends) == 2
    }


def learned_table(learned: Mapping[str, Any]) -> str:
    """Format the learned parameters as a table; only the first line of a stage has its name."""
    rows, before = [], ""
    for row in learned["stages"]:
        stage = "" if row["stage"] == before else row["stage"]
        before = row["stage"]
        if "weights" in row:
            rows.append((stage, "", f"{row['weights']:,} weights" if row["weights"] else "nothing to learn", ""))
            continue
        value = "follows the audio" if row["value"] is None else quantity(row["value"], row["unit"])
        value += f" ({row['at_end']})" if "at_end" in row else ""
        rows.append((stage, row["parameter"], value, _range(row)))
    knobs = f"With {learned['knobs']}:\n" if learned["knobs"] else ""
    ends = [f"{row['stage']}: {row['parameter']}, the {row['at_end']}" for row in learned["stages"] if "at_end" in row]
    warning = f"\n{end_warning(ends)}" if ends else ""
    return knobs + table(rows, ("STAGE", "PARAMETER", "VALUE", "IN THE TEST")) + warning


def _range(row: Mapping[str, Any]) -> str:
    if "seen" not in row:
        return ""
    low, high = row["seen"]
    return quantity(low, row["unit"]) if low == high else f"{quantity(low)} to {quantity(high, row['unit'])}"
