"""A checkpoint is never executed, and needs no more memory than its size justifies."""

from __future__ import annotations

import io
import pickle
import struct
import tracemalloc
import zipfile
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from torch import nn

from nablafx_core.bundles import torch_file
from nablafx_core.bundles.checkpoint_file import read_tensors
from nablafx_core.bundles.torch_file import UnreadableError, read_torch_file
from nablafx_core.errors import ConversionError, RunError
from nablafx_core.training.checkpoints import CheckpointFiles

MEMORY = 16 << 20  # bytes that no file of a few kB may take


class Scripted(nn.Module):
    """Class that writes a file when TorchScript restores it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x

    @torch.jit.export
    def __getstate__(self):
        return self.weight, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[torch.Tensor, bool]):
        self.weight = state[0]
        self.training = state[1]
        torch.save(state[0], "executed")


def saved(content, path: Path, **settings) -> Path:
    torch.save(content, path, **settings)
    return path


def with_pickle(path: Path, content: bytes, values: bytes = bytes(16), extra: dict[str, bytes] | None = None) -> Path:
    """Write a file whose pickle is `content`, with one storage."""
    parts = {"data.pkl": content, "version": b"3\n", "byteorder": b"little", "data/0": values, **(extra or {})}
    with zipfile.ZipFile(path, "w") as archive:
        for name, part in parts.items():
            archive.writestr(f"archive/{name}", part)
    return path


def tensor(count: int, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """Return a pickle ``{"w": tensor}`` whose storage declares `count` float32."""

    class Storage:
        pass

    class Tensor:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, size, stride, False, OrderedDict())

    class Pickler(pickle.Pickler):
        def persistent_id(self, item):
            return ("storage", torch.FloatStorage, "0", "cpu", count) if isinstance(item, Storage) else None

    file = io.BytesIO()
    Pickler(file, protocol=2).dump({"w": Tensor()})
    return file.getvalue()


def called(name: str, argument: bytes) -> bytes:
    """Return a pickle ``{"state_dict": {"w": name(argument)}}``."""
    module, _, function = name.rpartition(".")
    call = b"c" + module.encode() + b"\n" + function.encode() + b"\n" + argument + b"\x85R"
    return b"\x80\x02}X\x0a\x00\x00\x00state_dict}X\x01\x00\x00\x00w" + call + b"ss."


def number(value: int) -> bytes:
    content = value.to_bytes((value.bit_length() + 8) // 8, "little", signed=True)
    return b"\x8a" + bytes([len(content)]) + content


@pytest.fixture
def no_torch_load(monkeypatch):
    def never(*arguments, **settings):
        raise AssertionError("torch's own reader was called")

    monkeypatch.setattr(torch, "load", never)
    monkeypatch.setattr(torch.jit, "load", never)


@pytest.mark.filterwarnings("ignore:`torch.jit.*` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("hidden", [(), ("constants.pkl",), ("code/",)], ids=["whole", "no constants", "no code"])
def test_torchscript_is_rejected(tmp_path, monkeypatch, hidden):
    monkeypatch.chdir(tmp_path)
    torch.jit.script(Scripted()).save("whole.ckpt")
    with zipfile.ZipFile("whole.ckpt") as whole, zipfile.ZipFile("model.ckpt", "w") as archive:
        for name in whole.namelist():
            if not any(part in name for part in hidden):
                archive.writestr(name, whole.read(name))
    for read in (read_tensors, CheckpointFiles().load_checkpoint):
        with pytest.raises((ConversionError, RunError), match=r"model\.ckpt: .*it is TorchScript, which contains code"):
            read(Path("model.ckpt"))
    assert not Path("executed").exists()


def test_files_of_torch_are_read_as_by_torch(tmp_path, no_torch_load):
    base = torch.arange(12.0)
    net = nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2))
    content = {
        "state_dict": net.state_dict(),
        "views": [base[2:8], base.view(3, 4).t(), base[3], base[:0]],
        "types": [torch.ones(2, dtype=kind) for kind in (torch.float64, torch.bfloat16, torch.int64, torch.bool)],
        "plain": {"n": 3, "x": 1e-3, "none": None, "yes": True, "text": "ä", "tuple": (1, (2, [3])), "large": 2**80},
        "shape": torch.Size([1, 2]),
        "parameter": nn.Parameter(torch.ones(2)),
    }
    found = read_torch_file(saved(content, tmp_path / "x.ckpt"), objects=False)
    assert list(found) == list(content)
    for name, value in content["state_dict"].items():
        assert torch.equal(found["state_dict"][name], value)
    assert found["state_dict"]._metadata == content["state_dict"]._metadata
    for one, other in zip(found["views"] + found["types"], content["views"] + content["types"], strict=True):
        assert torch.equal(one, other)
        assert (one.dtype, one.stride()) == (other.dtype, other.stride())
    assert found["views"][0].untyped_storage().data_ptr() == found["views"][1].untyped_storage().data_ptr()
    assert (found["plain"], found["shape"]) == (content["plain"], content["shape"])
    assert torch.equal(found["parameter"], torch.ones(2))


def test_objects_are_inert_or_rejected(tmp_path, no_torch_load):
    content = {"state_dict": {"w": torch.ones(2)}, "path": tmp_path, "set": {1}, "error": ValueError("x"), "type": Path}
    path = saved(content, tmp_path / "x.ckpt")
    assert torch.equal(read_tensors(path)["w"], torch.ones(2))
    with pytest.raises(UnreadableError, match=r"it contains objects \(.*Path\)"):
        read_torch_file(path, objects=False)


BOMBS = {
    "bytearray": called("builtins.bytearray", number(4 * 10**9)),
    "bytes": called("__builtin__.bytes", number(4 * 10**9)),
    "range": called("builtins.list", number(10**9)),
    "a declared bytearray": b"\x80\x05\x96" + struct.pack("<Q", 4 * 10**9) + b".",
    "declared bytes": b"\x80\x04\x8e" + struct.pack("<Q", 4 * 10**9) + b".",
    "a declared number": b"\x80\x02\x8b" + struct.pack("<i", 2**31 - 1) + b".",
    "a declared text": b"\x80\x02X" + struct.pack("<I", 2**32 - 1) + b".",
    "a declared frame": b"\x80\x04\x95" + struct.pack("<Q", 4 * 10**9) + b"N.",
    "a place in the memo": b"\x80\x02Nr" + struct.pack("<I", 2**31) + b".",
    "a place in the memo, in digits": b"\x80\x02Np2000000000\n.",
    "a sparse tensor": called("torch._utils._rebuild_sparse_tensor", number(10**9)),
    "copies of a list": b"\x80\x02]q\x00(" + b"K\x01" * 2000 + b"e0(" + b"ctorch\nSize\nh\x00\x85R" * 2000 + b"l.",
    "copies of a mapping": b"".join(
        (
            b"\x80\x02}q\x00(",
            *(b"M" + struct.pack("<H", n) + b"N" for n in range(2000)),
            b"u0(",
            b"ccollections\nOrderedDict\nh\x00\x85R" * 2000,
            b"l.",
        )
    ),
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("objects", [True, False])
def test_a_small_file_takes_little_memory(content, objects, tmp_path, no_torch_load):
    path = with_pickle(tmp_path / "x.ckpt", content)
    tracemalloc.start()
    with suppress(UnreadableError):
        read_torch_file(path, objects)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < MEMORY


@pytest.mark.parametrize("instruction", [b"\x8f", b"}", b"N\x85"], ids=["sets", "mappings", "tuples"])
def test_the_number_of_objects_is_limited(instruction, tmp_path):
    """An empty set takes one byte of a file and 200 of memory."""
    path = with_pickle(tmp_path / "x.ckpt", b"\x80\x04" + instruction * 500_001 + b".")
    with pytest.raises(ConversionError, match=r"x\.ckpt: .*it contains more than 500,000 lists, dicts"):
        read_tensors(path)


TENSORS = {
    "more values than bytes": (tensor(10**9, (10**9,), (1,)), r"has 16 bytes in data/0"),
    "a size beyond the storage": (tensor(4, (10**10,), (1,)), r"has 16 bytes"),
    "a stride beyond the storage": (tensor(4, (2,), (10**10,)), r"has 16 bytes"),
    "one value many times": (tensor(4, (10**10,), (0,)), r"has 16 bytes"),
    "an offset beyond the storage": (tensor(4, (1,), (1,), 4), r"has 16 bytes"),
    "a negative offset": (tensor(4, (1,), (1,), -1), "the description of a tensor is invalid"),
    "a size without end": (tensor(4, (2**40,) * 64, (1,) * 64), r"has 16 bytes"),
    "strides of another number": (tensor(4, (2, 2), (1,)), "the description of a tensor is invalid"),
}


@pytest.mark.parametrize(("content", "message"), TENSORS.values(), ids=TENSORS)
def test_a_tensor_outside_its_storage_is_rejected(content, message, tmp_path):
    with pytest.raises(ConversionError, match=message):
        read_tensors(with_pickle(tmp_path / "x.ckpt", content))
    good = with_pickle(tmp_path / "good.ckpt", tensor(4, (2, 2), (2, 1)), torch.arange(4.0).numpy().tobytes())
    assert read_tensors(good)["w"].tolist() == [[0, 1], [2, 3]]


def test_a_file_cannot_change_the_size_of_a_tensor(tmp_path):
    """torch's tensors have a __setstate__ that takes a storage and any size."""
    state = b"\x88}\x89\x87"  # True, {}, False
    content = tensor(4, (4,), (1,))
    changed = content[:-2] + state + b"bs."
    path = with_pickle(tmp_path / "x.ckpt", changed, torch.ones(4).numpy().tobytes())
    assert read_tensors(path)["w"].shape == (4,)


