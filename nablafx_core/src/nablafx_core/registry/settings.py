"""Settings of a component: the keyword arguments of its constructor, checked before anything is built."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt
from pydantic import (
    BaseModel,
    ConfigDict,
    PydanticSchemaGenerationError,
    TypeAdapter,
    ValidationError,
)

from nablafx_core.marks import Described, Mark, Range, Section
from nablafx_core.pack_code import contained
from nablafx_core.registry.kinds import KINDS, PLAIN_SECTIONS
from nablafx_core.registry.packs import import_target

REQUIRED: Any = inspect.Parameter.empty


@dataclass(frozen=True)
class Setting:
    """One setting of a component.

    Args:
        name: name of the keyword argument.
        annotation: type of the argument.
        default: default value; REQUIRED if there is none.
        doc: description in one line, from the docstring of the class or the annotation; empty if there is none.
    """

    name: str
    annotation: Any
    default: Any
    doc: str = ""

    @property
    def type_text(self) -> str:
        """Type as a user writes it."""
        return type_text(self.annotation)


def beside(kind: str) -> tuple[Setting, ...]:
    """Return the framework's settings in sections of a kind, which are written beside those of the component.

    For a section that names no component, such as ``"mix"``, these are all of its settings.
    """
    target = PLAIN_SECTIONS.get(kind) or KINDS[kind].beside
    return _imported(target) if target else ()


def structures(kind: str) -> Mapping[str, tuple[Setting, ...]]:
    """Return the settings of the sections that may replace a component of a kind, by the key that each one has."""
    target = KINDS[kind].structures if kind in KINDS else ""
    return _imported(target) if target else {}


def _imported(target: str) -> Any:
    return import_target(target)


def reserved_keys(kind: str) -> frozenset[str]:
    """Return the framework's keys in sections of a kind, such as ``name``; no component's setting may be called so."""
    inside = [setting.name for settings in structures(kind).values() for setting in settings]
    return frozenset(["name", *(setting.name for setting in beside(kind)), *inside, *KINDS[kind].keys])


class SettingsError(ValueError):
    """Raised if the value of a setting is invalid; `key` is the name of the setting."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def settings_of(target: Any, without: Collection[str] = ()) -> dict[str, Setting]:
    """Return the settings of a class, a function or a pydantic model by name, in their order.

    The settings of a class are the arguments of its constructor and, if that accepts ``**kwargs``, those of the
    constructors of its base classes.

    Args:
        target: class, function or pydantic model.
        without: names of arguments to leave out, which the framework passes; ignored for a pydantic model.
    """
    if isinstance(target, type) and issubclass(target, BaseModel):
        return {
            name: Setting(
                name,
                _annotated(field.annotation, field.metadata),
                REQUIRED if field.is_required() else field.get_default(call_default_factory=True),
                field.description or "",
            )
            for name, field in target.model_fields.items()
        }
    docs: dict[str, str] = {}
    found: dict[str, Setting] = {}
    for function in _constructors(target):
        docs = {**argument_docs(function.__doc__), **docs}
        hints = _hints(function)
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD) or parameter.name == "self":
                continue
            if parameter.name not in without and parameter.name not in found:
                annotation = hints.get(parameter.name, Any)
                found[parameter.name] = Setting(parameter.name, annotation, parameter.default)
    for cls in getattr(target, "__mro__", [target]):
        docs = {**argument_docs(cls.__doc__), **docs}
    return {
        name: Setting(name, s.annotation, s.default, docs.get(name) or _description(s.annotation))
        for name, s in found.items()
    }


def _description(annotation: Any) -> str:
    marks = get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()
    return next((mark.doc for mark in marks if isinstance(mark, Described)), "")


def _annotated(annotation: Any, metadata: Iterable[Any]) -> Any:
    for mark in metadata:
        annotation = Annotated[annotation, mark]
    return annotation


def _constructors(target: Any) -> list[Callable[..., Any]]:
    """Return a class's constructor, and those of base classes that receive its ``**kwargs``; a function is its own."""
    if not isinstance(target, type):
        return [target]
    found = []
    for cls in target.__mro__:
        init = cls.__dict__.get("__init__")
        if init is None or cls is object:
            continue
        found.append(init)
        kinds = {parameter.kind for parameter in inspect.signature(init).parameters.values()}
        if inspect.Parameter.VAR_KEYWORD not in kinds:
            break
    return found


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        with contained():
            return get_type_hints(function, include_extras=True)
    except Exception:  # for example a name that is imported for type checkers only
        return {}


