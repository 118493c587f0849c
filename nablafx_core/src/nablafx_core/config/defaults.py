"""Default sections of an experiment, and the figures that rank runs."""

from __future__ import annotations

from typing import Any

#: Figure that ranks runs, and on which the verdict in words is based.
MAIN_FIGURE = "esr"

#: Name of the main figure in conditions on runs and in ``--by``.
MAIN_METRIC = f"metrics.{MAIN_FIGURE}"

#: Figures with a column in lists of runs.
LISTED_FIGURES = (MAIN_FIGURE, "mr_stft")

#: Sections that an experiment has unless it sets them.
DEFAULTS: dict[str, Any] = {
    "requires": [],
    "loss": [{"name": f"nablafx-core/{MAIN_FIGURE}", "weight": 1.0, "pre_emphasis": 0.95}],
    "metrics": [f"nablafx-core/{name}" for name in (MAIN_FIGURE, "mae", "dc", "mr_stft")],
    "train": {},
    "track": {},
}
