"""Store rows of runs in the user's cache, so that a list reads only the records that have changed.

An index is optional: if it is damaged, locked, of another version or not writable, the rows are read from the records.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing, suppress
from pathlib import Path

from nablafx_core.files import cache_root
from nablafx_core.runs.rows import VERSION, Row

_TABLE = "CREATE TABLE IF NOT EXISTS rows (id TEXT PRIMARY KEY, stamp TEXT, facts TEXT, config TEXT) WITHOUT ROWID"
_SECONDS = 0.2  # maximum wait for another process that has locked the file


def current_rows(place: str, stamps: Mapping[str, str], read: Callable[[list[str]], Iterable[Row]]) -> list[Row]:
    """Return the rows of all runs, the newest first; read only those whose stamps changed, and store them.

    Args:
        place: name of the place of the runs; each place has an index file of its own.
        stamps: text for each run's id that changes when its record changes; taken before the record is read.
        read: function that reads the rows of some ids, without those that were deleted meanwhile.
    """
    path = _path(place)
    kept = _load(path) if path else {}
    rows = _usable(kept, stamps)
    missing = [run_id for run_id in stamps if run_id not in rows]
    fresh = {row.id: row for row in read(missing)} if missing else {}
    gone = [run_id for run_id in kept if run_id not in stamps]
    if path and (fresh or gone):
        # Damaged records are not stored: chmod, for example, repairs one without changing its stamp.
        _save(path, {run_id: (stamps[run_id], row) for run_id, row in fresh.items() if row.damage is None}, gone)
    return sorted([*rows.values(), *fresh.values()], key=lambda row: row.began, reverse=True)


def _usable(kept: Mapping[str, tuple[str, str, str]], stamps: Mapping[str, str]) -> dict[str, Row]:
    rows = {}
    for run_id, stamp in stamps.items():
        if run_id in kept and kept[run_id][0] == stamp:
            with suppress(ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
                rows[run_id] = Row.of_kept(*kept[run_id][1:])
    return rows


def _path(place: str) -> Path | None:
    """Return the path of an index, and create its folder; None if the folder cannot be created."""
    folder = Path(cache_root()) / "runs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder / f"{hashlib.sha256(place.encode(errors='surrogatepass')).hexdigest()[:32]}.sqlite"


def _load(path: Path) -> dict[str, tuple[str, str, str]]:
    """Return stamp, facts and config by id; empty if the index is missing, locked or unusable.

    An index that is damaged or of another version is removed.
    """
    if not path.exists():
        return {}
    try:
        with closing(_opened(path)) as connection:
            if connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
                raise sqlite3.DatabaseError("the index has another version")
            found = connection.execute("SELECT id, stamp, facts, config FROM rows").fetchall()
            return {run_id: (stamp, facts, config) for run_id, stamp, facts, config in found}
    except sqlite3.OperationalError:  # locked
        return {}
    except (sqlite3.Error, ValueError):
        with suppress(OSError):
            path.unlink()
        return {}


def _save(path: Path, rows: Mapping[str, tuple[str, Row]], gone: Iterable[str]) -> None:
    with suppress(sqlite3.Error, OSError, ValueError), closing(_opened(path)) as connection, connection:
        connection.execute(_TABLE)
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.executemany("DELETE FROM rows WHERE id = ?", [(run_id,) for run_id in gone])
        values = [(run_id, stamp, *row.kept()) for run_id, (stamp, row) in rows.items()]
        connection.executemany("INSERT OR REPLACE INTO rows VALUES (?, ?, ?, ?)", values)


def _opened(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_SECONDS)
    connection.execute("PRAGMA synchronous = OFF")  # an index that a power cut damages is detected and rebuilt
    return connection