@lru_cache(maxsize=4096)
def argument_docs(docstring: str | None) -> Mapping[str, str]:
    """Return the descriptions under ``Args:`` of a Google-style docstring by argument, each joined to one line."""
    match = re.search(r"^\s*Args:\s*\n(.*?)(?=^\s*[A-Z]\w+:\s*$|\Z)", docstring or "", re.MULTILINE | re.DOTALL)
    if not match:
        return {}
    docs: dict[str, str] = {}
    names: list[str] = []
    indent: int | None = None
    for line in match.group(1).splitlines():
        if not line.strip():
            continue
        depth = len(line) - len(line.lstrip())
        indent = depth if indent is None else indent
        head = re.match(r"\s*([\w, ]+?)\s*(?:\([^)]*\))?:\s+(.*)", line) if depth == indent else None
        if head:
            names = [name.strip() for name in head.group(1).split(",")]
            docs.update({name: head.group(2).strip() for name in names})
        elif depth > indent:
            docs.update({name: f"{docs[name]} {line.strip()}" for name in names})
    return docs


def type_text(annotation: Any, with_range: bool = False) -> str:
    """Format a type as a user writes it in an experiment file.

    Args:
        annotation: annotation of the setting.
        with_range: True to write the ranges of numbers too: ``int from 1``, ``float above 0 to 1``.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        mark = next((mark for mark in arguments[1:] if isinstance(mark, Mark)), None)
        if mark is None:
            return type_text(arguments[0], with_range) + (_range_text(arguments[1:]) if with_range else "")
        return f"{mark.kind} section" if isinstance(mark, Section) else f"name of a {mark.kind}"
    if annotation in (None, type(None)):
        return "null"
    if origin is Literal:
        return " | ".join(str(argument) for argument in arguments)
    if origin in (Union, UnionType):
        return " | ".join(type_text(argument, with_range) for argument in arguments)
    if origin is not None:
        inner = ", ".join(type_text(argument, with_range) for argument in arguments if argument is not Ellipsis)
        return f"{'mapping' if issubclass(origin, Mapping) else 'list'} of {inner}"
    return getattr(annotation, "__name__", str(annotation))


def _range_text(marks: Iterable[Any]) -> str:
    """Return the end of a type's text that has the limits in its marks: `` from 1 to 256``; empty without limits."""
    lowest = highest = ""
    for mark in marks:
        if isinstance(mark, Range):
            lowest, highest = f" from {mark.lowest:,}", f" to {mark.highest:,}"
        elif isinstance(mark, (Ge, Gt)):
            lowest = f" from {mark.ge:,}" if isinstance(mark, Ge) else f" above {mark.gt:,}"
        elif isinstance(mark, (Le, Lt)):
            highest = f" to {mark.le:,}" if isinstance(mark, Le) else f" below {mark.lt:,}"
    return lowest + (highest if lowest else highest.replace(" to ", " up to "))


def with_marked(
    annotation: Any,
    value: Any,
    path: tuple[str | int, ...],
    change: Callable[[Mark, Any, tuple[str | int, ...]], Any],
    leaf: Callable[[Any, Any, tuple[str | int, ...]], Any] = lambda annotation, value, path: value,
) -> Any:
    """Return a setting's value with each section and each component's name in it replaced.

    Args:
        annotation: annotation of the setting, in which marks may be inside lists, tuples, mappings and unions.
        value: plain data.
        path: keys and indices that lead to the value from outside; those inside the value are appended to it.
        change: function of a mark, its value and the path of the value; returns the replacement.
        leaf: function of an annotation, its value and the path of the value, for parts whose annotation contains no
            mark; returns the replacement. By default, these parts stay as they are.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if not is_marked(annotation):
        return leaf(annotation, value, path)
    if origin is Annotated:
        found = next((mark for mark in arguments[1:] if isinstance(mark, Mark)), None)
        if found is None:
            return with_marked(arguments[0], value, path, change, leaf)
        return change(found, value, path)
    if origin in (Union, UnionType):
        chosen = _marked_arm(arguments, value)
        return leaf(annotation, value, path) if chosen is None else with_marked(chosen, value, path, change, leaf)
    if isinstance(value, (list, tuple)) and not issubclass(origin, Mapping):
        inner = [argument for argument in arguments if argument is not Ellipsis]
        return [
            with_marked(inner[min(i, len(inner) - 1)], item, (*path, i), change, leaf) for i, item in enumerate(value)
        ]
    if isinstance(value, Mapping) and issubclass(origin, Mapping):
        return {key: with_marked(arguments[1], item, (*path, key), change, leaf) for key, item in value.items()}
    return leaf(annotation, value, path)


def is_marked(annotation: Any) -> bool:
    """Return True if an annotation contains, at any depth, the mark of a section or of a component's name."""
    return any(
        isinstance(argument, Mark) or is_marked(argument) for argument in get_args(annotation) if argument is not ...
    )


