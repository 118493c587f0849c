"""Read files of ``torch.save`` without torch's unpickler: nothing in the file is imported, called or trusted.

Such a file is a zip: ``NAME/data.pkl``, a pickle, and the values of each tensor in ``NAME/data/0``, ``NAME/data/1``, ….
A pickle is a program. Here it may only build lists, dicts, numbers, strings and tensors, and objects without
behaviour in place of all others. The memory is limited to a small multiple of the file's size, and a limited number of
objects. TorchScript, a zip that contains code, is rejected.
"""

from __future__ import annotations

import io
import math
import pickle
import pickletools
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

#: Element types by the names of storages in files.
_STORAGES = {
    "FloatStorage": torch.float32,
    "DoubleStorage": torch.float64,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}

#: Pickle instructions that plain data and tensors need; their lengths are limited by the data that follows in the
#: file. Excluded are instructions that allocate a declared size (BYTEARRAY8) or reach beyond the file (EXT1, PERSID).
_INSTRUCTIONS = frozenset(
    "PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE INT BININT BININT1 BININT2 LONG LONG1 LONG4 FLOAT "
    "BINFLOAT STRING BINSTRING SHORT_BINSTRING UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINBYTES "
    "SHORT_BINBYTES BINBYTES8 EMPTY_LIST LIST APPEND APPENDS EMPTY_DICT DICT SETITEM SETITEMS EMPTY_TUPLE TUPLE TUPLE1 "
    "TUPLE2 TUPLE3 EMPTY_SET ADDITEMS FROZENSET PUT BINPUT LONG_BINPUT MEMOIZE GET BINGET LONG_BINGET GLOBAL "
    "STACK_GLOBAL REDUCE NEWOBJ NEWOBJ_EX BUILD BINPERSID".split()
)
#: Instructions that make an object, which takes up to 400 times the memory of the instruction.
_MAKING = frozenset(
    "EMPTY_LIST LIST EMPTY_DICT DICT EMPTY_SET FROZENSET TUPLE TUPLE1 TUPLE2 TUPLE3 REDUCE NEWOBJ NEWOBJ_EX".split()
)
_MOST_OBJECTS = 500_000  # a tensor takes seven
_LARGEST_PICKLE = 16 * 2**20  # bytes; the description of a model with thousands of weights takes some hundred thousand
_DIMENSIONS = 64  # the most that torch allows a tensor to have


class UnreadableError(ValueError):
    """Raised for a file that is rejected; the message is the reason, as the end of a sentence without a full stop."""


def read_torch_file(source: Path | IO[bytes], objects: bool) -> Any:
    """Return the content of a file written by ``torch.save`` (torch 1.6 or later), with all tensors on the CPU.

    Args:
        source: path, or a file that is open for reading and seeking.
        objects: true if the file may contain objects other than plain data and tensors, which are replaced by objects
            without behaviour; false to reject such a file.

    Raises:
        UnreadableError: if the file is damaged, has another format, is TorchScript, contains an object although
            `objects` is false, or exceeds a limit (16 MiB of pickle, 500,000 lists, dicts, tuples and tensors).
        OSError: if the file cannot be read.
    """
    try:
        archive = zipfile.ZipFile(source)
    except (zipfile.BadZipFile, NotImplementedError, ValueError) as error:
        raise UnreadableError(f"it is damaged, or not in the format of torch.save since torch 1.6 ({error})") from None
    with archive:
        try:
            parts = _Parts(archive)
            content = parts.read("data.pkl", _LARGEST_PICKLE)
            _check_instructions(content)
            return _with_tensors(_Unpickler(content, objects).load(), parts, {})
        except (UnreadableError, OSError):
            raise
        except Exception as error:  # the exception depends on the damage
            reason = " ".join(str(error).split())[:100] or type(error).__name__
            raise UnreadableError(f"it is damaged ({reason})") from error


