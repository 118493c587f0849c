"""The laws of presets and bundles break for each fault, and say what to do."""

from __future__ import annotations

import hashlib

import pytest
import torch

import nablafx_core as nfx
from nablafx_core.bundles.bundle import save_bundle
from nablafx_core.testing import pack_results
from nablafx_core.testing.table import LAWS
from reference.registered import preset_file

PRESET = """
model: {name: nablafx_core.testing.tiny:TinyModel}
loss: [{name: l1}, {name: mr_stft, weight: 0.1}]
train: {learning_rate: 0.1}
"""


def checked_preset(install, text):
    install("nablafx-acme", "@hookimpl\ndef nablafx_presets():\n    return [Component('p', 'acme_files:p.yaml', '')]\n")
    preset_file(install, text)
    return {result.law: result for result in pack_results("acme")}


@pytest.mark.parametrize(
    "more", ["", "data: {segment_length: 1500}", "metrics: [esr]", "requires: [nablafx-core>=0.1]"]
)
def test_a_right_preset_holds(install, more):
    found = checked_preset(install, f"{PRESET}\n{more}")
    assert {result.failure for result in found.values()} == {None}
    assert found["its model builds"].measured == 1
    assert 0.3 < found["trains a step"].measured < 3


@pytest.mark.parametrize(
    ("text", "law", "failure"),
    [
        ("model: {name: nablafx_core.testing.tiny:TinyModl}", 0, "preset nablafx-acme/p:1: model.name: model"),
        (
            "model: {name: nablafx_core.testing.tiny:TinyModel, wdth: 3}",
            0,
            "preset nablafx-acme/p:1: model.wdth: TinyModel",
        ),
        (
            f"{PRESET}\ntrane: {{}}",
            0,
            "preset nablafx-acme/p:6: an experiment has no setting 'trane'. Did you mean 'train'?",
        ),
        (f"{PRESET}\nmetrics: [snr]", 0, "preset nablafx-acme/p:6: metrics.0.name: No metric named 'snr'."),
        (f"{PRESET}\nrequires: [nablafx-core>=9]", 0, "The experiment requires packs that are missing"),
        (f"{PRESET}\ndata: {{segment_lenth: 3}}", 0, "preset nablafx-acme/p:6: data.segment_lenth: TinyData has no"),
        ("train: {}", 0, "The experiment has no section 'model'."),
        (
            "model: {name: reference.refusing:Refusing}",
            2,
            "the preset's model cannot be built for any number of knobs tried:\n  with 0 knobs: one knob, not 0.",
        ),
        (
            "model: {name: reference.refusing:Fragile}",
            2,
            "model 'reference.refusing:Fragile' cannot be built from its settings: RuntimeError: a defect.",
        ),
        ("model: {name: reference.refusing:Idle}", 3, "with 0 knobs: all gradients are 0 at the first step."),
        ("model: {name: reference.refusing:Endless}", 3, "with 0 knobs: the loss is nan at the first step;"),
        ("model: {name: reference.refusing:Steep}", 3, "with 0 knobs: the gradient of weight is NaN or infinite"),
    ],
)
def test_a_faulty_preset_breaks_its_law(install, text, law, failure):
    found = checked_preset(install, text)
    assert list(found.values())[law].failure.startswith(failure)
    assert len(found) == law + 1
    assert [result.outcome for result in found.values()] == ["holds"] * law + ["broken"]


def test_a_preset_is_trained_with_the_knobs_that_it_names_or_accepts(install):
    """The model accepts only one knob, which the preset names."""
    found = checked_preset(install, "model: {name: reference.refusing:Refusing, controls: [{name: a}]}")
    assert {result.failure for result in found.values()} == {None}


def test_a_stateful_preset_is_trained_in_chunks(install):
    found = checked_preset(
        install, "model: {name: reference.refusing:Chunked}\ntrain: {tbptt: 100, learning_rate: 0.1}\n"
    )
    assert {result.failure for result in found.values()} == {None}


@pytest.fixture
def bundle(install):
    """Give a function that creates the bundle `ts9` in the package `acme_models`."""
    folder = install.folder / "acme_models"
    folder.mkdir()
    (folder / "__init__.py").touch()

    def made(more, **settings):
        torch.manual_seed(0)
        model = nfx.build("model", {"name": "reference.toys:Echo", "latency": 2, **settings})
        path = save_bundle(model, folder / "ts9.nfx")
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        component = f"Component('ts9', 'acme_models:ts9.nfx', 'TS9'{more.replace('DIGEST', digest)})"
        install("nablafx-acme", f"@hookimpl\ndef nablafx_bundles():\n    return [{component}]\n")
        return digest, {result.law: result for result in pack_results("acme")}

    return made


def test_a_right_bundle_holds(bundle):
    _, found = bundle(", licence='CC0-1.0', sha256='DIGEST'")
    assert [law.name for law in LAWS["bundle"]] == list(found)
    assert {result.failure for result in found.values()} == {None}
    assert found["stream = offline, float64"].measured < 1e-12


@pytest.mark.parametrize(
    ("more", "settings", "law", "failure"),
    [
        (
            "",
            {},
            0,
            "the Component of the bundle has no licence and no sha256. Add to it licence=",
        ),
        (", licence='CC0-1.0'", {}, 0, 'the Component of the bundle has no sha256. Add to it sha256="DIGEST".'),
        (", licence='CC0-1.0', sha256='00'", {}, 0, "the file's sha256 is DIGEST, but 00 is declared."),
        (", licence='CC0-1.0', sha256='DIGEST'", {"fault": "NaN in silence"}, 1, "silence gives no NaN (Echo): "),
        (", licence='CC0-1.0', sha256='DIGEST'", {"fault": "forgets"}, 2, "stream = offline (Echo, blocks [1, 61,"),
    ],
)
def test_a_faulty_bundle_breaks_its_law(bundle, more, settings, law, failure):
    digest, found = bundle(more, **settings)
    assert list(found.values())[law].failure.startswith(failure.replace("DIGEST", digest))
    assert len(found) == law + 1
