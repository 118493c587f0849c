"""The contract of a reader of another project's model files."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from nablafx_core.interfaces.declared import ChecksSettings
from nablafx_core.interfaces.model import Model


class Importer(ChecksSettings):
    """Reads a model file of another project. Its constructor's keyword arguments are its settings.

    A file is not trusted: nothing in it is executed, and what it says is checked before it is used.

    Attributes:
        suffixes: endings of the files that it reads, such as ``(".nam",)``.
    """

    suffixes: ClassVar[tuple[str, ...]] = ()

    def reads(self, path: Path) -> bool:
        """Return whether a file seems to be of its format; called if several importers read such files."""
        return True

    def read(self, path: Path) -> Model:
        """The model in the file, in eval mode, made by `nablafx_core.build` so that a bundle can hold it.

        Raises:
            ConversionError: if the file is damaged, or holds what cannot be imported; says which part.
        """
        raise NotImplementedError
