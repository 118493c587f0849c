"""What compiled kernels have in common."""

from __future__ import annotations

import os


def enabled() -> bool:
    """Whether layers compute with compiled kernels where there is one; ``NABLAFX_KERNELS=torch`` turns them off."""
    return os.environ.get("NABLAFX_KERNELS") != "torch"
