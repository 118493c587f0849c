"""Checks of a part of a pack, and declared exceptions from laws."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from nablafx_core.cli import cli
from nablafx_core.errors import RegistryError
from nablafx_core.registry import Registry
from nablafx_core.testing import LawBroken, check_pack, pack_results
from nablafx_core.testing.candidates import models_to_export
from reference.registered import plugin, preset_file

pytestmark = pytest.mark.slow

EXCEPTED = """
@hookimpl
def nablafx_models():
    return [Component("echo", "reference.toys:Echo", "", {"fault": FAULT}, exceptions=EXCEPTIONS)]
"""
IDLE = "every parameter moves the output"


def component(install, fault, exceptions):
    install("nablafx-acme", EXCEPTED.replace("FAULT", repr(fault)).replace("EXCEPTIONS", repr(exceptions)))


@pytest.mark.parametrize(
    ("only", "checked"),
    [
        ("loss/absolute", {("loss", "absolute")}),
        ("absolute", {("loss", "absolute")}),
        ("loss/*", {("loss", "absolute")}),
        ("*/e*", {("metric", "errortosignal")}),
        (["loss/*", "hook/*"], {("loss", "absolute"), ("hook", "nablafx_callbacks")}),
        ("nablafx_callbacks", {("hook", "nablafx_callbacks")}),
        ((), {("loss", "absolute"), ("metric", "errortosignal"), ("hook", "nablafx_callbacks")}),
    ],
)
def test_a_pattern_chooses_what_is_checked(install, only, checked):
    source = plugin(("loss", "reference.toys:Absolute", {}), ("metric", "reference.toys:ErrorToSignal", {}))
    install("nablafx-acme", source + "@hookimpl\ndef nablafx_callbacks(config):\n    return []\n")
    assert {(result.kind, result.component) for result in check_pack("acme", only)} == checked
    options = [item for pattern in ([only] if isinstance(only, str) else only) for item in ("--only", pattern)]
    shown = CliRunner().invoke(cli, ["packs", "check", "acme", "--json", *options])
    assert {(row["kind"], row["component"]) for row in json.loads(shown.stdout)} == checked


def test_a_pattern_without_a_match_is_an_error(install):
    install("nablafx-acme", plugin(("loss", "reference.toys:Absolute", {})))
    with pytest.raises(RegistryError, match="no component 'los/absolute' to check. Did you mean 'loss/absolute'?"):
        check_pack("acme", "los/absolute")
    with pytest.raises(RegistryError, match="no component 'model/x' to check. It has loss/absolute."):
        check_pack("acme", ["loss/*", "model/x"])
    shown = CliRunner().invoke(cli, ["packs", "check", "acme", "--only", "zzz"])
    assert shown.exit_code == 1 and not shown.stdout


def test_a_declared_exception_is_shown_with_its_reason(install):
    component(install, "idle weight", {IDLE: "the format has a bias that nothing uses"})
    results = {result.law: result for result in check_pack("acme")}
    assert results[IDLE].outcome == "exception"
    reason, why = results[IDLE].note.split("\n", 1)
    assert reason == "the format has a bias that nothing uses" and "idle" in why
    assert {result.outcome for law, result in results.items() if law != IDLE} <= {"holds", "warning"}
    shown = CliRunner().invoke(cli, ["packs", "check", "acme"])
    assert shown.exit_code == 0
    assert f"exception: model echo: {IDLE}\n  the format has a bias that nothing uses\n" in shown.stdout
    assert ", 1 exception" in shown.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("exceptions", "law", "failure"),
    [
        ({IDLE: "no reason any more"}, IDLE, "the law holds, but the Component declares an exception: 'no reason any"),
        (
            {"every parameter moves the outputs": "why"},
            "every parameter moves the outputs",
            f"`exceptions` names a law that a model does not have. Did you mean '{IDLE}'?",
        ),
        ({"settings are documented": "none"}, "settings are documented", "the law holds, but"),
    ],
)
def test_a_declared_exception_whose_law_holds_fails(install, exceptions, law, failure):
    component(install, "", exceptions)
    broken = {result.law: result.failure for result in pack_results("acme") if result.failure}
    assert list(broken) == [law] and broken[law].startswith(failure)
    with pytest.raises(LawBroken, match="acme breaks 1 of"):
        check_pack("acme")


@pytest.mark.parametrize("exceptions", [{IDLE: ""}, {IDLE: None}, {1: "why"}, [IDLE]])
def test_an_exception_requires_a_reason(install, exceptions):
    component(install, "", exceptions)
    (only,) = pack_results("acme")
    assert "gives 'echo' exceptions " in only.failure


def test_an_exporter_is_given_models_of_other_packs_as_their_examples_alone(install):
    install("nablafx-other", plugin(("model", "reference.toys:Echo", {"latency": 1})))
    install("nablafx-acme", plugin(("model", "nablafx_core.testing.tiny:TinyModel", {"controls": [{"name": "a"}]})))
    given = [name for name, _ in models_to_export(Registry.discover().pack_named("acme"))]
    assert given == ["tinymodel", "tinymodel without knobs", "echo"]


def test_a_preset_that_names_no_packs_gets_a_remark(install):
    install("nablafx-acme", "@hookimpl\ndef nablafx_presets():\n    return [Component('p', 'acme_files:p.yaml', '')]\n")
    preset_file(install, "model: {name: nablafx_core.testing.tiny:TinyModel}\nloss: [l1, {name: nablafx-core/esr}]\n")
    remarks = {result.law: result for result in check_pack("acme") if result.outcome == "warning"}
    assert list(remarks) == ["names its packs"]
    assert remarks["names its packs"].note.startswith("l1: named without a pack.")
    assert remarks["names its packs"].measured == 3
