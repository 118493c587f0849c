"""Discovery of packs. Broken packs are in test_broken_packs.py."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from nablafx_core.cli import cli
from nablafx_core.errors import RegistryError
from nablafx_core.names import canonical
from nablafx_core.registry import Registry
from reference.clock import Clock

HEAD = "from nablafx_core import Component, hookimpl\n"
GOOD = """
@hookimpl
def nablafx_models():
    return [Component("ladder", "nablafx_acme:Ladder", "4-pole ladder")]
"""


def discovered() -> dict[str, object]:
    registry = Registry.discover()
    registry.collect_all()
    return {pack.name: pack for pack in registry.packs}


def test_the_error_for_an_unknown_name_lists_broken_packs(install):
    install("nablafx-bad", "raise ImportError('libfoo is not there')", version="2.1")
    with pytest.raises(RegistryError) as error:
        Registry.discover().find("model", "ladder")
    assert "broken pack nablafx-bad 2.1: cannot import nablafx_bad: ImportError: libfoo is not there" in str(
        error.value
    )


def test_the_second_pack_that_uses_an_entry_point_name_is_loaded_too(install):
    install("nablafx-acme", GOOD, entry="fx")
    install("nablafx-bolt", GOOD.replace("ladder", "plate"), entry="fx")
    names = {entry.component.name for entry in Registry.discover().entries("models")}
    assert {"ladder", "plate"} <= names


@pytest.mark.parametrize("metadata", [None, b"", b"\xff\xfe\x00"], ids=["none", "empty", "not text"])
def test_a_distribution_without_metadata_has_the_name_of_its_module(install, metadata):
    install("nablafx-bare", GOOD.replace("ladder", "plate"))
    install("nablafx-acme", GOOD)
    file = install.folder / "nablafx_bare-1.0.dist-info" / "METADATA"
    file.unlink() if metadata is None else file.write_bytes(metadata)
    registry = Registry.discover()
    assert registry.find("model", "ladder")
    assert registry.find("model", "nablafx-bare/plate")


def test_a_distribution_may_have_several_modules(install):
    install("nablafx-acme", GOOD)
    install.module("acme_more", HEAD + GOOD.replace("ladder", "plate"))
    with (install.folder / "nablafx_acme-1.0.dist-info" / "entry_points.txt").open("a") as file:
        file.write("more = acme_more\n")
    registry = Registry.discover()
    assert [registry.find("model", name).pack.name for name in ("ladder", "plate")] == ["nablafx-acme"] * 2


@pytest.mark.parametrize(
    ("hook", "warning"),
    [
        ("nablafx_model", "this core has no hook 'nablafx_model'; did you mean 'nablafx_models'?"),
        (
            "nablafx_weather",
            "this core has no hook 'nablafx_weather'; it may be for a newer one. "
            "Try: pip install --upgrade nablafx-core",
        ),
    ],
)
def test_an_unknown_hook_is_a_warning_and_the_pack_works(install, hook, warning):
    install("nablafx-acme", GOOD + f"\n@hookimpl\ndef {hook}():\n    return []\n")
    pack = discovered()["nablafx-acme"]
    assert pack.warnings == [warning]
    assert pack.problems == []
    assert Registry.discover().find("model", "ladder").pack is pack


def test_a_hook_without_its_decorator_is_a_warning(install):
    install("nablafx-acme", GOOD.replace("@hookimpl\n", ""))
    assert discovered()["nablafx-acme"].warnings == ["'nablafx_models' lacks @hookimpl and is not called"]


@pytest.mark.parametrize(
    ("value", "loaded"),
    [
        (None, {"nablafx-acme", "bolt.fx"}),
        ("", set()),
        (" , ", set()),
        ("acme", {"nablafx-acme"}),
        ("nablafx_acme", {"nablafx-acme"}),
        ("acme, Bolt-FX", {"nablafx-acme", "bolt.fx"}),
        ("nobody", set()),
    ],
)
def test_the_variable_limits_what_is_loaded(install, monkeypatch, value, loaded):
    install("nablafx-acme", GOOD)
    install("bolt.fx", GOOD)
    if value is None:
        monkeypatch.delenv("NABLAFX_PACKS")
    else:
        monkeypatch.setenv("NABLAFX_PACKS", value)
    names = set(discovered())
    assert "nablafx-core" in names
    assert names & {"nablafx-acme", "bolt-fx"} == {canonical(name) for name in loaded}
    assert (value is None) == ("nablafx-models" in names)


def test_a_pack_that_is_not_loaded_is_not_imported(install, monkeypatch):
    install("nablafx-acme", "raise SystemExit('imported')")
    monkeypatch.setenv("NABLAFX_PACKS", "")
    assert "nablafx-acme" not in discovered()


def test_output_of_a_pack_goes_to_stderr(install, capsys):
    install(
        "nablafx-loud",
        "print('hello')\n@hookimpl\ndef nablafx_models():\n    return [Component('m', 'loud_part:M', '')]",
    )
    install.module("loud_part", "print('hello again')\nM = 3")
    assert Registry.discover().find("model", "m").load() == 3
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", "hello\nhello again\n")


def test_a_slow_import_is_a_warning(install, monkeypatch):
    monkeypatch.setattr("nablafx_core.registry.packs.time", Clock())
    install("nablafx-slow", "from nablafx_core.registry import packs\npacks.time.seconds += 0.6")
    assert [text for text in discovered()["nablafx-slow"].warnings if "s to import" in text]


def test_a_module_without_hooks_is_a_warning(install):
    install("nablafx-empty", "hooks = []")
    install("nablafx-odd", "number = 5", entry="odd = nablafx_odd:number")
    packs = discovered()
    assert packs["nablafx-empty"].warnings == [
        "nablafx_empty has no hooks. Does the entry point name the right module?"
    ]
    assert packs["nablafx-odd"].warnings == ["5 has no hooks. Does the entry point name the right module?"]


def test_callbacks_are_listed_as_contents_of_a_pack(install):
    install("nablafx-acme", "@hookimpl\ndef nablafx_callbacks(config):\n    return []\n")
    shown = CliRunner().invoke(cli, ["packs"]).stdout
    assert [line.split() for line in shown.splitlines() if line.startswith("nablafx-acme")] == [
        ["nablafx-acme", "1.0", "callbacks"]
    ]
