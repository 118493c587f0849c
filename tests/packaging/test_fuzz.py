"""Damaged input gives a NablafxError or a result from the real readers, quickly, and without excessive memory."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import time
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from click.testing import CliRunner

from installing import CHECKOUT
from nablafx_core import build, load
from nablafx_core.audio.reading import read
from nablafx_core.bundles.bundle import DESCRIPTION, save_bundle
from nablafx_core.bundles.checkpoint_file import read_tensors
from nablafx_core.cli import cli
from nablafx_core.config import load_experiment
from nablafx_core.errors import NablafxError
from nablafx_core.runs.recorder import record
from nablafx_data.device_file import parse_setting, read_knobs
from nablafx_data.pair import Pair
from nablafx_data.simulated import MANIFEST, Simulated
from nablafx_data.tonetwist import ToneTwist

pytestmark = pytest.mark.slow

try:
    import resource
except ImportError:  # not on Windows
    resource = None

CASES = 1000  # damaged inputs for each reader
SLOWEST_S = 10.0
MEMORY = 2 << 30  # bytes in addition to the memory already in use

PIECES = b"{ } [ ] :\x20 \n !!python/x\x20 &a\x20 *a null -1 1e999 .nan ' \" \x00 \xff # ?\x20 | <<:\x20".split(b" ")
PIECES += [b"99999999", b"1e9", b"true", b"[[[[[[[[", b"\xc3\xa9", b"../", b"\r\n", b"0" * 400]
DEVICE = b"""knobs:
  D: {name: drive, unit: dB, minimum: 0, maximum: 40, taper: linear, default: 20}
  M: {positions: [a, b]}
"""


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("NABLAFX_CACHE", str(tmp_path / "cache"))


def damaged(content: bytes, chance: random.Random, head: int | None = None) -> bytes:
    """Return the content with a few bytes changed, cut out or repeated, or with a piece of YAML inserted."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 3, 8, 30))):
        place = chance.randrange(min(len(data), head or len(data)) or 1)
        what = chance.randrange(4)
        if what == 0 and data:
            data[place] = chance.randrange(256)
        elif what == 1:
            del data[place : place + chance.randrange(1, 8)]
        elif what == 2:
            data[place:place] = chance.choice(PIECES)
        else:
            start = chance.randrange(len(data) or 1)
            data[place:place] = data[start : start + chance.randrange(1, 20)]
    return bytes(data)


class Reader:
    """Function that reads files, with good input for it.

    Args:
        make: function that writes good input into a folder and returns the file to damage.
        read: function that reads that file.
        head: number of bytes at the file's beginning that are damaged more often than the rest.
        refuses: whether most damage must be noticed.
        share: fraction of the cases to try, for slow readers.
    """

    def __init__(self, make, read, head=None, refuses=True, share=1.0):
        self.make, self.read, self.head, self.refuses, self.share = make, read, head, refuses, share

    def cases(self, folder, chance, count):
        """Damage the file and yield, again and again."""
        file = self.make(folder)
        whole = file.read_bytes()
        self.read(file)
        for _ in range(count):
            file.write_bytes(damaged(whole, chance, chance.choice((None, self.head))))
            yield file


class Names(Reader):
    """Reader of a folder in which files have damaged names, are cut off or missing, or are folders."""

    def cases(self, folder, chance, count):
        """Yield like `Reader.cases`, with a fresh folder of links to good files for each."""
        whole = self.make(folder)
        self.read(whole)
        files = [path.relative_to(whole) for path in sorted(whole.rglob("*.*")) if path.is_file()]
        there = folder / "damaged"
        for _ in range(count):
            shutil.rmtree(there, ignore_errors=True)
            spoilt = set(chance.sample(files, chance.choice((1, 1, 2, 3))))
            for file in files:
                with contextlib.suppress(OSError, ValueError):  # invalid file names
                    (self._spoil if file in spoilt else self._link)(whole / file, there / file, there, chance)
            yield there

    @staticmethod
    def _link(source, target, there, chance):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(source, target)

    def _spoil(self, source, target, there, chance):
        what = chance.randrange(8)
        if what == 0:
            target.mkdir(parents=True, exist_ok=True)
        elif what == 1:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(damaged(source.read_bytes(), chance, 60))
        elif what > 2:
            name = os.path.normpath(os.fsdecode(damaged(os.fsencode(target.relative_to(there)), chance)).lstrip("/"))
            if not name.startswith(".."):
                self._link(source, there / name, there, chance)


def experiment(folder):
    path = folder / "experiment.yaml"
    path.write_text(load_experiment([CHECKOUT / "experiments/muff-lstm.yaml"]).to_yaml(), encoding="utf-8")
    return path


def bundle(folder):
    settings = {"name": "tcn", "num_blocks": 2, "channel_width": 4, "conditioning": "film"}
    return save_bundle(build("model", settings, sample_rate=48000, controls=[{"name": "d"}]), folder / "whole.nfx")


def description(folder):
    with zipfile.ZipFile(bundle(folder)) as archive:
        (folder / DESCRIPTION).write_bytes(archive.read(DESCRIPTION))
    return folder / DESCRIPTION


def described(path):
    """Load a bundle that has this description."""
    with zipfile.ZipFile(path.with_name("whole.nfx")) as whole, zipfile.ZipFile(path.with_name("new.nfx"), "w") as new:
        for name in whole.namelist():
            new.writestr(name, path.read_bytes() if name == DESCRIPTION else whole.read(name))
    return load(path.with_name("new.nfx"))


