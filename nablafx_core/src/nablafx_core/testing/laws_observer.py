"""Law of observers: they raise nothing at any event of a run that completes, and of one that fails."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

from nablafx_core.causes import cause
from nablafx_core.pack_code import contained
from nablafx_core.runs.recorder import Run, record
from nablafx_core.testing.subject import LawBroken


class Witness:
    """Pass Sacred's events on to an observer, and store instead of raise its first exception at each kind of event."""

    def __init__(self, observer: Any) -> None:
        self.priority = getattr(observer, "priority", 0)
        self.events: list[str] = []
        self.failures: dict[str, Exception] = {}
        self._observer = observer

    def __getattr__(self, event: str) -> Any:
        return partial(self._call, event)

    def _call(self, event: str, **arguments: Any) -> Any:
        self.events.append(event)
        try:
            with contained():
                return getattr(self._observer, event)(**arguments)
        except Exception as error:
            self.failures.setdefault(event, error)
            return None


def observer_survives(build: Callable[[], Any], folder: Path, package: str) -> int:
    """Check that an observer raises nothing in two small runs: one that completes, and one that fails.

    Args:
        build: function that creates the observer; each run gets its own.
        folder: folder for the run folders.
        package: top-level package of the observer's code; the message names the line of it that raised.

    Returns:
        The number of events that the observer received in both runs.

    Raises:
        LawBroken: if the observer raises at an event; the message names the event.
    """

    def fails(run: Run) -> None:
        raise LookupError("a run that fails on purpose")

    count = 0
    for name, body in (("ends well", _everything), ("fails", fails)):
        witness = Witness(build())
        with suppress(LookupError):
            record("check", {"train": {"seed": 1}}, folder / name, body, observers=[witness])
        if witness.failures:
            told = "; ".join(f"{event}: {cause(error, package)}" for event, error in witness.failures.items())
            raise LawBroken(
                f"in a run that {name}, the observer raised in {told}. A run then continues without its observer. "
                "Accept all arguments that Sacred passes, and ignore those that are not needed."
            )
        count += len(witness.events)
    return count


def _everything(run: Run) -> None:
    for step in range(3):
        run.log("train/loss", 1 / (step + 1), step)
    run.log("validation/loss", float("nan"), 3)
    run.set_info("found", {"delay": 3})
    file = run.folder / "note.txt"
    file.write_text("a file of the run", encoding="utf-8")
    run.artifact(file)
    run.summary({"esr": 0.5})
