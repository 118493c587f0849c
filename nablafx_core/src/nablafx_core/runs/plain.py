"""Values that Sacred, JSON, YAML and MongoDB all keep as they are."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from nablafx_core.config.secrets import without_variables
from nablafx_core.errors import RunError

_PASSWORD = re.compile(r"://[^/@\s]*:[^/@\s]+@")


def plain(value: Any, where: str) -> Any:
    """A copy made of dicts with string keys, lists, strings, numbers, booleans and None.

    Args:
        value: tuples become lists.
        where: what it is, for the messages; nested keys are added to it.

    Raises:
        RunError: for a key that Sacred refuses (it contains "." or "=", begins with "$" or "py/"), a value of
            another kind, or a URL with a password in it, which must not be recorded.
    """
    if isinstance(value, Mapping):
        for key in value:
            _check_key(key, where)
        return {key: plain(item, f"{where}.{key}") for key, item in value.items()}
    if isinstance(value, str):
        if _PASSWORD.search(without_variables(value)):
            raise RunError(f"{where}: holds a URL with a password, which must not be recorded. Set it elsewhere.")
        return value
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Sequence):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    raise RunError(f"{where}: a {type(value).__name__} cannot be recorded; use numbers, strings, lists and dicts.")


def _check_key(key: object, where: str) -> None:
    if not isinstance(key, str):
        raise RunError(f"{where}: the key {key!r} is not a string.")
    if not key or "." in key or "=" in key or key.startswith(("$", "py/")):
        raise RunError(
            f"{where}: the key '{key}' cannot be recorded: keys must not be empty, contain '.' or '=', "
            "or begin with '$' or 'py/'. Rename it."
        )
