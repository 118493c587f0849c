"""Save and load bundles: a trained model in one file, ``NAME.nfx``.

A bundle is a zip of ``model.yaml`` (how to build the model, and facts about it) and ``weights.safetensors``. It
contains no code, and nothing in it is unpickled.
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
_AGAIN = "Get the file again."


def save_bundle(
    model: Model, path: Path | str, info: Mapping[str, Any] | None = None, packs: Mapping[str, str] | None = None
) -> Path:
    """Write a model to a bundle, and return its path. The file is created or replaced only if writing succeeds.

    Args:
        model: model built by `nablafx_core.build`, whose attribute `section` describes how to build it again.
        path: path of the bundle, by convention with the extension ``.nfx``; a missing folder is created.
        info: plain data about the training: device, metrics, run, licence.
        packs: version of each required pack by name; if None, the packs that provide the model's section and code.

    Raises:
        BundleError: if the model was not built from a section, `info` is not plain data, or the file cannot be written.
    """
    path = Path(path)
    if not getattr(model, "section", None):
        raise BundleError(f"{type(model).__name__} was not built by nablafx_core.build. Build it from a section.")
    # Cloned one by one, because safetensors rejects tensors that share memory.
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
            f"{path}: cannot write the bundle: its info or settings are not plain data. Use only mappings, lists, "
            f"strings, numbers, true, false and null. ({error})"
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
    """Return the facts about a model that a bundle contains, so that they can be read without building the model.

    These are the sample rate in Hz, latency and receptive field in samples (None: unbounded), whether the model is
    causal, and the number of all parameters.
    """
    return {
        "sample_rate": model.sample_rate,
        "latency": model.latency,
        "receptive_field": model.receptive_field,
        "causal": model.causal,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
    }


def describe_bundle(path: Path | str) -> dict[str, Any]:
    """Return the description in a bundle, the content of ``model.yaml``; the weights are not checked.

    Its keys are ``format``, ``created``, ``packs``, ``code``, ``model`` (the section), ``facts``, ``info`` and
    ``sha256`` (of the weights). Of these, ``created`` and ``sha256`` may be missing.

    Raises:
        BundleError: if the file does not exist, cannot be read, is not a bundle, is damaged or has a newer format.
    """
    return _read(Path(path))[0]


def check_bundle(path: Path | str) -> dict[str, Any]:
    """Return the description in a bundle as `describe_bundle` does, after checking the hash of the weights.

    The model is not built.

    Raises:
        BundleError: as for `describe_bundle`, and if the hash of the weights differs.
    """
    return _read_whole(Path(path))[0]


def load_bundle(path: Path | str, code: Code | None = None) -> Model:
    """Build the model of a bundle, in eval mode, on the CPU.

    Args:
        path: path of the bundle.
        code: rules for import paths in the bundle; if None, they may name packs, classes that are loaded already, and
            modules that the user trusts.

    Raises:
        BundleError: as for `check_bundle`, and if the model is too large, cannot be built (for example because a pack
            is not installed), names code that is not trusted, or does not fit the weights.
    """
    path = Path(path)
    description, content = _read_whole(path)
    code = code_of_stranger(str(path)) if code is None else code
    try:
        weights = safetensors.torch.load(content)
    except (safetensors.SafetensorError, ValueError, KeyError) as error:
        raise BundleError(f"{path}: {WEIGHTS} is damaged: {error}.") from error
    made_with = Provenance(description["packs"])
    if "sample_rate" in description["model"]:  # before any allocation depends on it
        _check_rate(path, description["model"]["sample_rate"])
    controls = description["model"].get("controls")
    if isinstance(controls, list) and len(controls) > _MOST_CONTROLS:
        raise BundleError(
            f"{path}: {DESCRIPTION}: model.controls has {len(controls):,} controls; {_MOST_CONTROLS} is the maximum. "
            f"{_AGAIN}"
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
    """Check that the sample rate of a bundle's model is in `RATES`."""
    if isinstance(rate, bool) or not isinstance(rate, (int, float)) or rate not in RATES:
        raise BundleError(
            f"{path}: {DESCRIPTION}: model.sample_rate is {rate!r:.40}; expected a whole number from {RATES[0]:,} to "
            f"{RATES[-1]:,} Hz. Get the file again, or save the model again with its real sample rate."
        )


