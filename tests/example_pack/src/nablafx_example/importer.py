"""An importer: reads a model file of another program, and validates every field of it."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from pydantic import ValidationError

from nablafx_core.controls import Control
from nablafx_core.errors import ConversionError, ModelError
from nablafx_core.interfaces import Importer
from nablafx_core.registry.building import build
from nablafx_example.file_format import SUFFIX, SoftToneFile
from nablafx_example.model import SoftTone

#: Largest size in bytes; a file with 32 knobs is far smaller.
LARGEST = 2**20


class SoftToneImporter(Importer):
    """Read a file that `SoftToneExporter` writes."""

    suffixes = (SUFFIX,)

    def read(self, path: Path) -> SoftTone:
        """Build the model in the file.

        Raises:
            ConversionError: if the file cannot be read, or a field is missing, unknown or out of range; the message
                names the field.
        """
        content = _checked(path)
        try:
            controls = [Control(**knob.model_dump(exclude={"octaves"})) for knob in content.knobs]
        except ModelError as error:  # an empty range, or a default outside it
            raise ConversionError(f"{path}: {error}") from error
        section = {"name": "nablafx-example/soft-tone"}
        model: SoftTone = build("model", section, sample_rate=content.sample_rate, controls=controls)
        with torch.no_grad():
            model.log_cutoff.fill_(math.log2(content.cutoff_hz))
            model.log_drive.fill_(math.log2(content.drive))
            if model.octaves is not None:
                model.octaves.copy_(torch.tensor([[knob.octaves] for knob in content.knobs]))
        return model.eval()


def _checked(path: Path) -> SoftToneFile:
    try:
        with open(path, "rb") as file:
            text = file.read(LARGEST + 1)
    except OSError as error:
        raise ConversionError(f"{path}: cannot be read: {error.strerror}.") from None
    if len(text) > LARGEST:
        raise ConversionError(f"{path}: is larger than {LARGEST:,} bytes, the limit of {SUFFIX} files.")
    try:
        return SoftToneFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConversionError(f"{path}: {field + ': ' if field else ''}{first['msg']}.") from None
