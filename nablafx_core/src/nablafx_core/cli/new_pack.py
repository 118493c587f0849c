"""Write a new pack, for ``nablafx packs new``."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import shutil
from collections.abc import Sequence
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from packaging.version import Version

from nablafx_core.errors import NablafxError
from nablafx_core.registry.kinds import KINDS

#: Files of every pack, by template: their paths in the pack.
FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "init.py.txt": "src/{package}/__init__.py",
    "test_pack.py.txt": "tests/test_pack.py",
}

BUNDLE = "bundles/drive.nfx"


def write_pack(name: str, folder: Path | None = None, kinds: Sequence[str] = ("model",)) -> Path:
    """Write a pack that can be installed, keeps the laws, and is meant to be changed; it is written completely or not.

    Args:
        name: lower-case letters, digits and dashes, with or without the prefix ``nablafx-``.
        folder: folder to create; if None, ``nablafx-NAME`` in the current folder.
        kinds: kinds of its components; kinds that these need are added.

    Returns:
        The folder.

    Raises:
        NablafxError: if the name is not valid, or if the folder exists or cannot be written.
    """
    name = name.removeprefix("nablafx-")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise NablafxError(
            f"'{name}' is not a valid name of a pack: use lower-case letters, digits and dashes, such as 'acme-fuzz'."
        )
    folder = Path(f"nablafx-{name}") if folder is None else folder
    if os.path.exists(folder):
        raise NablafxError(f"{folder} exists already. Choose another name or --folder.")
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        _write(temporary, name, [kind for kind in KINDS if kind in _with_needed(kinds)])
        os.replace(temporary, folder)
    except OSError as error:
        raise NablafxError(f"{folder}: cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _with_needed(kinds: Sequence[str]) -> set[str]:
    return {*kinds, *(needed for kind in kinds for needed in KINDS[kind].needs)}


def _write(folder: Path, name: str, kinds: Sequence[str]) -> None:
    package = f"nablafx_{name.replace('-', '_')}"
    core = Version(version("nablafx-core"))
    least = core.public if core.is_prerelease else f"{core.major}.{core.minor}"  # 1.0rc1 is before 1.0
    words = {"name": name, "package": package, "core": least, "next_core": f"{core.major}.{core.minor + 1}"}
    places = {template: place.format(package=package) for template, place in FILES.items()}
    code = dict.fromkeys(KINDS[kind].template for kind in kinds if KINDS[kind].template)
    places |= {f"components/{file}.txt": f"src/{package}/{file}" for file in code}
    for template, place in places.items():
        _put(folder / place, Template(_template(template)).substitute(words))
    if "bundle" in kinds:
        words["sha256"] = _write_bundle(folder / "src" / package, name)
    hooks = [Template(_template(f"hooks/{kind}.py.txt")).substitute(words) for kind in kinds]
    _put(folder / "src" / package / "plugin.py", "\n\n".join([_template("plugin.py.txt"), *hooks]))


def _template(name: str) -> str:
    return (files("nablafx_core.templates") / "pack").joinpath(*name.split("/")).read_text(encoding="utf-8")


def _put(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def _write_bundle(package: Path, name: str) -> str:
    """Write a bundle of the pack's model, before the pack is installed; return the hash of the file."""
    from nablafx_core.bundles.bundle import save_bundle
    from nablafx_core.controls import Control

    specification: Any = importlib.util.spec_from_file_location(f"nablafx_new_{os.getpid()}", package / "drive.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    model = module.Drive(48000, [Control("drive")])
    model.section = {
        "name": f"nablafx-{name}/drive",
        "gain": 1.0,
        "sample_rate": 48000,
        "controls": [{"name": "drive"}],
    }
    packs = {"nablafx-core": version("nablafx-core"), f"nablafx-{name}": "0.1.0"}
    content = save_bundle(model, package / BUNDLE, packs=packs).read_bytes()
    shutil.rmtree(package / "__pycache__", ignore_errors=True)
    return hashlib.sha256(content).hexdigest()
