"""Describe the figures of a test in words."""

from __future__ import annotations

import math

#: Descriptions of error-to-signal ratios below a bound. Published models of amplifiers and distortion pedals mostly
#: lie between 0.005 and 0.1; see for example Wright et al., "Real-time guitar amplifier emulation with deep learning",
#: Applied Sciences 10(3), 2020. The bounds are a convention, not a listening test.
SCALE = (
    (0.01, "very close to the target"),
    (0.05, "close to the target"),
    (0.2, "differs audibly from the target"),
    (0.5, "rough"),
    (1.0, "poor, little better than silence"),
    (1000.0, "worse than silence, whose ESR is 1"),
)

#: `LISTEN` is printed after a verdict, `POOLED` below a table whose last row is "all".
LISTEN = "A figure does not replace a listening test: compare the files under Audio."
POOLED = "all: every sample of all recordings together, so that long and loud ones count more; not the mean."

_BEYOND = "the target is nearly silent, or the model is broken"
_ADVICE = (
    "That is a bad result. Train longer, lower train.learning_rate, or check the recordings with `nablafx data`: a "
    "wrong delay or a wrong pair of files has this effect."
)


def verdict(esr: float) -> str:
    """Return an error-to-signal ratio in words: ``"ESR 0.0123: close to the target (error -19.1 dB)"``.

    Args:
        esr: energy of the error divided by that of the target; NaN or infinity gives ``"ESR undefined"``.
    """
    if not math.isfinite(esr):
        return "ESR undefined"
    words = next((words for bound, words in SCALE if esr < bound), _BEYOND)
    level = f" (error {10 * math.log10(esr):.1f} dB)" if esr > 0 else ""
    return f"ESR {esr:.4g}: {words}{level}"


def advice(esr: float) -> str | None:
    """Return what to do about an error-to-signal ratio of 0.5 or more; None if it is smaller, NaN or infinite."""
    return _ADVICE if math.isfinite(esr) and esr >= 0.5 else None
