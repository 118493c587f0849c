"""The settings of a sweep: the section `sweep` of its file."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from annotated_types import Ge, Le
from pydantic import BaseModel, ConfigDict, Field


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
