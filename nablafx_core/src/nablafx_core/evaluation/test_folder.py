"""Test a model on whole recordings, and write its figures, pictures and audio into a run folder."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nablafx_core.audio.reading import write
from nablafx_core.causes import cause
from nablafx_core.controls import Control
from nablafx_core.evaluation.evaluate import Evaluation, Row, evaluate
from nablafx_core.files import replace_json
from nablafx_core.graybox.description import end_warning, ranges_as_rows
from nablafx_core.graybox.gray_box import GrayBox
from nablafx_core.graybox.observing import StageRange, observed_ranges
from nablafx_core.interfaces import Metric, Model, Recording
from nablafx_core.pictures.chain import draw_chain
from nablafx_core.pictures.plots import plot_prediction

_log = logging.getLogger(__name__)

#: Default number of recordings of which a test keeps a picture and the audio.
MEDIA = 8


def score(
    model: Model,
    recordings: Sequence[Recording],
    metrics: Mapping[str, Metric],
    folder: Path,
    device: torch.device | str | None = None,
    media: int = MEDIA,
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Score a model and write ``test.json``, ``pictures/`` and ``audio/`` into a folder.

    A gray-box chain is also drawn, as ``pictures/chain.png``, and a warning names its learned parameters that stayed at
    an end of their range. Errors are those of `evaluate`.

    Args:
        model: model to test.
        recordings: recordings of the test.
        metrics: metrics by name.
        folder: run folder, which must exist.
        device: device on which to render; the model's own device if None.
        media: number of recordings of which a picture and the audio are kept, evenly chosen from all; if 0, neither
            pictures nor audio are written.
        progress: function that is called with the number of finished samples and their total.
    """
    spread = {round(i * (len(recordings) - 1) / max(1, media - 1)) for i in range(min(media, len(recordings)))}
    kept = {recordings[i].name for i in spread}
    pictures, audio = folder / "pictures", folder / "audio"

    def keep(recording: Recording, prediction: Tensor, target: Tensor) -> None:
        if recording.name not in kept:
            return
        name = re.sub(r"[^\w.+-]", "_", recording.name)
        pictures.mkdir(exist_ok=True)
        plot_prediction(target, prediction, model.sample_rate, pictures / f"{name}.png", recording.name)
        audio.mkdir(exist_ok=True)
        write(audio / f"{name}.prediction.wav", prediction, model.sample_rate)
        write(audio / f"{name}.target.wav", target, model.sample_rate)

    chain = model if isinstance(model, GrayBox) else None
    with ExitStack() as listening:
        seen = listening.enter_context(observed_ranges(chain)) if chain else {}
        evaluation = evaluate(
            model, recordings, metrics, device=device, on_rendered=keep if media else None, progress=progress
        )
    if chain:
        evaluation = replace(evaluation, stages=ranges_as_rows(chain, seen))
        _warn_of_ends(evaluation.stages)
        if media:
            _draw_chain(chain, recordings, seen, pictures)
    replace_json(folder / "test.json", _as_json(evaluation, model.controls))
    return evaluation


def _warn_of_ends(stages: Sequence[Mapping[str, Any]]) -> None:
    """Warn about learned parameters that stayed at an end of their range during the whole test."""
    named = [f"{row['stage']}: {name}, the {end}" for row in stages for name, end in row.get("at_end", {}).items()]
    if named:
        _log.warning("%s", end_warning(named))


def _draw_chain(
    chain: GrayBox, recordings: Sequence[Recording], seen: Mapping[str, StageRange], pictures: Path
) -> None:
    """Draw the chain; warn if that fails, because the figures of the test do not depend on it."""
    try:
        pictures.mkdir(exist_ok=True)
        draw_chain(chain, recordings, seen, pictures / "chain.png")
    except Exception as error:
        _log.warning("chain.png was not drawn (%s). The figures of the test are not affected.", cause(error))


def _as_json(evaluation: Evaluation, controls: Sequence[Control]) -> dict[str, Any]:
    by_setting = evaluation.table("controls") if any(row["controls"] for row in evaluation.files) else []
    stages = {"stages": evaluation.stages} if evaluation.stages else {}
    return {
        "controls": [asdict(control) for control in controls],
        "split": evaluation.split,
        "files": with_settings(evaluation.files, controls),
        "by_setting": with_settings(by_setting, controls),
        **stages,
    }


def with_settings(rows: Sequence[Row], controls: Sequence[Control]) -> list[Row]:
    """Return the rows of an evaluation with ``settings``: each knob's value by its name, in its unit.

    ``controls`` stays unchanged, in [0, 1] and in the order of the knobs. Without knobs, nothing is added.

    Args:
        rows: rows with ``controls``, as in `Evaluation.files`.
        controls: knobs of the model, in the order of ``controls`` in a row.
    """
    return [
        {**row, "settings": {k.name: k.written(v) for k, v in zip(controls, row["controls"], strict=True)}}
        if row["controls"] and controls
        else row
        for row in rows
    ]
