"""Pass decisions of a sweep to its trials in files, which survive a kill and need no connection.

The sweep's folder must be on a disk that all machines of a sweep share, as the runs folder must.
"""

from __future__ import annotations

from pathlib import Path

from nablafx_core.files import replace_text

_EVERYTHING = "everything"


class Decisions:
    """Decisions which trials must end.

    Args:
        folder: folder of the sweep's run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "stops"

    def begin(self) -> None:
        """Create the folder and clear an earlier interruption; keep the decisions about single trials."""
        self._folder.mkdir(exist_ok=True)
        (self._folder / _EVERYTHING).unlink(missing_ok=True)

    def stop(self, number: int) -> None:
        """Stop trial `number` early."""
        replace_text(self._folder / str(number), "")

    def stops(self, number: int) -> bool:
        """Return true if trial `number` must end."""
        return (self._folder / str(number)).exists()

    def interrupt(self) -> None:
        """Interrupt all trials, which can be resumed later."""
        replace_text(self._folder / _EVERYTHING, "")

    @property
    def interrupted(self) -> bool:
        """True if all trials must end."""
        return (self._folder / _EVERYTHING).exists()
