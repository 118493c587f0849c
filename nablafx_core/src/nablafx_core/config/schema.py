"""Settings of the framework in the files of experiments and sweeps."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, Gt, Le
from pydantic import BaseModel, ConfigDict, Field

from nablafx_core.marks import Section
from nablafx_core.registry.settings import Setting, settings_of

Precision = Literal["64-true", "32-true", "16-mixed", "bf16-mixed", "bf16-true", "16-true"]

SplitMethod = Literal["auto", "file", "setting", "time", "segment"]


class LoadingSettings(BaseModel):
    """Segments, batches and the split; the keys are written beside the dataset's own settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    segment_length: int = Field(
        16384, ge=1, description="Number of samples of a training segment, without its context."
    )
    batch_size: int = Field(
        8, ge=1, description="Number of segments in a batch of one process; at most the number that the data has."
    )
    split: SplitMethod = Field(
        "auto",
        description="How to select the validation data, and the test data if the dataset has none: file (a dry file "
        "with all its settings), setting (knob positions), time (the end of each file, after a gap; its beginning if "
        "the end fades out), segment (random segments of all files, whose neighbours leak; only to reproduce published "
        "tables), auto (file; time if there are too few files).",
    )
    validation: float = Field(0.2, gt=0, lt=1, description="Share of the training data that is used for validation.")
    split_seed: int = Field(0, ge=0, description="Seed of the random choice of files, settings or segments.")
    num_workers: int = Field(
        0, ge=0, description="Number of processes that read data in advance; 0 to read in the training process."
    )
    preload: bool = Field(False, description="Keep every recording in memory.")


class TrainSettings(BaseModel):
    """Settings of training. Steps are optimiser steps; with `tbptt` one batch makes several."""

    model_config = ConfigDict(extra="forbid")

    max_steps: Annotated[int, Ge(1)] | None = Field(
        15000, description="Optimiser steps after which training ends, exactly; null for no limit."
    )
    max_minutes: Annotated[float, Gt(0)] | None = Field(
        None, description="Minutes after which training ends; null for no limit. The limit that comes first ends it."
    )
    learning_rate: Annotated[float, Gt(0)] = Field(0.005, description="Learning rate of AdamW.")
    weight_decay: Annotated[float, Ge(0)] = Field(0.01, description="Weight decay of AdamW.")
    lr_schedule: Literal["plateau", "cosine"] = Field(
        "plateau",
        description="plateau: the learning rate falls when the validation loss stops improving; cosine: it falls from "
        "the start, and reaches zero at max_steps or max_minutes, one of which is required.",
    )
    lr_warm_up: Annotated[int, Ge(0)] = Field(
        100,
        description="Steps during which the cosine schedule's rate rises, because Adam's first steps are large.",
    )
    lr_factor: Annotated[float, Gt(0), Le(1)] = Field(
        0.5, description="Factor on the learning rate when the validation loss has stopped improving (plateau)."
    )
    lr_patience: Annotated[int, Ge(0)] = Field(
        20, description="Validations without improvement before lr_factor is applied (plateau)."
    )
    early_stopping_patience: Annotated[int, Ge(1)] | None = Field(
        50, description="Validations without improvement after which training ends; null for no limit."
    )
    gradient_clip_val: Annotated[float, Gt(0)] | None = Field(
        10.0, description="Limit of the gradient clipping; null for none."
    )
    gradient_clip_algorithm: Literal["value", "norm"] = Field(
        "value", description="value: clip each value of the gradient; norm: clip the norm of the whole gradient."
    )
    tbptt: Annotated[int, Ge(1)] | Literal["auto"] | None = Field(
        "auto",
        description="Chunk length of truncated backpropagation in samples; null for whole segments; auto for the "
        "model's default.",
    )
    warm_up: Annotated[int, Ge(0)] = Field(
        4800,
        description="Samples before those of the loss, from which a model with unbounded memory computes its state.",
    )
    validate_every: Annotated[int, Ge(1)] = Field(
        250, description="Optimiser steps between validations and checkpoints."
    )
    validate_minutes: Annotated[float, Gt(0)] | Literal["auto"] | None = Field(
        "auto",
        description="Minutes without a validation after which there is an additional validation with a checkpoint; "
        "null for none; auto for a tenth of max_minutes. lr_patience and early_stopping_patience do not count them.",
    )
    seed: Annotated[int, Ge(0), Le(2**32 - 1)] = Field(
        42, description="Seed of the initial weights, the order of the data and all other random numbers."
    )
    precision: Precision = Field("32-true", description="Lightning's precision.")
    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps"] = Field("auto", description="Lightning's accelerator.")
    devices: Annotated[int, Ge(1)] | list[int] | Literal["auto"] = Field(
        1, description="Number of devices, or a list of their indices."
    )
    num_nodes: Annotated[int, Ge(1)] = Field(1, description="Number of hosts.")
    strategy: str = Field("auto", description="Lightning's strategy, such as ddp.")
    threads: Annotated[int, Ge(1)] | None = Field(
        None, description="Number of torch threads on the CPU; null for torch's default."
    )
    init: str | None = Field(None, description="Bundle, run or pack/name with the initial weights.")


