"""Memory that a training step frees is kept by the process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

STEPS = """
import resource, sys
import torch
from nablafx_core.training.allocator import keep_freed_memory

if "keep" in sys.argv:
    assert keep_freed_memory()

def resident():
    with open("/proc/self/statm") as pages:
        return int(pages.read().split()[1]) * resource.getpagesize()

before = resident()
signals = [torch.ones(31 * 2**18) for _ in range(4)]
del signals
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_memory_that_a_step_frees_stays_with_the_process():
    def kept(*arguments):
        command = [sys.executable, "-c", STEPS, *arguments]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert kept() < 2**23 < 4 * 31 * 2**20 <= kept("keep")
