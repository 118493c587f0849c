"""Record that a pack's hooks return for each component: its name, where it is, and a summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Component:
    """One component of a pack. Creating a `Component` imports nothing.

    Args:
        name: name in an experiment file, such as ``"tcn"``; not empty, without ``/`` and ``:``.
        target: ``"package.module:attribute"`` for code, ``"package:folder/file.yaml"`` for content
            (presets and bundles).
        summary: description in one line, for ``nablafx list``.
        example: keyword arguments of a small example, which the laws of ``nablafx_core.testing`` build.
        licence: licence of the weights of a bundle.
        sha256: expected SHA-256 of the file of a bundle, in hexadecimal digits; not checked if None.
        exceptions: laws that the component does not keep, each with the reason:
            ``{"every parameter moves the output": "the format needs a bias that nothing uses"}``. The check of the pack
            shows them, and fails if the component keeps one of them.
        experimental: True while its settings, its sound or its files may change in any release; ``nablafx list`` and
            ``nablafx show`` mark it. See docs/compatibility.md.
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
        """Summary, after the prefix ``(experimental)`` if the component is experimental."""
        return f"(experimental) {self.summary}" if self.experimental else self.summary
