"""AdamW with a learning rate for each part of a model."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nablafx_core.config.schema import TrainSettings
from nablafx_core.weights import trained_with


def optimizer_of(model: nn.Module, settings: TrainSettings) -> torch.optim.Optimizer:
    """Return AdamW over the trainable parameters of a model, grouped by their learning rate and weight decay.

    A module inside the model with an attribute ``lr_multiplier`` scales the learning rate of all parameters inside it;
    the factors of nested modules are multiplied. Settings that `nablafx_core.weights.train_with` gave to a parameter
    override these values, as the parameters of a state-space model need. Each group stores its rate as ``initial_lr``,
    too, for schedules.
    """
    groups: dict[tuple[tuple[str, float], ...], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        if not parameter.requires_grad:
            continue
        wanted = {"lr": settings.learning_rate * _multiplier(model, name), "weight_decay": settings.weight_decay}
        wanted.update(trained_with(parameter))
        groups.setdefault(tuple(sorted(wanted.items())), []).append(parameter)
    parameters: list[dict[str, Any]] = [{"params": members, **dict(key)} for key, members in groups.items()]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def _multiplier(model: nn.Module, name: str) -> float:
    factor, module = 1.0, model
    for part in name.split(".")[:-1]:
        module = getattr(module, part)
        factor *= float(getattr(module, "lr_multiplier", 1.0))
    return factor
