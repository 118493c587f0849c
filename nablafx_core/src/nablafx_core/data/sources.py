"""Where samples come from: files, read piece by piece, or memory."""

from __future__ import annotations

import os
import threading
from functools import lru_cache

import soundfile  # type: ignore[import-untyped]
from torch import Tensor

from nablafx_core.audio.files import StrPath, open_file, probe, read_piece
from nablafx_core.data.cache import resampled_file
from nablafx_core.errors import DataError


class ArraySource:
    """A signal held in memory.

    Args:
        audio: (time,).
    """

    def __init__(self, audio: Tensor) -> None:
        self.audio = audio

    @property
    def num_samples(self) -> int:
        """Its length."""
        return self.audio.shape[-1]

    def read(self, start: int, stop: int) -> Tensor:
        """Samples start to stop, (time,)."""
        return self.audio[start:stop]


class WavSource:
    """One channel of an audio file, read piece by piece; only what is asked for is read.

    It holds no open file, so that it can be pickled and used in worker processes.

    Args:
        path: any format that libsndfile reads.
        channel: counted from 0.
        offset: samples to skip at the beginning, at `sample_rate`.
        num_samples: length; the rest of the file if None.
        sample_rate: Hz; a file of another rate is resampled once, into the cache folder.

    Raises:
        DataError: if the file cannot be used or is shorter than that.
    """

    def __init__(
        self,
        path: StrPath,
        *,
        channel: int = 0,
        offset: int = 0,
        num_samples: int | None = None,
        sample_rate: int | None = None,
    ) -> None:
        self.path = path if sample_rate is None else resampled_file(path, sample_rate)
        info = probe(self.path)
        if not 0 <= channel < info.channels:
            raise DataError(f"{path}: has no channel {channel}; it has {info.channels}, counted from 0.")
        self.channel = channel
        self.offset = offset
        self._num_samples = info.num_samples - offset if num_samples is None else num_samples
        if offset < 0 or self._num_samples < 0 or offset + self._num_samples > info.num_samples:
            raise DataError(f"{path}: {info.num_samples} samples; {self._num_samples} from {offset} on were asked for.")
        self._stamp = _stamp(self.path)

    @property
    def num_samples(self) -> int:
        """Its length at the sample rate asked for."""
        return self._num_samples

    def read(self, start: int, stop: int) -> Tensor:
        """Samples start to stop, (time,).

        Raises:
            DataError: if they lie outside the source, cannot be read, are not finite, or if the file is another one
                than when the source was made.
        """
        if not 0 <= start <= stop <= self._num_samples:
            raise DataError(f"{self.path}: samples {start} to {stop} of {self._num_samples} were asked for.")
        file = _open(os.fspath(self.path), self._stamp, os.getpid(), threading.get_ident())
        return read_piece(file, self.offset + start, self.offset + stop)[self.channel]


def _stamp(path: StrPath) -> tuple[int, int]:
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns


# Keyed by process and thread, because a file position is shared with forked children and between threads; the
# least recently used file is closed when it is forgotten.
@lru_cache(maxsize=64)
def _open(path: str, stamp: tuple[int, int], process: int, thread: int) -> soundfile.SoundFile:
    try:
        changed = _stamp(path) != stamp
    except OSError as error:
        raise DataError(
            f"{path}: was there when it was checked and is gone: {error.strerror}. Put it back and start again."
        ) from error
    if changed:
        raise DataError(f"{path}: was changed after it was checked. Start again, so that it is checked anew.")
    return open_file(path)
