"""The handle with which a running command writes its record."""

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
    """A run in progress; `nablafx_core.runs.recorder.record` makes it.

    Attributes:
        id: unique across machines.
        folder: ``runs/ID``; the command may write its own files into it.
    """

    def __init__(self, folder: Path, observer: FolderObserver, sacred_run: Any) -> None:
        self.id = folder.name
        self.folder = folder
        self._observer = observer
        self._sacred = sacred_run

    @property
    def elapsed(self) -> float:
        """Seconds of running until now, pauses before a resume left out."""
        return self._observer.elapsed

    def fail(self, message: str) -> None:
        """Record a failure from another thread, where the main one hangs and the process is to be ended."""
        self._observer.failed_event(_now(), [message])

    def log(self, name: str, value: float, step: int) -> None:
        """Record one value of a metric; in the folder when this returns. Not-a-number and infinity are values too.

        Args:
            name: such as ``"train/loss"``.
            value: a number or a tensor of one element.
            step: of the optimiser. A step logged again replaces the earlier value.

        Raises:
            RunError: if the value is no number.
        """
        number, count = self._number(name, value), int(step)
        self._observer.metric(name, count, number, _now())
        self._sacred.log_scalar(name, number, count)

    def artifact(self, path: str | Path, name: str | None = None) -> None:
        """Record a file, copied into the folder unless it is there.

        Args:
            path: of a file that exists.
            name: where it goes, relative to the folder; if None, where it is in the folder, else its own name.

        Raises:
            RunError: if there is no such file, or the name is outside the folder or the recorder's own.
        """
        file, folder = Path(path).resolve(), self.folder.resolve()
        if not file.is_file():
            raise RunError(f"run {self.id}: there is no file {path} to record.")
        if name is None:
            name = file.relative_to(folder).as_posix() if file.is_relative_to(folder) else file.name
        if name in RESERVED or PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise RunError(f"run {self.id}: '{name}' cannot be the name of an artifact.")
        self._sacred.add_artifact(str(file), name, content_type=content_type(name))

    def artifacts_in(self, *folders: str) -> None:
        """Record all files of folders in the run's, such as ``"pictures"``; those that are not there hold none."""
        for name in folders:
            for path in sorted((self.folder / name).glob("*")):
                self.artifact(path)

    def summary(self, values: Mapping[str, float]) -> None:
        """Record the final figures (Sacred's result); a later call adds to them.

        Raises:
            RunError: if a value is no number.
        """
        numbers = {name: self._number(name, value) for name, value in values.items()}
        self._sacred.result = {**(self._sacred.result or {}), **numbers}
        self._write()

    def set_info(self, key: str, value: Any) -> None:
        """Record a fact (Sacred's info), such as what was found in the data.

        Args:
            key: its name.
            value: numbers, strings, lists and dicts.

        Raises:
            RunError: for a key or a value that cannot be recorded.
        """
        self._sacred.info.update(plain({key: value}, "info"))
        self._write()

    def _write(self) -> None:
        self._observer.heartbeat_event(self._sacred.info, "", _now(), self._sacred.result)

    def _number(self, name: str, value: Any) -> float:
        try:
            return float(value.detach() if hasattr(value, "detach") else value)  # torch warns of a gradient's loss
        except (TypeError, ValueError):
            raise RunError(f"run {self.id}: '{name}' is {value!r}, which is not a number.") from None


def _now() -> datetime:
    return datetime.now(timezone.utc).replace(tzinfo=None)  # as Sacred's own times are
