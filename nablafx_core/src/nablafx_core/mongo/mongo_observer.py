"""The observer that copies a run from its folder into MongoDB while it runs."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from nablafx_core.mongo.address import Address, address_of
from nablafx_core.quiet_sacred import RunObserver
from nablafx_core.runs.folder import FolderObserver

if TYPE_CHECKING:
    from nablafx_core.mongo.copy import RunCopy

_log = logging.getLogger(__name__)
END_SECONDS = 20.0
"""Maximum seconds that the end of a run waits until everything is sent."""

_LONGEST_PAUSE = 60.0  # seconds between two attempts
_QUIET_SECONDS = 60.0  # between two messages about an unstable server
_TRIES_AT_THE_END = 2  # so that the end of a run does not wait long for a server that is down or refuses


class MongoObserver(RunObserver):
    """Keep a copy of a run in MongoDB. The run's folder is the queue, so that no data waits in memory.

    A separate thread sends new data every second, and tries again after increasing pauses while the server refuses
    it. Events only wake this thread, so they never wait for the server and never raise. The start and the end of an
    outage are logged once; an unstable server is logged once a minute.

    Args:
        address: address of the database, or a text for `address_of`; ``""`` for the address in the environment or in
            the user's config file. If there is none, the observer does nothing.
        folder: observer that writes the run's folder; its events come first.
        pause: seconds between two reads of the folder.
        end_seconds: maximum seconds that the end of the run waits until everything is sent.
        options: options of pymongo's client, which override those of the address.
    """

    def __init__(
        self,
        address: str | Address,
        folder: FolderObserver,
        pause: float = 1.0,
        end_seconds: float = END_SECONDS,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        self._address = address_of(address or None) if isinstance(address, str) else address
        self._folder = folder
        self._pause = pause
        self._end_seconds = end_seconds
        self._options = dict(options or {})
        self._copy: RunCopy | None = None
        self._trouble = ""
        self._told = False
        self._quota = _Quota()
        self._wake = threading.Event()
        self._ending = threading.Event()
        self._deadline = float("inf")
        self._over = threading.Event()
        self._whole = False
        self._thread = threading.Thread(target=self._work, name="mongo-observer", daemon=True)

    def started_event(
        self,
        ex_info: Mapping[str, Any],
        command: str,
        host_info: Mapping[str, Any],
        start_time: datetime,
        config: Mapping[str, Any],
        meta_info: Mapping[str, Any],
        _id: str,
    ) -> str:
        """Start the thread that copies the run."""
        if self._address is not None:
            self._thread.start()
        return _id

    def artifact_event(self, *arguments: Any, **named: Any) -> None:
        """Wake the thread, because a file was recorded."""
        self._wake.set()

    def completed_event(self, stop_time: datetime, result: Any) -> None:
        """Finish the copy of a completed run."""
        self._end()

    def interrupted_event(self, interrupt_time: datetime, status: str) -> None:
        """Finish the copy of a run that was stopped."""
        self._end()

    def failed_event(self, fail_time: datetime, fail_trace: list[str]) -> None:
        """Finish the copy of a run that failed."""
        self._end()

    def _end(self) -> None:
        """Wait until everything is sent, and warn if something could not be sent in time."""
        if not self._thread.is_alive():
            return
        self._deadline = time.monotonic() + self._end_seconds
        self._ending.set()
        self._wake.set()
        self._over.wait(self._end_seconds)
        if not self._whole:
            self._deadline = 0.0
            run = self._folder.folder.name
            unsent = self._copy.unsent_files if self._copy and self._over.is_set() else []
            why = self._trouble or (f"not sent: {', '.join(unsent)}" if unsent else "the server takes too long")
            _log.warning(
                "MongoDB %s: the copy of run %s is incomplete (%s). The run folder is complete. Send the rest with: "
                "nablafx runs push %s",
                self._address,
                run,
                why,
                run,
            )

    def _work(self) -> None:
        """Update the copy until the run has ended and the copy is complete, or the time for that is over."""
        assert self._address is not None
        client, pause, tries = None, 0.0, _TRIES_AT_THE_END
        while tries and time.monotonic() < self._deadline:
            if not self._ending.is_set():
                self._wake.wait(pause)
            self._wake.clear()
            ending = self._ending.is_set()
            try:
                if client is None:
                    client = self._address.client(**self._options)
                done = self._bring(client[self._address.database_name], ending)
                pause = self._pause
                self._recovered()
                self._whole = ending and done
                if self._whole:
                    break
                tries -= ending
            except Exception as error:
                self._failed(error)
                tries -= ending
                pause = min(max(2 * pause, self._pause), _LONGEST_PAUSE)
            if ending:
                time.sleep(min(pause, self._pause))
        self._over.set()
        if client is not None:
            client.close()

    def _bring(self, database: Any, ending: bool) -> bool:
        if self._copy is None:
            from nablafx_core.mongo.copy import RunCopy

            copy = RunCopy(self._folder.folder, self._folder.held)
            if self._folder.is_resumed:
                copy.goes_on(database)
            self._copy = copy
        return self._copy.bring(database, lambda: time.monotonic() < self._deadline, last=ending, complete=ending)

    def _failed(self, error: Exception) -> None:
        assert self._address is not None
        self._trouble = self._address.explained(error)
        if not self._told and self._quota.take():
            self._told = True
            _log.warning(
                "MongoDB %s: %s. The run continues and its folder is complete; missing data is sent when the server "
                "accepts it.",
                self._address,
                self._trouble,
            )

    def _recovered(self) -> None:
        self._trouble = ""
        ending = self._ending.is_set()  # the last message must describe the present state
        if self._told and time.monotonic() < self._deadline and (self._quota.take() or ending):
            self._told = False
            _log.warning("MongoDB %s: the server accepts data again, and the copy is up to date.", self._address)


class _Quota:
    """Limit messages to one per minute, and allow two in a row after quiet minutes: an outage and its end."""

    def __init__(self) -> None:
        self._left = 2.0
        self._at = time.monotonic()

    def take(self) -> bool:
        """Use one of the allowed messages; return false if there is none left."""
        now = time.monotonic()
        self._left, self._at = min(2.0, self._left + (now - self._at) / _QUIET_SECONDS), now
        if self._left < 1:
            return False
        self._left -= 1
        return True
