"""Copy values into plain types that Sacred, JSON, YAML and MongoDB store unchanged."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nablafx_core.config.secrets import without_variables
from nablafx_core.errors import RunError

_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]+@")


def plain(value: Any, where: str) -> Any:
    """Return a copy made of dicts with string keys, lists, strings, numbers, booleans and None.

    Args:
        value: value to copy; tuples and other sequences become lists.
        where: name of the value, for the messages; nested keys are added to it.

    Raises:
        RunError: if a key is not a string or is rejected by Sacred (it is empty, contains "." or "=", or begins with
            "$" or "py/"), a value has another type, or a URL contains a password, which must not be recorded.
    """
    if isinstance(value, Mapping):
        for key in value:
            _check_key(key, where)
        return {key: plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, str):
        if _PASSWORD.search(without_variables(value)):
            raise RunError(
                f"{where}: contains a URL with a password, which must not be recorded. Put the password into an "
                "environment variable."
            )
        return value
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Sequence):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise RunError(f"{where}: a {type(value).__name__} cannot be recorded; use numbers, strings, lists and dicts.")


def _check_key(key: object, where: str) -> None:
    if not isinstance(key, str):
        raise RunError(f"{where}: the key {key!r} is not a string. Write it as one.")
    if not key or "." in key or "=" in key or key.startswith(("$", "py/")):
        raise RunError(
            f"{where}: the key '{key}' cannot be recorded: keys must not be empty, contain '.' or '=', "
            "or begin with '$' or 'py/'. Rename it."
        )
