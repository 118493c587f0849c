"""The settings of a training: the experiment's sections `train` and `track`."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict, Field

from nablafx_core.settings import Section

Precision = Literal["64-true", "32-true", "16-mixed", "bf16-mixed", "bf16-true", "16-true"]


class TrainSettings(BaseModel):
    """How a model is trained. Steps are optimiser steps; with `tbptt` one batch makes several."""

    model_config = ConfigDict(extra="forbid")

    max_steps: Annotated[int, Ge(1)] | None = Field(
        15000, description="Optimiser steps after which training ends, exactly; null for no limit."
    )
    max_minutes: Annotated[float, Gt(0)] | None = Field(
        None, description="Minutes after which training ends; null for no limit. The limit that comes first ends it."
    )
    learning_rate: Annotated[float, Gt(0)] = Field(0.005, description="Of AdamW.")
    weight_decay: Annotated[float, Ge(0)] = Field(0.01, description="Of AdamW.")
    lr_schedule: Literal["plateau", "cosine"] = Field(
        "plateau",
        description="plateau: the rate falls when the validation stops improving; cosine: it falls from the start to "
        "zero at max_steps or max_minutes, for a training whose length is known.",
    )
    lr_warm_up: Annotated[int, Ge(0)] = Field(
        100, description="Steps over which the cosine schedule's rate rises first: Adam's first steps are its largest."
    )
    lr_factor: Annotated[float, Gt(0), Le(1)] = Field(
        0.5, description="Learning rate is multiplied by this on a plateau."
    )
    lr_patience: Annotated[int, Ge(0)] = Field(20, description="Validations without improvement before that.")
    early_stopping_patience: Annotated[int, Ge(1)] | None = Field(
        50, description="Validations without improvement after which training ends; null never."
    )
    gradient_clip_val: Annotated[float, Gt(0)] | None = Field(10.0, description="Gradient clipping; null for none.")
    gradient_clip_algorithm: Literal["value", "norm"] = Field("value", description="What is clipped.")
    tbptt: Annotated[int, Ge(1)] | Literal["auto"] | None = Field(
        "auto", description="Chunk of truncated backpropagation in samples; null for whole segments; auto: the model's."
    )
    warm_up: Annotated[int, Ge(0)] = Field(
        4800, description="Samples that run before the loss counts, where the receptive field has no end."
    )
    validate_every: Annotated[int, Ge(1)] = Field(
        250, description="Optimiser steps between validations and checkpoints."
    )
    validate_minutes: Annotated[float, Gt(0)] | Literal["auto"] | None = Field(
        "auto",
        description="Also validate and write a checkpoint after so many minutes without a validation; null never; "
        "auto: a tenth of max_minutes. lr_patience and early_stopping_patience do not count these validations.",
    )
    seed: Annotated[int, Ge(0), Le(2**32 - 1)] = Field(42, description="Of weights, data order and everything random.")
    precision: Precision = Field("32-true", description="Lightning's precision.")
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = Field("auto", description="Lightning's accelerator.")
    devices: Annotated[int, Ge(1)] | list[int] | Literal["auto"] = Field(1, description="How many devices, or which.")
    num_nodes: Annotated[int, Ge(1)] = Field(1, description="Hosts.")
    strategy: str = Field("auto", description="Lightning's strategy, such as ddp.")
    threads: Annotated[int, Ge(1)] | None = Field(
        None, description="torch threads on the CPU; null leaves torch's own."
    )
    init: str | None = Field(None, description="Bundle, run or pack/name whose weights training starts from.")


class TrackSettings(BaseModel):
    """Where a run is recorded, beside its folder."""

    model_config = ConfigDict(extra="forbid")

    observers: list[Annotated[dict[str, Any], Section("observer")]] = Field(
        default_factory=list, description="Observers that record the run too: Sacred's or those of packs."
    )
    runs_dir: str = Field("runs", description="Folder that holds the run folders.")
    sample_seconds: Annotated[float, Gt(0)] | None = Field(
        5.0, description="Seconds between two records of what the GPUs do; null for none."
    )
