"""Whether the process that runs a run still lives, and the lock that lets only one run it.

A process is known by its id, its start and its machine: ids are used again, on one machine and on others.
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
"""A process of which nothing else can be known is dead after so long without a heartbeat."""

_PROC = "/proc"
_RELEASED = {"released": True}


def identity() -> dict[str, Any]:
    """Return `pid`, `process_start` and `machine` of this process."""
    return {"pid": os.getpid(), "process_start": _start(os.getpid()), "machine": _machine()}


def alive(process: Mapping[str, Any], heartbeat: str | None) -> bool:
    """Whether the process of an `identity` runs: exact on its own machine, else by its last heartbeat.

    Args:
        process: has the keys of `identity`.
        heartbeat: ISO 8601, UTC; None if there was none.
    """
    start, machine = process.get("process_start"), process.get("machine")
    if start is not None and machine is not None and machine == _machine():
        return _start(int(process["pid"])) == str(start)
    return heartbeat is not None and datetime.now(timezone.utc) - as_time(heartbeat) < SILENCE


def as_time(timestamp: str) -> datetime:
    """A time of a record; Sacred's have no zone and are UTC."""
    time = datetime.fromisoformat(timestamp)
    return time if time.tzinfo else time.replace(tzinfo=timezone.utc)


def since(time: datetime) -> float:
    """Return the seconds since a time of a record; 0 if it is in the future, as after a change of the clock."""
    return max(0.0, (datetime.now(timezone.utc) - time).total_seconds())


def _start(pid: int) -> str | None:
    """Return a text that tells a process from later ones with its id; None if it does not run.

    With /proc, it is the number of clock ticks from boot to the start, which does not depend on the clock. Elsewhere it
    is psutil's time of the start.
    """
    if not os.path.isdir(_PROC):
        return _start_by_psutil(pid)
    try:
        fields = Path(f"{_PROC}/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    state, ticks = fields[0], fields[19]
    return None if state in "ZX" else ticks  # a zombie is dead, only not yet collected by its parent


def _start_by_psutil(pid: int) -> str | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD) else str(process.create_time())
    except psutil.Error:
        return None


def _machine() -> str | None:
    """Return a text for this boot of this machine and this container's view of process ids; None if it is not known."""
    if not os.path.isdir(_PROC):
        return f"{platform.node()} {uuid.getnode():x}"
    try:
        boot = Path(f"{_PROC}/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink(f'{_PROC}/self/ns/pid')}"
    except OSError:
        return None


@contextmanager
def only_process(folder: Path) -> Iterator[None]:
    """Hold the lock of a run folder; a lock whose process died is taken over.

    Locks are numbered and the highest counts. To take one over is to make the next, which one process
    alone can do; to remove the dead one first would let a third process in between.

    Raises:
        RunError: if another process holds it, or if the folder cannot be written.
    """
    number = max(map(_number, folder.glob("lock.*")), default=0)
    if number and _held(folder / f"lock.{number}"):
        raise RunError(still_running(folder.name))
    mine = folder / f"lock.{number + 1}"
    try:
        with open(mine, "x", encoding="utf-8") as file:
            json.dump(identity(), file)
    except FileExistsError:
        raise RunError(f"the run {folder.name} has just been resumed by another process.") from None
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
    """Why a run cannot be resumed now, and what to do."""
    wait = f"If it was killed on another machine, wait {SILENCE.seconds} seconds"
    return f"the run {run_id} is still running. Stop it before you resume it. {wait}."


def _number(lock: Path) -> int:
    return int(lock.suffix[1:]) if lock.suffix[1:].isdigit() else 0


def _held(lock: Path) -> bool:
    try:
        holder = read_json(str(lock))
    except (OSError, ValueError, RecursionError):
        holder = {}  # just made and not yet written, or its maker died in between
    if holder == _RELEASED:
        return False
    signs = []
    for path in (lock, lock.with_name("run.json")):
        # Who takes a lock over removes it: it may be gone since it was listed, and the next number is then taken.
        with suppress(OSError):
            signs.append(path.stat().st_mtime)
    sign = datetime.fromtimestamp(max(signs, default=0), timezone.utc).isoformat()
    try:
        return alive(holder, sign)
    except (AttributeError, KeyError, TypeError, ValueError):  # damaged: it tells as much as an empty one
        return alive({}, sign)
