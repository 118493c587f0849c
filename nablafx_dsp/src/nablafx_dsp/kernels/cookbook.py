"""The cookbook's formulas and their derivatives on the CPU, many frames at a time.

With c = cos(w0), alpha = sin(w0) / (2 q) and A = 10^(gain_db / 40), each of a filter's six coefficients is
P + Q c +- R alpha, where P, Q and R depend on the filter type and A alone. b0 (with +) and b2 (with -) share P, Q and
R, and so do a0 and a2; b1 and a1 have no R. Low-pass and high-pass differ only by a sign, and so do the two shelves.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from nablafx_core.kernels.compiled import compiled, inlined

#: Number of frames that are computed for one section before the next: the sections share cache lines, and these stay in
#: the cache for that long.
FRAMES = 512

_PASS, _PEAK, _SHELF = 0, 1, 2

#: Kind and sign of each type.
KINDS: dict[str, tuple[int, float]] = {
    "peaking": (_PEAK, 1.0),
    "lowpass": (_PASS, 1.0),
    "highpass": (_PASS, -1.0),
    "lowshelf": (_SHELF, 1.0),
    "highshelf": (_SHELF, -1.0),
}


@inlined
def _factors(kind: int, sign: float, a: float) -> Any:
    """Return P, Q, R of b0 and b2; P, Q of b1; P, Q, R of a0 and a2; P, Q of a1."""
    if kind == _PASS:
        return 0.5, -0.5 * sign, 0.0, sign, -1.0, 1.0, 0.0, 1.0, 0.0, -2.0
    if kind == _PEAK:
        return 1.0, 0.0, a, 0.0, -2.0, 1.0, 0.0, 1 / a, 0.0, -2.0
    up, down, root = a + 1, sign * (a - 1), 2 * np.sqrt(a)
    return a * up, -a * down, a * root, 2 * a * down, -2 * a * up, up, down, root, -2 * down, -2 * up


@inlined
def _derivatives(kind: int, sign: float, a: float) -> Any:
    """Return the derivatives of the results of `_factors` by A."""
    if kind == _PASS:
        return 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0
    if kind == _PEAK:
        return 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1 / (a * a), 0.0, 0.0
    up, down, root = 2 * a + 1, sign * (2 * a - 1), np.sqrt(a)
    return up, -down, 3 * root, 2 * down, -2 * up, 1.0, sign, 1 / root, -2 * sign, -2.0


@cache
def coefficients_of(kind: int, sign: float) -> Callable[..., None]:
    """Return the kernel that computes the coefficients of one filter type.

    It is called with the indices of an item of the batch, of a section, of a first frame and of the frame after the
    last, then with c, sin(w0), q and A, each (batch, sections, frames), and with `coefficients`, (batch, frames,
    sections, 5), of which it writes b0, b1, b2, a1, a2, divided by a0, of these frames. All arrays are float64.
    """

    @compiled
    def coefficients_(
        item: int,
        section: int,
        start: int,
        stop: int,
        cosine: Any,
        sine: Any,
        quality: Any,
        amplitude: Any,
        coefficients: Any,
    ) -> None:
        cosines, sines, out = cosine[item, section], sine[item, section], coefficients[item]
        qualities, amplitudes = quality[item, section], amplitude[item, section]
        for t in range(start, stop):
            c, alpha = cosines[t], 0.5 * sines[t] / qualities[t]
            pb, qb, rb, pb1, qb1, pa, qa, ra, pa1, qa1 = _factors(kind, sign, amplitudes[t])
            b, a = pb + qb * c, pa + qa * c
            scale = 1 / (a + ra * alpha)
            out[t, section, 0] = (b + rb * alpha) * scale
            out[t, section, 1] = (pb1 + qb1 * c) * scale
            out[t, section, 2] = (b - rb * alpha) * scale
            out[t, section, 3] = (pa1 + qa1 * c) * scale
            out[t, section, 4] = (a - ra * alpha) * scale

    return coefficients_


@cache
def gradients_of(kind: int, sign: float) -> Callable[..., None]:
    """Return the kernel that computes the gradients of w0, q and gain_db of one filter type.

    It is called like the kernel of `coefficients_of`, with the coefficients that this one wrote. Further arguments are
    `gradient`, the gradient of the coefficients, of their shape; and `by_w0`, `by_q` and `by_gain`, the gradients of
    w0, q and gain_db, each (batch, sections, frames), which it writes.
    """

    @compiled
    def gradients(
        item: int,
        section: int,
        start: int,
        stop: int,
        cosine: Any,
        sine: Any,
        quality: Any,
        amplitude: Any,
        coefficients: Any,
        gradient: Any,
        by_w0: Any,
        by_q: Any,
        by_gain: Any,
    ) -> None:
        cosines, sines, numbers, grad = cosine[item, section], sine[item, section], coefficients[item], gradient[item]
        qualities, amplitudes = quality[item, section], amplitude[item, section]
        of_w0, of_q, of_gain = by_w0[item, section], by_q[item, section], by_gain[item, section]
        for t in range(start, stop):
            c, s, q, amp = cosines[t], sines[t], qualities[t], amplitudes[t]
            alpha = 0.5 * s / q
            _, qb, rb, _, qb1, pa, qa, ra, _, qa1 = _factors(kind, sign, amp)
            scale = 1 / (pa + qa * c + ra * alpha)
            # Gradients of the coefficients before the division by a0, and of a0 itself.
            b0, b1, b2 = scale * grad[t, section, 0], scale * grad[t, section, 1], scale * grad[t, section, 2]
            a1, a2 = scale * grad[t, section, 3], scale * grad[t, section, 4]
            a0 = -(
                b0 * numbers[t, section, 0]
                + b1 * numbers[t, section, 1]
                + b2 * numbers[t, section, 2]
                + a1 * numbers[t, section, 3]
                + a2 * numbers[t, section, 4]
            )
            b, a, b_apart, a_apart = b0 + b2, a0 + a2, b0 - b2, a0 - a2
            by_c = qb * b + qb1 * b1 + qa * a + qa1 * a1
            by_alpha = rb * b_apart + ra * a_apart
            of_w0[t] = by_alpha * 0.5 * c / q - by_c * s
            of_q[t] = -by_alpha * alpha / q
            pb, qb, rb, pb1, qb1, pa, qa, ra, pa1, qa1 = _derivatives(kind, sign, amp)
            by_a = (pb + qb * c) * b + rb * alpha * b_apart + (pb1 + qb1 * c) * b1
            by_a += (pa + qa * c) * a + ra * alpha * a_apart + (pa1 + qa1 * c) * a1
            of_gain[t] = by_a * amp * (np.log(10.0) / 40)

    return gradients
