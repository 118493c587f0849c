"""Laws of losses and metrics: items are independent, silence gives finite values, and a perfect prediction is best."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from nablafx_core.causes import cause
from nablafx_core.interfaces import Loss, Metric
from nablafx_core.testing.subject import LawBroken, check, error


def loss_is_per_item(loss: Loss, *, time: int = 8192, channels: int = 1, tolerance: float = 1e-6) -> float:
    """Check that a batch of two gives one value per item, of shape (2,), the same as two batches of one.

    The signals are noise of `time` samples, or `min_samples` if that is more.

    Returns:
        The largest difference relative to the larger of 1 and the largest value.

    Raises:
        LawBroken: if the shape is wrong, or the difference is larger than the tolerance.
    """
    prediction, target = _pair(max(time, loss.min_samples), channels)
    with torch.no_grad():
        together = loss(prediction, target)
    if together.shape != (2,):
        raise LawBroken(
            f"{_name(loss)} returns shape {tuple(together.shape)} for a batch of 2; expected one value per item. "
            "Reduce over channels and time, never over the batch."
        )
    with torch.no_grad():
        alone = torch.cat([loss(prediction[i : i + 1], target[i : i + 1]) for i in range(2)])
    advice = "Reduce over channels and time, never over the batch."
    return check(error(together, alone), tolerance, f"one item does not see another ({_name(loss)})", advice)


def loss_is_zero_at_equality(loss: Loss, *, time: int = 8192, channels: int = 1, tolerance: float = 1e-6) -> float:
    """Check that a loss is 0 if prediction and target are equal, and larger for a wrong prediction.

    Returns:
        The largest absolute value at equality.

    Raises:
        LawBroken: if it is larger than the tolerance, or the loss of a wrong prediction is not larger.
    """
    prediction, target = _pair(max(time, loss.min_samples), channels)
    with torch.no_grad():
        at_equality, wrong = float(loss(target, target).abs().max()), float(loss(prediction, target).min())
    if not wrong > at_equality:
        raise LawBroken(
            f"{_name(loss)} is {wrong:.3g} for a wrong prediction and {at_equality:.3g} for the right one. "
            "Training minimises it, so it must be smallest if prediction and target are equal."
        )
    return check(at_equality, tolerance, f"zero at equality ({_name(loss)})", "Subtract its value at equality.")


def loss_survives_silence(loss: Loss, *, time: int = 8192, channels: int = 1) -> float:
    """Check that values and gradients are finite if prediction, target or both are silent, or both are equal.

    Returns:
        The largest absolute gradient with respect to the prediction.

    Raises:
        LawBroken: if a value or a gradient is NaN or infinite.
    """
    largest = 0.0
    for prediction, target in _hard_pairs(max(time, loss.min_samples), channels):
        prediction = prediction.clone().requires_grad_()
        value = loss(prediction, target)
        (gradient,) = torch.autograd.grad(value.sum(), prediction)
        if not bool(value.isfinite().all() and gradient.isfinite().all()):
            raise LawBroken(
                f"silence gives no NaN ({_name(loss)}): value {value.tolist()}, largest gradient "
                f"{float(gradient.abs().max())}, for peaks of {_peaks(prediction, target)}. Add a floor to "
                "denominators, and under logarithms and roots."
            )
        largest = max(largest, float(gradient.abs().max()))
    return largest


def loss_takes_what_it_declares(loss: Loss, *, channels: int = 1) -> int:
    """Check that a loss gives finite values for signals of `min_samples` and of 1, 2, 9 and 1,000 samples more.

    Returns:
        The value of `min_samples`.

    Raises:
        LawBroken: if the loss raises for one of these lengths, or gives NaN or infinity.
    """
    for time in (loss.min_samples + more for more in (0, 1, 2, 9, 1000)):
        why = _failure(loss, *_pair(time, channels))
        if why:
            raise LawBroken(
                f"{_name(loss)} fails on {time:,} samples: {why}. It declares min_samples = {loss.min_samples:,}: set "
                "it to the smallest number of samples that the loss can compare, and accept all longer signals."
            )
    return loss.min_samples


def metric_takes_any_length(metric: Metric) -> int:
    """Check that a metric has finite statistics for signals of 1 to 1,000 samples, because recordings have any length.

    Returns:
        The number of lengths that were tried.

    Raises:
        LawBroken: if the metric raises for one of these lengths, or gives NaN or infinity.
    """
    lengths = (1, 2, 3, 64, 127, 1000)
    for time in lengths:
        why = _failure(metric.statistics, *_pair(time, 1))
        if why:
            raise LawBroken(f"{_name(metric)} fails on {time:,} samples: {why}. Pad with silence, for example.")
    return len(lengths)


def _failure(compare: Callable[[Tensor, Tensor], Tensor], prediction: Tensor, target: Tensor) -> str | None:
    """Return the exception of a comparison or its NaN or infinite values, as text; None if all values are finite."""
    try:
        with torch.no_grad():
            values = compare(prediction, target)
    except Exception as failure:  # any exception of a pack's code
        return cause(failure)
    return None if bool(values.isfinite().all()) else f"it gives {values.tolist()}"


def metric_is_a_sum(metric: Metric, *, time: int = 8192, channels: int = 1, tolerance: float = 1e-6) -> float:
    """Check that the statistics of a batch of two, (2, n) in float64, equal those of two batches of one.

    Returns:
        The largest difference relative to the larger of 1 and the largest statistic.

    Raises:
        LawBroken: if shape or type are wrong, or the difference is larger than the tolerance.
    """
    prediction, target = _pair(time, channels)
    together = metric.statistics(prediction, target)
    if together.ndim != 2 or together.shape[0] != 2 or together.dtype != torch.float64:
        raise LawBroken(
            f"{_name(metric)}.statistics returns {together.dtype} of shape {tuple(together.shape)} for a batch of 2; "
            "expected float64 of shape (2, n)."
        )
    alone = torch.cat([metric.statistics(prediction[i : i + 1], target[i : i + 1]) for i in range(2)])
    advice = "Sum over channels and time, never over the batch, in float64."
    return check(error(together, alone), tolerance, f"a split's figure is built from sums ({_name(metric)})", advice)


def metric_at_equality(metric: Metric, *, best: float = 0.0, time: int = 8192, tolerance: float = 1e-6) -> float:
    """Check that a perfect prediction gets the best figure, and a wrong one a worse figure.

    Args:
        metric: metric to check.
        best: expected figure of a perfect prediction.
        time: number of samples.
        tolerance: largest allowed distance from `best`.

    Returns:
        The distance of a perfect prediction's figure from `best`.

    Raises:
        LawBroken: if it is larger than the tolerance, or a wrong prediction ranks as high.
    """
    _, target = _pair(time, 1)
    metric_ranks(metric, time=time)
    distance = abs(_figure(metric, target, target) - best)
    return check(
        distance, tolerance, f"perfect is {best:g} ({_name(metric)})", "Measure the distance from a perfect prediction."
    )


def metric_ranks(metric: Metric, *, time: int = 8192) -> float:
    """Check that a perfect prediction has a better figure than a wrong one: lower or higher, by `lower_is_better`.

    Returns:
        The figure of a perfect prediction.

    Raises:
        LawBroken: if its figure is not better.
    """
    prediction, target = _pair(time, 1)
    right, wrong = _figure(metric, target, target), _figure(metric, prediction, target)
    if not (wrong > right if metric.lower_is_better else wrong < right):
        raise LawBroken(
            f"{_name(metric)} ranks a wrong prediction ({wrong:.3g}) no worse than the right one ({right:.3g}). "
            f"If the figures are right, change lower_is_better, which is {metric.lower_is_better}."
        )
    return right


def metric_survives_silence(metric: Metric, *, time: int = 8192) -> float:
    """Check that the figure is finite if prediction, target or both are silent, or both are equal.

    Returns:
        The largest figure.

    Raises:
        LawBroken: if a figure is NaN or infinite.
    """
    figures = []
    for prediction, target in _hard_pairs(time, 1):
        figures.append(_figure(metric, prediction, target))
        if not math.isfinite(figures[-1]):
            raise LawBroken(
                f"silence gives no NaN ({_name(metric)}): {figures[-1]} for peaks of {_peaks(prediction, target)}; "
                "expected a finite figure. Add a floor to denominators."
            )
    return max(figures)


def _figure(metric: Metric, prediction: Tensor, target: Tensor) -> float:
    return metric.value(metric.statistics(prediction, target).sum(dim=0))


def _pair(time: int, channels: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    target = torch.rand(2, channels, time, generator=generator) * torch.tensor([1.0, 0.05]).view(2, 1, 1) - 0.02
    return target + torch.randn(target.shape, generator=generator) * torch.tensor([0.02, 0.1]).view(2, 1, 1), target


def _hard_pairs(time: int, channels: int) -> list[tuple[Tensor, Tensor]]:
    prediction, target = _pair(time, channels)
    silence = torch.zeros_like(target)
    return [(silence, silence), (prediction, silence), (silence, target), (target, target)]


def _peaks(prediction: Tensor, target: Tensor) -> str:
    return f"{float(prediction.detach().abs().max()):.3g} (prediction) and {float(target.abs().max()):.3g} (target)"


def _name(score: Loss | Metric) -> str:
    return type(score).__name__
