"""An exporter: writes a trained model as a file of another project."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from nablafx_core.controls import Control
from nablafx_core.errors import ConversionError
from nablafx_core.interfaces import Exporter, Model
from nablafx_example.file_format import SUFFIX, Knob, SoftToneFile
from nablafx_example.model import SoftTone


class SoftToneExporter(Exporter):
    """Writes a `SoftTone` as JSON: its knobs, its cutoff in Hz and its drive.

    Args:
        indent: spaces of each level; null for a single line.
    """

    suffix = SUFFIX

    def __init__(self, indent: int | None = 2) -> None:
        self.indent = indent

    def write(self, model: Model, path: Path) -> None:
        """Write the file.

        Raises:
            ConversionError: for another model, or a knob that is a switch.
        """
        if not isinstance(model, SoftTone):
            raise ConversionError(f"a {SUFFIX} file holds a SoftTone; this model is a {type(model).__name__}.")
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
        raise ConversionError(f"a {SUFFIX} file has no switches, and the model's '{control.name}' is one.")
    known = {key: value for key, value in asdict(control).items() if key != "positions"}
    return Knob(**known, octaves=octaves)
