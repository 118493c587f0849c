"""An observer that cannot hurt the run that it observes."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

from nablafx_core.diagnosis import cause
from nablafx_core.pack_code import contained

_log = logging.getLogger(__name__)


class Guarded:
    """Passes Sacred's events on to an observer and turns what it raises into one warning.

    Sacred ends the run when an observer fails at the start, and drops it in silence when it fails later.
    Here it misses the run if it fails at the start, and is called again after a later failure.
    """

    def __init__(self, observer: Any) -> None:
        self.priority = observer.priority
        self._observer = observer
        self._started = False
        self._warned = False

    def __getattr__(self, event: str) -> Any:
        return partial(self._call, event)

    def _call(self, event: str, **arguments: Any) -> Any:
        if not self._started and event != "started_event":
            return None
        try:
            with contained():
                answer = getattr(self._observer, event)(**arguments)
        except Exception as error:
            if not self._warned:
                self._warned = True
                name = type(self._observer).__name__
                _log.warning("observer %s failed (%s). The run folder has all.", name, cause(error))
            return None
        self._started = True
        return answer
