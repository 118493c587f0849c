"""Check whether the process of a run is alive, and lock a run folder for one process.

A process is identified by its id, its start and its machine, because ids are reused and equal on other machines.
"""

from __future__ import annotations

import json
import os
import platform
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

from nablafx_core.errors import RunError
from nablafx_core.files import read_json, replace_json

SILENCE = timedelta(seconds=60)
"""Time without a heartbeat after which a process counts as dead if it cannot be checked directly."""

_PROC = "/proc"
_RELEASED = {"released": True}


def identity() -> dict[str, Any]:
    """Return `pid`, `process_start` and `machine` of this process; the last two are texts, or None if unknown."""
    return {"pid": os.getpid(), "process_start": _start(os.getpid()), "machine": _machine()}


def alive(process: Mapping[str, Any], heartbeat: str | None) -> bool:
    """Return true if the process of an `identity` runs.

    On its own machine the process is looked up. On another one, or if its start or machine is unknown, it counts as
    running until `SILENCE` has passed since its last heartbeat.

    Args:
        process: mapping with the keys of `identity`.
        heartbeat: time of the last heartbeat, ISO 8601, UTC; None if there was none.

    Raises:
        KeyError, TypeError, ValueError: if the mapping or the time is damaged.
    """
    start, machine = process.get("process_start"), process.get("machine")
    if start is not None and machine is not None and machine == _machine():
        return _start(int(process["pid"])) == str(start)
    return heartbeat is not None and datetime.now(timezone.utc) - as_time(heartbeat) < SILENCE


def as_time(timestamp: str) -> datetime:
    """Parse a time in ISO 8601; one without a time zone, as Sacred writes it, is UTC.

    Raises:
        ValueError: if it is not such a time.
    """
    time = datetime.fromisoformat(timestamp)
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def since(time: datetime) -> float:
    """Return the seconds since a time; 0 if it is in the future, for example after the clock was changed."""
    return max(0.0, (datetime.now(timezone.utc) - time).total_seconds())


def _start(pid: int) -> str | None:
    """Return a text that distinguishes a process from later ones with the same id; None if it does not run.

    With /proc, it is the number of clock ticks from boot to the start, which does not depend on the system's clock.
    Elsewhere it is psutil's start time.
    """
    if not os.path.isdir(_PROC):
        return _start_by_psutil(pid)
    try:
        fields = Path(f"{_PROC}/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    state, ticks = fields[0], fields[19]
    return None if state in "ZX" else ticks  # a zombie is dead but not yet collected by its parent


def _start_by_psutil(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD) else str(process.create_time())
    except psutil.Error:
        return None


def _machine() -> str | None:
    """Return a text that identifies this machine; None if unknown.

    With /proc, it identifies the boot and the pid namespace. Elsewhere it is the host name and a hardware address.
    """
    if not os.path.isdir(_PROC):
        return f"{platform.node()} {uuid.getnode():x}"
    try:
        boot = Path(f"{_PROC}/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink(f'{_PROC}/self/ns/pid')}"
    except OSError:
        return None


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder; take over the lock of a dead process.

    Locks are numbered and the highest counts. A process takes a lock over by creating the next one, which only one
    process can do. Removing the dead lock first would let a third process in between.

    Raises:
        RunError: if another living process holds the lock or takes it at the same moment, or if the folder cannot be
            written.
    """
    number = max(map(_number, folder.glob("lock.*")), default=0)
    if number and _held(folder / f"lock.{number}"):
        raise RunError(still_running(folder.name))
    mine = folder / f"lock.{number + 1}"
    try:
        with open(mine, "x", encoding="utf-8") as file:
            json.dump(identity(), file)
    except FileExistsError:
        raise RunError(
            f"the run {folder.name} has just been resumed by another process, or is being deleted. Wait until it ends."
        ) from None
    except OSError as error:
        raise RunError(f"{folder}: cannot be written: {error.strerror}.") from error
    for path in folder.glob("lock.*"):
        if _number(path) <= number:
            with suppress(OSError):  # not a regular file, or deleted
                path.unlink()
    try:
        yield
    finally:
        with suppress(OSError):
            replace_json(mine, _RELEASED)


def still_running(run_id: str) -> str:
    """Return the message for a run that cannot be resumed or deleted because it is still running."""
    wait = f"If it was killed on another machine, wait {SILENCE.seconds} seconds"
    return f"the run {run_id} is still running. Stop it first. {wait}."


def _number(lock: Path) -> int:
    return int(lock.suffix[1:]) if lock.suffix[1:].isdigit() else 0


def _held(lock: Path) -> bool:
    """Return true if the process of a lock runs, see `alive`; times of the lock and ``run.json`` are heartbeats."""
    try:
        holder = read_json(str(lock))
    except (OSError, ValueError, RecursionError):
        holder = {}  # just created and not yet written, or its process died in between
    if holder == _RELEASED:
        return False
    signs = []
    for path in (lock, lock.with_name("run.json")):
        # The process that takes a lock over removes it, so it may be gone; the next number is then in use.
        with suppress(OSError):
            signs.append(path.stat().st_mtime)
    sign = datetime.fromtimestamp(max(signs, default=0), timezone.utc).isoformat()
    try:
        return alive(holder, sign)
    except (AttributeError, KeyError, TypeError, ValueError):  # a damaged lock counts as an empty one
        return alive({}, sign)
