"""What a sweep tells its trials, in files of its folder: it outlives a kill, and needs no connection.

The folder must be on a disk that all machines of a sweep share, as the runs folder must.
"""

from __future__ import annotations

from pathlib import Path

from nablafx_core.files import replace_text

_EVERYTHING = "everything"


class Decisions:
    """Which trials are to end.

    Args:
        folder: of the sweep's run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "stops"

    def begin(self) -> None:
        """Make the folder; the last interruption is over, what was decided about single trials stays."""
        self._folder.mkdir(exist_ok=True)
        (self._folder / _EVERYTHING).unlink(missing_ok=True)

    def stop(self, number: int) -> None:
        """Trial `number` is not worth going on with."""
        replace_text(self._folder / str(number), "")

    def stops(self, number: int) -> bool:
        """Whether trial `number` is to end."""
        return (self._folder / str(number)).exists()

    def interrupt(self) -> None:
        """All trials are to end, to be resumed some other time."""
        replace_text(self._folder / _EVERYTHING, "")

    @property
    def interrupted(self) -> bool:
        """Whether all trials are to end."""
        return (self._folder / _EVERYTHING).exists()
