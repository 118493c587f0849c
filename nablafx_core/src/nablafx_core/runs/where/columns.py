"""Look up the values of names that are used in conditions, in ``--sort`` and in ``--by``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nablafx_core.errors import RunError
from nablafx_core.hints import did_you_mean
from nablafx_core.runs.rows import FACTS, Row

FIELDS = tuple(name for name, one in FACTS.items() if one.named)


def value_of(row: Row, name: str) -> Any:
    """Return the value of a name in a run; None if the run has no such value, an empty text or no tags.

    Args:
        row: row of the run.
        name: field of `Row` (one of `FIELDS`); ``metrics.`` and the name of a final figure; or path of a setting of the
            experiment, such as ``train.max_steps``, also after ``config.``. ``metrics.esr`` is the figure ``test/esr``,
            else ``validation/esr``, else ``esr``; a figure's name with a "/" is only the figure of exactly that name.
    """
    if name in FIELDS:
        value = getattr(row, name)
        return None if value in ("", ()) else value
    section, _, rest = name.partition(".")
    if section == "metrics":
        return _figure(row, rest)
    return _setting(row.config, rest if section == "config" else name)


def names_component(name: str) -> bool:
    """Return true if the value of a name is a component, which may be written with or without its pack."""
    return name in ("model", "data", "device", "data.device") or name.rpartition(".")[2] == "name"


def check_name(rows: Sequence[Row], name: str, option: str) -> None:
    """Check that a name is a field of `Row`, or a figure or setting of at least one run; a setting may be null.

    Args:
        rows: rows of all runs; if there are none, every name is accepted.
        name: name that the user wrote.
        option: option that contains the name, for the message.

    Raises:
        RunError: if no run has such a figure or setting; the message suggests names.
    """
    if name in FIELDS or not rows or any(value_of(row, name) is not None for row in rows):
        return
    known = sorted({*FIELDS, *(one for row in rows for one in _names(row))})
    plain = name.removeprefix("config.")
    if plain in known:  # null in every run
        return
    ends = [one for one in known if one.endswith((f".{plain}", f"/{plain}"))]
    hint = did_you_mean(ends[0] if ends else plain, known, f" Figures: {_figures(known)}.")
    raise RunError(f"{option}: no run has '{name}'.{hint}")


def _figure(row: Row, name: str) -> Any:
    places = (name,) if "/" in name else (f"test/{name}", f"validation/{name}", name)
    return next((row.summary[place] for place in places if place in row.summary), None)


def _setting(config: Mapping[str, Any], path: str) -> Any:
    value: Any = config
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isascii() and part.isdigit() and int(part[:9]) < len(value):
            value = value[int(part[:9])]
        else:
            return None
    return value


def settings(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the path and the value of each setting of an experiment: ``("model.stages.0.name", "tcn")``.

    Mappings, and lists that contain mappings or lists, are entered; other lists and empty mappings are values.

    Args:
        value: the experiment, or a section of it.
        path: path of `value`; empty for the whole experiment.
    """
    nested = value if isinstance(value, Mapping) else {}
    if isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        nested = {str(number): item for number, item in enumerate(value)}
    if not nested:
        if path:
            yield path, value
        return
    for key, item in nested.items():
        yield from settings(item, f"{path}.{key}" if path else str(key))


def _names(row: Row) -> Iterator[str]:
    yield from (path for path, _ in settings(row.config))
    for name in row.summary:
        yield f"metrics.{name}"
        yield f"metrics.{name.rpartition('/')[2]}"


def _figures(known: Sequence[str]) -> str:
    found = [name for name in known if name.startswith("metrics.") and "/" not in name]
    return ", ".join(found[:10]) or "none"
