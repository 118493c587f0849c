"""Rational functions with learned coefficients."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import combinations
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nablafx_core.errors import ModelError
from nablafx_core.kernels import rational as kernel
from nablafx_core.kernels.choice import compiled_for
from nablafx_core.settings import Range
from nablafx_core.weights import are_weights_to_follow

FunctionName = Literal["tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "mish", "softplus", "sigmoid", "identity"]
#: Degrees of numerator and denominator. Fitting tries each subset of the denominator's coefficients.
Degrees = tuple[Annotated[int, Range(0, 32)], Annotated[int, Range(0, 8)]]

_FUNCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "tanh": torch.tanh,
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "silu": F.silu,
    "mish": F.mish,
    "softplus": F.softplus,
    "sigmoid": torch.sigmoid,
    "identity": lambda x: x,
}

#: Where a function is fitted.
FIT_RANGE = 3.0


class Rational(nn.Module):
    """Padé activation unit, version A: f(x) = P(x) / Q(x), elementwise (Molina et al., 2020, arXiv:1907.06732).

    P(x) = sum over i of numerator_i x^i,  Q(x) = 1 + sum over j from 1 of |denominator_j x^j|,

    which has no pole. It begins as the least-squares fit of a known function on [-3, 3].

    Args:
        degrees: of P and of Q.
        function: that it begins as.

    Raises:
        ModelError: for degrees below 0 or a function that is not known.
    """

    def __init__(self, degrees: Degrees = (6, 5), function: FunctionName = "tanh") -> None:
        super().__init__()
        if are_weights_to_follow():  # the fit takes seconds for high degrees
            numerator, denominator = torch.zeros(degrees[0] + 1), torch.zeros(degrees[1])
        else:
            numerator, denominator = fitted_rational(function, *degrees)
        dtype = torch.get_default_dtype()
        self.numerator = nn.Parameter(numerator.to(dtype))
        self.denominator = nn.Parameter(denominator.to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        """f of each element."""
        return rational(x, self.numerator, self.denominator)

    def macs_per_sample(self) -> float:
        """Elementwise work does not count."""
        return 0.0


def rational(x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    """P(x) / Q(x) as `Rational` defines it.

    float32 and float64 on the CPU run compiled, forward and backward; everything else, and derivatives of second
    order, as torch's operations.

    Args:
        x: of any shape.
        numerator: coefficients from x^0 on, (degree + 1,).
        denominator: coefficients from x^1 on, (degree,).
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
    """`rational` in torch's operations."""
    far = x.abs() > kernel.far_from_zero(torch.finfo(x.dtype).max)
    near = _ratio(x.masked_fill(far, 0), numerator, denominator)
    t = 1 / x.masked_fill(~far, 1)  # powers of x overflow far from 0: P / Q as x^m A(1 / x) / (|x|^n B(1 / |x|))
    m, n = len(numerator) - 1, len(denominator)
    a, b = _polynomial(t, numerator), _polynomial(t.abs(), torch.cat([t.new_ones(1), denominator.abs()]))
    return torch.where(far, a / b * t.sign() ** m * t.abs() ** (n - m), near)


def _ratio(x: Tensor, numerator: Tensor, denominator: Tensor) -> Tensor:
    weights = torch.cat([x.new_ones(1), denominator.abs()])
    return _polynomial(x, numerator.flip(0)) / _polynomial(x.abs(), weights.flip(0))


def _polynomial(x: Tensor, coefficients: Tensor) -> Tensor:
    """Evaluate by Horner's rule, the coefficient of the highest power first."""
    value = coefficients[0].expand_as(x)
    for coefficient in coefficients[1:]:
        value = torch.addcmul(coefficient, value, x)
    return value


@lru_cache(maxsize=64)
def fitted_rational(function: str, p_degree: int, q_degree: int) -> tuple[Tensor, Tensor]:
    """The coefficients, float64, with which `rational` is nearest to a function on [-3, 3] in the mean square.

    Raises:
        ModelError: for degrees below 0 or a function that is not known.
    """
    if function not in _FUNCTIONS:
        raise ModelError(f"no rational function is fitted to '{function}'. Functions: {', '.join(_FUNCTIONS)}.")
    if p_degree < 0 or q_degree < 0:
        raise ModelError(f"a rational function of degrees ({p_degree}, {q_degree}) does not exist.")
    x = FIT_RANGE * torch.cos(torch.linspace(0, torch.pi, 801, dtype=torch.float64))  # dense at the ends
    y = _FUNCTIONS[function](x)
    measure = torch.sin(torch.linspace(0, torch.pi, 801, dtype=torch.float64)).clamp(min=1e-3).sqrt()
    return fit_rational(x, y, measure, p_degree, q_degree)


def fit_rational(x: Tensor, y: Tensor, measure: Tensor, p_degree: int, q_degree: int) -> tuple[Tensor, Tensor]:
    """The coefficients with which `rational` is nearest to points in the mean square.

    Sanathanan and Koerner's iteration: P - f Q is made small in the mean square, each point weighted by 1 / Q of the
    iteration before; Q's weights, which are not negative, by trying each subset of them that may be zero.

    Args:
        x, y: of the points, float64 (points,).
        measure: of each point's error, (points,).
        p_degree, q_degree: of the numerator and the denominator.

    Returns:
        numerator (p_degree + 1,) and denominator (q_degree,), as `rational` takes them.
    """
    weight = torch.ones_like(x)
    best: tuple[float, Tensor, Tensor] | None = None
    for _ in range(12):
        p, q = _linearised(x, y, measure * weight, p_degree, q_degree)
        error = float((measure * (textbook(x, p, q) - y)).square().sum())
        if best is None or error < best[0]:
            best = (error, p, q)
        weight = textbook(x, torch.ones(1, dtype=torch.float64), q)
    assert best is not None
    return best[1], best[2].clamp(min=1e-12)  # from 0 itself no gradient leads away


def _linearised(x: Tensor, y: Tensor, weight: Tensor, p_degree: int, q_degree: int) -> tuple[Tensor, Tensor]:
    """P and weights of Q >= 0 with the smallest sum of (weight (P - y Q))^2."""
    powers = torch.stack([x**i for i in range(p_degree + 1)], dim=1)
    sizes = torch.stack([-y * x.abs() ** j for j in range(1, q_degree + 1)], dim=1) if q_degree else powers[:, :0]
    target = (weight * y)[:, None]
    best: tuple[float, Tensor, Tensor] | None = None
    for count in range(q_degree, -1, -1):
        for used in combinations(range(q_degree), count):
            matrix = weight[:, None] * torch.cat((powers, sizes[:, list(used)]), dim=1)
            solution = torch.linalg.lstsq(matrix, target, driver="gelsd").solution
            if bool((solution[p_degree + 1 :] < 0).any()):
                continue
            error = float((matrix @ solution - target).square().sum())
            if best is None or error < best[0]:
                q = x.new_zeros(q_degree)
                q[list(used)] = solution[p_degree + 1 :, 0]
                best = (error, solution[: p_degree + 1, 0], q)
    assert best is not None  # without any weight of Q there is always a solution
    return best[1], best[2]
