"""Read runs from their folders, without importing torch or Sacred."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nablafx_core.errors import ConfigError, RunError
from nablafx_core.files import opened, read_json
from nablafx_core.hints import did_you_mean
from nablafx_core.runs.ids import is_run_id
from nablafx_core.runs.metrics_file import Series, last_step, read_series
from nablafx_core.runs.notes import Notes, read_notes
from nablafx_core.runs.process import alive, as_time, since
from nablafx_core.runs.rows import RECORDED

if TYPE_CHECKING:
    from typing_extensions import Self

_LONGEST = 100  # maximum number of the user's characters that a message shows
#: Files of a run's folder, in addition to run.json, that are read to show it.
_FILES = ("config.yaml", "config.json", "metrics.jsonl", "info.json", "notes.json")

#: Required types of parts of run.json.
_KINDS = {
    "command": str,
    "host": dict,
    "packs": list,
    "resumed": list,
    "artifacts": list,
    "fail_trace": list,
    **{key: one.kind for key, one in RECORDED.items()},
}


@dataclass(frozen=True)
class RunRecord:
    """A run, read from its folder.

    Attributes:
        id: id of the run, the name of its folder.
        folder: folder of the run.
        status: COMPLETED, FAILED, INTERRUPTED, RUNNING, DIED (it was killed: its record says RUNNING, but its
            process does not exist or, on another machine, has written no heartbeat for a minute), or DAMAGED.
        damage: reason why a DAMAGED record cannot be read, as a sentence; None for other records.
        entry: content of `run.json`; empty if DAMAGED.
    """

    id: str
    folder: Path
    status: str
    damage: str | None = None
    entry: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read ``folder/run.json``. Never raise: a record that cannot be read is DAMAGED."""
        try:
            entry = read_json(f"{folder}/run.json")
        except FileNotFoundError:
            damage = "run.json is missing: the run ended before its record was written, or the file was deleted."
        except OSError as error:
            damage = f"run.json cannot be read: {error.strerror}."
        except (ValueError, RecursionError) as error:
            damage = _damage(error)
        else:
            return cls.of(folder.name, folder, entry)
        return cls(folder.name, folder, "DAMAGED", damage)

    @classmethod
    def of(cls, run_id: str, folder: Path, entry: Any, **more: Any) -> Self:
        """Return the record of a run whose `run.json` was read. Never raise: a record with wrong content is DAMAGED.

        Args:
            run_id: id of the run.
            folder: folder of the run.
            entry: content of the `run.json`, which is checked.
            more: values of the fields that a subclass adds.
        """
        try:
            _check(entry)
            status = str(entry["status"])
            if status == "RUNNING" and not alive(entry, entry.get("heartbeat") or entry.get("start_time")):
                status = "DIED"
            record = cls(run_id, folder, status, None, entry, **more)
            _ = record.start, record.duration  # they raise if their times are damaged
            return record
        except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
            return cls(run_id, folder, "DAMAGED", _damage(error), **more)

    @property
    def command(self) -> str | None:
        """Command that was run, such as ``"train"``; None if the record does not contain it."""
        return self.entry.get("command")

    @cached_property
    def start(self) -> datetime | None:
        """Time of the first start, UTC; None if the record does not contain it."""
        return as_time(self.entry["start_time"]) if "start_time" in self.entry else None

    @property
    def began(self) -> datetime:
        """Time of the first start or, if the record does not contain it, of the folder's last change, UTC.

        It is the beginning of 1970 if the folder does not exist any more.
        """
        if self.start is not None:
            return self.start
        try:
            return datetime.fromtimestamp(self.folder.stat().st_mtime, timezone.utc)
        except OSError:  # removed meanwhile
            return datetime.fromtimestamp(0, timezone.utc)

    @cached_property
    def duration(self) -> float | None:
        """Seconds of running, without pauses before a resume; None if the record does not contain the times.

        They count until now if the run is RUNNING, else until its end or its last heartbeat. In a record without
        `elapsed`, which Sacred alone wrote, they are the time from the start to the end or the last heartbeat.
        """
        if self.status == "RUNNING" and "elapsed" in self.entry:
            last = as_time(self.entry["heartbeat"])
            return float(self.entry["elapsed"]) + since(last)
        if "elapsed" in self.entry:
            return float(self.entry["elapsed"])
        end = self.entry.get("stop_time") or self.entry.get("heartbeat")
        return max(0.0, (as_time(end) - self.start).total_seconds()) if end and self.start else None

    @cached_property
    def config(self) -> dict[str, Any]:
        """Experiment of the run, from `config.yaml` (`config.json` for a run that only Sacred wrote).

        Raises:
            RunError: if both files are missing, or the first existing one cannot be read or is not plain YAML.
        """
        for name in ("config.yaml", "config.json"):
            path = self.folder / name
            if path.exists():
                try:
                    with opened(path) as file:
                        found = plain_config(file.read(), str(path))
                except OSError as error:
                    raise RunError(f"{path}: cannot be read: {error.strerror}.") from error
                except ConfigError as error:
                    raise RunError(str(error)) from error
                return found if isinstance(found, dict) else {}
        raise RunError(f"{self.folder}: there is no config.yaml and no config.json.")

    @property
    def readable_config(self) -> dict[str, Any]:
        """Experiment, or an empty mapping if it cannot be read."""
        try:
            return self.config
        except RunError:
            return {}

    @property
    def quick_config(self) -> dict[str, Any]:
        """Experiment from Sacred's `config.json`, which is faster to read than YAML; it also has Sacred's `seed`.

        If `config.json` is missing or damaged, it is `config`; if that cannot be read either, it is empty.
        """
        try:
            found = read_json(f"{self.folder}/config.json")
            return found if isinstance(found, dict) else {}
        except (OSError, ValueError, RecursionError):
            return self.readable_config

    @property
    def summary(self) -> dict[str, float]:
        """Final figures by name; empty before there are any."""
        result = self.entry.get("result")
        return dict(result) if isinstance(result, dict) else {}

    @cached_property
    def metrics(self) -> dict[str, Series]:
        """All logged metrics by name; empty if they cannot be read."""
        try:
            return read_series(self.folder / "metrics.jsonl")
        except OSError:
            return {}

    @property
    def unreadable(self) -> list[str]:
        """One text for each existing file, other than `run.json`, that cannot be opened; missing files are no problem.

        An example is "metrics.jsonl cannot be read: it is a folder".
        """
        found = []
        for name in _FILES:
            path = os.path.join(self.folder, name)
            if os.path.lexists(path):
                try:
                    opened(path).close()
                except FileNotFoundError:
                    found.append(f"{name} cannot be read: it is a symbolic link to a missing file")
                except OSError as error:
                    found.append(f"{name} cannot be read: {error.strerror}")
        return found

    @property
    def last_step(self) -> int | None:
        """Step of the last logged value, without ``system/…`` metrics; None if there is none or it cannot be read."""
        return last_step(self.folder / "metrics.jsonl")

    @property
    def info(self) -> dict[str, Any]:
        """Facts that the run recorded with `set_info`; empty if there are none or they cannot be read."""
        try:
            found = read_json(f"{self.folder}/info.json")
        except (OSError, ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def artifacts(self) -> list[str]:
        """Paths of recorded files, relative to the folder."""
        return [str(name) for name in self.entry.get("artifacts") or []]

    @cached_property
    def notes(self) -> Notes:
        """Tags and note that users have added."""
        return read_notes(self.folder)

    @property
    def tags(self) -> list[str]:
        """Sorted tags of the run."""
        return list(self.notes.tags)

    @property
    def note(self) -> str:
        """Note that a user wrote; empty if there is none."""
        return self.notes.note

    @property
    def host(self) -> dict[str, Any]:
        """Facts about the machine: hostname, os, cpu, python_version, torch_version, nvidia; may be empty."""
        return dict(self.entry.get("host") or {})

    @property
    def packs(self) -> list[dict[str, Any]]:
        """Packs that were installed at the last start: name and version and, if known, commit and dirty."""
        return list(self.entry.get("packs") or [])

    @property
    def resumed(self) -> list[str]:
        """Times of the resumes, ISO 8601, UTC."""
        return list(self.entry.get("resumed") or [])

    @property
    def error(self) -> str | None:
        """Last line of the traceback of a failed run; None if there is none."""
        trace = self.entry.get("fail_trace")
        return str(trace[-1]).strip() if trace else None


def _damage(error: Exception) -> str:
    return f"run.json is damaged: {type(error).__name__}: {error}."


def _check(entry: Any) -> None:
    """Raise TypeError, KeyError or AttributeError if a part of run.json has a wrong type; it may be missing or null."""
    for key, kind in _KINDS.items():
        if not isinstance(entry.get(key), kind | None):
            raise TypeError(f"'{key}' is a {type(entry[key]).__name__}")
    for pack in entry.get("packs") or []:
        if not (isinstance(pack["name"], str) and isinstance(pack["version"], str)):
            raise TypeError("'packs' has an entry without a name and a version")
    for gpu in ((entry.get("host") or {}).get("nvidia") or {}).get("gpus") or []:
        if not isinstance(gpu["name"], str):
            raise TypeError("'host' has a GPU without a name")


def plain_config(text: bytes, name: str) -> Any:
    """Parse YAML as plain data; `name` stands for the text in messages.

    libyaml is fast, but crashes if lists are nested too deeply. The depth is therefore checked before anything is
    built. Text that is too deep, uses aliases or tags, or is rejected by libyaml goes to `plain_yaml`: libyaml does not
    support escapes such as ``\\uDCFF``, which stand for bytes of a file name that are not UTF-8.

    Raises:
        ConfigError: if the text is not plain YAML.
    """
    import yaml

    from nablafx_core.yaml import MAX_DEPTH, NUMBERS_AND_WORDS, plain_yaml

    known: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    loader = type("_Quick", (known,), {"yaml_implicit_resolvers": NUMBERS_AND_WORDS})
    depth = 0
    try:
        for event in yaml.parse(text, loader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH or isinstance(event, yaml.AliasEvent) or getattr(event, "tag", None):
                return plain_yaml(text, name, "a run's experiment")
        return yaml.load(text, loader)
    except (yaml.YAMLError, ValueError):
        return plain_yaml(text, name, "a run's experiment")


def run_folders(runs_dir: Path) -> list[Path]:
    """Return the run folders in a folder, in no particular order; none if it does not exist.

    A run folder is a subfolder that has the name of a generated id or contains a `run.json`. Hidden ones are skipped.
    """
    if not os.path.isdir(runs_dir):  # unlike Path's method, it accepts any text as a path
        return []
    with os.scandir(runs_dir) as entries:
        names = [entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir()]
    return [runs_dir / name for name in names if is_run_id(name) or os.path.lexists(runs_dir / name / "run.json")]


def list_runs(runs_dir: Path) -> list[RunRecord]:
    """Return the runs of a folder, the newest first; none if the folder does not exist."""
    return sorted(map(RunRecord.read, run_folders(runs_dir)), key=lambda run: run.began, reverse=True)


def find_run(runs_dir: Path, key: str) -> RunRecord:
    """Find a run.

    Args:
        runs_dir: folder of the run folders.
        key: id of the run, its first characters with or without the date (``20261123-amber`` or ``amber`` for
            ``20261123-amber-fjord-7k3q``), ``"latest"`` for the newest run, or, if no id matches, path of a run folder
            anywhere that has a `run.json`.

    Raises:
        RunError: if no run matches, or several.
    """
    if key == "latest":
        records = list_runs(runs_dir)
        if records:
            return records[0]
    ids = [folder.name for folder in run_folders(runs_dir)]
    if not begun_by(ids, key) and key and os.path.lexists(os.path.join(key, "run.json")):
        return RunRecord.read(Path(key).resolve())
    return RunRecord.read(runs_dir / matching_id(ids, key, str(runs_dir)))


def matching_id(ids: Sequence[str], key: str, where: str) -> str:
    """Return the id that equals `key`, else the only one that begins with it, with or without the date.

    Args:
        ids: ids of all runs.
        key: text that the user wrote.
        where: place of the runs, for the messages.

    Raises:
        RunError: if no id matches, or several.
    """
    found = [one for one in ids if one == key] or begun_by(ids, key)
    if len(found) == 1:
        return found[0]
    if found:
        shown = "\n  ".join(sorted(found))
        raise RunError(f"{len(found)} runs in {where} begin with '{key}'. Write more characters of the id:\n  {shown}")
    hint = did_you_mean(key, ids, " `nablafx runs` lists them.")
    raise RunError(f"there is no run '{key if len(key) <= _LONGEST else key[:_LONGEST] + '…'}' in {where}.{hint}")


def begun_by(ids: Sequence[str], key: str) -> list[str]:
    """Return the ids that begin with `key`, with or without the date (all up to the first "-"); none for ``""``."""
    return [one for one in ids if key and (one.startswith(key) or one.partition("-")[2].startswith(key))]