def sound(folder):
    soundfile.write(folder / "whole.wav", 0.1 * np.random.default_rng(0).standard_normal(2000), 48000, subtype="PCM_16")
    return folder / "whole.wav"


def wet(folder):
    sound(folder)
    return Path(shutil.copy(folder / "whole.wav", folder / "wet.wav"))


def checkpoint(folder):
    state = torch.nn.Sequential(torch.nn.Conv1d(1, 2, 3), torch.nn.BatchNorm1d(2)).state_dict()
    torch.save({"state_dict": state, "epoch": 3, "hyper_parameters": {"rate": 1e-3}}, folder / "last.ckpt")
    return folder / "last.ckpt"


def text(content, name):
    def make(folder):
        (folder / name).write_bytes(content)
        return folder / name

    return make


def overridden(path):
    sections = {"data": {"name": "pair", "dry": "a.wav", "wet": "b.wav"}, "model": {"preset": "capture-tcn"}}
    return load_experiment(sections=sections, overrides=path.read_text(encoding="latin1").split("\n"))


SIMULATED = {"device": "diode_clipper", "seconds": 1.0, "num_settings": 1, "sample_rate": 8000}


def simulated(folder):
    Simulated(str(folder / "data"), **SIMULATED)
    return folder / "data" / MANIFEST


def run_folder(folder):
    def body(run):
        for step in range(3):
            run.log("train/loss", 0.5, step)
        run.summary({"test/esr": 0.1})
        run.set_info("tested", "x")

    record("train", {"train": {"seed": 1}, "model": {"name": "tcn"}}, folder / "runs", body, "one")
    return folder / "runs" / "one"


def record_part(name):
    return lambda folder: run_folder(folder) / name


def runs_told(path):
    """Run the commands on a folder of runs, one of which is damaged."""
    for arguments in (["runs"], ["runs", "--json"], ["runs", "show", "one"], ["runs", "show", "one", "--json"]):
        result = CliRunner().invoke(cli, [*arguments, "--runs-dir", str(path.parents[1])])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception


def tonetwist(folder):
    quiet = 0.1 * np.random.default_rng(0).standard_normal(2000)
    names = [f"DRY/{part}.input.wav" for part in ("trainval/riff", "trainval/bass", "test/solo")]
    for setting in ("D000_T050", "D100_T050"):
        for part, source in (("trainval", "riff"), ("trainval", "bass"), ("test", "solo")):
            names.append(f"Pedal/{part}/{setting}/{setting}.{source}.target.wav")
    for name in names:
        (folder / "whole" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / "whole" / name, quiet, 48000, subtype="PCM_16")
    (folder / "whole/Pedal/device.yaml").write_text("knobs: {D: {name: drive}, T: {name: tone}}\n")
    return folder / "whole"


READERS = {
    "experiment": Reader(experiment, lambda path: load_experiment([path]), share=0.5),
    "override": Reader(text(b"model.channel_width=32\nloss.0.weight=0.5\ntrain.seed=3", "set"), overridden, share=0.5),
    "bundle": Reader(bundle, load, head=3000),
    "description": Reader(description, described, share=0.5),
    "checkpoint": Reader(checkpoint, read_tensors, head=1500),
    "sound": Reader(sound, read, head=60),
    "pair": Reader(wet, lambda path: Pair(str(path.with_name("whole.wav")), str(path), delay=0), head=60, share=0.5),
    "device": Reader(text(DEVICE, "device.yaml"), read_knobs),
    "setting": Reader(
        text(b"D050_T100", "setting"), lambda path: parse_setting(path.read_bytes().decode("latin1")), refuses=False
    ),
    "manifest": Reader(simulated, lambda path: Simulated(str(path.parent), **SIMULATED)),
    "tonetwist": Names(tonetwist, lambda path: ToneTwist(str(path), "Pedal"), share=0.3),
    # Damage of a record is shown, not refused.
    "run.json": Reader(record_part("run.json"), runs_told, refuses=False, share=0.3),
    "metrics.jsonl": Reader(record_part("metrics.jsonl"), runs_told, refuses=False, share=0.3),
    "config.yaml": Reader(record_part("config.yaml"), runs_told, refuses=False, share=0.3),
}


@contextlib.contextmanager
def at_most(memory: int):
    """Limit the further memory of this process to this number of bytes, if the system supports it."""
    statm = Path("/proc/self/statm")
    if resource is None or not statm.exists():
        yield
        return
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(statm.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + memory, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def starved(error: BaseException | None) -> bool:
    """Return whether the limit on memory caused the error, so that the memory would have been used without it."""
    while error is not None:
        if isinstance(error, MemoryError) or "allocate" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def outcomes(name: str, folder: Path, seed: object, count: int) -> Counter[str]:
    """Count the outcomes of this number of damaged inputs."""
    reader, found = READERS[name], Counter()
    with at_most(MEMORY):
        for case in reader.cases(folder, random.Random(seed), count):
            began, refusal = time.process_time(), None
            try:
                reader.read(case)
            except NablafxError as error:
                refusal = error
            assert time.process_time() - began < SLOWEST_S
            assert not starved(refusal)
            found["refused" if refusal else "read"] += 1
    return found


@pytest.mark.parametrize("name", READERS)
def test_damaged_input_gives_an_error_or_a_result(name, tmp_path):
    count = round(CASES * READERS[name].share)
    found = outcomes(name, tmp_path, name, count)
    assert found.total() == count
    if READERS[name].refuses:
        assert found["refused"] > count // 4
