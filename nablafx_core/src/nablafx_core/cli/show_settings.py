"""Settings as a table for people and as plain data for programs."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable
from typing import Any

from nablafx_core.commands import table
from nablafx_core.registry.settings import REQUIRED, Setting, plain_default

_WIDEST_TYPE = 30  # characters; a longer type would leave no room for the description


def described_settings(settings: Iterable[Setting], from_data: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return name, type, default, documentation, and True or False for "required", of each setting.

    Args:
        settings: settings of a component or a section.
        from_data: names of settings that come from the data unless the experiment sets them.
    """
    return [
        {
            "name": setting.name,
            "type": setting.type_text,
            **({} if plain_default(setting) is REQUIRED else {"default": plain_default(setting)}),
            "required": setting.default is REQUIRED and setting.name not in from_data,
            **({"from_data": True} if setting.name in from_data else {}),
            "doc": setting.doc,
        }
        for setting in settings
    ]


def settings_table(described: list[dict[str, Any]]) -> str:
    """Format the result of `described_settings` as a table."""
    rows = [(f"  {s['name']}", *_kind_and_doc(s, _default_text(s))) for s in described]
    return table(rows) if rows else "  none"


def _kind_and_doc(setting: dict[str, Any], default: str) -> tuple[str, str, str]:
    """Return the columns after a setting's name; a long list of choices is moved to the documentation."""
    kind, doc = setting["type"], setting["doc"]
    if len(kind) > _WIDEST_TYPE and " | " in kind:
        kind, doc = "choice", f"{doc} One of: {kind.replace(' | ', ', ')}.".lstrip()
    return kind, default, doc


def _default_text(setting: dict[str, Any]) -> str:
    if setting.get("from_data"):
        return "from the data"
    return "required" if setting["required"] else f"= {_written(setting)}"


def _written(setting: dict[str, Any]) -> str:
    """Return a default as an experiment file writes it; three dots if a file cannot contain it."""
    default = setting.get("default", "…")
    return default if isinstance(default, str) and default else json.dumps(default, ensure_ascii=False)
