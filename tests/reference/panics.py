"""Components of every kind that raise a BaseException at the place that a variable selects."""

from __future__ import annotations

import os

import click

from nablafx_core.interfaces import Exporter, Importer
from nablafx_core.scoring.losses import L1
from nablafx_core.testing.tiny import TinyData, TinyModel
from reference.tiny import TanhDataset


class PanicException(BaseException):
    """Stand-in for pyo3's exception for a panic in Rust."""


class Cancelled(KeyboardInterrupt):
    """KeyboardInterrupt raised by code, not by a Ctrl-C."""


#: ``PLACE ERROR``: the place and the exception to raise.
VARIABLE = "REFERENCE_PANIC"
ERRORS = {error.__name__: error for error in (PanicException, Cancelled, GeneratorExit, SystemExit, KeyboardInterrupt)}


def at(place: str) -> None:
    wanted, error = os.environ.get(VARIABLE, "nowhere PanicException").split()
    if place == wanted:
        raise ERRORS[error]("boom")


class Net(TinyModel):
    """A gain."""

    def __init__(self, sample_rate: int = 48000, controls=()) -> None:
        at("constructor")
        super().__init__(sample_rate, controls)

    def forward(self, audio, controls=None, state=None):
        at("forward")
        return super().forward(audio, controls, state)


class Far(L1):
    """A distance."""

    def forward(self, prediction, target):
        at("loss")
        return super().forward(prediction, target)


class Files(TanhDataset):
    """Recordings in memory."""

    def __init__(self, sample_rate: int = 48000) -> None:
        at("dataset")
        super().__init__()
        for recording in self.recordings:
            recording.wet.read = _Read(recording.wet.audio)


class _Read:
    def __init__(self, audio) -> None:
        self.audio = audio

    def __call__(self, start, stop):
        at("read")
        return self.audio[start:stop]


class Reader(Importer):
    """Reads files of acme."""

    suffixes = (".acme",)

    def read(self, path):
        at("importer")
        return TinyData()


class Writer(Exporter):
    """Writes files of acme."""

    suffix = ".acme"

    def write(self, model, path):
        at("exporter")
        path.write_text("")


@click.command()
def play() -> None:
    """Play."""
    at("command")
