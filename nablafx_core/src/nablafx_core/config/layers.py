"""Layers of settings: plain data from YAML, with the place of each value."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

import yaml

from nablafx_core.errors import ConfigError
from nablafx_core.names import is_qualified, names_match
from nablafx_core.yaml import Path, plain_yaml


class OptionMark(str):
    """Place of a value that an option of the command line set, with the text of the option.

    Args:
        where: place of the value, such as ``"--set data.wet"``.
        text: value as it was written.
        problem: reason why the text is not YAML; empty if it is.
    """

    text: str
    problem: str

    def __new__(cls, where: str, text: str = "", problem: str = "") -> OptionMark:
        """Create the mark."""
        mark = super().__new__(cls, where)
        mark.text, mark.problem = text, problem
        return mark

    @property
    def is_quoted(self) -> bool:
        """True if the text begins with a quote or a YAML tag, so that the value is not the whole text."""
        return not self.problem and self.text.lstrip()[:1] in tuple("'\"!")


@dataclass
class Layer:
    """Plain data, and for the path of each value the place where it was written, such as ``e.yaml:4``."""

    value: Any
    marks: dict[Path, str] = field(default_factory=dict)

    def where(self, path: Path) -> str:
        """Return the place of a value, or of the innermost value around it that has one."""
        while path not in self.marks and path:
            path = path[:-1]
        return self.marks.get(path, "")

    def as_written(self, value: Any, path: Path) -> Any:
        """Replace values that options set, here and inside, by the texts of the options."""
        mark = self.marks.get(path)
        if isinstance(mark, OptionMark):
            return mark.text
        if isinstance(value, dict):
            return {key: self.as_written(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.as_written(item, (*path, index)) for index, item in enumerate(value)]
        return value

    def under(self, path: Path) -> dict[Path, str]:
        """Return the marks at and below a path."""
        return {place: mark for place, mark in self.marks.items() if place[: len(path)] == path}


def read_yaml(text: str, name: str) -> Layer:
    """Parse the text of an experiment: YAML whose top level is a mapping.

    Args:
        text: YAML text.
        name: name of the text in error messages.

    Raises:
        ConfigError: with the line, if the text has bad syntax, tags, duplicate keys or excessive nesting.
    """
    layer = Layer({})
    layer.value = plain_yaml(text, name, "an experiment", marks=layer.marks)
    if layer.value is None:
        layer.value = {}
    if not isinstance(layer.value, dict):
        raise ConfigError(f"{name}: expected a mapping of sections (data:, model:, …), got {layer.value!r:.40}.")
    return layer


def read_file(path: FilePath) -> Layer:
    """Read an experiment file.

    Raises:
        ConfigError: if the file cannot be read or is not an experiment.
    """
    try:
        return read_yaml(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise ConfigError(f"{path}: cannot read the experiment: {reason}.") from None


def merge(base: Layer, over: Layer) -> Layer:
    """Merge a layer into the one below it: mappings merge, everything else is replaced.

    A mapping whose ``name`` changes is replaced as a whole, because its other settings belong to another component;
    ``tcn`` over ``nablafx-models/tcn`` is not a change. If the other layer has a mapping, a plain text is short for
    ``{name: text}``.

    Args:
        base: lower layer.
        over: layer that overrides it.
    """
    marks = dict(base.marks)

    def merged(below: Any, above: Any, path: Path) -> Any:
        if isinstance(below, dict) and "name" in below and isinstance(above, str):
            above = {"name": above}
        elif isinstance(below, str) and isinstance(above, dict):
            below = {"name": below}
        if isinstance(below, dict) and isinstance(above, dict) and _same_component(below, above):
            marks.update({path: over.marks[path]} if path in over.marks else {})
            keys = [*below, *(key for key in above if key not in below)]
            return {
                key: merged(below[key], above[key], (*path, key))
                if key in below and key in above
                else _taken(below if key in below else above, key, path, key in above)
                for key in keys
            }
        if path[-1:] == ("name",) and _same_name(below, above) and is_qualified(below):
            above = below  # the short name in the upper layer means this component
        for place in [place for place in marks if place[: len(path)] == path]:
            del marks[place]
        marks.update(over.under(path))
        return above

    def _taken(source: dict[str, Any], key: str, path: Path, is_over: bool) -> Any:
        if is_over:
            marks.update(over.under((*path, key)))
        return source[key]

    return Layer(merged(base.value, over.value, ()), marks)


def _same_component(below: dict[str, Any], above: dict[str, Any]) -> bool:
    if "name" not in below or "name" not in above:
        return True
    return _same_name(below["name"], above["name"])


def _same_name(below: Any, above: Any) -> bool:
    return bool(below == above) or (isinstance(below, str) and isinstance(above, str) and names_match(below, above))


def with_override(layer: Layer, override: str, flag: str = "--set ") -> Layer:
    """Apply an override such as ``model.channel_width=32`` to a layer; a number in the path is an index of a list.

    If the value is not YAML, it is the text itself. The mark of the value keeps the text, for settings that expect
    text: see `nablafx_core.config.check.Checker`.

    Args:
        layer: layer below.
        override: path, ``=`` and value as YAML.
        flag: option before it on the command line, for messages.

    Raises:
        ConfigError: if the text does not have that form, or if an index is outside its list.
    """
    name, equals, text = override.partition("=")
    if not equals or not all(name.split(".")):
        raise ConfigError(f"{flag}{override:.80}: write it as section.setting=value.")
    value, problem = _option_value(text)
    mark = OptionMark(f"{flag}{name}", text, problem)
    return merge(layer, Layer(*_nested(layer.value, tuple(name.split(".")), value, mark)))


def _option_value(text: str) -> tuple[Any, str]:
    """Return the value of an option, and the reason why its text is not one value in YAML, or an empty string."""
    try:
        value = read_yaml(f"value: {text}", "").value
    except ConfigError as error:
        return text, re.sub(r"^(:\d+)?: ", "", str(error))
    if len(value) != 1:
        return text, "the value must be one line of YAML."
    if comment := _comment(text):
        return text, f"'{comment:.40}' begins a comment in YAML and would be left out. Quote the value."
    return value["value"], ""


def _comment(text: str) -> str:
    """Return the part that YAML reads as a comment in a value of one line; empty if there is none."""
    found = re.search(r"(?:^|\s)#.*", text)
    if found is None:
        return ""
    written = f"value: {text}"
    *_, last, _, _ = yaml.scan(written)  # the last two tokens end the mapping and the text
    rest = written[last.end_mark.index :].strip()
    return rest if rest.startswith("#") else ""


def _nested(below: Any, path: Path, value: Any, mark: OptionMark) -> tuple[Any, dict[Path, str]]:
    """Wrap a value in mappings and lists so that it is at `path`; copy whole lists from the layer below."""
    if not path:
        return value, {(): mark}
    where = str(mark)  # also the place of the mappings and lists around the value
    key, rest = path[0], path[1:]
    if isinstance(below, list):
        if not (str(key).isdigit() and int(key) < len(below)):
            raise ConfigError(f"{where}: the list has {len(below)} items, counted from 0; there is no '{key}'.")
        index = int(key)
        inner, marks = _nested(below[index], rest, value, mark)
        inner = merge(Layer(below[index]), Layer(inner)).value
        items = [*below[:index], inner, *below[index + 1 :]]
        return items, {(): where, **{(index, *place): mark for place, mark in marks.items()}}
    known = isinstance(below, dict) and key in below
    inner, marks = _nested(below[key] if known else None, rest, value, mark)
    return {key: inner}, {
        **({} if known else {(key,): where}),
        **{(key, *place): mark for place, mark in marks.items()},
    }
