"""Contract of an importer, which reads model files of another project."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from nablafx_core.interfaces.declared import ChecksSettings
from nablafx_core.interfaces.model import Model


class Importer(ChecksSettings):
    """Reads a model file of another project. Its constructor's keyword arguments are its settings.

    Files are not trusted: an importer executes nothing in them, and checks every value before it uses it.

    Attributes:
        suffixes: suffixes of the files that it reads, such as ``(".nam",)``.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()

    def reads(self, path: Path) -> bool:
        """Return True if a file seems to have the importer's format; called if several importers have its suffix."""
        return True

    def read(self, path: Path) -> Model:
        """Return the model in the file, in eval mode; it is made by `nablafx_core.build`, so a bundle can store it.

        Raises:
            ConversionError: if the file is damaged, or contains something unsupported; names that part.
        """
        raise NotImplementedError
