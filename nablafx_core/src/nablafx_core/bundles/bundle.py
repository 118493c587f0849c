"""The bundle: a trained model in one file, ``NAME.nfx``.

A zip of ``model.yaml`` (how to build the model, and what is known about it) and ``weights.safetensors``.
Nothing in it is ever executed or unpickled.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import safetensors.torch
import yaml

from nablafx_core.audio.reading import RATES
from nablafx_core.bundles.allocation import STATE_OF_A_BUNDLE, check_model
from nablafx_core.bundles.fitting import fitting_model
from nablafx_core.config.check import Checker
from nablafx_core.config.layers import Layer
from nablafx_core.errors import BundleError, ConfigError, NablafxError
from nablafx_core.files import replacing
from nablafx_core.interfaces import Controller, Model, Processor
from nablafx_core.pack_code import contained
from nablafx_core.registry import Registry
from nablafx_core.registry.import_paths import Code, code_of_stranger, file_of
from nablafx_core.registry.provenance import Provenance
from nablafx_core.registry.qualified import Noted, qualified
from nablafx_core.weights import weights_follow
from nablafx_core.yaml import plain_yaml

FORMAT = 1  # increment if older versions cannot read the file
DESCRIPTION, WEIGHTS = "model.yaml", "weights.safetensors"
_LARGEST_DESCRIPTION = 2**19  # bytes; a chain of a hundred processors takes some ten thousand
_MOST_CONTROLS = 256  # of a model; a larger number is damage or an attack


def save_bundle(
    model: Model, path: Path | str, info: Mapping[str, Any] | None = None, packs: Mapping[str, str] | None = None
) -> Path:
    """Write a model to a bundle. The file appears whole or not at all.

    Args:
        model: built by `nablafx_core.build`, whose `section` says how to build it again.
        path: ends in ``.nfx``.
        info: plain data about the training: device, metrics, run, licence.
        packs: name and version of each required pack; if None, the packs of its section and of its code.

    Raises:
        BundleError: if the model was not built from a section, `info` is no plain data, or the file cannot be written.
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
        "packs": _packs_of(model) if packs is None else dict(packs),
        "code": _code_of(model),
        "model": model.section,
        "facts": facts(model),
        "info": dict(info or {}),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    try:
        text = yaml.safe_dump(description, sort_keys=False, allow_unicode=True)
    except yaml.YAMLError as error:
        raise BundleError(
            f"{path}: cannot write the bundle: its info or settings are no plain data: {error}"
        ) from error
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, alone=False) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(DESCRIPTION, text)
            archive.writestr(WEIGHTS, weights)
    except OSError as error:
        raise BundleError(f"{path}: cannot write the bundle: {error.strerror or error}.") from None
    return path


