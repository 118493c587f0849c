"""Commands that write to a disk which takes no more: what they say, and that what was there is there still."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

import pytest

from nablafx_core.registry import Registry
from reference.small_disk import small_disk
from reference.world import run_main, snapshot, whole_world, world

pytestmark = pytest.mark.slow

__all__ = ["whole_world", "world"]  # fixtures

PACK = """
@hookimpl
def nablafx_importers():
    return [Component("echo", __name__ + ":Reader", "a")]

@hookimpl
def nablafx_exporters():
    return [Component("echo", __name__ + ":Writer", "b")]

import nablafx_core as nfx
from nablafx_core.interfaces import Exporter, Importer

class Reader(Importer):
    suffixes = (".echo",)

    def read(self, path):
        return nfx.build("model", {"name": "tcn", "num_blocks": 4, "channel_width": 64})

class Writer(Exporter):
    suffix = ".echo"

    def write(self, model, path):
        path.write_bytes(bytes(200_000))
"""


@dataclass(frozen=True)
class Refusal:
    """A command that writes to a disk that takes no more.

    Args:
        name: what it writes.
        command: `disk` is the folder.
        message: what is said of a full disk, with REASON where the system's reason stands.
        read_only: what is said of a read-only one, if that is something else.
        room: bytes of the full disk; it is full from the beginning if that is 0.
    """

    name: str
    command: str
    message: str
    read_only: str = ""
    room: int = 16_384


UNMADE = "Error: disk/runs: a run folder cannot be created there: REASON."
REFUSALS = [
    Refusal("a rendering", "render m.nfx di.wav disk/out.wav", "Error: disk/out.wav: cannot be written: REASON."),
    Refusal("a FLAC", "render m.nfx di.wav disk/out.flac", "Error: disk/out.flac: cannot be written: REASON."),
    Refusal("a bundle", "import e.echo -o disk/m.nfx", "Error: disk/m.nfx: cannot write the bundle: REASON."),
    Refusal("an export", "export m.nfx -o disk/m.echo", "Error: disk/m.echo: cannot be written: REASON."),
    Refusal(
        "a run folder",
        "train --dry di.wav --wet amp.wav --runs-dir disk/runs",
        "cannot be written: REASON",
        UNMADE,
        0,
    ),
    Refusal(
        "a test's folder",
        "test plain.nfx e.yaml --runs-dir disk/runs",
        "cannot be written: REASON",
        UNMADE,
        0,
    ),
    Refusal(
        "the cache folder",
        "data pair dry=di.wav wet=amp.wav sample_rate=48000",
        "Error: di.wav: the copy at 48000 Hz cannot be written to the cache folder: disk/cache/resampled/",
        "Error: disk/cache/resampled: the cache folder cannot be created: REASON. Set NABLAFX_CACHE to",
    ),
    Refusal(
        "a simulated data set",
        "data simulated path=disk/sim seconds=4 num_settings=2",
        "Error: disk/sim/DRY/trainval/strings1.input.wav: cannot be written: REASON.",
        "Error: disk/sim: cannot be written: REASON. Choose another data.path.",
    ),
    Refusal(
        "a quickstart",
        "quickstart --folder disk/quick --minutes 0.01",
        "Error: disk/quick/data/DRY/trainval/strings1.input.wav: cannot be written: REASON.",
        "Error: disk/quick/data: cannot be written: REASON. Choose another data.path.",
    ),
    Refusal("a pack", "packs new acme --folder disk/acme", "Error: disk/acme: cannot be written: REASON.", room=0),
    Refusal(
        "a device file",
        "data tonetwist path=disk/data device=Pedal --write-device-file",
        "Error: disk/data/Pedal/device.yaml: cannot be written: REASON.",
        room=0,
    ),
]
REASONS = {False: ("No space left on device", "File too large"), True: ("Read-only file system", "Permission denied")}


@pytest.fixture
def echo(install, monkeypatch):
    """A pack that reads and writes files of another project, beside the installed ones."""
    install("acme", PACK)
    monkeypatch.delenv("NABLAFX_PACKS")
    Registry.discover.cache_clear()


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.name)
@pytest.mark.parametrize("read_only", [False, True], ids=["full", "read-only"])
def test_a_disk_that_takes_no_more_is_told_and_left_as_it_was(refusal, read_only, world, echo, monkeypatch, capsys):
    world.write("e.echo", "{}")
    disk = world.folder / "disk"

    def fill(folder):
        shutil.copytree(world.folder / "data", folder / "data")
        (folder / "out.wav").write_bytes(b"old")

    with small_disk(disk, refusal.room, fill, read_only):
        if refusal.room == 0 and not read_only and not os.path.ismount(disk):
            pytest.skip("what is so small fails on a disk that is full, and no file system can be mounted here")
        if refusal.name == "the cache folder":
            monkeypatch.setenv("NABLAFX_CACHE", "disk/cache")
        before = snapshot(disk)
        code, out, err = run_main(refusal.command, monkeypatch, capsys)
        after = snapshot(disk)
    message = refusal.read_only if read_only and refusal.read_only else refusal.message
    assert any(message.replace("REASON", reason) in err for reason in REASONS[read_only])
    assert code == 1
    assert out == ""
    assert "This is a defect" not in err
    assert "Traceback" not in err
    assert {name: content for name, content in after.items() if content is not None or name in before} == before
