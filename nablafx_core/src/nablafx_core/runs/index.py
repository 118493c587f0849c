"""Rows of runs kept in the user's cache, so that a list reads only what has changed.

An index is never needed: one that is broken, locked, of another version or cannot be written is passed over, and the
rows are read from where they are.
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
_SECONDS = 0.2  # that another process may hold the file before we do without


def current_rows(place: str, stamps: Mapping[str, str], read: Callable[[list[str]], Iterable[Row]]) -> list[Row]:
    """The rows of all runs, the newest first.

    Args:
        place: where the runs are, which names their index.
        stamps: a text for each run's id that changes with its record. Taken before the record is read.
        read: reads the rows of some ids; of one that is gone meanwhile there is none.
    """
    path = _path(place)
    kept = _load(path) if path else {}
    rows = _usable(kept, stamps)
    missing = [run_id for run_id in stamps if run_id not in rows]
    fresh = {row.id: row for row in read(missing)} if missing else {}
    gone = [run_id for run_id in kept if run_id not in stamps]
    if path and (fresh or gone):
        # Why a record is damaged may change without its stamp, such as by chmod.
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
    """The file of an index, in a folder that exists; None if there can be none."""
    folder = Path(cache_root()) / "runs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder / f"{hashlib.sha256(place.encode(errors='surrogatepass')).hexdigest()[:32]}.sqlite"


def _load(path: Path) -> dict[str, tuple[str, str, str]]:
    """Stamp, facts and config by id. An index that cannot be used is removed; the next one is whole."""
    if not path.exists():
        return {}
    try:
        with closing(_opened(path)) as connection:
            if connection.execute("PRAGMA user_version").fetchone() != (VERSION,):
                raise sqlite3.DatabaseError("of another version")
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
    connection.execute("PRAGMA synchronous = OFF")  # what a power cut breaks is found and made again
    return connection