def test_attributes_that_a_file_sets_on_a_function_are_discarded(tmp_path):
    before = torch_file._described.__defaults__
    content = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(N}X\x0c\x00\x00\x00__defaults__N\x85stb."
    with_pickle(tmp_path / "x.ckpt", content)
    read_torch_file(tmp_path / "x.ckpt", objects=True)
    assert torch_file._described.__defaults__ == before


@pytest.mark.parametrize("depth", [2_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [(b"]", b"a"), (b"\x85", b"")], ids=["lists", "tuples"])
def test_deep_nesting_is_rejected(depth, opening, closing, tmp_path):
    nested = (b")" if not closing else b"]") + opening * depth + closing * depth
    with pytest.raises(ConversionError, match=r"x\.ckpt.*it is damaged \(maximum recursion depth"):
        read_tensors(with_pickle(tmp_path / "x.ckpt", b"\x80\x02" + nested + b"."))


def compressed(path: Path) -> None:
    with zipfile.ZipFile(path) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def two_folders(path: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("other/data.pkl", b"N.")


def changed(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(struct.pack("<2f", 1, 1), struct.pack("<2f", 2, 2)))


ARCHIVES = {
    "compressed": (compressed, "it is compressed"),
    "cut": (
        lambda path: path.write_bytes(path.read_bytes()[:-40]),
        "it is damaged, or not in the format of torch.save",
    ),
    "old": (lambda path: saved({"w": torch.ones(1)}, path, _use_new_zipfile_serialization=False), "since torch 1.6"),
    "ambiguous": (lambda path: two_folders(path), "was not written by torch.save"),
    "other": (lambda path: path.write_bytes(b"\x80\x02}q\x00."), "not in the format of torch.save"),
    "big-endian": (lambda path: with_pickle(path, b"N.", extra={"byteorder": b"big"}), "not little-endian"),
    "damaged": (changed, "Bad CRC"),
}


@pytest.mark.parametrize(("harm", "message"), ARCHIVES.values(), ids=ARCHIVES)
def test_other_archives_are_rejected(harm, message, tmp_path):
    path = saved({"w": torch.ones(8)}, tmp_path / "x.ckpt")
    harm(path)
    with pytest.raises(ConversionError, match=message):
        read_tensors(path)


def test_weights_that_share_all_their_values_are_rejected(tmp_path):
    values = torch.ones(1000)
    with pytest.raises(ConversionError, match="share so much memory"):
        read_tensors(saved({f"w{n}": values[:] for n in range(500)}, tmp_path / "x.ckpt"))
