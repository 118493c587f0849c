"""An importer: reads a model file of another project. Nothing that such a file says is trusted."""

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

LARGEST = 2**20


class SoftToneImporter(Importer):
    """Reads what `SoftToneExporter` writes."""

    suffixes = (SUFFIX,)

    def read(self, path: Path) -> SoftTone:
        """The model in the file.

        Raises:
            ConversionError: if it cannot be read or a field is missing, unknown or out of range; names the field.
        """
        content = _checked(path)
        try:
            controls = [Control(**knob.model_dump(exclude={"octaves"})) for knob in content.knobs]
        except ModelError as error:  # a range that is none, or a default outside it
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
        raise ConversionError(f"{path}: larger than any {SUFFIX} file.")
    try:
        return SoftToneFile.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        field = ".".join(str(part) for part in first["loc"])
        raise ConversionError(f"{path}: {field + ': ' if field else ''}{first['msg']}.") from None
