"""A name finds one component, or gives an error that says what to write."""

from __future__ import annotations

import pytest

from nablafx_core.errors import RegistryError
from nablafx_core.registry import Registry
from nablafx_core.registry.diagnosis import otherwise
from nablafx_core.registry.kinds import KINDS

PLUGIN = """
@hookimpl
def nablafx_models():
    return [Component("ladder", "{target}", "4-pole ladder")]
"""

OTHERWISE = f" {otherwise('nablafx-acme')}"


@pytest.fixture
def clash(install):
    install("nablafx-clash", PLUGIN.format(target="nablafx_clash:Ladder"))
    install("nablafx-acme", PLUGIN.format(target="nablafx_acme.ladder:Ladder"))
    return Registry.discover()


def message(registry: Registry, kind: str, name: str) -> str:
    with pytest.raises(RegistryError) as error:
        registry.find(kind, name).load()
    return str(error.value)


def test_the_error_for_a_name_of_two_packs_lists_both(clash):
    assert message(clash, "model", "ladder") == (
        "model 'ladder' is provided by 2 packs. Write the one you mean:\n"
        "  nablafx-acme/ladder    nablafx_acme.ladder:Ladder\n"
        "  nablafx-clash/ladder   nablafx_clash:Ladder"
    )


@pytest.mark.parametrize("prefix", ["nablafx-clash", "clash", "nablafx_clash", "Clash"])
def test_the_pack_before_the_name_chooses(clash, prefix):
    entry = clash.find("models", f"{prefix}/ladder")
    assert entry.component.target == "nablafx_clash:Ladder"
    assert entry.qualified_name == "nablafx-clash/ladder"


def test_the_error_for_an_unknown_name_has_a_suggestion_and_the_list(clash):
    text = message(clash, "model", "lader")
    assert text.startswith("No model named 'lader'. Did you mean 'ladder'?\n  models: ")
    assert "ladder" in text.splitlines()[1]


@pytest.mark.parametrize("name", ["other/ladder", "acme/plate", "", "/", "ladder/", "acme/clash/ladder"])
def test_a_wrong_pack_or_an_empty_name_is_found_nowhere(clash, name):
    assert message(clash, "model", name).startswith(f"No model named '{name}'.")


def test_a_pack_that_is_not_installed_is_named(clash):
    hint = "No pack named 'other' is installed. If it is published: pip install nablafx-other"
    assert hint in message(clash, "model", "other/ladder")
    assert "pip install" not in message(clash, "model", "acme/plate") + message(clash, "model", "/")


def test_a_name_of_another_kind_is_found_nowhere(clash):
    assert message(clash, "processor", "ladder").startswith("No processor named 'ladder'.")


def test_every_kind_is_known_in_singular_and_plural_and_no_other(clash):
    for kind in KINDS.values():
        assert list(clash.entries(kind.name)) == list(clash.entries(kind.plural))
    with pytest.raises(RegistryError, match=r"There is no kind 'modle'. Kinds: models, processors"):
        list(clash.entries("modle"))


def test_code_outside_packs_is_named_by_its_import_path(install):
    install.module("my_effect", "class Outer:\n    class Fuzz:\n        pass\n")
    entry = Registry.discover().find("model", "my_effect:Outer.Fuzz")
    assert entry.load().__qualname__ == "Outer.Fuzz"
    assert (entry.pack, entry.qualified_name) == (None, "my_effect:Outer.Fuzz")


@pytest.mark.parametrize(
    ("source", "target", "cause"),
    [
        ("", "effect_of_mine:Fuzz", f"AttributeError: module 'effect_of_mine' has no attribute 'Fuzz'.{OTHERWISE}"),
        ("raise OSError('no libfoo')", "effect_of_mine:Fuzz", f"OSError: no libfoo (effect_of_mine.py:1).{OTHERWISE}"),
        ("raise SystemExit('bye')", "effect_of_mine:Fuzz", f"SystemExit: bye (effect_of_mine.py:1).{OTHERWISE}"),
        (
            "",
            "no_such_effect:Fuzz",
            "there is no module no_such_effect. Try: pip install --force-reinstall nablafx-acme; if that does not "
            "help, report it to the author.",
        ),
        (
            "",
            "effect_of_mine:",
            f"ValueError: 'effect_of_mine:' is not of the form package.module:attribute.{OTHERWISE}",
        ),
    ],
)
def test_a_failed_import_is_reported_with_pack_and_cause(install, source, target, cause):
    install.module("effect_of_mine", source)
    install("nablafx-acme", PLUGIN.format(target=target), version="0.3")
    registry = Registry.discover()
    assert message(registry, "model", "ladder") == (
        f"model 'ladder' of nablafx-acme 0.3 cannot be imported from {target}: {cause}"
    )


def test_content_is_a_file_of_the_pack(install):
    install(
        "nablafx-acme",
        """
        @hookimpl
        def nablafx_presets():
            yield Component("here", "acme_files:presets/a.yaml", "")
            yield Component("gone", "acme_files:presets/b.yaml", "")
            yield Component("nowhere", "no_such_package:a.yaml", "")
        """,
    )
    presets = install.folder / "acme_files" / "presets"
    presets.mkdir(parents=True)
    (presets.parent / "__init__.py").touch()
    (presets / "a.yaml").write_text("model: {name: tcn}\n")
    registry = Registry.discover()
    assert registry.find("preset", "here").resource().read_text() == "model: {name: tcn}\n"
    with pytest.raises(
        RegistryError, match=r"preset 'nablafx-acme/gone': the pack has no file acme_files:presets/b.yaml"
    ):
        registry.find("preset", "gone").resource()
    with pytest.raises(RegistryError, match=r"nowhere': ModuleNotFoundError: No module named 'no_such_package'"):
        registry.find("preset", "nowhere").resource()


def test_requirements_are_checked_all_at_once(clash):
    clash.check_requirements(["nablafx-core>=0.0.1", "NablAFx_Acme==1.0"])
    with pytest.raises(RegistryError) as error:
        clash.check_requirements(["nablafx-acme>=2", "nablafx-core", "nablafx-nowhere~=1.0"])
    assert str(error.value).splitlines() == [
        "The experiment requires packs that are missing or have another version:",
        "  nablafx-acme>=2: version 1.0 is installed. Try: pip install 'nablafx-acme>=2'",
        "  nablafx-nowhere~=1.0: not installed. Try: pip install 'nablafx-nowhere~=1.0'",
    ]
    with pytest.raises(RegistryError, match="'what is this' is not a requirement"):
        clash.check_requirements(["what is this"])


def test_the_error_for_a_missing_pack_lists_the_installed_ones(install):
    install("nablafx-acme", PLUGIN.format(target="a:B"))
    registry = Registry.discover()
    with pytest.raises(RegistryError, match="No pack named 'worse' is installed. Packs: nablafx-core, nablafx-acme"):
        registry.pack_named("worse")
