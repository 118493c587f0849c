"""The house: names of modules, and public names that stay."""

from __future__ import annotations

import ast
import sys
import warnings
from collections import defaultdict
from importlib import import_module
from pathlib import Path

import pytest

import nablafx_core
from nablafx_core import _moved
from nablafx_core.errors import NablafxDeprecationWarning

ROOT = Path(nablafx_core.__file__).parent
#: Folders whose modules may share a name: the same thing as a function, compiled, and as a layer.
SAME_THING = {"functional", "kernels", "nn"}


def modules():
    for file in ROOT.rglob("*.py"):
        if "templates" not in file.parts:
            yield file.relative_to(ROOT).with_suffix("")


def test_no_two_modules_share_a_name_by_accident():
    places = defaultdict(set)
    for path in modules():
        if path.name not in ("__init__", "__main__"):
            places[path.name].add(path.parent.as_posix())
    for folder in {path.parent for path in modules()} - {Path()}:
        places[folder.name].add(f"{folder.parent.as_posix()} (folder)")
    shared = {
        name: found
        for name, found in places.items()
        if len({place for place in found if not place.startswith("cli")}) > 1 and not found <= SAME_THING
    }
    assert not shared


@pytest.mark.parametrize("name", nablafx_core.__all__)
def test_a_public_name_is_there(name):
    assert getattr(nablafx_core, name) is not None


@pytest.mark.parametrize("old", sorted(_moved.MOVED))
def test_a_module_that_moved_is_found_with_a_warning(old, monkeypatch):
    name = f"nablafx_core.{old}"
    monkeypatch.delitem(sys.modules, name, raising=False)
    with pytest.warns(NablafxDeprecationWarning, match=f"{name} is now"):
        module = import_module(name)
    new = import_module(f"nablafx_core.{_moved.MOVED[old][0][0]}")
    public = next(
        name for name, value in vars(new).items() if not name.startswith("_") and hasattr(value, "__module__")
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert getattr(module, public) is getattr(new, public)
        assert public in dir(module)
        taken = {}
        exec(f"from {name} import *", taken)
        assert taken[public] is getattr(new, public)
    with pytest.raises(AttributeError):
        _ = module.nothing_of_this_name
    monkeypatch.delitem(sys.modules, name)


def test_no_source_uses_a_former_name():
    """Such an import would pass the check of the floors, which knows only the modules that are there."""
    former = {f"nablafx_core.{name}" for name in _moved.MOVED}
    found = []
    for package in ("nablafx_core", "nablafx_models", "nablafx_dsp", "nablafx_data"):
        for file in Path(import_module(package).__file__).parent.rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
                if isinstance(node, ast.ImportFrom):
                    names = {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
                elif isinstance(node, ast.Import):
                    names = {alias.name for alias in node.names}
                else:
                    continue
                found += [(file.name, name) for name in names & former]
    assert not found


#: Tests of a topic and not of one module, by their place.
TOPICS = {
    "cli/test_commands_as_typed",
    "cli/test_faults",
    "cli/test_full_disks",
    "config/test_experiment_files",
    "registry/test_broken_packs",
    "runs/test_broken_folders",
    "test_house",
    "test_light_loading",
    "test_names_of_any_bytes",
    "training/test_position_in_training",
    "training/test_resume_exact",
}


def test_the_tests_of_a_module_have_its_name():
    known = {path.as_posix() for path in modules()}
    here = Path(__file__).parent
    places = [file.relative_to(here).with_suffix("") for file in here.rglob("test_*.py")]
    tested = {place.as_posix(): place.with_name(place.name.removeprefix("test_")).as_posix() for place in places}
    assert {place for place, module in tested.items() if module not in known} == TOPICS
