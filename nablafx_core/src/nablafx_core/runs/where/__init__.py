"""The language that selects runs: ``model.name=tcn and metrics.esr<0.02``.

    condition   = both {"or" both}
    both        = negated {"and" negated}
    negated     = "not" negated | "(" condition ")" | comparison
    comparison  = NAME ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~") VALUE
                | NAME ["not"] "in" "[" VALUE {"," VALUE} "]"

NAME is `id`, `status`, `error`, `command`, `model`, `data`, `device`, `step`, `tags`, `note`, `parent`, `host`, `start`
(UTC), `duration` (seconds), ``metrics.NAME`` or a setting of the experiment (``train.max_steps``,
``model.stages.0.name``); ``config.NAME`` is always a setting. VALUE is a number, a word, a quoted text, a date for
`start` (``2026-11-23``), true, false or null. ``~`` finds a part of a text, in upper or lower case.
"""

from __future__ import annotations

from nablafx_core.runs.where.columns import check_name, value_of
from nablafx_core.runs.where.conditions import Condition
from nablafx_core.runs.where.parsing import parse

__all__ = ["Condition", "check_name", "parse", "value_of"]
