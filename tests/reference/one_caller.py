"""The caller alone where Sacred asks for the whole stack, whose source it reads: a tenth of a second in a deep one."""

from __future__ import annotations

import sys
from types import FrameType, SimpleNamespace

import sacred.experiment


def _stack() -> list[tuple[FrameType | None]]:
    frame = sys._getframe(1)
    return [(frame,), (frame.f_back,)]


def find_only_the_caller() -> None:
    """Let experiments of Sacred look for nothing but the frame that makes them."""
    sacred.experiment.inspect = SimpleNamespace(stack=_stack)
