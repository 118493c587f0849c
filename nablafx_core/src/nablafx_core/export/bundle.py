"""The bundle: a trained model in one file, ``NAME.nfx``.

A zip of ``model.yaml`` (how to build the model, and what is known about it) and ``weights.safetensors``.
Nothing in it is ever executed or unpickled.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import safetensors.torch
import yaml

from nablafx_core.building import build
from nablafx_core.errors import BundleError, ConfigError, RegistryError
from nablafx_core.interfaces import Model
from nablafx_core.registry import Registry

FORMAT = 1
DESCRIPTION, WEIGHTS = "model.yaml", "weights.safetensors"
_LARGEST_DESCRIPTION = 4 * 2**20


def save_bundle(model: Model, path: Path | str, info: Mapping[str, Any] | None = None) -> Path:
    """Write a model to a bundle. The file appears whole or not at all.

    Args:
        model: built by `nablafx_core.build`, whose `section` says how to build it again.
        path: ends in ``.nfx``.
        info: plain data about the training: device, metrics, run, licence.

    Raises:
        BundleError: if the model was not built from a section, or the file cannot be written.
    """
    path = Path(path)
    if not getattr(model, "section", None):
        raise BundleError(f"{type(model).__name__} was not built by nablafx_core.build, so a bundle cannot say how.")
    # A clone each: safetensors refuses tensors that share memory.
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in model.state_dict().items()}
    weights = safetensors.torch.save(tensors)
    description = {
        "format": FORMAT,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "packs": _packs_of(model),
        "model": model.section,
        "facts": facts(model),
        "info": dict(info or {}),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(DESCRIPTION, yaml.safe_dump(description, sort_keys=False, allow_unicode=True))
            archive.writestr(WEIGHTS, weights)
        os.replace(temporary, path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise BundleError(f"{path}: cannot write the bundle: {error.strerror}.") from None
    return path


def facts(model: Model) -> dict[str, Any]:
    """What a user of a model wants to know without building it."""
    return {
        "sample_rate": model.sample_rate,
        "latency": model.latency,
        "receptive_field": model.receptive_field,
        "causal": model.causal,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def describe_bundle(path: Path | str) -> dict[str, Any]:
    """The description in a bundle, as plain data.

    Raises:
        BundleError: if the file is no bundle.
    """
    return _read(Path(path))[0]


def load_bundle(path: Path | str) -> Model:
    """Build the model of a bundle, in eval mode, on the CPU.

    Raises:
        BundleError: if the file is damaged, of a newer format, or needs a pack that is not installed.
    """
    path = Path(path)
    description, weights = _read(path)
    if hashlib.sha256(weights).hexdigest() != description.get("sha256"):
        raise BundleError(
            f"{path}: the weights are not those that were saved (their hash differs). Get the file again."
        )
    try:
        model: Model = build("model", description["model"])
    except (RegistryError, ConfigError, KeyError) as error:
        needed = ", ".join(f"{name} {version}" for name, version in description.get("packs", {}).items())
        raise BundleError(f"{path}: cannot build its model. It was made with {needed}.\n{error}") from error
    try:
        model.load_state_dict(safetensors.torch.load(weights), strict=True)
    except Exception as error:
        raise BundleError(f"{path}: the weights do not fit the model: {error}") from error
    return model.eval()


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if sorted(names) != [DESCRIPTION, WEIGHTS]:
                raise BundleError(f"{path}: no NablAFx bundle; it holds {', '.join(names[:5]) or 'nothing'}.")
            if any(item.compress_type != zipfile.ZIP_STORED for item in archive.infolist()):
                raise BundleError(f"{path}: no NablAFx bundle; its parts are compressed.")
            if archive.getinfo(DESCRIPTION).file_size > _LARGEST_DESCRIPTION:
                raise BundleError(f"{path}: {DESCRIPTION} is too large to be a description.")
            text, weights = archive.read(DESCRIPTION), archive.read(WEIGHTS)
    except FileNotFoundError:
        raise BundleError(f"{path}: no such file.") from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise BundleError(f"{path}: damaged, or no NablAFx bundle: {error}.") from None
    try:
        description = yaml.safe_load(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise BundleError(f"{path}: {DESCRIPTION} is damaged: {str(error).splitlines()[0]}.") from None
    if not isinstance(description, dict) or not isinstance(description.get("format"), int):
        raise BundleError(f"{path}: {DESCRIPTION} is no description of a model.")
    if description["format"] > FORMAT:
        raise BundleError(
            f"{path}: of format {description['format']}; this version reads up to {FORMAT}. Update nablafx-core."
        )
    return description, weights


def _packs_of(model: Model) -> dict[str, str]:
    """The packs whose code is in the model, with their versions."""
    used = {type(module).__module__.partition(".")[0] for module in model.modules()}
    registry = Registry.discover()
    providers = {
        entry.component.target.partition(".")[0]: entry.pack
        for kind in ("model", "processor", "controller")
        for entry in registry.entries(kind)
        if entry.pack
    }
    return {pack.name: pack.version for package, pack in sorted(providers.items()) if package in used}
