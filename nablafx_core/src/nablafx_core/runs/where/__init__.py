"""The language that selects runs: ``model.name=tcn and metrics.esr<0.02``.

    condition   = both {"or" both}
    both        = negated {"and" negated}
    negated     = "not" negated | "(" condition ")" | comparison
    comparison  = NAME ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~") VALUE
                | NAME ["not"] "in" "[" VALUE {"," VALUE} "]"

NAME is `id`, `status`, `command`, `model`, `data`, `device`, `step`, `tags`, `note`, `parent`, `host`, `start`,
`duration` (seconds), ``metrics.NAME`` or a setting of the experiment (``train.max_steps``, ``model.stages.0.name``);
``config.NAME`` is always a setting. VALUE is a number, a word, a quoted text, true, false or null.
"""

from __future__ import annotations

from nablafx_core.runs.where.columns import check_name, value_of
from nablafx_core.runs.where.conditions import Condition
from nablafx_core.runs.where.parsing import parse

__all__ = ["Condition", "check_name", "parse", "value_of"]
