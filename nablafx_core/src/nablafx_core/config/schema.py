"""The settings of the framework in the files of experiments and sweeps."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict, Field

from nablafx_core.marks import Section
from nablafx_core.registry.settings import Setting, settings_of

Precision = Literal["64-true", "32-true", "16-mixed", "bf16-mixed", "bf16-true", "16-true"]

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


class Resources(BaseModel):
    """What each trial is given."""

    model_config = ConfigDict(extra="forbid")

    cpus: Annotated[int, Ge(1)] = Field(1, description="CPU cores, and torch threads.")
    gpus: Annotated[float, Ge(0)] = Field(0, description="GPUs; 0.5 lets two trials share one.")


class Asha(BaseModel):
    """Asynchronous successive halving: of the trials that reach a rung, the best part goes on.

    Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020. Rungs are after
    grace_period reduction_factor^k validations.
    """

    model_config = ConfigDict(extra="forbid")

    grace_period: Annotated[int, Ge(1)] = Field(4, description="Validations before a trial can be stopped.")
    reduction_factor: Annotated[int, Ge(2)] = Field(3, description="One trial of so many goes on beyond a rung.")


class SweepSettings(BaseModel):
    """How the trials are found and run."""

    model_config = ConfigDict(extra="forbid")

    search: Literal["grid", "random", "asha"] = Field(
        description="grid: all combinations; random: drawn; asha: drawn, and bad ones are stopped early."
    )
    trials: Annotated[int, Ge(1), Le(100_000)] | None = Field(None, description="How many random and asha draw.")
    metric: str = Field("validation/loss", description="What is compared: each trial's best validation of it.")
    mode: Literal["min", "max"] = Field("min", description="Whether less or more of it is better.")
    seed: Annotated[int, Ge(0)] = Field(42, description="Of what is drawn.")
    concurrent: Annotated[int, Ge(1)] | None = Field(
        None, description="Trials at a time; null as many as the resources allow."
    )
    resources: dict[str, Any] | None = Field(None, description="Of each trial: {cpus: 1, gpus: 0}.")
    asha: dict[str, Any] | None = Field(None, description="{grace_period: 4, reduction_factor: 3}, in validations.")
    space: dict[str, Any] = Field(description="Paths as for --set, each with a list or {min: …, max: …}.")


#: Settings that are written beside those of a component, see `nablafx_core.registry.kinds`.
BESIDE_DATASET = tuple(settings_of(LoadingSettings).values())
BESIDE_LOSS = (Setting("weight", float, 1.0, "Factor on this loss in the sum."),)
BESIDE_OBSERVER = (Setting("from_config", str | None, None, "YAML or JSON file with more settings, never recorded."),)
