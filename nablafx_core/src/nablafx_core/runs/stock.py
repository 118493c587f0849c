"""Adapt Sacred's own observers to our runs: settings from a file, one figure as the result, folders, ids."""

from __future__ import annotations

import logging
import math
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from nablafx_core import quiet_sacred as _sacred
from nablafx_core.config.secrets import hidden
from nablafx_core.errors import RegistryError

_LONGEST_SQL_ID = 24
"""Longest id of a run in the tables of Sacred's SqlObserver; SQLite accepts longer ones."""

_TEXTS = ("started_text", "completed_text", "interrupted_text", "failed_text")


def with_plain_settings(target: Any) -> Any:
    """Return an observer's class, for Sacred's TelegramObserver a subclass that is built from texts and numbers.

    Sacred's own constructor needs a bot, an object that a file cannot contain. Anything else is returned unchanged.

    Raises:
        RegistryError: if it is Sacred's QueueObserver or a subclass other than QueuedMongoObserver, because it wraps an
            object and repeats a failing event forever.
    """
    if not isinstance(target, type):
        return target
    if issubclass(target, _sacred.QueueObserver) and not issubclass(target, _sacred.QueuedMongoObserver):
        raise RegistryError(
            f"'{target.__name__}' wraps another observer and repeats a failing event forever. Name the other "
            "observer itself; an observer that fails does not stop a run."
        )
    if issubclass(target, _sacred.TelegramObserver) and target.__init__ is _sacred.TelegramObserver.__init__:
        return type(target.__name__, (_Telegram, target), {"__doc__": _Telegram.__doc__, "__module__": __name__})
    return target


class _Telegram:
    """Send messages to a Telegram chat when a run starts and ends. Requires the package python-telegram-bot.

    Args:
        chat_id: id of the chat.
        token: token of the bot.
        silent_completion: if true, the message about a completed run makes no sound.
        priority: priority among Sacred's observers; the highest is called first.
        started_text, completed_text, interrupted_text, failed_text: texts of the messages; Sacred's own if not given; a
            message whose text is empty is not sent.
        proxy_url: URL of a proxy, HTTP or SOCKS5; no proxy if not given.
        username: user name for the proxy.
        password: password for the proxy.
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
    """Bot of python-telegram-bot of any version; its methods are coroutines since version 20."""

    def __init__(self, bot: Any) -> None:
        self._bot = bot

    def send_message(self, **arguments: Any) -> None:
        """Send a message and wait until it is sent."""
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
    """Shorten an error that Sacred logs to one line, and remove `secrets`: the token is part of a URL."""

    def __init__(self, secrets: set[str]) -> None:
        super().__init__()
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        """Shorten a message to one line without secrets; always return True, so that it is logged."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None:
            record.msg = f"{record.getMessage()} {type(error).__name__}: {error}"
        record.msg, record.args = hidden(str(record.msg).partition("\n")[0], self._secrets), ()
        record.exc_info = record.exc_text = None
        return True


def fitted(observer: Any, event: str, arguments: Mapping[str, Any], start: int) -> dict[str, Any]:
    """Return the arguments of an event in a form that an observer can record.

    At the start, observers that store runs get an id that they do not have yet. A SqlObserver gets one figure as the
    result (see `main_figure`), and all figures in the info. For an artifact in a subfolder, the subfolder is created
    in the folder of a FileStorageObserver. Nothing else is changed.

    Args:
        observer: observer that receives the event.
        event: name of the method, such as ``"started_event"``.
        arguments: arguments that Sacred passes; they are not changed.
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
    """Let an observer accept the next event after one that failed: roll back the session of a SqlObserver."""
    if isinstance(observer, _sacred.SqlObserver):
        observer.session.rollback()


def main_figure(result: Mapping[str, Any]) -> float | None:
    """Return the first finite figure of the test, else of the validation, else of the others; None if there is none.

    An observer that stores only one figure of a result gets this one.
    """
    names = sorted(result, key=lambda name: (not name.startswith("test/"), not name.startswith("validation/")))
    numbers = [result[name] for name in names if isinstance(result[name], int | float)]
    return next((float(number) for number in numbers if math.isfinite(number)), None)


def _id_for(observer: Any, run_id: str, start: int) -> str:
    """Return the id for an observer.

    Sacred's storing observers reject an existing id, so resume N gets ``-(N + 1)`` at its end. A SqlObserver gets
    at most 24 characters, the last ones after the date, unless its database is SQLite.
    """
    if not isinstance(observer, _sacred.STORING):
        return run_id
    if isinstance(observer, _sacred.SqlObserver) and observer.engine.dialect.name != "sqlite":
        room = _LONGEST_SQL_ID - (len(f"-{start}") if start > 1 else 0)
        if len(run_id) > room:
            run_id = run_id.partition("-")[2][-room:] or run_id[-room:]
    return run_id if start == 1 else f"{run_id}-{start}"


@contextmanager
def quiet(observer: Any, event: str) -> Iterator[None]:
    """Hide SQLAlchemy's warnings to the authors of Sacred's SqlObserver when it creates its tables and first rows."""
    if event == "started_event" and isinstance(observer, _sacred.SqlObserver):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    else:
        yield
