"""The wheels work outside the checkout, with their own data files."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from importlib.metadata import PathDistribution, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from installing import CHECKOUT, Elsewhere

pytestmark = pytest.mark.slow

PACKAGES = ("nablafx_core", "nablafx_models", "nablafx_dsp", "nablafx_data")


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    elsewhere = Elsewhere(tmp_path_factory.mktemp("everything"))
    elsewhere.install(*PACKAGES)
    return elsewhere


@pytest.fixture(scope="module")
def core_and_models(tmp_path_factory):
    elsewhere = Elsewhere(tmp_path_factory.mktemp("two"))
    elsewhere.install("nablafx_core", "nablafx_models")
    return elsewhere


def test_every_file_of_the_sources_is_in_the_wheel(everything):
    for package in PACKAGES:
        source = CHECKOUT / package / "src" / package
        tracked = subprocess.run(
            ["git", "ls-files", "."], cwd=source, capture_output=True, text=True, check=False
        ).stdout
        missing = [name for name in tracked.split() if not (everything.site / package / name).is_file()]
        assert missing == [name for name in missing if not (source / name).exists()]
        assert (everything.site / package / "py.typed").is_file()


def test_the_code_that_runs_is_the_installed_one(everything):
    program = f"import {', '.join(PACKAGES)}, json; print(json.dumps([p.__file__ for p in ({', '.join(PACKAGES)})]))"
    for file in json.loads(everything.python("-c", program).stdout):
        assert Path(file).is_relative_to(everything.site)


def test_the_installed_packs_are_complete(everything):
    packs = json.loads(everything.nablafx("packs", "--json"))
    assert [pack["name"] for pack in packs] == ["nablafx-core", "nablafx-data", "nablafx-dsp", "nablafx-models"]
    assert all(pack["problems"] == pack["warnings"] == [] for pack in packs)
    assert all(pack["provides"] for pack in packs)


def test_every_listed_preset_can_be_shown(everything):
    presets = json.loads(everything.nablafx("list", "presets", "--json"))
    assert {"tcn-45-s", "lstm-32"} <= {preset["name"] for preset in presets}
    for package, _, path in (preset["target"].partition(":") for preset in presets):
        assert (everything.site / package / path).read_text().strip()
    assert "model:" in everything.nablafx("show", "tcn-45-s", "--kind", "preset")


def test_a_pack_that_is_not_installed_is_not_listed(core_and_models):
    packs = json.loads(core_and_models.nablafx("packs", "--json"))
    assert [pack["name"] for pack in packs] == ["nablafx-core", "nablafx-models"]
    kinds = {item["kind"] for item in json.loads(core_and_models.nablafx("list", "--json"))}
    assert {"model", "preset"} <= kinds
    assert not kinds & {"processor", "dataset", "device"}


@pytest.fixture(scope="module")
def suite(tmp_path_factory):
    """The files that the meta-package consists of, without and then with the folders beside them."""
    folder = tmp_path_factory.mktemp("suite folder")
    for name in ("pyproject.toml", "hatch_build.py", "LICENSE", "README.md"):
        (folder / name).write_bytes((CHECKOUT / name).read_bytes())
    return folder


def requirements_of(folder: Path, **variables: str) -> tuple[list[Requirement], list[str]]:
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--wheel-dir", str(folder / "wheels")]
    command = [sys.executable, "-m", "pip", "wheel", *options, str(folder)]
    subprocess.run(command, check=True, env={**os.environ, **variables})
    (wheel,) = (folder / "wheels").glob("nablafx_suite-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (info,) = {name.split("/")[0] for name in names}
        found = PathDistribution(zipfile.Path(archive, f"{info}/")).requires or []
    return [Requirement(text) for text in found], names


def test_the_suite_requires_the_four_packages_beside_it_or_from_an_index(suite):
    alone, names = requirements_of(suite)
    assert {requirement.name for requirement in alone} == {package.replace("_", "-") for package in PACKAGES}
    assert all(requirement.url is None and requirement.specifier.contains("0.1.0") for requirement in alone)
    assert all(".dist-info/" in name for name in names)
    for package in PACKAGES:
        (suite / package).mkdir()
        (suite / package / "pyproject.toml").touch()
    beside, _ = requirements_of(suite)
    assert {requirement.name: requirement.url for requirement in beside} == {
        package.replace("_", "-"): (suite / package).resolve().as_uri() for package in PACKAGES
    }
    released, _ = requirements_of(suite, NABLAFX_RELEASE="1")
    assert released == alone


def test_all_packages_have_the_same_version():
    lines = (CHECKOUT / "constraints.txt").read_text().splitlines()
    pins = [Requirement(line) for line in lines if not line.startswith("#")]
    pinned = {canonicalize_name(pin.name): pin for pin in pins}
    for package in PACKAGES:
        assert re.search(rf"^-e ./{package}(\[\w+\])?$", (CHECKOUT / "requirements-dev.txt").read_text(), re.MULTILINE)
        for requirement in dependencies(package):
            if not requirement.name.startswith("nablafx"):
                (pin,) = pinned[canonicalize_name(requirement.name)].specifier
                assert requirement.specifier.contains(pin.version), f"{package} asks for {requirement}"


def dependencies(package: str) -> list[Requirement]:
    return [Requirement(text) for text in requires(package) or [] if "extra ==" not in text]
