"""Damaged input to the real readers gives an error of ours or a result: never another exception, never a long wait."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from installing import CHECKOUT
from nablafx_core import build, load
from nablafx_core.audio.files import read
from nablafx_core.config import load_experiment
from nablafx_core.errors import NablafxError
from nablafx_core.export.bundle import save_bundle
from nablafx_data.device_file import parse_setting, read_knobs

CASES = 1000  # of each reader
SLOWEST_S = 10.0

PIECES = b"{ } [ ] :\x20 \n !!python/x\x20 &a\x20 *a null -1 1e999 .nan ' \" \x00 \xff # ?\x20 | <<:\x20".split(b" ")
DEVICE = b"""knobs:
  D: {name: drive, unit: dB, minimum: 0, maximum: 40, taper: linear, default: 20}
  M: {positions: [a, b]}
"""


def damaged(content: bytes, chance: random.Random, head: int | None = None) -> bytes:
    """The content with a few bytes changed, cut out, repeated, or with a piece of YAML put between."""
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


def experiment(folder: Path) -> tuple[bytes, str]:
    whole = load_experiment([CHECKOUT / "experiments/muff-lstm.yaml"]).to_yaml()
    return whole.encode(), "experiment.yaml"


def bundle(folder: Path) -> tuple[bytes, str]:
    settings = {"name": "tcn", "num_blocks": 2, "channel_width": 4, "conditioning": "film"}
    path = save_bundle(build("model", settings, sample_rate=48000, controls=[{"name": "d"}]), folder / "whole.nfx")
    return path.read_bytes(), "damaged.nfx"


def sound(folder: Path) -> tuple[bytes, str]:
    soundfile.write(folder / "whole.wav", 0.1 * np.random.default_rng(0).standard_normal(2000), 48000, subtype="PCM_16")
    return (folder / "whole.wav").read_bytes(), "damaged.wav"


READERS = {
    "experiment": (experiment, lambda path: load_experiment([path]), None),
    "bundle": (bundle, load, 3000),
    "sound": (sound, read, 60),
    "device": (lambda folder: (DEVICE, "device.yaml"), read_knobs, None),
    "setting": (
        lambda folder: (b"D050_T100", "setting"),
        lambda path: parse_setting(path.read_bytes().decode("latin1")),
        None,
    ),
}


@pytest.mark.parametrize("name", READERS)
def test_damaged_input(name, tmp_path):
    make, reader, head = READERS[name]
    whole, file = make(tmp_path)
    (tmp_path / file).write_bytes(whole)
    reader(tmp_path / file)
    outcomes: Counter[str] = Counter()
    chance = random.Random(name)
    for _ in range(CASES):
        (tmp_path / file).write_bytes(damaged(whole, chance, chance.choice((None, head))))
        began = time.monotonic()
        try:
            reader(tmp_path / file)
            outcomes["read"] += 1
        except NablafxError:
            outcomes["refused"] += 1
        assert time.monotonic() - began < SLOWEST_S
    if name != "setting":  # what is no setting is None
        assert outcomes["refused"] > CASES // 4
