"""The object with which a running command writes its record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path, PurePosixPath
from typing import Any

from nablafx_core.errors import RunError
from nablafx_core.runs.content_types import content_type
from nablafx_core.runs.folder import RESERVED, FolderObserver
from nablafx_core.runs.plain import plain


class Run:
    """Run in progress, created by `nablafx_core.runs.recorder.record`.

    Attributes:
        id: id of the run, unique across machines.
        folder: run folder, ``runs/ID``; the command may write its own files into it.
    """

    def __init__(self, folder: Path, observer: FolderObserver, sacred_run: Any) -> None:
        self.id = folder.name
        self.folder = folder
        self._observer = observer
        self._sacred = sacred_run

    @property
    def elapsed(self) -> float:
        """Seconds of running until now, without pauses before a resume."""
        return self._observer.elapsed

    def fail(self, message: str) -> None:
        """Record the run as FAILED with a message; for another thread that ends a process whose main thread hangs."""
        self._observer.failed_event(_now(), [message])

    def log(self, name: str, value: float, step: int) -> None:
        """Record one value of a metric. NaN and infinity are allowed.

        The value is in the folder when this returns, unless the disk refuses it; writing is then tried again later.

        Args:
            name: name of the metric, such as ``"train/loss"``.
            value: number, or tensor with one element.
            step: optimiser step; a value for the same step replaces the earlier one.

        Raises:
            RunError: if the value is not a number.
        """
        number, count = self._number(name, value), int(step)
        self._observer.metric(name, count, number, _now())
        self._sacred.log_scalar(name, number, count)

    def artifact(self, path: str | Path, name: str | None = None) -> None:
        """Record a file; copy it into the folder if it is elsewhere.

        If it cannot be copied, a warning is logged and it is not recorded.

        Args:
            path: path of an existing file.
            name: path in the folder; if None, the file's present path in the folder, or its name if it is elsewhere.

        Raises:
            RunError: if the file does not exist, or the name is outside the folder or reserved for the recorder.
        """
        file, folder = Path(path).resolve(), self.folder.resolve()
        if not file.is_file():
            raise RunError(f"run {self.id}: there is no file {path} to record.")
        if name is None:
            name = file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name
        if name in RESERVED or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise RunError(
                f"run {self.id}: '{name}' cannot be the name of an artifact: it is outside the run folder, or reserved "
                "for the recorder. Choose another name."
            )
        self._sacred.add_artifact(str(file), name, content_type=content_type(name))

    def artifacts_in(self, *folders: str) -> None:
        """Record the files directly in subfolders, such as ``"pictures"``; missing subfolders are skipped.

        Raises:
            RunError: if a subfolder contains a folder.
        """
        for name in folders:
            for path in sorted((self.folder / name).glob("*")):
                self.artifact(path)

    def summary(self, values: Mapping[str, float]) -> None:
        """Record final figures (Sacred's result) in `run.json`; a later call adds figures and replaces equal names.

        Raises:
            RunError: if a value is not a number.
        """
        numbers = {name: self._number(name, value) for name, value in values.items()}
        self._sacred.result = {**(self._sacred.result or {}), **numbers}
        self._write()

    def set_info(self, key: str, value: Any) -> None:
        """Record a fact (Sacred's info) in `info.json`, such as a finding about the data; replace an earlier one.

        Args:
            key: name of the fact.
            value: value of the fact: numbers, strings, lists and dicts.

        Raises:
            RunError: if the key or the value cannot be recorded, see `plain`.
        """
        self._sacred.info.update(plain({key: value}, "info"))
        self._write()

    def _write(self) -> None:
        self._observer.heartbeat_event(self._sacred.info, "", _now(), self._sacred.result)

    def _number(self, name: str, value: Any) -> float:
        try:
            return float(
                value.detach() if hasattr(value, "detach") else value
            )  # without detach, torch warns that the gradient is lost
        except (TypeError, ValueError):
            raise RunError(f"run {self.id}: '{name}' is {value!r}, which is not a number.") from None


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None)  # Sacred's times have no time zone
