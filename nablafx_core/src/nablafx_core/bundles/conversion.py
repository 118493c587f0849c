"""Import and export model files of other projects."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from nablafx_core.config.check import Checker
from nablafx_core.config.layers import Layer
from nablafx_core.errors import ConversionError, NablafxError
from nablafx_core.interfaces import Exporter, Importer, Model
from nablafx_core.pack_code import contained
from nablafx_core.registry import Registry
from nablafx_core.registry.building import build


def import_model(path: Path | str, name: str | None = None, **settings: Any) -> Model:
    """Read a model file of another project, and return the model in eval mode.

    Args:
        path: path of the file.
        name: name of the importer; if None, the only one for the file's extension, or, of several, the only one that
            accepts the settings and recognises the content of the file.
        settings: settings of the importer, as in an experiment file.

    Raises:
        ConfigError: if the importer does not exist, its name is ambiguous, or it does not accept the settings.
        ConversionError: if the file does not exist, `name` is None and no importer or more than one fits, the importer
            cannot read the file, or it returns something else than a model.
    """
    path = Path(path)
    if not os.path.exists(path):  # pathlib's own raises if the name is too long
        raise ConversionError(f"{path}: there is no such file.")
    importers = {name: _built("importer", name, settings)} if name else _importers(path, settings)
    if len(importers) != 1:
        raise _ambiguous("importer", path, len(importers))
    (name, importer), *_ = importers.items()
    model: object = importer.read(path)
    if not isinstance(model, Model):
        raise ConversionError(
            f"{path}: the importer '{name}' returned {_kind_of(model)}, not a model: a defect of its pack. Report it "
            "to the pack's author."
        )
    return model.eval()


def _importers(path: Path, settings: Mapping[str, Any]) -> dict[str, Importer]:
    """Return the importers for the file's extension, by name.

    Of several, only those that accept the settings and whose `reads` accepts the file.
    """
    names = _for_extension("importer", path)
    if len(names) == 1:
        return {names[0]: _built("importer", names[0], settings)}
    known = {}
    for name in names:
        with suppress(Exception), contained():  # an importer without such settings, or that fails, does not match
            importer: Importer = _built("importer", name, settings)
            if importer.reads(path):
                known[name] = importer
    return known


def exporter_for(path: Path | str) -> str:
    """Return the name of the only exporter for files with this extension; the path need not exist.

    Raises:
        ConversionError: if there is no such exporter, or more than one.
    """
    names = _for_extension("exporter", Path(path))
    if len(names) != 1:
        raise _ambiguous("exporter", Path(path), len(names))
    return names[0]


def export_model(model: Model, path: Path | str, name: str | None = None, **settings: Any) -> Path:
    """Write a model as a file or folder of another project, which is created only if writing succeeds.

    Args:
        model: model in eval mode.
        path: path of the file or folder; an existing file is replaced, an existing folder is not.
        name: name of the exporter; if None, the only one for the file's extension.
        settings: settings of the exporter, as in an experiment file.

    Returns:
        `path`.

    Raises:
        ConfigError: if the exporter does not exist, its name is ambiguous, or it does not accept the settings.
        ConversionError: if `name` is None and no exporter or more than one is for the extension, the path is an
            existing folder or its parent folder is missing, the format does not support the model, or the file cannot
            be written.
    """
    path = Path(path)
    name = name or exporter_for(path)
    exporter: Exporter = _built("exporter", name, settings)
    if os.path.isdir(path):
        raise ConversionError(f"{path}: is an existing folder. Choose another name, or remove it.")
    if not os.path.isdir(path.parent):
        raise ConversionError(f"{path}: the folder {path.parent} does not exist. Create it first.")
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        exporter.write(model, temporary)
        if not temporary.exists():
            raise ConversionError(
                f"{path}: the exporter '{name}' wrote no file: a defect of its pack. Report it to the pack's author."
            )
        os.replace(temporary, path)
    except OSError as error:
        raise ConversionError(f"{path}: cannot be written: {error.strerror or error}.") from error
    finally:
        if os.path.isdir(temporary):
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            with suppress(OSError):
                temporary.unlink()
    return path


def _built(kind: str, name: str, settings: Mapping[str, Any]) -> Any:
    """Build an importer or exporter from settings, which are checked like those of an experiment."""
    plain = {key: os.fspath(value) if isinstance(value, os.PathLike) else value for key, value in settings.items()}
    section = Checker(Layer({}), Registry.discover()).section(kind, {**plain, "name": name}, (kind,))
    return build(kind, section)


def _kind_of(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _for_extension(kind: str, path: Path) -> list[str]:
    """Return the names of the importers or exporters for the extension of `path`."""
    return [name for name, own in _extensions(kind).items() if path.name.lower().endswith(own)]


def _extensions(kind: str) -> dict[str, tuple[str, ...]]:
    """Return the extensions, in lower case, of each importer or exporter that can be loaded, by its name."""
    found: dict[str, tuple[str, ...]] = {}
    for entry in Registry.discover().entries(kind):
        try:
            target = entry.load()
        except NablafxError:  # a broken component cannot be chosen; its error is shown when it is named
            continue
        own = getattr(target, "suffixes" if kind == "importer" else "suffix", ())
        own = (own,) if isinstance(own, str) else own
        found[entry.qualified_name] = tuple(ending.lower() for ending in own if ending)
    return found


def _ambiguous(kind: str, path: Path, count: int) -> ConversionError:
    known = "\n".join(f"  {name}   {' '.join(own) or 'any file'}" for name, own in sorted(_extensions(kind).items()))
    what = "read this file" if kind == "importer" else "write files with this extension"
    head = f"{path}: {count or 'no'} {kind}s {what}. Choose one with --format (in Python: name)."
    return ConversionError(f"{head}\n{known or f'  no {kind} is installed'}")
