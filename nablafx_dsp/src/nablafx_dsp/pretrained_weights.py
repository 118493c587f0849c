"""Files with initial weights of processors.

``nablafx pretrain`` writes such files. ``nablafx_dsp/pretrained/README.md`` describes how those of this pack were made.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor, nn

from nablafx_core.bundles.checkpoint_file import read_tensors
from nablafx_core.errors import ConversionError, DataError, ModelError
from nablafx_core.files import replacing
from nablafx_core.weights import are_weights_to_follow

#: Extensions of pretrained files of NablAFx 1.0.
NABLAFX_SUFFIXES = (".pt", ".pth")

_FOLDER = Path(__file__).parent / "pretrained"


def save_pretrained(net: nn.Module, path: Path, settings: Mapping[str, object]) -> None:
    """Write the weights of a network to a safetensors file, which replaces an old file only when it is complete.

    Args:
        net: network of a processor.
        path: path of the file; its folder must exist.
        settings: settings that determine the network's output, such as w0, and other facts. They are stored as text;
            `load_pretrained` compares those that it is given.

    Raises:
        DataError: if the file cannot be written.
    """
    try:
        with replacing(path) as temporary:
            metadata = {name: str(value) for name, value in settings.items()}
            safetensors.torch.save_file(net.state_dict(), temporary, metadata)
    except (OSError, safetensors.SafetensorError) as error:
        raise DataError(f"{path}: cannot be written: {error}.") from error


def load_pretrained(net: nn.Module, name: str, settings: Mapping[str, object]) -> None:
    """Load weights of this pack by name, in the network's size, or weights from a file, into a network.

    Nothing is done if the weights are loaded next, as from a bundle; see `nablafx_core.weights.weights_follow`.

    Args:
        net: network of a processor, changed in place.
        name: a name such as ``tanh``, or the path of a safetensors file of ``nablafx pretrain`` or of a pretrained
            ``.pt`` or ``.pth`` file of NablAFx 1.0.
        settings: settings of the processor. Each must be equal to the one that the file was made with, if the file
            contains it: a file of NablAFx 1.0 contains only the number of taps.

    Raises:
        ModelError: if the file is not found or unreadable, or was made for another size or other settings.
    """
    if are_weights_to_follow():
        return
    sizes = [path for path in sorted(_FOLDER.glob("*.safetensors")) if path.stem.rpartition("_")[0] == name]
    paths = sizes or [Path(name)]
    if not paths[0].is_file():
        names = dict.fromkeys(path.stem.rpartition("_")[0] for path in sorted(_FOLDER.glob("*.safetensors")))
        raise ModelError(
            f"pretrained weights '{name}' not found; expected one of {', '.join(names)}, or the path of a safetensors "
            "file of `nablafx pretrain` or of a pretrained .pt file of NablAFx."
        )
    for path in paths:
        weights, made_with = _read(path)
        if _shapes(weights) == _shapes(net.state_dict()):
            _check_settings(name, made_with, settings)
            net.load_state_dict(weights)
            return
    there = "; ".join(_size(_read(path)[0]) for path in paths)
    raise ModelError(
        f"the pretrained weights '{name}' are for a network of another size: {there}; this network has "
        f"{_size(net.state_dict())}. Set such a size, fit other weights by `nablafx pretrain`, or set pretrained: none."
    )


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the weights of a network in a file, and the settings that the file says they were made with, as text.

    Raises:
        ModelError: if the file cannot be read, or contains no such weights.
    """
    if path.suffix in NABLAFX_SUFFIXES:
        try:
            net, num_taps = nablafx_network(path)
        except ConversionError as problem:
            raise ModelError(str(problem)) from problem
        return net, {} if num_taps is None else {"num_taps": str(num_taps)}
    try:
        weights = safetensors.torch.load_file(path)
        with safetensors.safe_open(path, "pt") as file:
            return weights, file.metadata() or {}
    except (OSError, safetensors.SafetensorError) as problem:
        raise ModelError(f"{path}: cannot be read as weights: {problem}.") from problem


def nablafx_network(path: Path) -> tuple[dict[str, Tensor], int | None]:
    """Read the network in a pretrained file of NablAFx 1.0, the state dict of one StaticMLP or StaticFIR processor.

    Args:
        path: path of the file, such as ``static_fir_filter_t64-h32-l5.pt``.

    Returns:
        The weights of the network, by the names that they have in a `Siren`, and the number of taps if it is that of an
        FIR filter, otherwise None.

    Raises:
        ConversionError: if the file cannot be read, has weights outside of ``net.``, or has no sine layers.
    """
    tensors = read_tensors(path)
    coords = tensors.pop("coords", None)
    if not all(key.startswith("net.") for key in tensors):
        raise ConversionError(
            f"{path}: is not a pretrained static_mlp or static_fir of NablAFx: expected only weights 'net.…', found "
            f"'{next(key for key in tensors if not key.startswith('net.'))}'."
        )
    net = {key.removeprefix("net."): value for key, value in tensors.items()}
    if not siren_size(net):
        raise ConversionError(
            f"{path}: is not a pretrained static_mlp or static_fir of NablAFx: its network has no sine layers, "
            "'net.layers.…'."
        )
    return net, None if coords is None else coords.numel()


def siren_size(weights: Mapping[str, Tensor]) -> dict[str, int]:
    """Return ``hidden_size`` and ``num_layers`` of a `Siren` with these weights; empty without ``layers.0.weight``."""
    first = weights.get("layers.0.weight")
    if first is None or first.ndim != 2:
        return {}
    return {
        "hidden_size": first.shape[0],
        "num_layers": sum(re.fullmatch(r"layers\.\d+\.weight", key) is not None for key in weights),
    }


def _size(weights: Mapping[str, Tensor]) -> str:
    """Format a network's size for messages: hidden size and number of layers of a `Siren`, else the weights' shapes."""
    sizes: Mapping[str, object] = siren_size(weights) or _shapes(weights)
    return ", ".join(f"{name} {value}" for name, value in sizes.items())


def _shapes(weights: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {key: tuple(tensor.shape) for key, tensor in weights.items()}


def _check_settings(name: str, made_with: Mapping[str, str], settings: Mapping[str, object]) -> None:
    for key, value in settings.items():
        if key in made_with and made_with[key] != str(value):
            raise ModelError(
                f"the pretrained weights '{name}' were made with {key} {made_with[key]}, and this processor has "
                f"{value}. Set {key}: {made_with[key]}, fit other weights by `nablafx pretrain`, or set "
                "pretrained: none."
            )
