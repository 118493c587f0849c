"""File format of `SoftTone`: JSON with every quantity in units, as another program would read it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

SUFFIX = ".softtone"


class Part(BaseModel):
    """Reject fields that are missing, unknown, of another type, NaN or infinite."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Knob(Part):
    """A knob, and the octaves by which it moves the cutoff over its range."""

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
