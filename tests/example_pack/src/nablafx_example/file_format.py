"""A file format of the pack's own for `SoftTone`: JSON with every quantity in units, such as another program reads."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SUFFIX = ".softtone"


class Part(BaseModel):
    """Refuses what is of another type, not finite, missing, or not known."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Knob(Part):
    """A knob, and by how many octaves it moves the cutoff from end to end."""

    name: Annotated[str, Field(min_length=1, max_length=100)]
    unit: str = ""
    minimum: float
    maximum: float
    curve: Literal["linear", "log"] = "linear"
    default: float | None = None
    octaves: float


class SoftToneFile(Part):
    """The whole file."""

    format: Literal["soft-tone"]
    version: Literal[1]
    sample_rate: Annotated[int, Field(ge=1000, le=1_000_000)]
    cutoff_hz: Annotated[float, Field(gt=0)]
    drive: Annotated[float, Field(gt=0)]
    knobs: Annotated[list[Knob], Field(max_length=32)]