class _Parts:
    """Files in the zip, by their names below its only folder.

    Raises:
        UnreadableError: if the zip is not a file of ``torch.save``.
    """

    def __init__(self, archive: zipfile.ZipFile) -> None:
        entries = archive.infolist()
        names = [entry.filename for entry in entries]
        places = {name.partition("/")[2] for name in names}
        if "constants.pkl" in places or any(place.startswith("code/") for place in places):
            raise UnreadableError(
                "it is TorchScript, which contains code and is never read; save the weights with "
                "torch.save(model.state_dict(), path)"
            )
        folders = [name.removesuffix("data.pkl") for name in names if name.partition("/")[2] == "data.pkl"]
        if len(folders) != 1 or len(set(names)) < len(names):
            raise UnreadableError("it was not written by torch.save")
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries):
            raise UnreadableError("it is compressed, unlike the files of torch.save")
        if sum(entry.file_size for entry in entries) > _size(archive):
            raise UnreadableError("it is damaged: it is shorter than it declares")
        self._archive = archive
        self._values: dict[str, Tensor] = {}
        self._entries = {entry.filename.removeprefix(folders[0]): entry for entry in entries}
        if "byteorder" in self._entries and self.read("byteorder", 16) != b"little":
            raise UnreadableError("its byte order is not little-endian")

    def read(self, name: str, largest: int) -> bytes:
        """Return the content of a file in the zip; raise `UnreadableError` if it has more than `largest` bytes."""
        if self._entries[name].file_size > largest:
            raise UnreadableError(f"its {name} is larger than {largest:,} bytes")
        return self._archive.read(self._entries[name])

    def values(self, key: str) -> Tensor:
        """Return the bytes of a storage; they are read once, into memory allocated by torch, which is aligned."""
        if key not in self._values:
            name = f"data/{key}"
            if name not in self._entries:
                raise UnreadableError(f"it is damaged: it has no {name}")
            values = torch.empty(self._entries[name].file_size, dtype=torch.uint8)
            rest = values.numpy().data
            with self._archive.open(self._entries[name]) as file:
                while rest and (count := file.readinto(rest)):  # type: ignore[attr-defined]
                    rest = rest[count:]
                if rest or file.read(1):
                    raise UnreadableError(f"it is damaged in '{name}'")
            self._values[key] = values
        return self._values[key]


def _size(archive: zipfile.ZipFile) -> int:
    file = archive.fp
    assert file is not None
    return file.seek(0, io.SEEK_END)


def _check_instructions(content: bytes) -> None:
    """Check a pickle without running it.

    Raises:
        UnreadableError: if it has an instruction that is not among `_INSTRUCTIONS`, declares a size or a position
            beyond its end, or makes too many objects.
    """
    made = 0
    for count, (instruction, argument, _) in enumerate(pickletools.genops(content)):
        if instruction.name not in _INSTRUCTIONS:
            raise UnreadableError(f"it contains an instruction ({instruction.name}) that checkpoints do not need")
        made += instruction.name in _MAKING
        if made > _MOST_OBJECTS:
            raise UnreadableError(f"it contains more than {_MOST_OBJECTS:,} lists, dicts, tuples and tensors")
        largest = {"PUT": count, "LONG_BINPUT": count, "FRAME": len(content)}.get(instruction.name)
        if largest is not None and int(argument or 0) > largest:
            raise UnreadableError(f"it is damaged: {instruction.name} goes beyond its end")


class _Inert:
    """Stand-in for an object of the program that wrote the file; accepts everything and does nothing."""

    __slots__ = ()

    def __new__(cls, *arguments: Any, **settings: Any) -> _Inert:
        return super().__new__(cls)

    def __call__(self, *arguments: Any, **settings: Any) -> _Inert:
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, item: Any) -> None:
        """Do nothing."""

    def extend(self, items: Any) -> None:
        """Do nothing."""

    add = append


class _Known(_Inert):
    """Name that a file may call, with a function of this module in its place; a file cannot set attributes on it."""

    __slots__ = ("function",)
    function: Callable[..., Any]

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        return self.function(*arguments, **settings)


class _Ordered(OrderedDict[Any, Any]):
    """OrderedDict that accepts one attribute from a file, ``_metadata``: the modules' versions in a state dict."""

    def __setstate__(self, state: Any) -> None:
        if isinstance(state, dict) and isinstance(state.get("_metadata"), dict):
            self._metadata = state["_metadata"]


class _Storage(_Inert):
    """Description of a storage, which holds the values of tensors: their type, the key of their bytes, their number."""

    __slots__ = ("count", "dtype", "key")
    dtype: torch.dtype
    key: str
    count: int


