"""Rational functions with learned coefficients."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import combinations
from typing import Annotated, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nablafx_core.errors import ModelError
from nablafx_core.functional.rational import rational, textbook
from nablafx_core.marks import Range
from nablafx_core.weights import are_weights_to_follow

FunctionName = Literal["tanh", "relu", "leaky_relu", "elu", "gelu", "silu", "mish", "softplus", "sigmoid", "identity"]
#: Degrees of numerator and denominator; limited because fitting tries each subset of the denominator's coefficients.
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

#: Largest magnitude of x at which a function is fitted.
FIT_RANGE = 3.0


class Rational(nn.Module):
    """Padé activation unit, version A: f(x) = P(x) / Q(x), elementwise (Molina et al., 2020, arXiv:1907.06732).

    P(x) = sum over i of numerator_i x^i,  Q(x) = 1 + sum over j from 1 of |denominator_j x^j|,

    which has no pole. The initial coefficients are the least-squares fit of a known function on [-3, 3].

    Args:
        degrees: degrees of P and Q.
        function: function that the initial coefficients approximate.

    Raises:
        ModelError: if a degree is below 0, or the function is unknown.
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
        """Apply f to each element."""
        return rational(x, self.numerator, self.denominator)

    def macs_per_sample(self) -> float:
        """Return 0, because elementwise operations do not count."""
        return 0.0


@lru_cache(maxsize=64)
def fitted_rational(function: str, p_degree: int, q_degree: int) -> tuple[Tensor, Tensor]:
    """Return the float64 coefficients with which `rational` has the smallest mean squared error on [-3, 3].

    Raises:
        ModelError: if a degree is below 0, or the function is unknown.
    """
    if function not in _FUNCTIONS:
        raise ModelError(f"a rational function cannot be fitted to '{function}'. Functions: {', '.join(_FUNCTIONS)}.")
    if p_degree < 0 or q_degree < 0:
        raise ModelError(f"the degrees of a rational function must be at least 0, got ({p_degree}, {q_degree}).")
    x = FIT_RANGE * torch.cos(torch.linspace(0, torch.pi, 801, dtype=torch.float64))  # dense at the ends
    y = _FUNCTIONS[function](x)
    measure = torch.sin(torch.linspace(0, torch.pi, 801, dtype=torch.float64)).clamp(min=1e-3).sqrt()
    return fit_rational(x, y, measure, p_degree, q_degree)


def fit_rational(x: Tensor, y: Tensor, measure: Tensor, p_degree: int, q_degree: int) -> tuple[Tensor, Tensor]:
    """Return the coefficients with which `rational` has the smallest mean squared error at given points.

    Sanathanan and Koerner's iteration: minimise the mean square of P - f Q, with each point weighted by 1 / Q of the
    previous iteration. Q's weights are kept non-negative by trying each subset of them as the non-zero ones.

    Args:
        x, y: coordinates of the points, float64, (points,).
        measure: weight of the error at each point, (points,).
        p_degree, q_degree: degrees of the numerator and the denominator.

    Returns:
        Coefficients of the numerator, (p_degree + 1,), and of the denominator, (q_degree,), as for `rational`.
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
    return best[1], best[2].clamp(min=1e-12)  # the gradient at 0 itself is 0


def _linearised(x: Tensor, y: Tensor, weight: Tensor, p_degree: int, q_degree: int) -> tuple[Tensor, Tensor]:
    """Return P and the weights of Q, all >= 0, that minimise the sum of (weight (P - y Q))^2."""
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
    assert best is not None  # with no weight of Q, there is always a solution
    return best[1], best[2]
