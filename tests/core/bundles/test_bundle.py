"""A bundle preserves the model, never runs code of the file, and reports faults of the file."""

from __future__ import annotations

import copy
import hashlib
import json
import struct
import zipfile

import pytest
import torch
import yaml

import nablafx_core as nfx
from nablafx_core.bundles.bundle import describe_bundle, save_bundle
from nablafx_core.controls import Control
from nablafx_core.errors import BundleError, ConfigError, RunError

TCN = {"name": "tcn", "num_blocks": 2, "kernel_size": 3, "channel_width": 4, "conditioning": "film"}


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nfx.build("model", TCN, sample_rate=44100, controls=(Control("drive", 0, 10, default=3.0),)).eval()


@pytest.fixture
def bundle(model, tmp_path):
    return save_bundle(model, tmp_path / "m.nfx", {"device": "test"})


def parts_of(bundle):
    with zipfile.ZipFile(bundle) as archive:
        return {item: archive.read(item) for item in archive.namelist()}


def rewritten(bundle, name, content):
    parts = {**parts_of(bundle), name: content}
    with zipfile.ZipFile(bundle, "w") as archive:
        for item, data in parts.items():
            archive.writestr(item, data)
    return bundle


def test_a_bundle_loads_the_model_that_was_saved(model, bundle):
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


def test_tampered_weights_are_rejected(bundle):
    with zipfile.ZipFile(bundle) as archive:
        weights = bytearray(archive.read("weights.safetensors"))
    weights[-1] ^= 1
    with pytest.raises(BundleError, match="hash"):
        nfx.load(rewritten(bundle, "weights.safetensors", bytes(weights)))


def test_a_truncated_file_is_rejected(bundle):
    data = bundle.read_bytes()
    for length in (0, 10, len(data) // 2, len(data) - 5):
        bundle.write_bytes(data[:length])
        with pytest.raises(BundleError):
            nfx.load(bundle)


def test_a_newer_format_is_rejected(bundle):
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


def test_yaml_that_would_run_code_is_rejected(bundle):
    with pytest.raises(BundleError, match="damaged"):
        nfx.load(rewritten(bundle, "model.yaml", "!!python/object/apply:os.system ['true']"))


def test_an_extra_file_is_rejected(bundle):
    with pytest.raises(BundleError, match="not a NablAFx bundle"):
        nfx.load(rewritten(bundle, "../escape", b"x"))


def test_missing_files_and_names_are_errors(tmp_path):
    with pytest.raises(BundleError, match="no such file"):
        nfx.load(tmp_path / "none.nfx")
    with pytest.raises(RunError, match=r"model\.nfx"):
        nfx.load(tmp_path)
    with pytest.raises(BundleError, match="bundle of a pack"):
        nfx.load("acme/ts9")


def test_a_model_that_was_not_built_from_a_section_cannot_be_saved(model, tmp_path):
    del model.section
    with pytest.raises(BundleError, match="build"):
        save_bundle(model, tmp_path / "x.nfx")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_an_error(model, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot write"):
        save_bundle(model, tmp_path / "file" / "x.nfx")


def test_build_names_a_setting_that_does_not_exist():
    with pytest.raises(ConfigError, match="no setting 'dilatons'. Did you mean 'dilation_growth'"):
        nfx.build("model", {"name": "tcn", "dilatons": 3})
    with pytest.raises(ConfigError, match="needs a name"):
        nfx.build("model", {"num_blocks": 3})


def test_an_unsupported_archive_is_rejected(bundle):
    data = bytearray(bundle.read_bytes())
    entry = data.index(b"PK\x01\x02")
    data[entry + 6] = 83  # the version that is needed to extract it
    bundle.write_bytes(data)
    with pytest.raises(BundleError, match="damaged"):
        nfx.load(bundle)


def described_as(bundle, **changes):
    """Return the bundle with a changed description; ``model__name`` is a setting of its model."""
    description = copy.deepcopy(describe_bundle(bundle))
    for key, value in changes.items():
        section, _, setting = key.partition("__")
        if setting:
            description[section][setting] = value
        else:
            description[section] = value
    return rewritten(bundle, "model.yaml", yaml.safe_dump(description))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"packs": [1]}, "'packs' is not a mapping"),
        ({"model": "tcn"}, "'model' is not a mapping"),
        ({"model": {"num_blocks": 2}}, "'model' has no name"),
        ({"info": [1]}, "'info' is not a mapping"),
        ({"facts": "x"}, "'facts' is not a mapping"),
        ({"format": True}, "is not a description of a model"),
        ({"format": 0}, "is not a description of a model"),
        ({"model__controls": 3}, "controls: should be a valid array"),
        ({"model__controls": [{"nam": "d"}]}, "controls: 0.name: Field required"),
        ({"model__controls": [{"name": 3}]}, "controls: 0.name: should be a valid string"),
        ({"model__sample_rate": "x"}, "model.sample_rate is 'x'"),
        ({"model__sample_rate": 0}, "model.sample_rate is 0; .* 1,000 to 1,000,000 Hz"),
        ({"model__num_blocks": "x"}, "model.num_blocks: should be a valid integer, not 'x'"),
        ({"model__num_blocks": 3}, "do not fit the model: blocks.2.conv.weight is missing; [0-9]+ more differ."),
        ({"model__num_blocks": 1}, "do not fit the model: the model has no blocks.1"),
        ({"model__name": "os:system"}, "'os:system' is not a model"),
        ({"model__unheard": 1}, "no setting 'unheard'"),
    ],
)
def test_an_invalid_description_is_rejected_with_the_name_of_the_file(bundle, changes, message):
    with pytest.raises(BundleError, match=rf"m\.nfx: .*(\n.*)*{message}"):
        nfx.load(described_as(bundle, **changes))


