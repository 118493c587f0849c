"""Check the lengths of signal that losses and metrics receive, before the first step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from nablafx_core.causes import cause
from nablafx_core.config.schema import TrainSettings
from nablafx_core.data.module import AudioDataModule
from nablafx_core.errors import ConfigError
from nablafx_core.interfaces import Metric, Model
from nablafx_core.pack_code import contained
from nablafx_core.scoring.losses import WeightedLoss
from nablafx_core.scoring.metrics import PIECE
from nablafx_core.training.random_states import random_states, set_random_states
from nablafx_core.training.task import chunk_cuts, chunk_length


def fit_lengths(
    data: AudioDataModule, loss: WeightedLoss, metrics: Mapping[str, Metric], model: Model, settings: TrainSettings
) -> None:
    """Check that losses and metrics can use every segment of the training, the validation and the test.

    They are called with mono noise of these lengths. Validation segments get at least the loss's `min_samples`, or more
    if the loss fails on the shortest one; recordings that are too short for that are left out, with a note.

    Args:
        data: data of the training; its validation segments are changed accordingly.
        loss: loss of the training.
        metrics: metrics of validation and test, by name.
        model: model that is trained.
        settings: settings of the training.

    Raises:
        ConfigError: if the loss fails on a segment or a chunk of the training, or declares that it needs more samples,
            or a metric fails on the shortest signal of the validation and the test.
        DataError: if no validation recording is long enough for the loss.
        ModelError: if ``train.tbptt`` gives a chunk length and the model cannot stream.
    """
    trained = _trained_lengths(data.loading.segment_length, model, settings, loss)
    for length in trained:
        if problem := _problem(loss, length):
            raise ConfigError(
                f"loss: {_names(loss)} failed on a training signal of {length:,} samples: {problem} Increase "
                "data.segment_length or train.tbptt, or choose settings of the loss that need fewer samples."
            )
    data.require(loss.min_samples, f"the loss '{loss.neediest}'")
    shortest = data.validation_batches().shortest
    if shortest < trained[0] and (problem := _problem(loss, shortest)):
        usable = _shortest_usable(lambda length: _problem(loss, length) is None, shortest, trained[0])
        data.require(usable, f"the loss ({_names(loss)}; {problem})")
    least = min(data.validation_batches().shortest, *(_last_piece(r.num_samples) for r in data.test if r.num_samples))
    for name, metric in metrics.items():
        if problem := _problem(metric.statistics, least):
            raise ConfigError(
                f"metrics: '{name}' failed on a signal of {least:,} samples: {problem} A metric must take signals of "
                "any length, since recordings have any length. Remove it, or fix it: for example, pad with silence."
            )


def _trained_lengths(time: int, model: Model, settings: TrainSettings, loss: WeightedLoss) -> list[int]:
    """Return the numbers of samples that the loss receives in training, in ascending order.

    Raises:
        ConfigError: if a segment or a chunk is shorter than the loss's `min_samples`.
        ModelError: if ``train.tbptt`` gives a chunk length and the model cannot stream.
    """
    needs = f"the loss '{loss.neediest}' needs at least {loss.min_samples:,} samples"
    chunk = chunk_length(model, settings, loss.min_samples)
    latency = 0 if chunk is None else model.latency
    if time - latency < loss.min_samples:
        lag = f", of which {latency:,} are the model's latency" if latency else ""
        raise ConfigError(
            f"data.segment_length is {time:,} samples{lag}, but {needs}. Set data.segment_length to "
            f"{loss.min_samples + latency} or more, or choose settings of the loss that need fewer samples."
        )
    if chunk is None:
        return [time]
    if chunk < loss.min_samples:
        raise ConfigError(
            f"train.tbptt is {chunk:,} samples, but {needs}. Set train.tbptt to {loss.min_samples} or more, or to null "
            "for whole segments."
        )
    cuts = chunk_cuts(time, chunk, latency, loss.min_samples)
    return sorted({stop - max(start, latency) for start, stop in pairwise(cuts) if stop > latency})


def _last_piece(samples: int) -> int:
    """Return the number of samples of the last piece when a recording is scored in pieces."""
    return samples % PIECE or PIECE


def _shortest_usable(works: Callable[[int], bool], too_short: int, long_enough: int) -> int:
    """Return the shortest length that works, by bisection between one that fails and one that works."""
    while long_enough - too_short > 1:
        middle = (too_short + long_enough) // 2
        too_short, long_enough = (too_short, middle) if works(middle) else (middle, long_enough)
    return long_enough


def _problem(score: Callable[[Tensor, Tensor], Any], length: int) -> str | None:
    """Return the exception that a loss or metric raises for mono noise of a length, as text; None if it raises none."""
    generator = torch.Generator().manual_seed(0)
    prediction, target = 0.1 * torch.randn(2, 1, 1, length, generator=generator)
    with _random_states_restored(), torch.no_grad():
        try:
            with contained():
                score(prediction, target)
        except Exception as error:  # any exception of a pack's code
            return f"{cause(error).rstrip('.')}."
    return None


@contextmanager
def _random_states_restored() -> Iterator[None]:
    """Restore the states of all random generators at the end of the ``with``."""
    before = random_states()
    try:
        yield
    finally:
        set_random_states(before)


def _names(loss: WeightedLoss) -> str:
    return ", ".join(f"'{name}'" for name in loss.names)
