"""The memory that a training step frees, for the next one."""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of malloc.h
#: glibc takes no larger one: beyond, it asks the system for each buffer.
_LARGEST_MMAP_THRESHOLD = 32 * 2**20
_NEVER = 2**31 - 1  # the largest value of mallopt's int


def keep_freed_memory() -> bool:
    """Let the C library keep what the process frees, up to its peak; whether that is possible (glibc).

    A step of a convolutional network on the CPU frees hundreds of megabytes and asks for as much again at once. The
    system would hand each large buffer out page by page, cleared, which takes a fifth of the time of such a step.

    It holds for the whole process until it ends, so that it is for one whose work is a training.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # not glibc; not even a C library that can be asked
        return False
    wanted = {_MMAP_THRESHOLD: _LARGEST_MMAP_THRESHOLD, _TRIM_THRESHOLD: _NEVER, _TOP_PAD: 64 * 2**20}
    done = [mallopt(name, value) for name, value in wanted.items()]
    return all(done)
