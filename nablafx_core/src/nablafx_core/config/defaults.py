"""What an experiment has where it says nothing, and the figures by which runs are judged."""

from __future__ import annotations

from typing import Any

#: Figure that the verdict in words judges, and by which runs are ranked.
MAIN_FIGURE = "esr"

#: How conditions on runs and ``--by`` name it.
MAIN_METRIC = f"metrics.{MAIN_FIGURE}"

#: Figures with a column in lists of runs.
LISTED_FIGURES = (MAIN_FIGURE, "mr_stft")

#: Sections of an experiment where it has none.
DEFAULTS: dict[str, Any] = {
    "requires": [],
    "loss": [{"name": f"nablafx-core/{MAIN_FIGURE}", "weight": 1.0, "pre_emphasis": 0.95}],
    "metrics": [f"nablafx-core/{name}" for name in (MAIN_FIGURE, "mae", "dc", "mr_stft")],
    "train": {},
    "track": {},
}
