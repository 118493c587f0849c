"""Contract of a dataset: recordings of an effect, read piece by piece."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import torch
from torch import Tensor

from nablafx_core.controls import Control
from nablafx_core.errors import DataError
from nablafx_core.interfaces.declared import ChecksSettings

Part = Literal["train", "validation", "trainval", "test"]


class AudioSource(Protocol):
    """Signal that is read in pieces, full scale ±1.

    A source of several channels has an attribute ``channels: int`` and reads (channels, time). A source without it, or
    whose `channels` is 1, is mono and reads (time,).
    """

    @property
    def num_samples(self) -> int:
        """Length in samples at the dataset's sample rate."""
        ...

    def read(self, start: int, stop: int) -> Tensor:
        """Return the samples from start to stop (exclusive) as float32; 0 <= start <= stop <= num_samples."""
        ...


def channels_of(source: AudioSource) -> int:
    """Return the number of channels of a source; 1 if it declares none."""
    return int(getattr(source, "channels", 1))


def read_channels(source: AudioSource, start: int, stop: int) -> Tensor:
    """Return samples start to stop as (channels, time); zeros before the source begins (`start` may be negative)."""
    audio = source.read(max(start, 0), stop)
    audio = audio[None] if audio.ndim == 1 else audio
    return torch.nn.functional.pad(audio, (max(-start, 0), 0))


@dataclass(frozen=True)
class Recording:
    """A dry signal and the effect's output for it, at one setting of the knobs.

    Args:
        name: name that is unique in the dataset, for tables and pictures.
        dry, wet: signals of equal length, sample-aligned, each with one channel or several.
        source: name of the dry signal; a split by file puts all recordings of one source into the same part.
        controls: positions of the knobs in [0, 1], in the order of the dataset's `controls`.
        part: part of the split that it belongs to; recordings in ``"trainval"`` are divided into the other parts.
        start, stop: range of samples that are used, `stop` excluded; it is empty if `stop` is not set. Samples before
            `start` serve only as left context.
        take: name of the physical take, one pass of audio through the device. Recordings of one take have the take's
            particularities in common, such as the phase of an oscillator; parts of a take keep its name. If empty, the
            recording's own name.
        offset: number of samples of the dry file before sample 0 of `dry`, such as a delay that was cut off. Positions
            count from the beginning of the file: sample n of `dry` is at position `offset` + n.
    """

    name: str
    dry: AudioSource
    wet: AudioSource
    source: str
    controls: tuple[float, ...] = ()
    part: Part = "trainval"
    start: int = 0
    stop: int = 0
    take: str = ""
    offset: int = 0

    def __post_init__(self) -> None:
        if not self.take:
            object.__setattr__(self, "take", self.name)

    @property
    def num_samples(self) -> int:
        """Number of samples that are used, from `start` to `stop`."""
        return self.stop - self.start

    @property
    def in_channels(self) -> int:
        """Number of channels of the dry signal, which must equal a model's `in_channels`."""
        return channels_of(self.dry)

    @property
    def out_channels(self) -> int:
        """Number of channels of the wet signal, which must equal a model's `out_channels`."""
        return channels_of(self.wet)

    def within(self, start: int, stop: int, part: Part) -> Recording:
        """Return samples start to stop of this recording, counted as in `dry`, as a recording of `part`."""
        return replace(self, start=start, stop=stop, part=part)


class Dataset(ChecksSettings):
    """Recordings of one effect. A pack's dataset sets these attributes and fills `recordings`.

    Attributes:
        sample_rate: sample rate of every recording in Hz; also the model's, unless the experiment sets another.
        controls: knobs of the effect; also the model's, unless the experiment sets others.
        recordings: all recordings, in a fixed order.
        notes: messages to the user, for example about a measured delay or about skipped files.
    """

    sample_rate: int
    controls: tuple[Control, ...] = ()
    recordings: tuple[Recording, ...] = ()
    notes: tuple[str, ...] = ()

    def write_device_yaml(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write a file that describes the knobs, for the user to complete.

        Args:
            path: path of the file; if None, the path where the dataset looks for it.

        Raises:
            DataError: if the dataset has no such file, or if the file exists.
        """
        raise DataError(f"{type(self).__name__} has no file that describes a device.")