def _marked_arm(arms: Sequence[Any], value: Any) -> Any:
    """Return the first marked arm of a union that fits a value.

    None if no marked arm fits, if the value is None, or if it is a string and the union allows any string.
    """
    if value is None or (isinstance(value, str) and str in arms):
        return None
    for arm in filter(is_marked, arms):
        kept = get_args(arm)[0] if get_origin(arm) is Annotated else arm
        wanted: Any = get_origin(kept) or kept
        section = any(isinstance(mark, Section) for mark in get_args(arm)[1:])
        if isinstance(value, (str, Mapping) if section else wanted):
            return arm
    return None


def checked_value(setting: Setting, value: Any) -> Any:
    """Validate a value that was read from YAML, and return it as plain data.

    Raises:
        SettingsError: if the value has another type or is outside its range, or if a file cannot contain values of the
            setting's type.
    """
    try:
        adapter = TypeAdapter(setting.annotation, config=_config(setting.annotation))
    except PydanticSchemaGenerationError:
        raise SettingsError(
            setting.name, f"'{setting.name}' can be set in Python only ({setting.type_text})."
        ) from None
    try:
        # Through JSON, because pydantic then accepts a list for a tuple although everything else is strict.
        checked = adapter.validate_json(json.dumps(_translated(value, _HIDDEN), allow_nan=True), strict=True)
    except (TypeError, ValueError) as error:
        reasons = _reasons(error) if isinstance(error, ValidationError) else str(error)
        expected = type_text(setting.annotation, with_range=True)
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
        raise SettingsError(setting.name, f"{reasons}, not {shown}. Expected: {expected}.") from None
    return _translated(adapter.dump_python(checked, mode="json", exclude_defaults=False), _SHOWN)


# Python reads bytes of a file name that are not UTF-8 as lone surrogates, which are invalid in JSON: use private
# characters instead.
_HIDDEN = {code: 0x100000 + code for code in range(0xDC80, 0xDD00)}
_SHOWN = {hidden: code for code, hidden in _HIDDEN.items()}


def _translated(value: Any, table: Mapping[int, int]) -> Any:
    if isinstance(value, str):
        paired = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # "\ud83c\udfb8" is one
        return paired.translate(table)
    if isinstance(value, list):
        return [_translated(item, table) for item in value]
    if isinstance(value, dict):
        return {_translated(key, table): _translated(item, table) for key, item in value.items()}
    return value


_ANY: TypeAdapter[Any] = TypeAdapter(Any)  # kept: creating one takes longer than using it


def plain_default(setting: Setting) -> Any:
    """Return a setting's default as plain data; REQUIRED if there is none that a file can contain."""
    if setting.default is REQUIRED:
        return REQUIRED
    try:
        return _ANY.dump_python(setting.default, mode="json")
    except Exception:
        return REQUIRED


def _config(annotation: Any) -> ConfigDict | None:
    is_model = isinstance(annotation, type) and issubclass(annotation, BaseModel)
    return None if is_model or hasattr(annotation, "__dataclass_fields__") else ConfigDict(allow_inf_nan=True)


_STEPS_OF_PYDANTIC = ("function", "constrained", "literal[")  # parts of a path that no user wrote


def _reasons(error: ValidationError) -> str:
    texts = []
    for item in error.errors(include_url=False):
        inside = ".".join(str(part) for part in item["loc"] if not str(part).startswith(_STEPS_OF_PYDANTIC))
        text = item["msg"].replace("Input should be", "should be").replace("Value error, ", "").rstrip(".")
        texts.append(f"{inside + ': ' if inside else ''}{text}")
    return "; ".join(dict.fromkeys(texts[:3]))