@pytest.mark.parametrize(
    "setting", [{"model__channel_width": 4096}, {"model__channel_width": 4096, "model__kernel_size": 4096}]
)
def test_a_model_larger_than_its_weights_is_not_built(bundle, setting):
    """Sizes within their ranges may still need more memory and time than the weights in the file justify."""
    with pytest.raises(BundleError, match="do not fit the model: the model is larger than its weights"):
        nfx.load(described_as(bundle, **setting))


def test_a_description_that_expands_without_limit_is_rejected(bundle):
    text = parts_of(bundle)["model.yaml"].decode()
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 30)]
    for bomb in ("\n".join(lines), "deep: " + "[" * 10_000, "\n".join(" " * i + "a:" for i in range(500))):
        with pytest.raises(BundleError, match=r"m\.nfx: is damaged: model\.yaml.*nested more than 64 levels"):
            describe_bundle(rewritten(bundle, "model.yaml", text + bomb))


def weights_with(bundle, content):
    """Return the bundle with other weights and their right hash."""
    return described_as(rewritten(bundle, "weights.safetensors", content), sha256=hashlib.sha256(content).hexdigest())


def test_weights_that_declare_a_huge_size_are_rejected(bundle):
    content = parts_of(bundle)["weights.safetensors"]
    (length,) = struct.unpack("<Q", content[:8])
    header, data = json.loads(content[8 : 8 + length]), content[8 + length :]
    name = next(iter(header))
    header[name] |= {"shape": [10**11], "data_offsets": [0, 4 * 10**11]}
    huge = json.dumps(header).encode()
    for wrong in (
        struct.pack("<Q", 2**40) + content[8:],
        struct.pack("<Q", len(huge)) + huge + data,
        struct.pack("<Q", 100_000) + b"[" * 100_000,
        b"",
    ):
        with pytest.raises(BundleError, match=r"m\.nfx: weights\.safetensors is damaged"):
            nfx.load(weights_with(bundle, wrong))


def test_an_archive_that_declares_more_than_it_contains_is_rejected(bundle):
    data = bytearray(bundle.read_bytes())
    entry = data.index(b"PK\x01\x02", data.index(b"PK\x01\x02") + 1)
    data[entry + 24 : entry + 28] = struct.pack("<I", 0x7FFFFFFF)  # the size of the weights
    bundle.write_bytes(data)
    with pytest.raises(BundleError, match="shorter than it declares"):
        nfx.load(bundle)


def test_info_that_is_not_plain_data_is_rejected_and_leaves_no_file(model, tmp_path):
    with pytest.raises(BundleError, match="not plain data"):
        save_bundle(model, tmp_path / "x.nfx", {"loss": torch.zeros(1)})
    assert not list(tmp_path.iterdir())
