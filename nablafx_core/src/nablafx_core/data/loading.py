"""How recordings become batches: the settings that stand in an experiment's `data` section."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

SplitMethod = Literal["auto", "file", "setting", "time", "segment"]


class LoadingSettings(BaseModel):
    """Segments, batches and the split; they stand beside the dataset's own settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    segment_length: int = Field(16384, ge=1, description="samples of one training segment, without its context")
    batch_size: int = Field(
        8, ge=1, description="segments in a batch of one process; all there are if the data has fewer"
    )
    split: SplitMethod = Field(
        "auto",
        description="how validation (and test, where the data names none) is set aside: file (a dry file with all "
        "its settings), setting (knob positions), time (the end of each file, after a gap; its beginning where the end "
        "fades out), segment (random segments of all files: neighbours leak, only to reproduce published tables), "
        "auto (file, or time with too few files)",
    )
    validation: float = Field(0.2, gt=0, lt=1, description="share of the training data set aside for validation")
    split_seed: int = Field(0, ge=0, description="which files, settings or segments are set aside")
    num_workers: int = Field(0, ge=0, description="processes that read ahead; 0 reads in the training process")
    preload: bool = Field(False, description="hold every recording in memory")
