"""Keep failing observers from ending the run that they observe."""

from __future__ import annotations

import logging
import threading
from functools import partial
from typing import Any

from nablafx_core.causes import cause
from nablafx_core.config.secrets import hidden
from nablafx_core.hints import Once
from nablafx_core.pack_code import contained
from nablafx_core.runs.environment import redacted
from nablafx_core.runs.stock import after_failure, fitted, quiet

_log = logging.getLogger(__name__)
_LONGEST = 300  # maximum number of characters of an error in a message


class Guarded:
    """Pass Sacred's events on to an observer; log its first exception as a warning, and ignore later ones.

    Sacred itself ends the run when an observer fails at the start, and drops it silently when it fails later. A
    guarded observer is skipped for the run if it fails at the start, and is called again after a later failure.

    Args:
        observer: observer of Sacred or of a pack.
        secrets: texts that are removed from the warning; None for none.

    Attributes:
        start: 1 for a run's first start, 2 for its first resume, …
    """

    def __init__(self, observer: Any, secrets: set[str] | None = None) -> None:
        self.priority = getattr(observer, "priority", 0)
        self.start = 1
        self._observer = observer
        self._secrets = secrets or set()
        self._started = False
        self._once = Once()
        self._noted: dict[str, Any] = {}
        self._lock = threading.RLock()  # heartbeats come from a separate thread

    def __getattr__(self, event: str) -> Any:
        return partial(self._call, event)

    def _call(self, event: str, **arguments: Any) -> Any:
        if not self._started and event != "started_event":
            return None
        with self._lock:
            try:
                with contained(), quiet(self._observer, event):
                    answer = getattr(self._observer, event)(**self._arguments(event, arguments))
            except Exception as error:
                self._failed(error)
                return None
        self._started = True
        return answer

    def _arguments(self, event: str, arguments: dict[str, Any]) -> dict[str, Any]:
        if "info" in arguments:  # Sacred's MongoObserver adds metrics to it, but the run's own info must not change
            self._noted.update(arguments["info"])
            arguments = {**arguments, "info": self._noted}
        if "fail_trace" in arguments:
            arguments = {**arguments, "fail_trace": [redacted(part) for part in arguments["fail_trace"]]}
        return fitted(self._observer, event, arguments, self.start)

    def _failed(self, error: Exception) -> None:
        try:
            after_failure(self._observer)
        except Exception as later:
            _log.debug("observer %s: %s", type(self._observer).__name__, type(later).__name__)
        if self._once.first():
            what = redacted(hidden(cause(error), self._secrets))[:_LONGEST]
            _log.warning("observer %s failed (%s). The run folder is complete.", type(self._observer).__name__, what)
