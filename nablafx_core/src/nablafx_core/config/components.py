"""Components that the sections of an experiment name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nablafx_core.config.schema import TrackSettings
from nablafx_core.registry.qualified import Names, qualified, qualified_settings
from nablafx_core.registry.settings import settings_of

#: Sections of an experiment that name components: the kind, and True for a list of components.
COMPONENTS = {
    "data": ("dataset", False),
    "model": ("model", False),
    "loss": ("loss", True),
    "metrics": ("metric", True),
}


def qualified_experiment(sections: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """Return the sections of an experiment with ``pack/name`` in place of every name; see `qualified`."""
    found = dict(sections)
    for key, (kind, is_list) in COMPONENTS.items():
        value = found.get(key)
        if is_list and isinstance(value, list):
            found[key] = [qualified(kind, item, names) for item in value]
        elif not is_list:
            found[key] = qualified(kind, value, names)
    if isinstance(found.get("track"), Mapping):
        found["track"] = qualified_settings(settings_of(TrackSettings), found["track"], names)
    return {key: value for key, value in found.items() if key in sections}
