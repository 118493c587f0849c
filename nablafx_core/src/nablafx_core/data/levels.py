"""Measure the levels of a recording over its length, and find parts where only one of dry and wet plays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from nablafx_core.data.delay import Array
from nablafx_core.interfaces import AudioSource

SILENT = 1e-5
"""Peak relative to full scale below which a signal counts as silent, -100 dB."""
BLOCK = 512
"""Number of samples in the blocks whose energies are measured."""
_READ = BLOCK << 5  # samples read at a time
_STEP_S = 0.04  # shorter than a note, longer than a period
_LOUD = 0.1  # -20 dB of the usual level; a signal plays where it is louder
_DEAD = 1e-3  # -60 dB of the usual level; a signal is silent where it is quieter
_TAIL_S = 2.0  # longest echo or reverberation after the dry signal has ended
_GATE = 0.25  # share of quiet moments that pass, below which the level mutes the signal (a gate), and not a fault

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Signal:
    """Measurements of one signal.

    Args:
        peak: largest magnitude of a sample, relative to full scale (1).
        swing: half the distance from the lowest to the highest sample.
        offset: mean of all samples.
        clipped: number of samples with a magnitude of at least 0.9999 that equal their successor; a single one within
            the 16,384 samples of a piece is not counted.
    """

    peak: float
    swing: float
    offset: float
    clipped: int


@dataclass(frozen=True)
class Silence:
    """Parts where one signal is silent while the other plays.

    Args:
        spans: start and stop of the first three silent stretches at most, in samples of the dry signal.
        samples: total length of the silent parts, counted where the other signal plays.
        share: `samples` as a fraction of the time during which the other signal plays.
        by_level: true if the signal is silent only where the other one is quiet, as after a gate.
        more: true if there are more stretches than in `spans`.
    """

    spans: tuple[tuple[int, int], ...] = ()
    samples: int = 0
    share: float = 0.0
    by_level: bool = False
    more: bool = False


def measure_levels(source: AudioSource) -> tuple[Signal, Array]:
    """Measure the levels of a mono signal, which is read once, piece by piece.

    Returns:
        The measurements, and the energy of each block, (num_samples // BLOCK,): the sum of squares of `BLOCK` samples
        after their mean is removed. An incomplete block at the end is omitted.
    """
    low, high, total, clipped, energies = np.inf, -np.inf, 0.0, 0, []
    for start in range(0, source.num_samples, _READ):
        piece = source.read(start, min(start + _READ, source.num_samples))
        low, high = min(low, float(piece.min())), max(high, float(piece.max()))
        total += float(piece.double().sum())
        flat = int(((piece.abs() >= 0.9999) & (torch.diff(piece, append=piece[-1:]) == 0)).sum())
        clipped += flat if flat > 1 else 0
        blocks = piece[: len(piece) // BLOCK * BLOCK].double().reshape(-1, BLOCK)
        energies.append((blocks - blocks.mean(dim=1, keepdim=True)).square().sum(dim=1))
    if not energies:
        return Signal(0.0, 0.0, 0.0, 0), np.zeros(0)
    found = Signal(max(abs(low), abs(high)), (high - low) / 2, total / source.num_samples, clipped)
    return found, torch.cat(energies).numpy()


def silent_parts(dry: Array, wet: Array, lag: int, sample_rate: int) -> tuple[Silence, Silence]:
    """Find where wet is silent while dry plays, and where wet plays more than 2 s after dry became silent.

    Levels are measured in steps of about 40 ms. A signal plays where its level is within 20 dB of its usual level (the
    90th percentile) and above -100 dB of full scale; it is silent where its level is 66 dB or more below its highest.

    Args:
        dry, wet: energies of the blocks of both signals, as `measure_levels` returns them.
        lag: samples by which wet lags dry; rounded to blocks.
        sample_rate: sample rate in Hz.

    Returns:
        The parts where wet is silent, and the parts where dry is silent; both empty for signals of under four steps.
    """
    step = max(1, round(_STEP_S * sample_rate / BLOCK))
    shift = round(lag / BLOCK)
    dry, wet = dry[max(-shift, 0) :], wet[max(shift, 0) :]
    count = min(len(dry), len(wet)) // step
    if count < 4:
        return Silence(), Silence()
    dry, wet = (np.sqrt(each[: count * step].reshape(count, step).mean(axis=1) / BLOCK) for each in (dry, wet))
    first = max(-shift, 0) * BLOCK
    dead = _silent(dry, wet, 0)
    late = _silent(wet, dry, round(_TAIL_S * sample_rate / (step * BLOCK)))
    return tuple(_described(*each, step * BLOCK, first) for each in ((dry, *dead), (wet, *late)))  # type: ignore[return-value]


def _silent(playing: Array, other: Array, tail: int) -> tuple[Flags, Flags, Flags]:
    """Return flags of the steps at which `playing` plays, at which `other` is silent, and at which that counts."""
    usual = np.percentile(playing[playing > 1e-3 * playing.max()], 90) if playing.any() else 0.0
    plays = (playing > _LOUD * usual) & (playing > SILENT)
    silent = other <= _DEAD * 0.5 * other.max()
    counts = np.zeros(len(other), dtype=bool)
    for start, stop in _runs(silent):
        inside = slice(min(start + tail, stop), stop)
        if plays[inside].sum() >= 2:
            counts[inside] = plays[inside]
    return plays, silent, counts


def _described(playing: Array, plays: Flags, silent: Flags, counts: Flags, step: int, first: int) -> Silence:
    if not counts.any():
        return Silence()
    spans = [(first + start * step, first + stop * step) for start, stop in _runs(silent) if counts[start:stop].any()]
    passing = plays & ~silent
    quieter = passing & (playing < np.percentile(playing[counts], 90))
    by_level = bool(passing.any() and quieter.sum() < _GATE * passing.sum())
    return Silence(
        tuple(spans[:3]), int(counts.sum()) * step, float(counts.sum() / plays.sum()), by_level, len(spans) > 3
    )


def _runs(flags: Flags) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(flags.astype(np.int8), prepend=0, append=0))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
