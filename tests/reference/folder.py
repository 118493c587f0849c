"""A dataset of files."""

from __future__ import annotations

from pathlib import Path

from nablafx_core.data.sources import WavSource
from nablafx_core.errors import DataError
from nablafx_core.interfaces import Dataset, Recording


class Folder(Dataset):
    """Pairs of files ``N.dry.wav`` and ``N.wet.wav`` in a folder."""

    def __init__(self, path: str, skip: int = 0) -> None:
        files = sorted(Path(path).glob("*.dry.wav"))
        if not files:
            raise DataError(f"{path}: no recordings were found.")
        self.sample_rate = 48000
        sources = [(WavSource(dry), WavSource(str(dry).replace(".dry.", ".wet."))) for dry in files]
        self.recordings = tuple(
            Recording(file.name.partition(".")[0], dry, wet, file.name, start=skip, stop=dry.num_samples)
            for file, (dry, wet) in zip(files, sources, strict=True)
        )