class TrackSettings(BaseModel):
    """Settings of the record of a run."""

    model_config = ConfigDict(extra="forbid")

    observers: list[Annotated[dict[str, Any], Section("observer")]] = Field(
        default_factory=list, description="Additional observers of the run: Sacred's or those of packs."
    )
    runs_dir: str = Field("runs", description="Folder that holds the run folders.")
    sample_seconds: Annotated[float, Gt(0)] | None = Field(
        5.0, description="Seconds between samples of the GPUs' load, memory, power and temperature; null for none."
    )


class Resources(BaseModel):
    """Resources of each trial."""

    model_config = ConfigDict(extra="forbid")

    cpus: Annotated[int, Ge(1)] = Field(1, description="Number of CPU cores and of torch threads.")
    gpus: Annotated[float, Ge(0)] = Field(0, description="Number of GPUs; 0.5 lets two trials share one.")


class Asha(BaseModel):
    """Asynchronous successive halving: of the trials that reach a rung, only the best part continues.

    Li et al., "A System for Massively Parallel Hyperparameter Tuning", 2020. Rung k is after
    grace_period * reduction_factor^k validations.
    """

    model_config = ConfigDict(extra="forbid")

    grace_period: Annotated[int, Ge(1)] = Field(4, description="Validations before a trial can be stopped.")
    reduction_factor: Annotated[int, Ge(2)] = Field(
        3, description="One of this number of trials continues after a rung."
    )


class SweepSettings(BaseModel):
    """Settings of the search, and of the trials."""

    model_config = ConfigDict(extra="forbid")

    search: Literal["grid", "random", "asha"] = Field(
        description="grid: all combinations; random: random combinations; asha: random ones, with early stopping of "
        "bad trials."
    )
    trials: Annotated[int, Ge(1), Le(100_000)] | None = Field(None, description="Number of trials of random and asha.")
    metric: str = Field(
        "validation/loss", description="Figure that ranks the trials, by its best validation in each trial."
    )
    mode: Literal["min", "max"] = Field(
        "min", description="min if a smaller value of the metric is better, max if a larger one is."
    )
    seed: Annotated[int, Ge(0)] = Field(42, description="Seed of the random choice of trials.")
    concurrent: Annotated[int, Ge(1)] | None = Field(
        None, description="Number of simultaneous trials; null for as many as the resources allow."
    )
    resources: dict[str, Any] | None = Field(None, description="Resources of each trial: {cpus: 1, gpus: 0}.")
    asha: dict[str, Any] | None = Field(
        None, description="Settings of asha: {grace_period: 4, reduction_factor: 3}, in validations."
    )
    space: dict[str, Any] = Field(description="Paths as for --set, each with a list of values or {min: …, max: …}.")


#: Settings that are written beside those of a component, see `nablafx_core.registry.kinds`.
BESIDE_DATASET = tuple(settings_of(LoadingSettings).values())
BESIDE_LOSS = (Setting("weight", float, 1.0, "Factor on this loss in the sum."),)
BESIDE_OBSERVER = (
    Setting("from_config", str | None, None, "YAML or JSON file with more settings, which are never recorded."),
)
