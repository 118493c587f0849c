"""Multiply-accumulates per sample of audio, counted layer by layer.

Sums of products are counted: matrix products, convolutions and recurrences. Elementwise operations are not:
activations, gates, normalisation, scaling by a modulation, adding a residual. Each module of a model counts once per
sample. A module that is not a layer of torch declares its own count: see `nablafx_core.interfaces.declared`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from torch import nn

from nablafx_core.interfaces import Processor
from nablafx_core.interfaces.declared import CountsMacs, WorksInSteps


class Macs(NamedTuple):
    """Multiply-accumulates per sample.

    Args:
        per_sample: multiply-accumulates per sample of all modules that could be counted.
        not_counted: modules with weights of their own, and processors, whose count is unknown; as ``name (class)``.
    """

    per_sample: float
    not_counted: tuple[str, ...] = ()


def count_macs(module: nn.Module, name: str = "") -> Macs:
    """Count the multiply-accumulates of a module per sample of its input.

    Args:
        module: model, or part of a model.
        name: name of the module in `Macs.not_counted`; the module's class if empty.
    """
    steps = float(module.samples_per_step) if isinstance(module, WorksInSteps) else 1.0
    own = _declared(module)
    if own is not None:
        return Macs(own / steps)
    parts = [count_macs(child, f"{name}.{key}" if name else key) for key, child in module.named_children()]
    not_counted = tuple(missing for part in parts for missing in part.not_counted)
    if next(module.parameters(recurse=False), None) is not None or isinstance(module, Processor):
        kind = type(module).__name__
        not_counted = (f"{name} ({kind})" if name else kind, *not_counted)
    if steps == float("inf"):
        not_counted = ()
    return Macs(sum(part.per_sample for part in parts) / steps, not_counted)


def _declared(module: nn.Module) -> float | None:
    """Return the count that a module declares, or that is known for its class; None if unknown."""
    if isinstance(module, CountsMacs):
        return float(module.macs_per_sample())
    for kinds, count in _LAYERS:
        if isinstance(module, kinds):
            return count(module)
    return None


def _convolution(layer: nn.Conv1d) -> float | None:
    """Return the products per sample; None for a layer with a stride, which has fewer outputs than samples."""
    if layer.stride != (1,):
        return None
    return layer.out_channels * layer.in_channels // layer.groups * layer.kernel_size[0]


def _recurrence(layer: nn.RNNBase) -> float:
    """Return the number of weights in all matrices; each matrix is used once per sample."""
    return sum(weight.numel() for name, weight in layer.named_parameters() if name.startswith("weight"))


def _linear(layer: nn.Linear) -> float:
    return layer.in_features * layer.out_features


_ELEMENTWISE = (nn.BatchNorm1d, nn.LayerNorm, nn.GroupNorm, nn.InstanceNorm1d, nn.PReLU)

_LAYERS: tuple[tuple[type[nn.Module] | tuple[type[nn.Module], ...], Callable[..., float | None]], ...] = (
    (nn.Conv1d, _convolution),
    (nn.Linear, _linear),
    (nn.RNNBase, _recurrence),
    (_ELEMENTWISE, lambda layer: 0.0),
)
