"""Secrets of observers: an experiment names environment variables that hold them; messages hide their values."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from nablafx_core.errors import ConfigError

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET_NAME = re.compile(
    r"(?:^|_)(?:token|secret|password|passwd|pwd|webhook|webhook_url|api_?key|access_?key|private_?key|credentials?)"
    r"(?:$|_(?!file|path|env))",
    re.IGNORECASE,
)
_SECRET_VALUE = re.compile(
    r"://[^/@\s]*:[^/@\s]+@"  # a URL with a password
    r"|://\S*(?:hooks\.slack\.com|/hooks/|webhook)"
    r"|[?&](?:token|access_token|key|api_key|secret|password|sig|signature)=[^&\s]"
    r"|\b\d{6,}:[A-Za-z0-9_-]{30,}"  # Telegram's
    r"|\bxox[a-z]-|\bgh[a-z]_[A-Za-z0-9]{30}|\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    re.IGNORECASE,
)
_MIN_LENGTH = 4  # length of the shortest text that is removed from messages


def names_variable(value: Any) -> bool:
    """Return True if a text in `value` names an environment variable as ``${NAME}``."""
    return any(_VARIABLE.search(text) for _, text in _texts(value, ()))


def literal_secrets(settings: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Yield the paths of secrets that are written out in the settings of an observer, each with a message.

    A secret is recognised by the name of its setting (``token``, ``password``, ``webhook_url``, …) or by its form (URL
    with a password, the address of a webhook, a token of Slack, Telegram, GitHub or AWS).
    """
    for path, text in _texts(settings, ()):
        written = without_variables(text)
        named = any(isinstance(key, str) and _SECRET_NAME.search(key) for key in path)
        if (named and written) or _SECRET_VALUE.search(written):
            yield (
                path,
                "this is a secret, and experiments are recorded. Set an environment variable and write ${ITS_NAME} "
                "here, or write the setting in another file and name that file with from_config.",
            )


def without_variables(text: str) -> str:
    """Return a text without its ``${NAME}``."""
    return _VARIABLE.sub("", text)


def expanded(value: Any, where: str, secrets: set[str]) -> Any:
    """Return a copy of plain data in which each ``${NAME}`` is replaced by the environment variable.

    Args:
        value: plain data.
        where: path of the value, for the message.
        secrets: set to which the values are added.

    Raises:
        ConfigError: if a variable is not set.
    """
    if isinstance(value, Mapping):
        return {key: expanded(item, f"{where}.{key}", secrets) for key, item in value.items()}
    if isinstance(value, list):
        return [expanded(item, f"{where}.{index}", secrets) for index, item in enumerate(value)]
    if not isinstance(value, str):
        return value

    def found(match: re.Match[str]) -> str:
        name = match[1]
        if not os.environ.get(name):
            raise ConfigError(f"{where}: the environment variable {name} is not set.")
        secrets.add(os.environ[name])
        return os.environ[name]

    return _VARIABLE.sub(found, value)


def all_texts(value: Any) -> set[str]:
    """Return every text in plain data, at any depth, without the keys of mappings."""
    return {text for _, text in _texts(value, ())}


def hidden(text: str, secrets: set[str]) -> str:
    """Return a message with *** in place of secrets, and of parts of secret URLs, which libraries quote separately.

    Secrets and parts of fewer than `_MIN_LENGTH` characters stay.
    """
    parts = {part for secret in secrets for part in _parts(secret) if len(part) >= _MIN_LENGTH}
    for part in sorted(parts, key=len, reverse=True):
        text = text.replace(part, "***")
    return text


def _parts(secret: str) -> Iterator[str]:
    yield secret
    yield unquote(secret)
    try:
        url = urlsplit(secret)
        found = [url.password, url.path, url.query, f"{url.path}?{url.query}"] if url.scheme and url.netloc else []
    except ValueError:
        return
    for part in filter(None, found):
        yield part
        yield unquote(part)


def _texts(value: Any, path: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(item, (*path, key))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _texts(item, (*path, index))
    elif isinstance(value, str):
        yield path, value
