"""Sources of samples: audio files, read piece by piece, or memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from functools import lru_cache

import soundfile  # type: ignore[import-untyped]
from torch import Tensor

from nablafx_core.audio.reading import StrPath, open_file, probe, read_piece
from nablafx_core.data.cache import resampled_file
from nablafx_core.errors import DataError


class ArraySource:
    """Signal in memory.

    Args:
        audio: samples, (time,) or (channels, time); a single channel is read as (time,).
    """

    def __init__(self, audio: Tensor) -> None:
        self.audio = audio[0] if audio.ndim == 2 and audio.shape[0] == 1 else audio

    @property
    def channels(self) -> int:
        """Number of channels."""
        return 1 if self.audio.ndim == 1 else self.audio.shape[0]

    @property
    def num_samples(self) -> int:
        """Number of samples per channel."""
        return self.audio.shape[-1]

    def read(self, start: int, stop: int) -> Tensor:
        """Return samples start to stop, (time,) or (channels, time)."""
        return self.audio[..., start:stop]


class WavSource:
    """Channels of an audio file, read piece by piece; only the requested samples are read.

    It holds no open file, so that it can be pickled and used in worker processes.

    Args:
        path: path of a file in any format that libsndfile reads.
        channel: channel to read, counted from 0; or several channels, in any order.
        offset: number of samples to skip at the beginning, at `sample_rate`.
        num_samples: number of samples to read, at `sample_rate`; the rest of the file if None.
        sample_rate: sample rate in Hz; a file with another rate is resampled once, into the cache folder. If None, the
            file's own rate.

    Attributes:
        file: the argument `path`.
        path: path of the file that is read; it is in the cache folder if `file` has another rate.

    Raises:
        DataError: if the file cannot be used or resampled, does not have the channel, or is too short.
    """

    def __init__(
        self,
        path: StrPath,
        *,
        channel: int | Sequence[int] = 0,
        offset: int = 0,
        num_samples: int | None = None,
        sample_rate: int | None = None,
    ) -> None:
        self.file = path
        self.path = path if sample_rate is None else resampled_file(path, sample_rate)
        info = probe(self.path)
        chosen = tuple(channel) if isinstance(channel, Sequence) else (channel,)
        for one in chosen:
            if not 0 <= one < info.channels:
                raise DataError(f"{path}: has no channel {one}; it has {info.channels}, counted from 0.")
        self.channel = chosen[0] if len(chosen) == 1 else chosen
        self.offset = offset
        self._num_samples = info.num_samples - offset if num_samples is None else num_samples
        if offset < 0 or self._num_samples < 0 or offset + self._num_samples > info.num_samples:
            raise DataError(
                f"{path}: has {info.num_samples} samples; {self._num_samples} samples from {offset} on were requested."
            )
        self._stamp = _stamp(self.path)

    @property
    def num_samples(self) -> int:
        """Number of samples per channel, at the requested sample rate."""
        return self._num_samples

    @property
    def channels(self) -> int:
        """Number of channels that are read."""
        return len(self.channel) if isinstance(self.channel, tuple) else 1

    def read(self, start: int, stop: int) -> Tensor:
        """Return samples start to stop, (time,), or (channels, time) if several channels were chosen.

        Raises:
            DataError: if the samples lie outside the source, cannot be read, or are NaN or infinite, or if the file
                was changed or removed after the source was created.
        """
        if not 0 <= start <= stop <= self._num_samples:
            raise DataError(f"{self.path}: has {self._num_samples} samples; samples {start} to {stop} were requested.")
        file = _open(os.fspath(self.path), self._stamp, os.getpid(), threading.get_ident())
        audio = read_piece(file, self.offset + start, self.offset + stop)
        return audio[list(self.channel)] if isinstance(self.channel, tuple) else audio[self.channel]


def _stamp(path: StrPath) -> tuple[int, int]:
    stat = os.stat(path)
    return stat.st_size, stat.st_mtime_ns


# The key contains process and thread, because forked processes and threads would share a file position. Eviction from
# the cache closes a file.
@lru_cache(maxsize=64)
def _open(path: str, stamp: tuple[int, int], process: int, thread: int) -> soundfile.SoundFile:
    try:
        changed = _stamp(path) != stamp
    except OSError as error:
        raise DataError(
            f"{path}: was removed after it was checked: {error.strerror}. Put it back and start again."
        ) from error
    if changed:
        raise DataError(f"{path}: was changed after it was checked. Start again, so that it is checked again.")
    return open_file(path)
