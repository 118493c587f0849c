"""The contract of a writer of another project's model files."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from nablafx_core.interfaces.declared import ChecksSettings
from nablafx_core.interfaces.model import Model


class Exporter(ChecksSettings):
    """Writes a model as a file of another project. Its constructor's keyword arguments are its settings.

    Attributes:
        suffix: ending of the files that it writes, such as ``".json"``; empty for a folder.
    """

    suffix: ClassVar[str] = ""

    def write(self, model: Model, path: Path) -> None:
        """Write the model to a path that does not exist; it is renamed when this returns, and removed if it raises.

        Args:
            model: in eval mode.
            path: a temporary name in the folder where the file will be.

        Raises:
            ConversionError: for a model that the format cannot hold; says which part of it.
        """
        raise NotImplementedError
