"""What a pack's hooks return: a name, where the thing is, and one line about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Component:
    """One thing that a pack provides. Making one imports nothing.

    Args:
        name: how an experiment file names it, such as ``"tcn"``.
        target: ``"package.module:attribute"`` for code, ``"package:folder/file.yaml"`` for content
            (presets and bundles).
        summary: one line for ``nablafx list``.
        example: small keyword arguments with which the laws of ``nablafx_core.testing`` build it.
        licence: for a bundle, the licence of the weights.
        sha256: for a bundle, the hash that the file must have.
        exceptions: laws that it does not keep, each with the reason:
            ``{"every parameter moves the output": "the format needs a bias that nothing uses"}``. The check shows them,
            and fails when one of them holds.
        experimental: True while its settings, its sound or its files may change in any release; ``nablafx list`` and
            ``nablafx show`` say so. See docs/compatibility.md.
    """

    name: str
    target: str
    summary: str
    example: Mapping[str, Any] = field(default_factory=dict)
    licence: str | None = None
    sha256: str | None = None
    exceptions: Mapping[str, str] = field(default_factory=dict)
    experimental: bool = False

    @property
    def described(self) -> str:
        """The summary, after a word about an experimental component."""
        return f"(experimental) {self.summary}" if self.experimental else self.summary
