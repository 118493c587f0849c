"""Marks on the annotation of a setting: what kind of component it names, its documentation, and its limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function


@dataclass(frozen=True)
class Section:
    """Mark for a setting, or an item of one, that is a component: ``Annotated[dict[str, Any], Section("processor")]``.

    The value is a section: a mapping with a ``name`` and the settings of the component.

    Args:
        kind: kind of the component.
    """

    kind: str


@dataclass(frozen=True)
class Named:
    """Mark for a setting that is the name of a component: ``Annotated[str, Named("device")]``.

    Args:
        kind: kind of the component.
    """

    kind: str


Mark = Section | Named


@dataclass(frozen=True)
class Described:
    """Mark that documents a setting by its type: ``Annotated[Literal["a", "b"], Described("…")]``.

    An entry of the setting under ``Args:`` of the class takes precedence.

    Args:
        doc: documentation, one sentence or more.
    """

    doc: str


@dataclass(frozen=True)
class Range:
    """Range of the numbers of a setting, both ends included: ``Annotated[int, Range(1, 256)]``.

    Experiments and bundles are checked against it before the component is built. Give every size a range: without one,
    a small file can request any amount of memory. NaN is outside every range.

    Args:
        lowest: smallest allowed number.
        highest: largest allowed number.
    """

    lowest: float
    highest: float

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return no_info_after_validator_function(self._checked, handler(source))

    def _checked(self, value: float) -> float:
        if not self.lowest <= value <= self.highest:
            raise ValueError(f"should be from {self.lowest:,} to {self.highest:,}")
        return value
