"""Circuits of linear elements, diodes and transistors as nonlinear state-space systems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nablafx_core.kernels.compiled import compiled

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Junctions:
    """Semiconductor junctions, whose currents in ampere depend on the voltages v over them.

    j = Is (exp(v / n) - 1), or for a pair of antiparallel diodes j = 2 Is sinh(v / n).

    Args:
        saturation: Is of each junction in ampere, (junctions,).
        thermal: n of each junction, the ideality factor times the thermal voltage, in volts, (junctions,).
        paired: true for an antiparallel pair of diodes, (junctions,).
    """

    saturation: Array
    thermal: Array
    paired: NDArray[np.bool_]


@dataclass(frozen=True)
class StateSpace:
    """Circuit whose state is the voltages x of its capacitors::

        x' = A x + B u + C j(v),    v = D x + E u + F j(v),    y = l x + m u + n j(v)

    with u the audio and the supply voltage, y the output, v the voltages over the junctions and j their currents: an
    index-1 system of differential and algebraic equations. It is discretised by the trapezoidal rule and solved by the
    K-method (Borin, De Poli and Rocchesso, "Elimination of delay-free loops in discrete-time models of nonlinear
    acoustic systems", IEEE Trans. Speech Audio Proc. 8(5), 2000).

    Args:
        a: (states, states).
        b: (states, 2), the audio's column first, then the supply's.
        c: (states, junctions).
        d: (junctions, states).
        e: (junctions, 2).
        f: (junctions, junctions).
        outputs: l, m and n in one row, (states + 2 + junctions,).
        junctions: the junctions that the voltages v drive.
        supply: supply voltage in volts.
    """

    a: Array
    b: Array
    c: Array
    d: Array
    e: Array
    f: Array
    outputs: Array
    junctions: Junctions
    supply: float = 0.0

    def at_rest(self, steps: int = 32) -> tuple[Array, Array, int]:
        """Find the operating point: the constant x and v without audio.

        Args:
            steps: number of equal steps in which the supply is raised from 0 V; each starts from the v of the last.

        Returns:
            x (states,), v (junctions,), both in volts, and 1 if Newton's method did not converge at the full supply,
            else 0.
        """
        of_supply = -np.linalg.solve(self.a, self.b[:, 1])
        of_currents = -np.linalg.solve(self.a, self.c)
        known, k = self.e[:, 1] + self.d @ of_supply, self.f + self.d @ of_currents
        v, failed = np.zeros(len(k)), 0
        for supply in self.supply * np.arange(1, steps + 1) / steps:
            failed = int(not _solve_junctions(known * supply, k, *self._junctions(), v, _scratch(len(v))))
        return of_supply * self.supply + of_currents @ self.currents(v), v, failed

    def currents(self, v: Array) -> Array:
        """Return j in ampere for v, both (junctions,)."""
        up, down = np.exp(v / self.junctions.thermal), np.exp(-v / self.junctions.thermal)
        j: Array = self.junctions.saturation * (up - np.where(self.junctions.paired, down, 1.0))
        return j

    def run(self, audio: Array, rate: float) -> tuple[Array, int]:
        """Compute the output from the operating point.

        Args:
            audio: input in volts, (time,).
            rate: internal sample rate in Hz.

        Returns:
            y in volts, (time,), and the number of samples at which Newton's method did not converge, plus 1 if it did
            not for the operating point.
        """
        x, v, failures = self.at_rest()
        half = 0.5 / rate
        g = np.linalg.inv(np.eye(len(self.a)) - half * self.a)
        dg = self.d @ g
        output = np.empty_like(audio)
        # x1 = g (w + half (B u + C j)) with w = x0 + half x0'. The next w is 2 x1 - w, which reuses the slope.
        failures += _trapezoidal(
            audio, output, self.supply, g, half * g @ self.b, half * g @ self.c, dg, half * dg @ self.b + self.e,
            half * dg @ self.c + self.f, self.outputs, *self._junctions(), x.copy(), v, _scratch(len(v)),
        )  # fmt: skip
        return output, failures

    def _junctions(self) -> tuple[Array, Array, NDArray[np.bool_]]:
        return self.junctions.saturation, 1 / self.junctions.thermal, self.junctions.paired


def _scratch(junctions: int) -> Array:
    """Allocate the memory of a Newton step: the matrix with its right side as last column, then a row for j."""
    return np.empty((junctions + 1, junctions + 1))


#: Newton's method has converged when no voltage moves by more than this, in volts: its error is then about the square.
_TOLERANCE = 1e-6
#: Newton steps after which a sample counts as not converged; a few are usual.
_MOST_STEPS = 100
#: Steps after which steps are halved, which ends a cycle between two points.
_PATIENCE = 30
#: A step is limited if it is longer than this many n, and ends beyond this many n: the knee of the exponential.
_LONG_STEP, _KNEE = 2.0, 5.0


@compiled
def _solve_junctions(known: Any, k: Any, saturation: Any, slope: Any, paired: Any, v: Any, scratch: Any) -> bool:
    """Solve known + k j(v) - v = 0 by Newton's method from `v`, in place; j of the solution is scratch[-1, :-1].

    Where a junction's current is exponential, a rising voltage is increased only by the logarithm of Newton's step, as
    circuit simulators do: the current is then that of the linear step, and never overflows.

    Returns:
        True if it converged.
    """
    size = v.size
    converged = False
    for count in range(_MOST_STEPS + 1):
        for i in range(size):
            up = np.exp(slope[i] * v[i])
            down = np.exp(-slope[i] * v[i]) if paired[i] else 1.0
            scratch[size, i] = saturation[i] * (up - down)
            gradient = saturation[i] * slope[i] * (up + down if paired[i] else up)
            for row in range(size):
                scratch[row, i] = -k[row, i] * gradient
        if converged or count == _MOST_STEPS:
            break
        for row in range(size):
            residual = known[row] - v[row]
            for i in range(size):
                residual += k[row, i] * scratch[size, i]
            scratch[row, row] += 1.0
            scratch[row, size] = residual
        _eliminate(scratch, size)
        largest = 0.0
        for i in range(size):
            step = scratch[i, size]
            largest = max(largest, abs(step)) if step == step else np.inf
            outward = slope[i] * step > _LONG_STEP and slope[i] * (v[i] + step) > _KNEE
            outward_down = paired[i] and slope[i] * step < -_LONG_STEP and slope[i] * (v[i] + step) < -_KNEE
            if outward:
                start = max(v[i], 0.0)
                step = start - v[i] + np.log1p(slope[i] * (v[i] + step - start)) / slope[i]
            elif outward_down:
                start = min(v[i], 0.0)
                step = start - v[i] - np.log1p(-slope[i] * (v[i] + step - start)) / slope[i]
            v[i] += step if count < _PATIENCE else 0.5 * step
        converged = largest <= _TOLERANCE
        if not largest < np.inf:
            v[:] = 0.0
    return converged


@compiled
def _eliminate(system: Any, size: int) -> None:
    """Solve linear equations by elimination with partial pivoting; the solution replaces column `size`."""
    for column in range(size):
        best = column
        for row in range(column + 1, size):
            if abs(system[row, column]) > abs(system[best, column]):
                best = row
        if best != column:
            for i in range(column, size + 1):
                system[column, i], system[best, i] = system[best, i], system[column, i]
        for row in range(column + 1, size):
            factor = system[row, column] / system[column, column]
            for i in range(column + 1, size + 1):
                system[row, i] -= factor * system[column, i]
    for row in range(size - 1, -1, -1):
        total = system[row, size]
        for i in range(row + 1, size):
            total -= system[row, i] * system[i, size]
        system[row, size] = total / system[row, row]


@compiled
def _trapezoidal(
    audio: Any, output: Any, supply: float, g: Any, gb: Any, gc: Any, dg: Any, q: Any, k: Any, outputs: Any,
    saturation: Any, slope: Any, paired: Any, w: Any, v: Any, scratch: Any,
) -> int:  # fmt: skip
    """Step through the audio; see `StateSpace.run`. `w` and `v` are the initial values and are overwritten.

    Returns:
        The number of samples that did not converge.
    """
    states, size = w.size, v.size
    x, known = np.empty(states), np.empty(size)
    failures = 0
    for t in range(audio.size):
        u = audio[t]
        for i in range(size):
            known[i] = q[i, 0] * u + q[i, 1] * supply
            for s in range(states):
                known[i] += dg[i, s] * w[s]
        failures += not _solve_junctions(known, k, saturation, slope, paired, v, scratch)
        y = outputs[states] * u + outputs[states + 1] * supply
        for s in range(states):
            x[s] = gb[s, 0] * u + gb[s, 1] * supply
            for other in range(states):
                x[s] += g[s, other] * w[other]
            for i in range(size):
                x[s] += gc[s, i] * scratch[size, i]
            y += outputs[s] * x[s]
        for i in range(size):
            y += outputs[states + 2 + i] * scratch[size, i]
        for s in range(states):
            w[s] = 2 * x[s] - w[s]
        output[t] = y
    return failures
