"""What Sacred's own observers need to record our runs: plain settings, a result that fits, folders, an id."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nablafx_core.errors import RegistryError
from nablafx_core.tracking import _sacred
from nablafx_core.tracking.secrets import hidden

_LONGEST_SQL_ID = 24
"""Letters of a run's id in the tables of Sacred's SqlObserver; SQLite takes longer ones."""

_TEXTS = ("started_text", "completed_text", "interrupted_text", "failed_text")


def with_plain_settings(target: Any) -> Any:
    """The class of an observer, or one derived from it whose constructor takes what a file can hold.

    Raises:
        RegistryError: for Sacred's QueueObserver, which wraps an object and repeats a failing event for ever.
    """
    if not isinstance(target, type):
        return target
    if issubclass(target, _sacred.QueueObserver) and not issubclass(target, _sacred.QueuedMongoObserver):
        raise RegistryError(
            f"'{target.__name__}' wraps another observer and repeats an event that fails for ever. Name the other "
            "observer itself: one that fails stops nothing."
        )
    if issubclass(target, _sacred.TelegramObserver) and target.__init__ is _sacred.TelegramObserver.__init__:
        return type(target.__name__, (_Telegram, target), {"__doc__": _Telegram.__doc__, "__module__": __name__})
    return target


class _Telegram:
    """Messages to a Telegram chat when a run starts and ends. Needs the package python-telegram-bot.

    Args:
        chat_id: of the chat.
        token: of the bot.
        silent_completion: no sound for a run that completed.
        priority: of Sacred's.
        started_text, completed_text, interrupted_text, failed_text: of the messages; an empty one is not sent.
        proxy_url: of a proxy; HTTP or SOCKS5.
        username: for the proxy.
        password: for the proxy.
    """

    def __init__(
        self,
        chat_id: int | str,
        token: str,
        silent_completion: bool = False,
        priority: int = 10,
        started_text: str | None = None,
        completed_text: str | None = None,
        interrupted_text: str | None = None,
        failed_text: str | None = None,
        proxy_url: str | None = None,
        username: str | None = None,
        password: str | None = None,
    ) -> None:
        import telegram  # type: ignore[import-not-found]

        proxy = {"proxy_url": proxy_url, "username": username, "password": password}
        proxy = {key: value for key, value in proxy.items() if value}
        request = self.get_proxy_request(proxy) if proxy_url else None  # type: ignore[attr-defined]
        bot = telegram.Bot(token, request=request)
        if not hasattr(telegram, "ParseMode"):  # where Sacred looks for it; it moved in version 20
            telegram.ParseMode = telegram.constants.ParseMode
        logging.getLogger("telegram-observer").addFilter(_Brief({token, password or ""}))
        super().__init__(_Bot(bot), chat_id, silent_completion, priority)  # type: ignore[call-arg]
        for name, text in zip(_TEXTS, (started_text, completed_text, interrupted_text, failed_text), strict=True):
            if text is not None:
                setattr(self, name, text or None)


class _Bot:
    """Sends with a bot whose methods are coroutines, as they are since version 20, or are not."""

    def __init__(self, bot: Any) -> None:
        self._bot = bot

    def send_message(self, **arguments: Any) -> None:
        """Send it, and wait until it is sent."""
        import asyncio
        import inspect

        async def sent() -> None:
            async with self._bot:
                await self._bot.send_message(**arguments)

        if inspect.iscoroutinefunction(self._bot.send_message):
            asyncio.run(sent())
        else:
            self._bot.send_message(**arguments)


class _Brief(logging.Filter):
    """One line for an error that Sacred logs with its traceback, without the token that is part of a URL."""

    def __init__(self, secrets: set[str]) -> None:
        super().__init__()
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        """Change a record; it is always logged."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            record.msg = f"{record.getMessage()} {type(error).__name__}: {error}"
        record.msg, record.args = hidden(str(record.msg).partition("\n")[0], self._secrets), ()
        record.exc_info = record.exc_text = None
        return True


def fitted(observer: Any, event: str, arguments: Mapping[str, Any], start: int) -> dict[str, Any]:
    """The arguments of an event as an observer can record them.

    Args:
        observer: that is told.
        event: the method's name.
        arguments: of Sacred.
        start: 1 for a run's first start, 2 for its first resume, …
    """
    found = dict(arguments)
    if event == "started_event":
        found["_id"] = _id_for(observer, str(found["_id"]), start)
    if isinstance(observer, _sacred.SqlObserver):
        if isinstance(found.get("result"), Mapping):
            if "info" in found:
                found["info"] = {**found["info"], "result": found["result"]}
            found["result"] = main_figure(found["result"])
    elif isinstance(observer, _sacred.FileStorageObserver) and event == "artifact_event":
        os.makedirs(os.path.dirname(os.path.join(str(observer.dir), found["name"])), exist_ok=True)
    return found


def after_failure(observer: Any) -> None:
    """Let an observer take the next event after one that it could not take."""
    if isinstance(observer, _sacred.SqlObserver):
        observer.session.rollback()


def main_figure(result: Mapping[str, Any]) -> float | None:
    """The one number of a result, for an observer that keeps no more: the first of the test, else of the validation.

    None if there is no finite number.
    """
    names = sorted(result, key=lambda name: (not name.startswith("test/"), not name.startswith("validation/")))
    numbers = [result[name] for name in names if isinstance(result[name], int | float)]
    return next((float(number) for number in numbers if math.isfinite(number)), None)


def _id_for(observer: Any, run_id: str, start: int) -> str:
    """Sacred's observers refuse an id that they know, so that each resume is a run of its own there."""
    if not isinstance(observer, _sacred.STORING):
        return run_id
    if isinstance(observer, _sacred.SqlObserver) and observer.engine.dialect.name != "sqlite":
        room = _LONGEST_SQL_ID - (len(f"-{start}") if start > 1 else 0)
        if len(run_id) > room:
            run_id = run_id.partition("-")[2][-room:] or run_id[-room:]
    return run_id if start == 1 else f"{run_id}-{start}"


@contextmanager
def quiet(observer: Any, event: str) -> Iterator[None]:
    """Hide what SQLAlchemy says to the authors of Sacred's SqlObserver, when it makes its tables and first rows."""
    if event == "started_event" and isinstance(observer, _sacred.SqlObserver):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    else:
        yield
