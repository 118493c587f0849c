"""What compiled kernels have in common: whether they are used, how they are compiled, vectors."""

from __future__ import annotations

import os

from nablafx_core.errors import ModelError

#: Environment variable: ``torch`` turns compiled layers off, ``auto`` or nothing leaves the choice to each layer.
VARIABLE = "NABLAFX_KERNELS"


def enabled() -> bool:
    """Whether layers compute with compiled kernels where there is one; ``NABLAFX_KERNELS=torch`` turns them off.

    Raises:
        ModelError: if the variable has no known value.
    """
    chosen = os.environ.get(VARIABLE) or "auto"
    if chosen not in ("auto", "torch"):
        raise ModelError(f"the environment variable {VARIABLE} is '{chosen}'. Values: auto, torch.")
    return chosen == "auto"
