"""The laws of everything that is code: it is of its kind, and its settings can be written, told and read again."""

from __future__ import annotations

import inspect
from typing import Any

from pydantic import PydanticSchemaGenerationError, TypeAdapter

from nablafx_core.registry.building import interface_of
from nablafx_core.registry.kinds import Kind
from nablafx_core.registry.settings import (
    REQUIRED,
    Setting,
    SettingsError,
    checked_value,
    plain_default,
    reserved_keys,
    settings_of,
)
from nablafx_core.testing.result import Remark
from nablafx_core.testing.subject import LawBroken


def is_of_its_kind(target: Any, kind: Kind) -> None:
    """What a component's target names is what the framework takes for its kind."""
    if kind.content or kind.fits(target, interface_of(kind)):
        return
    name = kind.interface.replace(":", ".")
    if kind.instances:
        relation = f"a {name}: decorate it with @click.command()"
    else:
        relation = f"a subclass of {name}: derive it from that"
    what = f"the class {target.__name__}" if isinstance(target, type) else f"{target!r:.80}"
    raise LawBroken(f"the target of a {kind.name} must be {relation}. It is {what}.")


def settings_can_be_written(target: Any, kind: Kind) -> int:
    """Every setting can be written in an experiment file or has a default, and what is written can be read again.

    No setting is named like a key of the framework in a section of that kind.

    ``nablafx config`` writes every default, so a default that its own annotation refuses gives a file that nobody
    can use.

    Returns:
        How many settings there are.
    """
    settings = settings_of(target, without=kind.injected)
    problems = [problem for setting in settings.values() if (problem := _problem(setting, kind))]
    problems += [
        f"{name}: a key of the framework in sections of a {kind.name}, so that an experiment cannot set it. "
        f"Rename the argument. Keys: {', '.join(sorted(reserved_keys(kind.name)))}."
        for name in settings
        if name in reserved_keys(kind.name)
    ]
    by_position = [p.name for p in inspect.signature(target).parameters.values() if p.kind is p.POSITIONAL_ONLY]
    if by_position:
        problems.append(f"{', '.join(by_position)}: given by position only. Take the '/' out of the constructor.")
    if problems:
        raise LawBroken("\n".join(problems))
    return len(settings)


def _problem(setting: Setting, kind: Kind) -> str | None:
    what = f"{setting.name} ({setting.type_text})"
    if setting.default is REQUIRED:
        if setting.name in kind.from_data or _has_schema(setting):
            return None
        return (
            f"{what}: no file can hold it, and it has no default. Use numbers, text, lists or mappings, or a default."
        )
    default = plain_default(setting)
    if default is REQUIRED or default is None or not _has_schema(setting):
        return None
    try:
        checked_value(setting, default)
    except SettingsError as refusal:
        return f"{what}: its annotation refuses its own default: {refusal} Change one of the two."
    return None


def _has_schema(setting: Setting) -> bool:
    try:
        TypeAdapter(setting.annotation)
    except PydanticSchemaGenerationError:
        return False
    return True


def settings_are_documented(target: Any, kind: Kind) -> int:
    """Each setting has a line under ``Args:``, which `nablafx show` and error messages quote.

    Returns:
        How many settings are documented.

    Raises:
        Remark: naming those that are not.
    """
    settings = settings_of(target, without=kind.injected | kind.from_data)
    bare = [name for name, setting in settings.items() if not setting.doc]
    documented = len(settings) - len(bare)
    if bare:
        raise Remark(f"no line under `Args:` in the class's docstring for {', '.join(bare)}.", documented)
    return documented
