"""The contract of a dataset: recordings of an effect, read piece by piece."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Protocol

from torch import Tensor

from nablafx_core.controls import Control

Part = Literal["train", "validation", "trainval", "test"]


class AudioSource(Protocol):
    """A mono signal that is read in pieces."""

    @property
    def num_samples(self) -> int:
        """Its length in samples at the dataset's sample rate."""
        ...

    def read(self, start: int, stop: int) -> Tensor:
        """Samples start (included) to stop (excluded), float32 (time,). 0 <= start <= stop <= num_samples."""
        ...


@dataclass(frozen=True)
class Recording:
    """A dry signal and what the effect made of it at one setting of its knobs.

    Args:
        name: unique in the dataset; what tables and pictures call it.
        dry, wet: of equal length, sample-aligned.
        source: the dry signal's name; recordings of one source are split together.
        controls: the knobs, in [0, 1].
        part: which part of the split it belongs to; ``"trainval"`` is divided by the training.
        start, stop: the samples that count; what is before `start` serves as left context only.
    """

    name: str
    dry: AudioSource
    wet: AudioSource
    source: str
    controls: tuple[float, ...] = ()
    part: Part = "trainval"
    start: int = 0
    stop: int = 0

    @property
    def num_samples(self) -> int:
        """How many samples count."""
        return self.stop - self.start

    def within(self, start: int, stop: int, part: Part) -> Recording:
        """The samples start to stop of this recording, as a recording of another part."""
        return replace(self, start=start, stop=stop, part=part)


class Dataset:
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
