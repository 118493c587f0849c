"""Laws of importers: they refuse damaged files with a clear error, and imported models can be saved as bundles."""

from __future__ import annotations

import random
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from tempfile import mkdtemp

import torch

from nablafx_core.bundles.bundle import load_bundle, save_bundle
from nablafx_core.bundles.conversion import import_model
from nablafx_core.causes import cause
from nablafx_core.errors import NablafxError
from nablafx_core.interfaces import Importer
from nablafx_core.registry import Entry
from nablafx_core.registry.building import build
from nablafx_core.testing.laws_export import Exported, exports, same_pack
from nablafx_core.testing.result import NotChecked
from nablafx_core.testing.subject import LawBroken, check, error, knobs, noise

#: Default number of files that are damaged on purpose.
DAMAGED = 20


def damage_is_refused(importer: Entry, folder: Path, files: Sequence[Exported], count: int = DAMAGED) -> int:
    """Check that damaged files are read or refused with a NablafxError, and that an empty file is refused.

    The files are damaged copies of the given ones, and texts and bytes that are not a model.

    Args:
        importer: importer, which is built from its example.
        folder: folder for the damaged files.
        files: files to damage; see `files_for`. If empty, only the texts and bytes are tried.
        count: number of damaged copies.

    Returns:
        The number of files that were refused.

    Raises:
        LawBroken: if the importer raises another error, or reads an empty file.
    """
    wholes = [item.path.read_bytes() for item in files]
    chance = random.Random(importer.component.name)
    contents = [b"", *(_damaged(wholes[i % len(wholes)], chance) for i in range(count) if wholes), *_NO_MODELS]
    endings = importer.load().suffixes or ("",)
    refused = 0
    for number, content in enumerate(contents):
        path = folder / f"damaged{number}{endings[number % len(endings)]}"
        path.write_bytes(content)
        try:
            import_model(path, importer.qualified_name, **importer.component.example)
        except NablafxError:
            refused += 1
        except Exception as problem:
            raise LawBroken(
                f"for a file of {len(content)} bytes that begins with {content[:24]!r}, it raised "
                f"{cause(problem, importer.package)}. Refuse such a file with a ConversionError that says why."
            ) from problem
        if not content and not refused:
            raise LawBroken("the importer read an empty file. Refuse it with a ConversionError.")
    return refused


def imports_fit_a_bundle(importer: Entry, folder: Path, files: Sequence[Exported]) -> int:
    """Check that imported models are in evaluation mode and can be saved as bundles that render exactly the same.

    Args:
        importer: importer, which is built from its example.
        folder: folder for the bundle.
        files: files to import; see `files_for`.

    Returns:
        The number of files that were read.

    Raises:
        NotChecked: if there are no files, because no exporter of the pack writes one for the importer.
        LawBroken: if a model is in training mode, or its bundle renders differently in float32.
        NablafxError: if the importer refuses a file, or a model cannot be saved as a bundle.
    """
    if not files:
        raise NotChecked(f"no exporter of the pack writes a file of type {' or '.join(importer.load().suffixes)}.")
    for item in files:
        model = importer_of(importer).read(item.path)
        if model.training:
            raise LawBroken(f"{item.name}: the imported model is in training mode. Return model.eval().")
        again = load_bundle(save_bundle(model, folder / "imported.nfx"))
        audio, settings = noise(model, 2, 2048, torch.float32), knobs(model, 2, torch.float32)
        with torch.no_grad():
            difference = error(again(audio, settings)[0], model(audio, settings)[0])
        advice = "Build the model with nablafx_core.build, from settings that describe it completely."
        check(difference, 0.0, f"{item.name}, imported and saved as a bundle, renders differently", advice)
    return len(files)


def importer_of(entry: Entry) -> Importer:
    """Build the importer from its example."""
    built: Importer = build("importer", {"name": entry.qualified_name, **entry.component.example})
    return built


def files_for(importer: Entry, folder: Path) -> list[Exported]:
    """Let the exporters of an importer's pack write files that have one of its extensions, and return them.

    Exporters whose law is broken are skipped. An exporter that writes folders gives no file.
    """
    found: list[Exported] = []
    for exporter in same_pack(importer, "exporter"):
        if exporter.load().suffix in importer.load().suffixes:
            place = folder / f"from {exporter.component.name}"
            place.mkdir(exist_ok=True)
            with suppress(LawBroken):  # reported when the exporter is checked
                found += [item for item in exports(exporter, Path(mkdtemp(dir=place))) if item.path.is_file()]
    return found


#: Contents that are not a model, in the formats that readers of models expect.
_NO_MODELS = (
    b"{}",
    b"[]",
    b"null",
    b'{"a": NaN, "b": 1e999}',
    b"[" * 100_000,
    b"\xff\xfe\x00\x01" * 16,
    b"PK\x03\x04" + bytes(60),
    b"\x80\x04N.",
    bytes(8) + b"{}",
)


def _damaged(content: bytes, chance: random.Random) -> bytes:
    """Return the content with a few bytes changed, removed or repeated, or with its end cut off."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 8))):
        place = chance.randrange(len(data) or 1)
        what = chance.randrange(4)
        if what == 0 and data:
            data[place] = chance.randrange(256)
        elif what == 1:
            del data[place : place + chance.randrange(1, 20)]
        elif what == 2:
            data[place:place] = data[place : place + chance.randrange(1, 20)]
        elif chance.random() < 0.3:
            del data[place:]
    return bytes(data)
