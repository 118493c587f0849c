"""Files of weights that processors begin with.

``nablafx pretrain`` writes such a file; ``README.md`` beside those of `nablafx_dsp.pretrained` says how they were made.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import safetensors
import safetensors.torch
from torch import nn

from nablafx_core.errors import DataError, ModelError
from nablafx_core.tracking.files import replacing
from nablafx_core.weights import are_weights_to_follow

_FOLDER = Path(__file__).parents[1] / "pretrained"


def save_pretrained(net: nn.Module, path: Path, settings: Mapping[str, object]) -> None:
    """Write the weights of a network, under a temporary name first.

    Args:
        net: of a processor.
        path: of a safetensors file.
        settings: what else makes the network's output, such as w0; `load_pretrained` compares it.

    Raises:
        DataError: if it cannot be written.
    """
    try:
        with replacing(path) as temporary:
            metadata = {name: str(value) for name, value in settings.items()}
            safetensors.torch.save_file(net.state_dict(), temporary, metadata)
    except (OSError, safetensors.SafetensorError) as error:
        raise DataError(f"{path}: cannot be written: {error}.") from error


def load_pretrained(net: nn.Module, name: str, settings: Mapping[str, object]) -> None:
    """Load the weights of that name, in the network's size, or of a file; nothing if a bundle brings them next.

    Args:
        net: of a processor.
        name: such as ``tanh``, or the path of a safetensors file.
        settings: of the processor, of which those that the file was made with must be the same.

    Raises:
        ModelError: if there is no such file, it holds something else, or the network has another size or settings.
    """
    if are_weights_to_follow():
        return
    sizes = [path for path in sorted(_FOLDER.glob("*.safetensors")) if path.stem.rpartition("_")[0] == name]
    paths = sizes or [Path(name)]
    if not paths[0].is_file():
        names = dict.fromkeys(path.stem.rpartition("_")[0] for path in sorted(_FOLDER.glob("*.safetensors")))
        raise ModelError(
            f"there are no pretrained weights '{name}'. Names: {', '.join(names)}, or a safetensors file, as "
            "`nablafx pretrain` writes one."
        )
    shapes = {key: tensor.shape for key, tensor in net.state_dict().items()}
    for path in paths:
        try:
            weights = safetensors.torch.load_file(path)
            with safetensors.safe_open(path, "pt") as file:
                made_with = file.metadata() or {}
        except (OSError, safetensors.SafetensorError) as problem:
            raise ModelError(f"{path}: holds no weights that can be read: {problem}.") from problem
        if {key: tensor.shape for key, tensor in weights.items()} == shapes:
            _check_settings(name, made_with, settings)
            net.load_state_dict(weights)
            return
    there = f" Sizes: {', '.join(path.stem.rpartition('_')[2] for path in sizes)} (hidden, layers)." if sizes else ""
    raise ModelError(
        f"the pretrained weights '{name}' are those of a network of another size.{there} Leave the sizes as they are "
        "by default, fit others by `nablafx pretrain`, or begin with pretrained: none."
    )


def _check_settings(name: str, made_with: Mapping[str, str], settings: Mapping[str, object]) -> None:
    for key, value in settings.items():
        if key in made_with and made_with[key] != str(value):
            raise ModelError(
                f"the pretrained weights '{name}' were made with {key} {made_with[key]}, not {value}, with which they "
                f"mean something else. Set {key}: {made_with[key]}, fit others by `nablafx pretrain`, or begin with "
                "pretrained: none."
            )
