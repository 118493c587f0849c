"""A folder with what a person has, in which something can be made wrong, and the command line as they use it."""

from __future__ import annotations

import shutil
import sys
import zipfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import soundfile
import yaml

from nablafx_core.bundles.bundle import DESCRIPTION, WEIGHTS, save_bundle
from nablafx_core.cli import main
from nablafx_core.controls import Control
from nablafx_core.registry.building import build
from nablafx_data.plucked import music

RATE = 24000
SETTING = "D050_T070"
BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30))]
)
RUNS_CODE = "!!python/object/apply:os.system ['touch called']"


@cache
def played(name: str, seconds: float = 3.0) -> np.ndarray:
    return music(seconds, RATE, np.random.default_rng(list(name.encode())))


def pedal(dry: np.ndarray) -> np.ndarray:
    return np.tanh(5 * dry)


class World:
    """A folder with a pair of recordings, a data set, two models, an experiment and an old rendering."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self) -> None:
        self.sound("di.wav", played("di"))
        self.sound("amp.wav", pedal(played("di")))
        for part, source in (("trainval", "riff"), ("trainval", "bass"), ("trainval", "lead"), ("test", "solo")):
            self.sound(f"data/DRY/{part}/{source}.input.wav", played(source))
            self.sound(self.target(source, part), pedal(played(source)))
        small = {"name": "tcn", "num_blocks": 2, "channel_width": 4}
        save_bundle(build("model", small, sample_rate=RATE), self.folder / "plain.nfx")
        knob = (Control("drive", 0, 10, "dB"),)
        save_bundle(
            build("model", {**small, "conditioning": "film"}, sample_rate=RATE, controls=knob), self.folder / "m.nfx"
        )
        self.write("e.yaml", "data: {name: pair, dry: di.wav, wet: amp.wav}\nmodel: {name: tcn, num_blocks: 2}\n")
        self.write("out.wav", "old")

    def sound(self, name: str, audio: np.ndarray, rate: int = RATE) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(self.folder / name, audio, rate, subtype="FLOAT")

    def write(self, name: str, content: str | bytes) -> None:
        (self.folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    def cut(self, name: str, size: int = 5000) -> None:
        self.write(name, (self.folder / name).read_bytes()[:-size])

    def move(self, name: str, to: str) -> None:
        (self.folder / to).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / name).rename(self.folder / to)

    def target(self, source: str = "bass", part: str = "trainval", setting: str = SETTING) -> str:
        return f"data/Pedal/{part}/{setting}/{setting}.{source}.target.wav"

    def bundle(self, text: str | None = None, extra: dict[str, bytes] | None = None, **changes) -> None:
        """Write b.nfx: m.nfx with another description."""
        with zipfile.ZipFile(self.folder / "m.nfx") as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        if changes:
            parts[DESCRIPTION] = yaml.safe_dump({**yaml.safe_load(parts[DESCRIPTION]), **changes}).encode()
        parts |= ({DESCRIPTION: text.encode()} if text else {}) | (extra or {})
        with zipfile.ZipFile(self.folder / "b.nfx", "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, content)

    def tamper(self) -> None:
        with zipfile.ZipFile(self.folder / "m.nfx") as archive:
            weights = bytearray(archive.read(WEIGHTS))
        weights[-1] ^= 1
        self.bundle(extra={WEIGHTS: bytes(weights)})


@pytest.fixture(scope="session")
def whole_world(tmp_path_factory):
    """A `World` in which all is well."""
    folder = tmp_path_factory.mktemp("whole") / "world"
    folder.mkdir()
    World(folder).make()
    return folder


@pytest.fixture
def world(whole_world, tmp_path, monkeypatch):
    """A copy of it, in which the test's process stands."""
    monkeypatch.setenv("NABLAFX_CACHE", str(tmp_path / "cache"))
    shutil.copytree(whole_world, tmp_path / "world")
    monkeypatch.chdir(tmp_path / "world")
    return World(tmp_path / "world")


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every file with its content, and every folder."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def run_main(command: str, monkeypatch, capsys) -> tuple[int, str, str]:
    """A command line as `main` gets it from a shell: exit status, stdout, stderr."""
    monkeypatch.setattr(sys, "argv", ["nablafx", *command.split()])
    with pytest.raises(SystemExit) as end:
        main()
    captured = capsys.readouterr()
    return int(end.value.code or 0), captured.out, captured.err
