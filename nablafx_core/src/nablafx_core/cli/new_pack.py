"""What ``nablafx packs new`` writes."""

from __future__ import annotations

import os
import re
import shutil
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from string import Template

from nablafx_core.errors import NablafxError

#: template: where it goes.
FILES = {
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "init.py.txt": "src/{package}/__init__.py",
    "plugin.py.txt": "src/{package}/plugin.py",
    "drive.py.txt": "src/{package}/drive.py",
    "test_pack.py.txt": "tests/test_pack.py",
}


def write_pack(name: str, folder: Path | None = None) -> Path:
    """Write a pack that installs, keeps the laws and can be changed. It appears whole or not at all.

    Args:
        name: lower-case letters, digits and dashes, with or without the prefix ``nablafx-``.
        folder: to make; ``nablafx-NAME`` here if None.

    Returns:
        The folder.

    Raises:
        NablafxError: for a name that no package can have, or a folder that is there or cannot be made.
    """
    name = name.removeprefix("nablafx-")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", name):
        raise NablafxError(f"'{name}' cannot name a pack: lower-case letters, digits and dashes, such as 'acme-fuzz'.")
    folder = Path(f"nablafx-{name}") if folder is None else folder
    if os.path.exists(folder):
        raise NablafxError(f"{folder} is there already. Choose another name, or --folder.")
    package = f"nablafx_{name.replace('-', '_')}"
    major, minor = (int(part) for part in version("nablafx-core").split(".")[:2])
    words = {"name": name, "package": package, "core": f"{major}.{minor}", "next_core": f"{major}.{minor + 1}"}
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        for template, place in FILES.items():
            text = (files("nablafx_core.templates") / "pack" / template).read_text(encoding="utf-8")
            path = temporary / place.format(package=package)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(Template(text).substitute(words), encoding="utf-8")
        os.replace(temporary, folder)
    except OSError as error:
        raise NablafxError(f"{folder}: cannot be written: {error.strerror}.") from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder
