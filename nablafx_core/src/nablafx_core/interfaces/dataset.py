"""The contract of a dataset: recordings of an effect, read piece by piece."""

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
    """Signal that is read in pieces.

    A source of several channels has an attribute ``channels: int`` and reads (channels, time). A source without it, or
    whose `channels` is 1, is mono and reads (time,).
    """

    @property
    def num_samples(self) -> int:
        """Its length in samples at the dataset's sample rate."""
        ...

    def read(self, start: int, stop: int) -> Tensor:
        """Return samples start to stop (excluded), float32. 0 <= start <= stop <= num_samples."""
        ...


def channels_of(source: AudioSource) -> int:
    """Return the number of channels of a source; 1 if it declares none."""
    return int(getattr(source, "channels", 1))


def read_channels(source: AudioSource, start: int, stop: int) -> Tensor:
    """Return samples start to stop as (channels, time), zeros before the source begins (`start` may be negative)."""
    audio = source.read(max(start, 0), stop)
    audio = audio[None] if audio.ndim == 1 else audio
    return torch.nn.functional.pad(audio, (max(-start, 0), 0))


@dataclass(frozen=True)
class Recording:
    """A dry signal and what the effect made of it at one setting of its knobs.

    Args:
        name: unique in the dataset; what tables and pictures call it.
        dry, wet: of equal length, sample-aligned; each of one channel or of several.
        source: the dry signal's name; recordings of one source are split together.
        controls: the knobs, in [0, 1].
        part: which part of the split it belongs to; ``"trainval"`` is divided by the training.
        start, stop: the samples of `dry` that count; what is before `start` serves as left context only.
        take: names the physical take, one pass of audio through the device. Recordings of one take share what is
            particular to it, such as the phase of an oscillator; the parts into which a take is split keep it. The
            recording's own name if empty.
        offset: samples of the dry file before sample 0 of `dry`, such as a delay that was cut off. Positions count
            from the beginning of the file: sample n of `dry` is at position `offset` + n.
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
        """Number of samples that count."""
        return self.stop - self.start

    @property
    def in_channels(self) -> int:
        """Number of channels of the dry signal, which must equal a model's `in_channels`."""
        return channels_of(self.dry)

    @property
    def out_channels(self) -> int:
        """Number of channels of the wet signal."""
        return channels_of(self.wet)

    def within(self, start: int, stop: int, part: Part) -> Recording:
        """Return samples start to stop of this recording, as a recording of another part and of the same take."""
        return replace(self, start=start, stop=stop, part=part)


class Dataset(ChecksSettings):
    """Recordings of one effect. A pack's dataset sets these attributes and fills `recordings`.

    Attributes:
        sample_rate: Hz of every recording; fills the model's where the experiment does not say.
        controls: the knobs; fill the model's where the experiment does not say.
        recordings: everything, in a fixed order.
        notes: what a person should know, such as a delay that was found or files that were left out.
    """

    sample_rate: int
    controls: tuple[Control, ...] = ()
    recordings: tuple[Recording, ...] = ()
    notes: tuple[str, ...] = ()

    def write_device_yaml(self, path: str | os.PathLike[str] | None = None) -> None:
        """Write a file that describes the knobs, for a person to complete.

        Args:
            path: of the file; where the dataset looks for it if None.

        Raises:
            DataError: if the dataset has no such file, or the file exists.
        """
        raise DataError(f"{type(self).__name__} has no file that describes a device.")
