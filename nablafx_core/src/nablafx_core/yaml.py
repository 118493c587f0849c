"""Untrusted YAML: plain data with the line of each value, and limits on depth and size."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from nablafx_core.errors import ConfigError

Path = tuple[str | int, ...]

MAX_DEPTH = 64  # nesting; a person writes ten levels at most, and the reader is recursive
MAX_NODES = 100_000  # values; the largest experiments have hundreds

_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map")}


class YamlError(ConfigError):
    """Raised if a text is not plain YAML.

    Attributes:
        place: name of the text and line, such as ``e.yaml:4``; only the name if the line is not known.
    """

    def __init__(self, place: str, problem: str) -> None:
        super().__init__(f"{place}: {problem}")
        self.place = place


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-3 is a number (YAML 1.1 requires 1.0e-3) and dates stay text.

    Brackets that are nested too deeply are an error at once, because the scanner's time grows with the depth squared.
    """

    def fetch_flow_collection_start(self, token: Any) -> None:
        if self.flow_level > MAX_DEPTH:
            raise _TooDeepError(self.line + 1)
        super().fetch_flow_collection_start(token)


class _TooDeepError(Exception):
    """Raised if brackets are nested more than `MAX_DEPTH` levels deep; the argument is the line."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"^[-+]?(\d[\d_]*\.?|\d[\d_]*\.\d+|\.\d+)[eE][-+]?\d+$"),
    list("-+.0123456789"),
)

#: Resolvers that distinguish plain text from numbers and words such as true.
NUMBERS_AND_WORDS = _Loader.yaml_implicit_resolvers


def dotted(path: Path) -> str:
    """Format a path as ``--set`` expects it, such as ``model.channels.0``."""
    return ".".join(str(part) for part in path)


def plain_yaml(
    text: str | bytes, name: str, what: str, as_text: bool = False, marks: dict[Path, str] | None = None
) -> Any:
    """Parse untrusted YAML: only mappings, lists and values are allowed, up to a limit on depth and size.

    Names in mappings are always text. Dates stay text, and numbers such as 1e-3 are accepted. An empty text gives None.

    Args:
        text: YAML text.
        name: name of the text in error messages.
        what: description of the content, such as ``"an experiment"``.
        as_text: True to keep every value as text; False to convert numbers, truth values and null.
        marks: mapping to which the place of each value, such as ``e.yaml:4``, is added by the value's path.

    Raises:
        YamlError: with the line where it is known, if the text has bad syntax, tags, duplicate names, names that are
            lists or mappings, merge keys, values that do not fit their tag, more than `MAX_NODES` values, or more than
            `MAX_DEPTH` levels.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        reading = _Reading(loader, name, what, as_text, {} if marks is None else marks)
        return None if node is None else reading.value(node, ())
    except UnicodeDecodeError:
        raise YamlError(name, "cannot be read: it is not text.") from None
    except _TooDeepError as error:
        raise YamlError(f"{name}:{error.args[0]}", f"nested more than {MAX_DEPTH} levels deep.") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f":{mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise YamlError(f"{name}{line}", f"this is not YAML: {reason}.") from None
    except RecursionError:
        raise YamlError(name, f"nested more than {MAX_DEPTH} levels deep.") from None
    finally:
        if loader is not None:
            loader.dispose()


@dataclass
class _Reading:
    loader: _Loader
    name: str
    what: str
    as_text: bool
    marks: dict[Path, str]
    nodes: int = 0

    def value(self, node: yaml.Node, path: Path) -> Any:
        where = self._where(node)
        self.nodes += 1
        if len(path) > MAX_DEPTH or self.nodes > MAX_NODES:
            raise YamlError(where, f"nested more than {MAX_DEPTH} levels deep, or larger than {self.what} can be.")
        if node.tag not in _TAGS:
            raise YamlError(where, f"the tag '{node.tag}' is not allowed; {self.what} is plain data. Remove the tag.")
        self.marks[path] = where
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if self.as_text:
            return node.value
        try:
            return self.loader.construct_object(node)
        except (ValueError, LookupError, yaml.YAMLError):
            raise YamlError(where, f"{dotted(path)}: cannot read the value {node.value!r:.40}.") from None

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, item in node.value:
            key, where = key_node.value, self._where(key_node)
            if key_node.tag == "tag:yaml.org,2002:merge":
                raise YamlError(where, "merge keys ('<<') are not supported. Write the settings out.")
            if not isinstance(key_node, yaml.ScalarNode):
                raise YamlError(
                    where,
                    "expected a name before ':', got a list or a mapping. Put a name that contains brackets or braces "
                    "in quotes.",
                )
            if key in found:
                raise YamlError(where, f"{dotted((*path, key))} is set twice. Remove one of the two.")
            place = (*path, key)
            found[key] = self.value(item, place)
            self.marks[place] = where
        return found

    def _where(self, node: yaml.Node) -> str:
        return f"{self.name}:{node.start_mark.line + 1}"
