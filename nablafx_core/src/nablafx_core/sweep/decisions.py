"""Pass decisions of a sweep to its trials in files, which survive a kill and need no connection.

The sweep's folder must be on a disk that all machines of a sweep share, as the runs folder must.
"""

from __future__ import annotations

from pathlib import Path

from nablafx_core.files import replace_text

_EVERYTHING = "everything"


class Decisions:
    """Decisions of a sweep about which trials must end, as files in its folder ``stops``.

    Args:
        folder: folder of the sweep's run.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "stops"

    def begin(self) -> None:
        """Create the folder if it is missing, and clear an earlier interruption; keep decisions about single trials."""
        self._folder.mkdir(exist_ok=True)
        (self._folder / _EVERYTHING).unlink(missing_ok=True)

    def stop(self, number: int) -> None:
        """Tell trial `number` to end early."""
        replace_text(self._folder / str(number), "")

    def stops(self, number: int) -> bool:
        """Return true if trial `number` was told to end early; an interruption of all trials does not count."""
        return (self._folder / str(number)).exists()

    def interrupt(self) -> None:
        """Tell all trials to end as interrupted; they can be resumed later."""
        replace_text(self._folder / _EVERYTHING, "")

    @property
    def interrupted(self) -> bool:
        """True if all trials were told to end as interrupted."""
        return (self._folder / _EVERYTHING).exists()
