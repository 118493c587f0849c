"""A bundle is the model: nothing is lost, nothing in it is run, and what is wrong with it is said."""

from __future__ import annotations

import zipfile

import pytest
import torch
import yaml

import nablafx_core as nfx
from nablafx_core.controls import Control
from nablafx_core.errors import BundleError, ConfigError, RunError
from nablafx_core.export.bundle import describe_bundle, save_bundle

TCN = {"name": "tcn", "num_blocks": 2, "kernel_size": 3, "channel_width": 4, "conditioning": "film"}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nfx.build("model", TCN, sample_rate=44100, controls=(Control("drive", 0, 10, default=3.0),)).eval()


@pytest.fixture
def bundle(model, tmp_path):
    return save_bundle(model, tmp_path / "m.nfx", {"device": "test"})


def rewritten(bundle, name, content):
    with zipfile.ZipFile(bundle) as archive:
        parts = {item: archive.read(item) for item in archive.namelist()}
    parts[name] = content
    with zipfile.ZipFile(bundle, "w") as archive:
        for item, data in parts.items():
            archive.writestr(item, data)
    return bundle


def test_it_loads_what_was_saved(model, bundle):
    loaded = nfx.load(bundle)
    audio, controls = torch.randn(1, 1, 500), torch.rand(1, 1)
    assert torch.equal(loaded(audio, controls)[0], model(audio, controls)[0])
    assert loaded.controls == model.controls
    assert loaded.sample_rate == 44100
    assert loaded.section["name"] == "nablafx-models/tcn"
    description = describe_bundle(bundle)
    assert description["info"] == {"device": "test"}
    assert "nablafx-models" in description["packs"]
    assert [path.name for path in bundle.parent.iterdir()] == ["m.nfx"]


def test_tampered_weights_are_refused(bundle):
    with zipfile.ZipFile(bundle) as archive:
        weights = bytearray(archive.read("weights.safetensors"))
    weights[-1] ^= 1
    with pytest.raises(BundleError, match="hash"):
        nfx.load(rewritten(bundle, "weights.safetensors", bytes(weights)))


def test_a_truncated_file_is_refused(bundle):
    data = bundle.read_bytes()
    for length in (0, 10, len(data) // 2, len(data) - 5):
        bundle.write_bytes(data[:length])
        with pytest.raises(BundleError):
            nfx.load(bundle)


def test_a_newer_format_is_refused(bundle):
    description = describe_bundle(bundle)
    description["format"] = 99
    with pytest.raises(BundleError, match="Update"):
        nfx.load(rewritten(bundle, "model.yaml", yaml.safe_dump(description)))


def test_a_missing_pack_is_named(bundle):
    description = describe_bundle(bundle)
    description["model"]["name"] = "nablafx-acme/ladder"
    description["packs"] = {"nablafx-acme": "2.1"}
    with pytest.raises(BundleError, match=r"nablafx-acme 2\.1"):
        nfx.load(rewritten(bundle, "model.yaml", yaml.safe_dump(description)))


def test_yaml_that_would_run_code_is_refused(bundle):
    with pytest.raises(BundleError, match="damaged"):
        nfx.load(rewritten(bundle, "model.yaml", "!!python/object/apply:os.system ['true']"))


def test_an_extra_file_is_refused(bundle):
    with pytest.raises(BundleError, match="no NablAFx bundle"):
        nfx.load(rewritten(bundle, "../escape", b"x"))


def test_what_is_not_there(tmp_path):
    with pytest.raises(BundleError, match="no such file"):
        nfx.load(tmp_path / "none.nfx")
    with pytest.raises(RunError, match=r"model\.nfx"):
        nfx.load(tmp_path)
    with pytest.raises(BundleError, match="no bundle of a pack"):
        nfx.load("acme/ts9")


def test_a_model_of_unknown_origin_cannot_be_saved(model, tmp_path):
    del model.section
    with pytest.raises(BundleError, match="build"):
        save_bundle(model, tmp_path / "x.nfx")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot write"):
        save_bundle(model, tmp_path / "file" / "x.nfx")


def test_build_names_a_setting_that_does_not_exist():
    with pytest.raises(ConfigError, match="no setting 'dilatons'. Did you mean 'dilation_growth'"):
        nfx.build("model", {"name": "tcn", "dilatons": 3})
    with pytest.raises(ConfigError, match="needs a name"):
        nfx.build("model", {"num_blocks": 3})


def test_an_archive_that_zipfile_does_not_support_is_refused(bundle):
    data = bytearray(bundle.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 6] = 83  # the version that is needed to extract it
    bundle.write_bytes(data)
    with pytest.raises(BundleError, match="damaged"):
        nfx.load(bundle)
