"""What classes of packs may declare beside their contract. The framework looks for these names and no others."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

#: Path of a setting inside its section, and what is wrong with it.
Problem = tuple[tuple[str | int, ...], str]


class ChecksSettings:
    """Base of components whose settings can be checked together before anything is built."""

    @staticmethod
    def setting_problems(settings: Mapping[str, Any]) -> Iterable[Problem]:
        """Return what is wrong with a combination of settings, each alone being valid.

        Args:
            settings: the complete section of the component, as plain data.

        Returns:
            The path of a setting, inside the section, and the message, for each problem.
        """
        return ()


@runtime_checkable
class CountsMacs(Protocol):
    """Module that knows its own arithmetic, because its layers are none of torch's."""

    def macs_per_sample(self) -> float:
        """Return the multiply-accumulates per sample of itself and of everything below it."""


@runtime_checkable
class WorksInSteps(Protocol):
    """Module that, with everything below it, works once in `samples_per_step` samples.

    It is the length of its blocks, or `math.inf` for what is computed once while the controls stand still, or never.
    It divides the arithmetic that is counted, and positions inside a file are rounded down to it.
    """

    samples_per_step: float
