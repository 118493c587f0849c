"""Memory that a training step frees."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

STEPS = """
import resource, sys
import torch
from nablafx_core.training.memory import keep_freed_memory

if "keep" in sys.argv:
    assert keep_freed_memory()
signal = torch.zeros(4, 2**20)

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def step():
    return [signal * gain for gain in range(4)]

for _ in range(3):
    step()
before = faults()
for _ in range(20):
    step()
print(faults() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the setting is glibc's")
def test_a_step_gets_the_memory_of_the_step_before():
    def faults(*arguments):
        command = [sys.executable, "-c", STEPS, *arguments]
        return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

    assert 4 * faults("keep") < faults()  # it takes some steps until all buffers have found a place
