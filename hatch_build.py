"""Dependencies of the meta-package."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hatchling.metadata.plugin.interface import MetadataHookInterface

PACKAGES = ("nablafx-core", "nablafx-models", "nablafx-dsp", "nablafx-data")


class SuiteDependencies(MetadataHookInterface):
    """Require the four packages, from the folders beside this file if they exist, otherwise from an index.

    ``NABLAFX_RELEASE=1`` requires them by version even if the folders exist, for a build to publish.
    """

    def update(self, metadata: dict[str, Any]) -> None:
        """Set ``dependencies``."""
        metadata["dependencies"] = [_requirement(package, Path(self.root)) for package in PACKAGES]


def _requirement(package: str, root: Path) -> str:
    folder = root / package.replace("-", "_")
    if (folder / "pyproject.toml").is_file() and not os.environ.get("NABLAFX_RELEASE"):
        return f"{package} @ {folder.resolve().as_uri()}"
    return f"{package}>=0.1,<0.2"
