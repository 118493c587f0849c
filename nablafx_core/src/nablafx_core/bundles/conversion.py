"""Other projects' model files: the contracts of importers and exporters, and how both are used."""

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
    """Read a model file of another project.

    Args:
        path: of the file.
        name: of the importer; the one that reads files of this ending if None.
        settings: of the importer, as an experiment file would hold them.

    Raises:
        ConfigError: if there is no such importer, several have the name, or it does not take the settings.
        ConversionError: if the ending names none or several, or the file cannot be read.
    """
    path = Path(path)
    if not os.path.exists(path):  # pathlib's own raises for a name that is too long
        raise ConversionError(f"{path}: there is no such file.")
    importers = {name: _built("importer", name, settings)} if name else _importers(path, settings)
    if len(importers) != 1:
        raise _ambiguous("importer", path, len(importers))
    (name, importer), *_ = importers.items()
    model: object = importer.read(path)
    if not isinstance(model, Model):
        raise ConversionError(f"{path}: the importer '{name}' gave {_kind_of(model)}, no model: a defect of its pack.")
    return model.eval()


def _importers(path: Path, settings: Mapping[str, Any]) -> dict[str, Importer]:
    """Return the importers for files with this extension; of several, those whose `reads` accepts the file."""
    names = _for_ending("importer", path)
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
    """Return the name of the exporter that writes files with this extension.

    Raises:
        ConversionError: if there is none, or several.
    """
    names = _for_ending("exporter", Path(path))
    if len(names) != 1:
        raise _ambiguous("exporter", Path(path), len(names))
    return names[0]


def export_model(model: Model, path: Path | str, name: str | None = None, **settings: Any) -> Path:
    """Write a model as a file (or folder) of another project, whole or not at all.

    Args:
        model: in eval mode.
        path: of the file; replaced if it is a file, an error if it is a folder.
        name: of the exporter; the one that writes files of this ending if None.
        settings: of the exporter, as an experiment file would hold them.

    Raises:
        ConfigError: if there is no such exporter, several have the name, or it does not take the settings.
        ConversionError: if the ending names none or several, the format cannot hold the model, or the file cannot be
            written.
    """
    path = Path(path)
    name = name or exporter_for(path)
    exporter: Exporter = _built("exporter", name, settings)
    if os.path.isdir(path):
        raise ConversionError(f"{path}: there is a folder of this name. Choose another name, or remove it.")
    if not os.path.isdir(path.parent):
        raise ConversionError(f"{path}: there is no folder {path.parent}. Make it first.")
    temporary = path.with_name(f".{uuid.uuid4().hex}{path.suffix}")
    try:
        exporter.write(model, temporary)
        if not temporary.exists():
            raise ConversionError(f"{path}: the exporter '{name}' wrote nothing: a defect of its pack.")
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
    """A component from settings that are checked as those of an experiment are."""
    plain = {key: os.fspath(value) if isinstance(value, os.PathLike) else value for key, value in settings.items()}
    section = Checker(Layer({}), Registry.discover()).section(kind, {**plain, "name": name}, (kind,))
    return build(kind, section)


def _kind_of(value: object) -> str:
    return "nothing" if value is None else f"a {type(value).__name__}"


def _for_ending(kind: str, path: Path) -> list[str]:
    """The components whose files end as `path` does."""
    return [name for name, own in _endings(kind).items() if path.name.lower().endswith(own)]


def _endings(kind: str) -> dict[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for entry in Registry.discover().entries(kind):
        try:
            target = entry.load()
        except NablafxError:  # a broken one is no candidate; its error is shown where it is named
            continue
        own = getattr(target, "suffixes" if kind == "importer" else "suffix", ())
        own = (own,) if isinstance(own, str) else own
        found[entry.qualified_name] = tuple(ending.lower() for ending in own if ending)
    return found


def _ambiguous(kind: str, path: Path, count: int) -> ConversionError:
    known = "\n".join(f"  {name}   {' '.join(own) or 'any file'}" for name, own in sorted(_endings(kind).items()))
    head = f"{path}: {count or 'no'} {kind}s are for files that end so. Name the one you mean with --format."
    return ConversionError(f"{head}\n{known or f'  no {kind} is installed'}")
