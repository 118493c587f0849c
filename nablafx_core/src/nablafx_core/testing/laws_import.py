"""The laws of importers: what is damaged is refused in words, and what is read can be kept as a bundle."""

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

#: Files that are damaged on purpose.
DAMAGED = 20


def damage_is_refused(importer: Entry, folder: Path, files: Sequence[Exported], count: int = DAMAGED) -> int:
    """An empty file and damaged ones are refused with a NablafxError, or read: nothing else is raised.

    The damaged files are made from the given files, or from text and bytes that are not a model.

    Args:
        importer: importer built from its example.
        folder: folder for the damaged files.
        files: see `files_for`.
        count: number of damaged files.

    Returns:
        How many files were refused.
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
                f"a file of {len(content)} bytes that begins with {content[:24]!r} made it raise "
                f"{cause(problem, importer.package)}. Refuse such a file with a ConversionError that says why."
            ) from problem
        if not content and not refused:
            raise LawBroken("it read an empty file. Refuse it with a ConversionError.")
    return refused


def imports_fit_a_bundle(importer: Entry, folder: Path, files: Sequence[Exported]) -> int:
    """What an importer reads is in eval mode and can be saved as a bundle that renders the same.

    Args:
        importer: importer built from its example.
        folder: folder for the bundle.
        files: see `files_for`.

    Returns:
        How many files were read.

    Raises:
        NotChecked: if no exporter of the pack writes a file for it.
    """
    if not files:
        raise NotChecked(f"no exporter of its pack writes {' or '.join(importer.load().suffixes)}, to read a file of.")
    for item in files:
        model = importer_of(importer).read(item.path)
        if model.training:
            raise LawBroken(f"{item.name}: it was read into a model in training mode. Return model.eval().")
        again = load_bundle(save_bundle(model, folder / "imported.nfx"))
        audio, settings = noise(model, 2, 2048, torch.float32), knobs(model, 2, torch.float32)
        with torch.no_grad():
            difference = error(again(audio, settings)[0], model(audio, settings)[0])
        advice = "Build the model with nablafx_core.build, from settings that say all of it."
        check(difference, 0.0, f"{item.name}, imported and saved as a bundle, renders differently", advice)
    return len(files)


def importer_of(entry: Entry) -> Importer:
    """The importer, built from its example."""
    built: Importer = build("importer", {"name": entry.qualified_name, **entry.component.example})
    return built


def files_for(importer: Entry, folder: Path) -> list[Exported]:
    """Return the files that the exporters of its pack write with an extension that it reads."""
    found: list[Exported] = []
    for exporter in same_pack(importer, "exporter"):
        if exporter.load().suffix in importer.load().suffixes:
            place = folder / f"from {exporter.component.name}"
            place.mkdir(exist_ok=True)
            with suppress(LawBroken):  # told where the exporter itself is checked
                found += [item for item in exports(exporter, Path(mkdtemp(dir=place))) if item.path.is_file()]
    return found


#: Files that are no model, in the forms that readers of models expect.
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
    """The content with a few bytes changed, cut out or repeated, or cut off."""
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
