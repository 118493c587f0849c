"""Optional declarations of the classes of packs, beside the contracts of their kinds."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, runtime_checkable

#: Path of a setting inside its section, and the message about its problem.
Problem = tuple[tuple[str | int, ...], str]


class ChecksSettings:
    """Base of components whose settings can be checked together before anything is built."""

    @staticmethod
    def setting_problems(settings: Mapping[str, Any]) -> Iterable[Problem]:
        """Return the problems of a combination of settings, each of which is valid by itself.

        Args:
            settings: settings of the component as plain data, with the defaults of those that are not set.

        Returns:
            For each problem, the path of the setting inside the section, and the message.
        """
        return ()


@runtime_checkable
class CountsMacs(Protocol):
    """Module that counts its own arithmetic, because it does not consist of torch's layers."""

    def macs_per_sample(self) -> float:
        """Return the number of multiply-accumulates per sample of the module and all its submodules."""


@runtime_checkable
class WorksInSteps(Protocol):
    """Module that is evaluated, with all its submodules, once per `samples_per_step` samples.

    The number is the length of the module's blocks; `math.inf` if the module is evaluated once while the controls are
    constant, or never. The counted arithmetic is divided by it, and positions inside a file are rounded down to a
    multiple of it.
    """

    samples_per_step: float
