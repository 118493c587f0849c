"""Laws of all components that are code: they fit their kind, and their settings can be written and are documented."""

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
    """Check that the target of a component is a subclass, or for commands an instance, of the class of its kind.

    The targets of presets and bundles are files, which are not checked here.

    Raises:
        LawBroken: if the target has another type.
    """
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
    """Check that an experiment file can contain the settings of a component.

    A setting without a default must have a type that a file can contain, unless the data determines it. A default that
    a file can contain must fit its own annotation, because ``nablafx config`` writes all defaults into a file. A
    setting must not have the name of a key of the framework in sections of its kind, and no argument may be
    positional-only.

    Returns:
        The number of settings.

    Raises:
        LawBroken: if a setting violates one of these rules; the message lists all violations.
    """
    settings = settings_of(target, without=kind.injected)
    problems = [problem for setting in settings.values() if (problem := _problem(setting, kind))]
    problems += [
        f"{name}: is a key of the framework in sections of the kind {kind.name}, so an experiment cannot set it. "
        f"Rename the argument. Keys: {', '.join(sorted(reserved_keys(kind.name)))}."
        for name in settings
        if name in reserved_keys(kind.name)
    ]
    by_position = [p.name for p in inspect.signature(target).parameters.values() if p.kind is p.POSITIONAL_ONLY]
    if by_position:
        problems.append(
            f"{', '.join(by_position)}: positional-only, but settings are passed by name. Remove the '/' from the "
            "constructor."
        )
    if problems:
        raise LawBroken("\n".join(problems))
    return len(settings)


def _problem(setting: Setting, kind: Kind) -> str | None:
    what = f"{setting.name} ({setting.type_text})"
    if setting.default is REQUIRED:
        if setting.name in kind.from_data or _has_schema(setting):
            return None
        return (
            f"{what}: has no default, and no file can contain its type. Use numbers, text, lists or mappings, or give "
            "it a default."
        )
    default = plain_default(setting)
    if default is REQUIRED or default is None or not _has_schema(setting):
        return None
    try:
        checked_value(setting, default)
    except SettingsError as refusal:
        return f"{what}: its default does not fit its annotation: {refusal} Change one of the two."
    return None


def _has_schema(setting: Setting) -> bool:
    try:
        TypeAdapter(setting.annotation)
    except PydanticSchemaGenerationError:
        return False
    return True


def settings_are_documented(target: Any, kind: Kind) -> int:
    """Check that each setting has a line under ``Args:`` of the class, which `nablafx show` and error messages quote.

    Settings that the data determines, such as the sample rate of a model, may have none.

    Returns:
        The number of documented settings.

    Raises:
        Remark: if settings are not documented; the message names them.
    """
    settings = settings_of(target, without=kind.injected | kind.from_data)
    bare = [name for name, setting in settings.items() if not setting.doc]
    documented = len(settings) - len(bare)
    if bare:
        raise Remark(f"the class's docstring has no line under `Args:` for {', '.join(bare)}.", documented)
    return documented
