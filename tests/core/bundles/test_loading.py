"""A pack may be nothing but trained models: named, shown, checked by their hash, and rendered with."""

from __future__ import annotations

import hashlib
import json

import pytest
import soundfile
import torch
from click.testing import CliRunner

import nablafx_core as nfx
from nablafx_core.bundles.bundle import save_bundle
from nablafx_core.cli import cli
from nablafx_core.errors import BundleError, RegistryError
from reference.toys import Echo


def plugin(sha256, file="ts9.nfx"):
    return f"""
    @hookimpl
    def nablafx_bundles():
        return [Component("ts9", "acme_models:{file}", "TS9", licence="CC-BY-4.0", sha256="{sha256}")]
    """


@pytest.fixture
def bundle(install, monkeypatch):
    """A bundle inside the package `acme_models`, and its hash; the model is code of no pack."""
    folder = install.folder / "acme_models"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    torch.manual_seed(0)
    path = save_bundle(nfx.build("model", {"name": "reference.toys:Echo", "latency": 2}), folder / "ts9.nfx")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_it_loads_renders_and_is_shown(install, bundle, tmp_path, monkeypatch):
    install("nablafx-acme", plugin(bundle))
    monkeypatch.chdir(tmp_path)
    model = nfx.load("acme/ts9")
    assert isinstance(model, Echo)
    dry = 0.1 * torch.randn(3000)
    soundfile.write("in.wav", dry.numpy(), model.sample_rate, subtype="FLOAT")
    result = CliRunner().invoke(cli, ["render", "acme/ts9", "in.wav", "out.wav"])
    assert result.exit_code == 0, result.output
    with torch.no_grad():
        expected = model(dry[None, None])[0][0, 0].numpy()
    assert abs(soundfile.read("out.wav", dtype="float32")[0] - expected).max() < 1e-6
    shown = json.loads(CliRunner().invoke(cli, ["show", "ts9", "--json"]).stdout)
    assert (shown["licence"], shown["sha256"]) == ("CC-BY-4.0", bundle)


def test_another_file_than_the_declared_one_is_refused(install, bundle):
    install("nablafx-acme", plugin("0" * 64))
    with pytest.raises(BundleError, match="nablafx-acme/ts9: the file's hash differs"):
        nfx.load("acme/ts9")


def test_a_file_that_the_pack_does_not_have(install, bundle):
    install("nablafx-acme", plugin(bundle, "other.nfx"))
    with pytest.raises(RegistryError, match="no file"):
        nfx.load("acme/ts9")
