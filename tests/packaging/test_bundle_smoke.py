"""The core and one pack are enough to write a bundle and render with it (`tox -e core-only`)."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch

from nablafx_core import build, load
from nablafx_core.bundles.bundle import save_bundle

pytestmark = pytest.mark.slow


def test_a_bundle_renders_a_file(tmp_path):
    torch.manual_seed(0)
    settings = {"num_blocks": 2, "channel_width": 4, "kernel_size": 3, "dilation_growth": 2}
    model = build("model", {"name": "tcn", **settings}, sample_rate=48000, controls=()).eval()
    bundle = save_bundle(model, tmp_path / "small.nfx")
    dry = 0.5 * np.random.default_rng(0).standard_normal(5000).astype(np.float32).clip(-1, 1)
    soundfile.write(tmp_path / "dry.wav", dry, 48000, subtype="FLOAT")
    program = [sys.executable, "-c", "from nablafx_core.cli import main; main()"]
    subprocess.run(
        [*program, "render", str(bundle), "dry.wav", "wet.wav", "--block-size", "64"], cwd=tmp_path, check=True
    )
    wet, sample_rate = soundfile.read(tmp_path / "wet.wav", dtype="float32")
    with torch.no_grad():
        expected = load(bundle)(torch.from_numpy(dry)[None, None])[0][0, 0].numpy()
    assert sample_rate == 48000
    assert np.abs(wet - expected).max() < 1e-4
    assert np.abs(expected).max() > 1e-3
