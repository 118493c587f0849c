"""``nablafx show`` of a kind of component."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from nablafx_core.cli import cli
from nablafx_core.cli.show_section import section_names
from nablafx_core.registry import Registry
from nablafx_core.registry.kinds import KINDS


def shown(*arguments: str) -> str:
    result = CliRunner().invoke(cli, ["show", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


NAMES = {name: kind for kind in KINDS.values() for name in (kind.name, kind.plural) if name not in section_names()}


@pytest.mark.parametrize("name", NAMES)
def test_a_kind_is_shown_with_its_components_by_both_of_its_names(name):
    kind = NAMES[name]
    described = json.loads(shown(name, "--json"))
    installed = {entry.component.name for entry in Registry.discover().entries(kind.name)}
    assert (described["kind"], described["hook"]) == (kind.name, kind.hook)
    assert {one["name"] for one in described["components"]} == installed
    text = shown(name)
    wanted = {kind.summary, kind.hook, kind.interface.replace(":", "."), *installed, *(one.name for one in kind.given)}
    assert all(word in text for word in wanted)
    assert ("--kind" in text) == bool(kind.template or kind.needs)


def test_a_kind_that_a_section_names_refers_to_the_section():
    assert "`nablafx show data`" in shown("datasets")


def test_a_misspelled_kind_gets_a_suggestion():
    result = CliRunner().invoke(cli, ["show", "procesor"])
    assert "Did you mean 'processor'?" in str(result.exception)
