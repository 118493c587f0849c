"""Loading and rendering do not import modules for training, figures, databases or compilers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
import torch

import nablafx_core as nfx
from nablafx_core.audio.reading import write
from nablafx_core.bundles.bundle import save_bundle
from nablafx_core.config import load_experiment
from nablafx_core.registry import Registry
from nablafx_core.testing.candidates import model_of
from nablafx_core.testing.tiny import TINY_DATA, TinyData
from reference.run_folders import write_run

pytestmark = pytest.mark.slow

HEAVY = "lightning sacred pymongo matplotlib librosa auraloss sympy torch._dynamo ray pandas sklearn".split()
LOADING = f"""
import sys
from pathlib import Path
import nablafx_core as nfx

def check(what):
    found = [name for name in {HEAVY} if name in sys.modules]
    assert not found, f"{{what}} imports {{found}}"

source, *bundles = sys.argv[1:]
for bundle in bundles:
    model = nfx.load(bundle)
    check(f"loading {{bundle}}")
    from nablafx_core.playing.render_file import render_file
    render_file(model, Path(source), Path(source).with_name("out.wav"))
    check(f"rendering with {{bundle}}")
"""
COMMANDS = [
    ["packs"],
    ["list"],
    ["show", "capture-tcn"],
    ["runs", "--runs-dir", "runs"],
    ["runs", "show", "20261123-a", "--runs-dir", "runs"],
    ["show", "mse"],
    ["config", "--preset", "capture-tcn", "--set", "data={name: pair, dry: a.wav, wet: b.wav}"],
    ["show", "m.nfx"],
    ["render", "20261123-a", "in.wav", "out.wav", "--runs-dir", "runs"],
]
CALLING = f"""
import sys
from nablafx_core.cli import main
for arguments in {COMMANDS}:
    sys.argv[1:] = arguments
    try:
        main()
    except SystemExit as end:
        assert end.code == 0, arguments
    found = [name for name in {HEAVY} if name in sys.modules]
    assert not found, f"{{arguments}} imports {{found}}"
"""


def run(program, *arguments):
    environment = {**os.environ, "NABLAFX_KERNELS": "torch"}  # compiling is slow and not tested here
    command = [sys.executable, "-c", program, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("light")
    write(made / "in.wav", torch.randn(1, 512) / 10, 48000)
    return made


def examples(kind):
    return {entry.qualified_name: dict(entry.component.example) for entry in Registry.discover().entries(kind)}


def saved(folder, sections):
    """A bundle of each section."""
    paths = []
    for number, section in enumerate(sections):
        data = {name: value for name, value in (("sample_rate", 48000), ("controls", [])) if name not in section}
        paths.append(save_bundle(nfx.build("model", section, **data), folder / f"{number}.nfx"))
    return paths


def test_every_architecture(folder):
    run(
        LOADING,
        folder / "in.wav",
        *saved(folder, [{"name": name, **given} for name, given in examples("model").items()]),
    )


def test_every_processor_and_controller(folder):
    driving = {name: given for name, given in examples("controller").items() if not name.endswith("/none")}
    controllers = [{"name": name, **given} for name, given in driving.items()]
    lines = [[{"name": name, **given, "controller": "static"}] for name, given in examples("processor").items()]
    lines += [[{"name": "gain", "controller": controller}] for controller in controllers]
    knob = [{"name": "knob"}]
    run(
        LOADING,
        folder / "in.wav",
        *saved(folder, [{"name": "graybox", "processors": line, "controls": knob} for line in lines]),
    )


def test_a_gray_box_preset(folder):
    sections = load_experiment(sections={"data": {"name": TINY_DATA}}, preset="fuzz")
    run(LOADING, folder / "in.wav", save_bundle(model_of(sections.config["model"], TinyData(2)), folder / "preset.nfx"))


def test_commands(folder, monkeypatch):
    section = {"name": "graybox", "processors": [{"name": "gain", "controller": "static"}], "controls": []}
    save_bundle(nfx.build("model", section, sample_rate=48000), folder / "m.nfx")
    write_run(folder / "runs", "20261123-a", points=[("validation/loss", 1, 0.5)])
    shutil.copy(folder / "m.nfx", folder / "runs" / "20261123-a" / "model.nfx")
    monkeypatch.chdir(folder)
    monkeypatch.delenv("NABLAFX_MONGO_URL", raising=False)
    run(CALLING)
