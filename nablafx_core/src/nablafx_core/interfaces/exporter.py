"""Contract of an exporter, which writes model files of another project."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from nablafx_core.interfaces.declared import ChecksSettings
from nablafx_core.interfaces.model import Model


class Exporter(ChecksSettings):
    """Writes a model as a file of another project. Its constructor's keyword arguments are its settings.

    Attributes:
        suffix: suffix of the files that it writes, such as ``".json"``; empty if it writes a folder.
    """

    suffix: ClassVar[str] = ""

    def write(self, model: Model, path: Path) -> None:
        """Write the model to a temporary path, which the framework renames afterwards, or removes if this raises.

        Args:
            model: model in eval mode.
            path: path that does not exist yet, in the folder of the final file.

        Raises:
            ConversionError: if the format does not support the model; names the unsupported part.
        """
        raise NotImplementedError
