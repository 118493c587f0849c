"""All components of the four packages keep the laws; datasets of files are checked with small files."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile

from nablafx_core import build
from nablafx_core.registry import Registry
from nablafx_core.registry.kinds import KINDS
from nablafx_core.testing import check_pack, laws_dataset

pytestmark = pytest.mark.slow

#: Datasets of files, which a Component's example cannot name.
DATASETS = {"tonetwist", "pair", "simulated"}
#: Importers for whose files there is no exporter; tests/models and tests/dsp have such files, in test_nablafx*.py.
IMPORTERS = {"nablafx01", "nablafx01_chain", "nablafx_pretrained"}


@pytest.mark.parametrize("pack", ["nablafx-core", "nablafx-models", "nablafx-dsp", "nablafx-data"])
def test_a_pack_keeps_the_laws(pack):
    results = check_pack(pack)
    registered = {
        (entry.kind.name, entry.component.name)
        for kind in KINDS
        for entry in Registry.discover().entries(kind)
        if entry.pack.name == pack
    }
    assert {(result.kind, result.component) for result in results} == registered
    assert [f"{result.component}: {result.note}" for result in results if result.outcome == "warning"] == []
    unchecked = {(result.kind, result.component) for result in results if result.outcome == "not checked"}
    of_files = {*(("dataset", name) for name in DATASETS), *(("importer", name) for name in IMPORTERS)}
    assert unchecked <= {*of_files, ("controller", "none")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("data")


def pair(folder):
    random = np.random.default_rng(0)
    dry = 0.1 * random.standard_normal(60_000)
    for name, audio in (("dry", dry), ("wet", np.tanh(3 * np.roll(dry, 7)))):
        soundfile.write(folder / f"{name}.wav", audio, 48000, subtype="FLOAT")
    return {"dry": str(folder / "dry.wav"), "wet": str(folder / "wet.wav")}


def simulated(folder):
    return {"path": str(folder / "simulated"), "seconds": 4.0, "num_settings": 2}


def tonetwist(folder):
    """Make a folder in the layout of ToneTwist by the dataset `simulated`."""
    build("dataset", {"name": "simulated", **simulated(folder)})
    return {"path": str(folder / "simulated"), "device": "diode_clipper"}


@pytest.mark.parametrize("settings", [pair, simulated, tonetwist])
def test_datasets_of_files_keep_the_laws(folder, settings):
    dataset = build("dataset", {"name": settings.__name__, **settings(folder)})
    assert laws_dataset.recordings_are_well_formed(dataset) >= 1
    assert laws_dataset.settings_fit_the_knobs(dataset) == (0 if settings is pair else 2)
    assert laws_dataset.pieces_are_the_whole(dataset) > 0
    assert laws_dataset.recordings_can_be_pickled(dataset) > 0
