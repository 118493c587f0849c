"""Laws of exporters: they write complete files or none, and an imported file renders the same as its model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from nablafx_core.bundles.conversion import export_model, import_model
from nablafx_core.causes import cause
from nablafx_core.errors import NablafxError
from nablafx_core.interfaces import Model
from nablafx_core.registry import Entry, Registry
from nablafx_core.testing.candidates import models_to_export, preset_models
from nablafx_core.testing.result import NotChecked
from nablafx_core.testing.subject import LawBroken, check, error, knobs, noise

TOLERANCE = 1e-5  # of float32, relative to max(1, peak)


@dataclass(frozen=True)
class Exported:
    """Model and the file that an exporter wrote for it.

    Args:
        name: name of the model, for messages.
        model: model.
        path: path of the file.
    """

    name: str
    model: Model
    path: Path


def exports(exporter: Entry, folder: Path) -> list[Exported]:
    """Check that each registered model is written, or refused with a NablafxError and without a file left.

    Only the given path may be written, and the model must not be changed. At least one model must be written. If no
    registered model is, the models of the presets of the exporter's pack are tried. That the content of the files is
    right is checked by `imported_as_exported`.

    Args:
        exporter: exporter, which is built from its example.
        folder: existing folder; each model gets a folder in it.

    Returns:
        The models that were written, with their files.

    Raises:
        LawBroken: if the exporter raises another error, leaves other files or none, changes a model, or refuses all.
    """
    written: list[Exported] = []
    refusals: list[str] = []
    for source in (models_to_export(exporter.pack), preset_models(exporter.pack)):
        for name, model in source:
            place = folder / f"export{len(written) + len(refusals)}"
            place.mkdir()
            path = place / f"model{exporter.load().suffix}"
            refusal = _refusal(exporter, name, model, path)
            if refusal is None:
                written.append(Exported(name, model, path))
            else:
                refusals.append(f"  {name}: {refusal}")
        if written:
            return written
    head = f"the exporter refused all {len(refusals)} models; it must write at least one of them:"
    raise LawBroken("\n".join([head, *refusals[:5]]))


def _refusal(exporter: Entry, name: str, model: Model, path: Path) -> str | None:
    """Export a model, and return why the exporter refused it; None if the exporter wrote it.

    Raises:
        LawBroken: if it raised another error than NablafxError, left other files than `path`, or changed the model.
    """
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    refusal = None
    try:
        export_model(model, path, exporter.qualified_name, **exporter.component.example)
    except NablafxError as error:
        refusal = str(error)
    except Exception as error:
        raise LawBroken(
            f"for {name}, the exporter raised {cause(error, exporter.package)}. Refuse a model that the format cannot "
            "contain with a ConversionError that names the part."
        ) from error
    left = sorted(item.name for item in path.parent.iterdir())
    expected = [] if refusal else [path.name]
    if left != expected:
        raise LawBroken(
            f"{'refusing' if refusal else 'writing'} {name}, the exporter left {', '.join(left) or 'no file'}; "
            f"expected {', '.join(expected) or 'no file'}. Write only to the path that `write` receives."
        )
    changed = [key for key, value in model.state_dict().items() if not torch.equal(weights[key], value)]
    if changed or model.training:
        what = f"changed {changed[0]} of the model" if changed else "left the model in training mode"
        raise LawBroken(f"for {name}, the exporter {what}. Work on a copy.")
    return refusal


def imported_as_exported(exporter: Entry, exported: Sequence[Exported]) -> float:
    """Check that each importer of the same pack and extension reads each file, and that it renders the same in float32.

    The sample rate, the channels, the latency and the number of knobs must be the same, too.

    Returns:
        The largest difference relative to the larger of 1 and the peak.

    Raises:
        NotChecked: if the pack has no such importer.
        LawBroken: if an imported model differs from the exported one.
        NablafxError: if an importer refuses a file.
    """
    suffix = exporter.load().suffix
    importers = [entry for entry in same_pack(exporter, "importer") if suffix and suffix in entry.load().suffixes]
    if not importers:
        raise NotChecked(f"its pack has no importer of {suffix or 'folders'} that could read the files.")
    return max(_difference(item, importer) for item in exported for importer in importers)


def _difference(item: Exported, importer: Entry) -> float:
    what = f"{item.name}, exported and imported by {importer.component.name}"
    again = import_model(item.path, importer.qualified_name, **importer.component.example)
    for fact in ("sample_rate", "in_channels", "out_channels", "latency"):
        if getattr(again, fact) != getattr(item.model, fact):
            raise LawBroken(
                f"{what}, has {fact} {getattr(again, fact)} instead of {getattr(item.model, fact)}. An exporter must "
                "refuse a model whose properties its format cannot contain."
            )
    if len(again.controls) != len(item.model.controls):
        raise LawBroken(
            f"{what}, has {len(again.controls)} knobs instead of {len(item.model.controls)}. An exporter must refuse a "
            "model with knobs if its format cannot contain them."
        )
    audio, settings = noise(item.model, 2, 2048, torch.float32), knobs(item.model, 2, torch.float32)
    with torch.no_grad():
        return check(
            error(again(audio, settings)[0], item.model(audio, settings)[0]),
            TOLERANCE,
            f"{what}, renders differently",
            "Compare the tensors in the file with those of the model: their order and their layout.",
        )


def same_pack(entry: Entry, kind: str) -> Iterator[Entry]:
    """Yield the components of one kind in the pack of `entry`, without those whose code cannot be imported."""
    for other in Registry.discover().entries(kind):
        if other.pack is entry.pack and not _broken(other):
            yield other


def _broken(entry: Entry) -> bool:
    try:
        entry.load()
    except NablafxError:  # reported when that component is checked
        return True
    return False