def facts(model: Model) -> dict[str, Any]:
    """Return the facts about a model that a user can read without building it."""
    return {
        "sample_rate": model.sample_rate,
        "latency": model.latency,
        "receptive_field": model.receptive_field,
        "causal": model.causal,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def describe_bundle(path: Path | str) -> dict[str, Any]:
    """Return the description in a bundle, as plain data.

    Raises:
        BundleError: if the file is no bundle.
    """
    return _read(Path(path))[0]


def check_bundle(path: Path | str) -> dict[str, Any]:
    """Return the description in a bundle, and check that its weights are the saved ones; the model is not built.

    Raises:
        BundleError: if the file is no bundle, or damaged.
    """
    return _read_whole(Path(path))[0]


def load_bundle(path: Path | str, code: Code | None = None) -> Model:
    """Build the model of a bundle, in eval mode, on the CPU.

    Args:
        path: path of the bundle.
        code: where its import paths may lead; if None, to packs and to modules that the user trusts.

    Raises:
        BundleError: if the file is damaged, of a newer format, or needs a pack that is not installed.
    """
    path = Path(path)
    description, content = _read_whole(path)
    code = code_of_stranger(str(path)) if code is None else code
    try:
        weights = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise BundleError(f"{path}: {WEIGHTS} is damaged: {error}.") from error
    made_with = Provenance(description["packs"])
    if "sample_rate" in description["model"]:  # before anything is made whose size depends on it
        _check_rate(path, description["model"]["sample_rate"])
    controls = description["model"].get("controls")
    if isinstance(controls, list) and len(controls) > _MOST_CONTROLS:
        raise BundleError(
            f"{path}: {DESCRIPTION}: model.controls has {len(controls):,} controls; {_MOST_CONTROLS} is the maximum."
        )
    try:
        with code.used(), weights_follow():
            section = qualified("model", description["model"], made_with)
            Checker(Layer({}), Registry.discover(), injected=True).section("model", section, ("model",))
            model = fitting_model(section, weights)
            check_model(model, section, STATE_OF_A_BUNDLE)
        with contained():
            model.load_state_dict(weights, strict=True)
    except BundleError as error:
        raise BundleError(made_with.explained(f"{path}: the weights do not fit the model: {error}")) from error
    except NablafxError as error:
        needed = [f"{name} {version}" for name, version in made_with.packs.items()]
        needed += [f"{file} (not in a pack)" for file in description["code"].values()]
        message = f"{path}: cannot build its model. It was made with {', '.join(needed) or 'no pack'}.\n{error}"
        raise BundleError(made_with.explained(message)) from error
    except Exception as error:
        raise BundleError(made_with.explained(f"{path}: the weights do not fit the model: {error}")) from error
    _check_rate(path, model.sample_rate)
    return model.eval()


def _check_rate(path: Path, rate: Any) -> None:
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or rate not in RATES:
        raise BundleError(
            f"{path}: {DESCRIPTION}: invalid sample_rate {rate!r:.40}, outside {RATES[0]:,} to {RATES[-1]:,} Hz."
        )


def _read_whole(path: Path) -> tuple[dict[str, Any], bytes]:
    description, content = _read(path)
    if hashlib.sha256(content).hexdigest() != description.get("sha256"):
        raise BundleError(
            f"{path}: the weights are not those that were saved (their hash differs). Get the file again."
        )
    return description, content


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            names, parts = archive.namelist(), archive.infolist()
            if sorted(names) != [DESCRIPTION, WEIGHTS]:
                raise BundleError(f"{path}: no NablAFx bundle; it holds {', '.join(names[:5]) or 'nothing'}.")
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
                raise BundleError(f"{path}: no NablAFx bundle; its parts are compressed.")
            if archive.getinfo(DESCRIPTION).file_size > _LARGEST_DESCRIPTION:
                raise BundleError(f"{path}: {DESCRIPTION} is too large to be a description.")
            if sum(part.file_size for part in parts) > path.stat().st_size:
                raise BundleError(f"{path}: damaged, or no NablAFx bundle: it declares more than it holds.")
            text, weights = archive.read(DESCRIPTION), archive.read(WEIGHTS)
    except FileNotFoundError:
        raise BundleError(f"{path}: no such file.") from None
    except OSError as error:
        raise BundleError(f"{path}: cannot be read: {error.strerror or error}.") from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise BundleError(f"{path}: damaged, or no NablAFx bundle: {error or 'it ends too early'}.") from None
    try:
        description = plain_yaml(text, DESCRIPTION, "a description of a model")
    except ConfigError as error:
        raise BundleError(f"{path}: damaged: {error}") from None
    return _checked(path, description), weights


def _checked(path: Path, description: Any) -> dict[str, Any]:
    """Return a description after checking the type of each part."""
    version = description.get("format") if isinstance(description, dict) else None
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise BundleError(f"{path}: {DESCRIPTION} is no description of a model.")
    if version > FORMAT:
        raise BundleError(f"{path}: of format {version}; this version reads up to {FORMAT}. Update nablafx-core.")
    for key in ("packs", "code", "model", "facts", "info"):
        if not isinstance(description.setdefault(key, {}), dict):
            raise BundleError(f"{path}: {DESCRIPTION} is damaged: '{key}' is no mapping.")
    if not all(isinstance(text, str) for item in description["packs"].items() for text in item):
        raise BundleError(f"{path}: {DESCRIPTION} is damaged: a name or a version in 'packs' is not a string.")
    if not isinstance(description["model"].get("name"), str):
        raise BundleError(f"{path}: {DESCRIPTION} is damaged: 'model' has no name.")
    return dict(description)


def _code_of(model: Model) -> dict[str, str]:
    """Return the modules outside packs whose classes are in the model, with the names of their files."""
    packages = Registry.discover().packages
    parts = [module for module in model.modules() if isinstance(module, (Model, Processor, Controller))]
    names = sorted({type(part).__module__.partition(".")[0] for part in parts} - packages)
    return {name: file_of(name) for name in names}


def _packs_of(model: Model) -> dict[str, str]:
    """Return the packs that the model's section names or whose code is in it, with their versions."""
    used = {type(module).__module__.partition(".")[0] for module in model.modules()}
    registry = Registry.discover()
    noted = Noted(registry)
    qualified("model", model.section, noted)
    named = [entry.pack for _, entry in noted.found]
    packs = sorted(registry.packs, key=lambda pack: pack.name)
    return {pack.name: pack.version for pack in packs if pack in named or pack.package in used}
