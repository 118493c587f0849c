"""An exporter: writes a trained model to a file for another program."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from nablafx_core.controls import Control
from nablafx_core.errors import ConversionError
from nablafx_core.interfaces import Exporter, Model
from nablafx_example.file_format import SUFFIX, Knob, SoftToneFile
from nablafx_example.model import SoftTone


class SoftToneExporter(Exporter):
    """Write a `SoftTone` as JSON: its knobs, its cutoff in Hz and its drive.

    Args:
        indent: number of spaces per level; null for a single line.
    """

    suffix = SUFFIX

    def __init__(self, indent: int | None = 2) -> None:
        self.indent = indent

    def write(self, model: Model, path: Path) -> None:
        """Write the file.

        Raises:
            ConversionError: if the model is not a SoftTone, or has a switch.
        """
        if not isinstance(model, SoftTone):
            raise ConversionError(f"a {SUFFIX} file requires a SoftTone, got a {type(model).__name__}.")
        octaves = [] if model.octaves is None else model.octaves[:, 0].tolist()
        content = SoftToneFile(
            format="soft-tone",
            version=1,
            sample_rate=model.sample_rate,
            cutoff_hz=2.0 ** model.log_cutoff.item(),
            drive=2.0 ** model.log_drive.item(),
            knobs=[_knob(control, moved) for control, moved in zip(model.controls, octaves, strict=True)],
        )
        path.write_text(content.model_dump_json(indent=self.indent), encoding="utf-8")


def _knob(control: Control, octaves: float) -> Knob:
    if control.positions:
        raise ConversionError(f"a {SUFFIX} file cannot contain a switch, and the model's '{control.name}' is one.")
    known = {key: value for key, value in asdict(control).items() if key != "positions"}
    return Knob(**known, octaves=octaves)
