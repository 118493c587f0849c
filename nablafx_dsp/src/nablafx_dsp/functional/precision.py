"""Floating-point precision of coefficients and states."""

from __future__ import annotations

import torch


def wide_dtype(device: torch.device) -> torch.dtype:
    """Return the dtype that coefficients and states are computed in: float64, or float32 on MPS, which lacks it."""
    return torch.float32 if device.type == "mps" else torch.float64
