"""Tensors out of a torch checkpoint that is not trusted."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import torch
from torch import Tensor

from nablafx_core.errors import ConversionError

#: Where a checkpoint keeps its weights, if not at the top.
_PLACES = ("state_dict", "model_state_dict")

#: What rebuilds a tensor. Every other name in a file becomes an inert object.
_REBUILDING = {
    ("collections", "OrderedDict"): OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): torch._utils._rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): torch._utils._rebuild_parameter,
    ("torch", "Size"): torch.Size,
}


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The weights in a checkpoint of Lightning, or in a bare state dict.

    Nothing in the file is executed: a checkpoint holds objects of the program that wrote it besides, and each of these
    is read as an object without behaviour.

    Raises:
        ConversionError: if the file is no checkpoint, is damaged or holds no weights.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # objects that torch does not read, or damage: each kind of file raises something else
        content = _without_behaviour(path)
    for place in _PLACES:
        if isinstance(content, Mapping) and isinstance(content.get(place), Mapping):
            content = content[place]
    tensors = {}
    if isinstance(content, Mapping):
        tensors = {
            name: value.detach()
            for name, value in content.items()
            if isinstance(name, str) and isinstance(value, Tensor)
        }
    if not tensors:
        raise ConversionError(f"{path}: holds no weights. A Lightning checkpoint or a state dict of torch is due.")
    return tensors


def _without_behaviour(path: Path) -> Any:
    reader = SimpleNamespace(__name__="inert", Unpickler=_Unpickler, load=_load)
    try:
        return torch.load(path, map_location="cpu", weights_only=False, pickle_module=reader)
    except Exception as error:
        reason = [*str(error).strip().splitlines(), type(error).__name__][0]
        raise ConversionError(f"{path}: is damaged, or no checkpoint that torch can read: {reason}") from error


class _Inert:
    """Stands for a function, a class or an object; takes everything and does nothing."""

    def __new__(cls, *arguments: Any, **settings: Any) -> _Inert:
        return super().__new__(cls)

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        pass

    def __call__(self, *arguments: Any, **settings: Any) -> _Inert:
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        pass

    def extend(self, items: Any) -> None:
        pass


class _Unpickler(pickle.Unpickler):
    def find_class(self, module_name: str, global_name: str) -> Any:
        known = _REBUILDING.get((module_name, global_name))
        if known is not None:
            return known
        if module_name == "torch" and isinstance(getattr(torch, global_name, None), torch.dtype):
            return getattr(torch, global_name)
        return _Inert


def _load(file: IO[bytes], **settings: Any) -> Any:
    return _Unpickler(file, **settings).load()
