"""Rational functions, compiled where possible."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from nablafx_core.kernels import rational as kernel
from nablafx_core.kernels.choice import compiled_for


def rational(x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    """Compute P(x) / Q(x) elementwise.

    P(x) = sum over i of numerator_i x^i,  Q(x) = 1 + sum over j from 1 of |denominator_j x^j|

    For float32 and float64 on the CPU, forward and backward pass are compiled where `compiled_for` allows it.
    Otherwise, and for second derivatives, torch's operations are used.

    Args:
        x: values of any shape.
        numerator: coefficients of P from x^0 on, (degree + 1,).
        denominator: coefficients of Q from x^1 on, of any sign, (degree,).

    Raises:
        ModelError: if the environment variable ``NABLAFX_KERNELS`` has an unknown value.
    """
    same = x.dtype == numerator.dtype == denominator.dtype
    if same and compiled_for(x, numerator, denominator, dtypes=(torch.float32, torch.float64)):
        y: Tensor = _Rational.apply(x, numerator, denominator)  # type: ignore[no-untyped-call]
        return y
    return textbook(x, numerator, denominator)


class _Rational(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
        ctx.save_for_backward(x, numerator, denominator)
        return kernel.forward(x, numerator, denominator.abs())

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        saved, needed = ctx.saved_tensors, ctx.needs_input_grad
        if torch.is_grad_enabled():
            wanted = [tensor for tensor, need in zip(saved, needed, strict=True) if need]
            found = iter(torch.autograd.grad(textbook(*saved), wanted, gradient, create_graph=True))
            return tuple(next(found) if need else None for need in needed)
        x, numerator, denominator = saved
        of_x, of_numerator, of_weights = kernel.backward(gradient, x, numerator, denominator.abs())
        gradients = of_x, of_numerator, of_weights * denominator.sign()
        return tuple(g if need else None for g, need in zip(gradients, needed, strict=True))


def textbook(x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    """Compute the function of `rational` with torch's operations, which can be differentiated any number of times."""
    far = x.abs() > kernel.far_from_zero(torch.finfo(x.dtype).max)
    near = _ratio(x.masked_fill(far, 0), numerator, denominator)
    t = 1 / x.masked_fill(~far, 1)  # powers of x overflow far from 0; there, P / Q = x^m A(1 / x) / (|x|^n B(1 / |x|))
    m, n = len(numerator) - 1, len(denominator)
    a, b = _polynomial(t, numerator), _polynomial(t.abs(), torch.cat([t.new_ones(1), denominator.abs()]))
    return torch.where(far, a / b * t.sign() ** m * t.abs() ** (n - m), near)


def _ratio(x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    weights = torch.cat([x.new_ones(1), denominator.abs()])
    return _polynomial(x, numerator.flip(0)) / _polynomial(x.abs(), weights.flip(0))


def _polynomial(x: Tensor, coefficients: Tensor) -> Tensor:
    """Evaluate a polynomial by Horner's rule; the coefficient of the highest power comes first."""
    value = coefficients[0].expand_as(x)
    for coefficient in coefficients[1:]:
        value = torch.addcmul(coefficient, value, x)
    return value