def _read_whole(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the description and the weights of a bundle, after checking the hash of the weights."""
    description, content = _read(path)
    if hashlib.sha256(content).hexdigest() != description.get("sha256"):
        raise BundleError(f"{path}: the weights are damaged: their hash differs from the saved one. {_AGAIN}")
    return description, content


def _read(path: Path) -> tuple[dict[str, Any], bytes]:
    """Return the description and the weights of a bundle; see `describe_bundle` for the errors."""
    try:
        with zipfile.ZipFile(path) as archive:
            names, parts = archive.namelist(), archive.infolist()
            if sorted(names) != [DESCRIPTION, WEIGHTS]:
                raise BundleError(
                    f"{path}: is not a NablAFx bundle; it contains {', '.join(names[:5]) or 'nothing'}. "
                    f"Expected {DESCRIPTION} and {WEIGHTS}. `nablafx import` converts files of other projects."
                )
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
                raise BundleError(f"{path}: is not a NablAFx bundle; its parts are compressed. {_AGAIN}")
            if archive.getinfo(DESCRIPTION).file_size > _LARGEST_DESCRIPTION:
                raise BundleError(
                    f"{path}: {DESCRIPTION} has more than {_LARGEST_DESCRIPTION:,} bytes, which a bundle never has. "
                    f"{_AGAIN}"
                )
            if sum(part.file_size for part in parts) > path.stat().st_size:
                raise BundleError(
                    f"{path}: is damaged, or not a NablAFx bundle: it is shorter than it declares. {_AGAIN}"
                )
            text, weights = archive.read(DESCRIPTION), archive.read(WEIGHTS)
    except FileNotFoundError:
        raise BundleError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise BundleError(
            f"{path}: cannot be read: {error.strerror or error}. Check that it is a file, and its permissions."
        ) from None
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise BundleError(
            f"{path}: is damaged, or not a NablAFx bundle: {error or 'it ends too early'}. {_AGAIN}"
        ) from None
    try:
        description = plain_yaml(text, DESCRIPTION, "a description of a model")
    except ConfigError as error:
        raise BundleError(f"{path}: is damaged: {error}") from None
    return _checked(path, description), weights


def _checked(path: Path, description: Any) -> dict[str, Any]:
    """Check the format and the type of each part of a description; return it, with empty mappings for missing parts."""
    version = description.get("format") if isinstance(description, dict) else None
    if isinstance(version, bool) or not isinstance(version, int) or version < 1:
        raise BundleError(f"{path}: {DESCRIPTION} is not a description of a model: it has no valid format. {_AGAIN}")
    if version > FORMAT:
        raise BundleError(f"{path}: has format {version}; this version reads up to {FORMAT}. Update nablafx-core.")
    for key in ("packs", "code", "model", "facts", "info"):
        if not isinstance(description.setdefault(key, {}), dict):
            raise BundleError(f"{path}: {DESCRIPTION} is damaged: '{key}' is not a mapping. {_AGAIN}")
    if not all(isinstance(text, str) for item in description["packs"].items() for text in item):
        raise BundleError(f"{path}: {DESCRIPTION} is damaged: a name or version in 'packs' is not a string. {_AGAIN}")
    if not isinstance(description["model"].get("name"), str):
        raise BundleError(f"{path}: {DESCRIPTION} is damaged: 'model' has no name. {_AGAIN}")
    return dict(description)


def _code_of(model: Model) -> dict[str, str]:
    """Return, by module, the names of files outside packs that define models, processors or controllers in it."""
    packages = Registry.discover().packages
    parts = [module for module in model.modules() if isinstance(module, (Model, Processor, Controller))]
    names = sorted({type(part).__module__.partition(".")[0] for part in parts} - packages)
    return {name: file_of(name) for name in names}


def _packs_of(model: Model) -> dict[str, str]:
    """Return the packs that provide the model's section or its code, with their versions."""
    used = {type(module).__module__.partition(".")[0] for module in model.modules()}
    registry = Registry.discover()
    noted = Noted(registry)
    qualified("model", model.section, noted)
    named = [entry.pack for _, entry in noted.found]
    packs = sorted(registry.packs, key=lambda pack: pack.name)
    return {pack.name: pack.version for pack in packs if pack in named or pack.package in used}
