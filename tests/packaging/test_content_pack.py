"""A pack that consists of one trained model, with another pack's architecture: install it and render offline."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import soundfile
import torch

import nablafx_core as nfx
from installing import Elsewhere
from nablafx_core.bundles.bundle import save_bundle

pytestmark = pytest.mark.slow

PYPROJECT = """
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "nablafx-sounds"
version = "1.0"
dependencies = ["nablafx-core>=0.1", "nablafx-models>=0.1"]

[project.entry-points.nablafx]
sounds = "nablafx_sounds.plugin"

[tool.hatch.build.targets.wheel]
packages = ["nablafx_sounds"]
"""
PLUGIN = """
from nablafx_core import Component, hookimpl


@hookimpl
def nablafx_bundles():
    return [
        Component("ts9", "nablafx_sounds:bundles/ts9.nfx", "TS9", licence="CC-BY-4.0", sha256="{sha256}"),
        Component("other", "nablafx_sounds:bundles/ts9.nfx", "TS9", licence="CC-BY-4.0", sha256="{other}"),
    ]
"""


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    settings = {"name": "tcn", "num_blocks": 2, "kernel_size": 3, "channel_width": 4, "conditioning": "film"}
    return nfx.build("model", settings, sample_rate=48000, controls=[{"name": "drive", "maximum": 10.0}]).eval()


@pytest.fixture(scope="module")
def pack(network, tmp_path_factory):
    """Write the sources of the pack: three files, without code of a model."""
    folder = tmp_path_factory.mktemp("sounds")
    package = folder / "nablafx_sounds"
    bundle = save_bundle(network, package / "bundles" / "ts9.nfx", {"licence": "CC-BY-4.0"})
    sha256 = hashlib.sha256(bundle.read_bytes()).hexdigest()
    (package / "plugin.py").write_text(PLUGIN.format(sha256=sha256, other="0" * 64))
    (package / "__init__.py").touch()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    return folder


@pytest.fixture(scope="module")
def elsewhere(pack, tmp_path_factory):
    made = Elsewhere(tmp_path_factory.mktemp("elsewhere"))
    made.install("nablafx_core", "nablafx_models", pack)
    return made


def test_the_model_of_the_pack_renders_and_is_shown(elsewhere, network):
    dry = 0.3 * np.random.default_rng(0).standard_normal(5000).astype(np.float32)
    soundfile.write(elsewhere.cwd / "in.wav", dry, 48000, subtype="FLOAT")
    elsewhere.nablafx("render", "sounds/ts9", "in.wav", "out.wav", "--control", "drive=7")
    with torch.no_grad():
        expected = network(torch.from_numpy(dry)[None, None], torch.tensor([[0.7]]))[0][0, 0].numpy()
    np.testing.assert_allclose(soundfile.read(elsewhere.cwd / "out.wav")[0], expected, atol=1e-5)
    assert np.abs(expected).max() > 1e-3
    shown = json.loads(elsewhere.nablafx("show", "ts9", "--json"))
    file = elsewhere.site / "nablafx_sounds/bundles/ts9.nfx"
    assert shown["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert (shown["licence"], shown["pack"]) == ("CC-BY-4.0", "nablafx-sounds 1.0")


def test_a_bundle_with_a_different_hash_is_refused(elsewhere):
    told = elsewhere.refusal("render", "sounds/other", "in.wav", "out.wav")
    assert "nablafx-sounds/other: the file's hash differs" in told


def test_an_error_names_the_missing_pack_of_the_architecture(elsewhere):
    elsewhere.uninstall("nablafx-models")
    told = elsewhere.refusal("render", "sounds/ts9", "in.wav", "out.wav")
    elsewhere.install("nablafx_models")  # for later tests
    assert "ts9.nfx: cannot build its model. It was made with nablafx-models 0.1.0" in told