class _Described(_Inert):
    """Description of a tensor that is not built yet; with torch's own rebuild function, a file could set any size."""

    __slots__ = ("offset", "requires_grad", "size", "storage", "stride")
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]
    requires_grad: bool

    def tensor(self, parts: _Parts) -> Tensor:
        """Build the tensor.

        Raises:
            UnreadableError: if it does not lie within its storage, or is larger than it.
        """
        dtype, count = self.storage.dtype, self.storage.count
        values, sizes = parts.values(self.storage.key), math.prod(self.size)
        end = self.offset + sum((n - 1) * step for n, step in zip(self.size, self.stride, strict=True)) + 1
        if count * dtype.itemsize != len(values) or max(sizes, end if sizes else 0) > count:
            raise UnreadableError(
                f"it is damaged: a tensor of {list(self.size)} has {len(values):,} bytes in data/{self.storage.key}"
            )
        made = torch.empty(0, dtype=dtype).set_(values.untyped_storage(), self.offset, self.size, self.stride)
        return made.requires_grad_(self.requires_grad and dtype.is_floating_point)


class _Unpickler(pickle.Unpickler):
    """Unpickler for plain data and descriptions of tensors; lists and dicts that occur repeatedly are not copied."""

    def __init__(self, content: bytes, objects: bool) -> None:
        super().__init__(io.BytesIO(content), encoding="utf-8")
        self._objects = objects

    def find_class(self, module_name: str, global_name: str) -> Any:
        """Return the stand-in for a name in the file; nothing is imported.

        Raises:
            UnreadableError: if it is not needed for tensors, and the file must not contain objects.
        """
        function = _FUNCTIONS.get((module_name, global_name))
        if function is not None:
            known = _Known()
            known.function = function
            return known
        if module_name in ("torch", "torch.cuda") and global_name in _STORAGES:
            return _STORAGES[global_name]
        if not self._objects:
            raise UnreadableError(f"it contains objects ({module_name}.{global_name:.60}), which are never read")
        return _Inert

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the description of a storage, which a tensor names as ``("storage", type, key, device, count)``."""
        kind, dtype, key, _, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype) or not isinstance(key, str) or not _counts(count):
            raise UnreadableError("it contains tensors of an unsupported type")
        storage = _Storage()
        storage.dtype, storage.key, storage.count = dtype, key, count
        return storage


def _sizes(sizes: tuple[int, ...] = ()) -> torch.Size:
    if not isinstance(sizes, tuple) or len(sizes) > _DIMENSIONS:
        raise UnreadableError("it is damaged: the shape of a tensor is invalid")
    return torch.Size(sizes)


def _described(storage: Any, offset: Any, size: Any, stride: Any, requires_grad: Any, *rest: Any) -> _Described:
    shaped = isinstance(size, tuple) and isinstance(stride, tuple) and len(size) == len(stride) <= _DIMENSIONS
    if not isinstance(storage, _Storage) or not shaped or not _counts(offset, *size, *stride):
        raise UnreadableError("it is damaged: the description of a tensor is invalid")
    made = _Described()
    made.storage, made.offset, made.requires_grad = storage, offset, requires_grad is True
    made.size, made.stride = tuple(size), stride
    return made


def _counts(*numbers: Any) -> bool:
    return all(type(number) is int and 0 <= number < 2**62 for number in numbers)


_FUNCTIONS: dict[tuple[str, str], Callable[..., Any]] = {
    ("collections", "OrderedDict"): lambda: _Ordered(),
    ("torch", "Size"): _sizes,
    ("torch._utils", "_rebuild_tensor_v2"): _described,
    ("torch._utils", "_rebuild_parameter"): lambda tensor, *rest: tensor,
    ("torch._utils", "_rebuild_parameter_with_state"): lambda tensor, *rest: tensor,
}


def _with_tensors(value: Any, parts: _Parts, made: dict[int, tuple[Any, Any]]) -> Any:
    """Replace descriptions of tensors by tensors; an object that occurs in several places is replaced once.

    Args:
        value: plain data that contains descriptions.
        parts: parts of the file.
        made: results by the identity of the original, each with the original itself, so that identities stay unique.
    """
    if id(value) in made:
        return made[id(value)][1]
    if isinstance(value, _Described):
        made[id(value)] = value, value.tensor(parts)
    elif isinstance(value, dict):
        made[id(value)] = value, value
        for key, item in value.items():
            value[key] = _with_tensors(item, parts, made)
    elif isinstance(value, list):
        made[id(value)] = value, value
        value[:] = [_with_tensors(item, parts, made) for item in value]
    elif type(value) is tuple:
        made[id(value)] = value, tuple(_with_tensors(item, parts, made) for item in value)
    else:
        return value
    return made[id(value)][1]
