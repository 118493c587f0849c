"""The code of the page about Python runs from top to bottom."""

from __future__ import annotations

import re

import soundfile
import torch

import nablafx_core as nfx
from reference.places import ROOT

PAGE = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_code_runs_from_top_to_bottom(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    time = torch.arange(3 * 48_000) / 48_000
    dry = 0.3 * torch.exp(-6 * (time % 0.5)) * torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    soundfile.write("di.wav", dry.numpy(), 48_000, subtype="FLOAT")
    soundfile.write("amp.wav", torch.tanh(4 * dry).numpy(), 48_000, subtype="FLOAT")
    names: dict[str, object] = {}
    for block in BLOCKS:
        exec(compile(block, "python.md", "exec"), names)
    said = capsys.readouterr()
    assert "ESR" in said.out  # the verdict
    assert "step 20/20  100 %" in said.err  # the progress of the first training alone
    assert "step 30/30" not in said.err
    assert torch.equal(names["again"](torch.ones(1, 1, 64))[0], names["model"](torch.ones(1, 1, 64))[0])
    assert (tmp_path / "runs").is_dir()


def test_every_name_of_the_page_is_listed():
    used = {name for block in BLOCKS for name in re.findall(r"nfx\.(\w+)", block)}
    assert used
    assert used <= set(dir(nfx))
