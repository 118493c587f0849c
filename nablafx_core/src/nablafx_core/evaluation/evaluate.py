"""Score a model on whole recordings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from nablafx_core.data.levels import SILENT
from nablafx_core.errors import DataError, ModelError
from nablafx_core.evaluation.rendering import WARM_UP_SECONDS, rendered
from nablafx_core.interfaces import Metric, Model, Recording
from nablafx_core.interfaces.dataset import read_channels
from nablafx_core.playing.blocks import regrouped
from nablafx_core.scoring.metrics import PIECE

_SILENT_SAMPLES = 2400  # length of the pieces of the target in which silence is detected
_NOTED = 0.2  # smallest fraction of silence in a target that is reported

Row = dict[str, Any]
OnRendered = Callable[[Recording, Tensor, Tensor], None]


@dataclass(frozen=True)
class Evaluation:
    """Figures of merit of a split and of its recordings.

    Args:
        split: figure of each metric over all scored samples.
        files: one row per recording: ``name``, ``source``, ``controls``, ``samples`` and the metrics; also
            ``silent_samples``, the number of samples of the target in silent pieces of 2,400 samples, if there are
            any. If the whole target is silent, metrics that need a signal are NaN.
        stages: ranges of the stages of a gray-box chain during the test: see
            `nablafx_core.graybox.description.ranges_as_rows`; empty for other models.
    """

    split: dict[str, float]
    files: list[Row]
    _metrics: Mapping[str, Metric] = field(repr=False)
    _sums: list[dict[str, Tensor]] = field(repr=False)
    stages: list[Row] = field(default_factory=list)

    def table(self, by: Literal["controls", "source"]) -> list[Row]:
        """Return one row per setting of the knobs, or per dry signal: the key, ``files``, ``samples`` and the metrics.

        ``files`` is the number of recordings. Rows are in the order in which their first recording was scored.
        """
        groups: dict[Any, list[int]] = {}
        for index, row in enumerate(self.files):
            groups.setdefault(row[by], []).append(index)
        return [
            {by: key, "files": len(members), "samples": sum(self.files[i]["samples"] for i in members)}
            | self._figures(members)
            for key, members in groups.items()
        ]

    def interval(self, metric: str, confidence: float = 0.95, resamples: int = 2000) -> tuple[float, float]:
        """Return a confidence interval of the split's figure, by the percentile bootstrap over its recordings.

        It shows how much the figure depends on the choice of recordings in the split; with one recording its length
        is 0. Efron and Tibshirani, "An Introduction to the Bootstrap", 1993.

        Args:
            metric: name of the metric.
            confidence: confidence level, between 0 and 1.
            resamples: number of random choices of recordings; they are the same in each call.

        Returns:
            Lower and upper end of the interval.
        """
        sums = torch.stack([file[metric] for file in self._sums])
        drawn = torch.randint(len(sums), (resamples, len(sums)), generator=torch.Generator().manual_seed(0))
        values = torch.tensor([self._metrics[metric].value(sums[index].sum(dim=0)) for index in drawn])
        low, high = values.double().quantile(torch.tensor([0.5 - confidence / 2, 0.5 + confidence / 2]).double())
        return float(low), float(high)

    def remarks(self, sample_rate: int) -> Iterator[str]:
        """Yield a message for each target that is silent, completely or for at least a fifth of its length.

        Args:
            sample_rate: sample rate of the recordings in Hz.
        """
        undefined = ", ".join(name for name, metric in self._metrics.items() if metric.needs_signal)
        for row in self.files:
            silent, total = (count / sample_rate for count in (row.get("silent_samples", 0), row["samples"]))
            if silent == total:
                told = f"; {undefined} cannot be computed for it" if undefined else ""
                yield f"{row['name']}: its target is silent{told}. Check the wet file."
            elif silent >= _NOTED * total:
                yield f"{row['name']}: its target is silent for {silent:.1f} of {total:.1f} s. Check the wet file."

    def _figures(self, members: Sequence[int]) -> dict[str, float]:
        rows = [self.files[index] for index in members]
        return _figures(self._metrics, [self._sums[index] for index in members], rows)


def evaluate(
    model: Model,
    recordings: Sequence[Recording],
    metrics: Mapping[str, Metric],
    block_size: int = 65_536,
    device: torch.device | str | None = None,
    on_rendered: OnRendered | None = None,
    progress: Callable[[int, int], None] | None = None,
    warm_up_seconds: float = WARM_UP_SECONDS,
) -> Evaluation:
    """Render whole recordings through `model` and score them.

    Each recording is streamed in blocks from its file's start, or with left context from its file, which is not
    scored. A model that cannot stream receives the recording and its context at once. Neither `block_size` nor the
    order of recordings changes a figure. Memory does not grow with a file's length, unless the model cannot stream or
    `on_rendered` is given.

    Args:
        model: model to score; it is in eval mode while this runs, and returned to its mode and device afterwards.
        recordings: recordings to score; those without samples are skipped.
        metrics: metrics by their names in the results.
        block_size: number of samples of a streamed block.
        device: device on which to render; the model's own device if None.
        on_rendered: function that is called with each recording, its prediction and its target, float32
            (channels, time) on the CPU.
        progress: function that is called with the number of finished samples and their total.
        warm_up_seconds: left context in seconds for a model with unbounded memory.

    Raises:
        DataError: if no recording has samples to score, or a file cannot be read.
        ModelError: if the model outputs fewer samples than a recording has.
    """
    recordings = [recording for recording in recordings if recording.num_samples]
    total = sum(recording.num_samples for recording in recordings)
    if not total:
        raise DataError("There is nothing to evaluate: no recording has samples to score. Check the data's split.")
    files: list[Row] = []
    sums: list[dict[str, Tensor]] = []
    done = 0
    with _evaluating(model, device):
        for recording in recordings:
            scored = _Score(metrics, keep=on_rendered is not None)
            for prediction in regrouped(rendered(recording, model, block_size, warm_up_seconds), PIECE):
                start = recording.start + scored.samples
                scored.add(prediction, read_channels(recording.wet, start, start + prediction.shape[-1]))
                if progress:
                    progress(done + scored.samples, total)
            done += recording.num_samples
            if scored.samples != recording.num_samples:
                raise ModelError(
                    f"{type(model).__name__} rendered {scored.samples:,} of the {recording.num_samples:,} samples of "
                    f"'{recording.name}'. Its output after `flush` must be as long as its input. Check its latency."
                )
            sums.append(scored.sums)
            row = _row(recording) | ({"silent_samples": scored.silent} if scored.silent else {})
            files.append(row | _figures(metrics, [scored.sums], [row]))
            if on_rendered:
                on_rendered(recording, *scored.kept())
    return Evaluation(_figures(metrics, sums, files), files, metrics, sums)


class _Score:
    """Sums of the metrics over one recording, and its audio if `keep` is true."""

    def __init__(self, metrics: Mapping[str, Metric], keep: bool) -> None:
        self.metrics, self.keep, self.samples, self.silent = metrics, keep, 0, 0
        self.sums: dict[str, Tensor] = {}
        self.audio: list[tuple[Tensor, Tensor]] = []

    def add(self, prediction: Tensor, wet: Tensor) -> None:
        target = wet.to(prediction.device)[None].expand_as(prediction)
        for name, metric in self.metrics.items():
            sums = metric.statistics(prediction, target)[0].cpu()
            self.sums[name] = self.sums[name] + sums if name in self.sums else sums
        for piece in torch.split(wet, _SILENT_SAMPLES, dim=-1):
            # The rest at the end is too short to count as silent, unless everything before it was silent.
            counts = piece.shape[-1] == _SILENT_SAMPLES or self.silent == self.samples
            if counts and float(piece.amax() - piece.amin()) < 2 * SILENT:
                self.silent += piece.shape[-1]
            self.samples += piece.shape[-1]
        if self.keep:
            self.audio.append((prediction[0].float().cpu(), target[0].float().cpu()))

    def kept(self) -> tuple[Tensor, Tensor]:
        prediction, target = (torch.cat(parts, dim=-1) for parts in zip(*self.audio, strict=True))
        return prediction, target


def _row(recording: Recording) -> Row:
    return {
        "name": recording.name,
        "source": recording.source,
        "controls": recording.controls,
        "samples": recording.num_samples,
    }


def _figures(metrics: Mapping[str, Metric], sums: Sequence[dict[str, Tensor]], rows: Sequence[Row]) -> dict[str, float]:
    silent = all(row.get("silent_samples") == row["samples"] for row in rows)
    return {
        name: math.nan
        if silent and metric.needs_signal
        else metric.value(torch.stack([file[name] for file in sums]).sum(dim=0))
        for name, metric in metrics.items()
    }


@contextmanager
def _evaluating(model: Model, device: torch.device | str | None) -> Iterator[None]:
    """Put a model into eval mode without gradients and on a device; restore it at the end of the block."""
    training = {module: module.training for module in model.modules()}
    home = next(model.parameters(), torch.zeros(())).device
    try:
        model.eval().to(home if device is None else device)
        with torch.inference_mode():
            yield
    finally:
        model.to(home)
        for module, was in training.items():
            module.training = was
