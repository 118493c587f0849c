"""What the guide shows of gray-box chains can be copied: it is an experiment, it streams, and it trains a step."""

from __future__ import annotations

import re

import pytest
import torch
import yaml

from nablafx_core import build
from nablafx_core.config import load_experiment
from nablafx_core.testing import laws
from nablafx_core.training.fit import train
from reference.places import ROOT

pytestmark = pytest.mark.slow

GUIDE = (ROOT / "docs" / "guide.md").read_text(encoding="utf-8")
SECTION = GUIDE.partition("\n## Gray-box chains\n")[2].partition("\n## ")[0]
BLOCKS = re.findall(r"^```yaml\n(.*?)^```$", SECTION, re.MULTILINE | re.DOTALL)
DATA = "data={name: reference.tiny:TanhDataset, segment_length: 4096, batch_size: 2}"
ALL = pytest.mark.parametrize("text", BLOCKS, ids=range(len(BLOCKS)))


def test_there_are_chains():
    assert len(BLOCKS) == 5
    assert "data" in yaml.safe_load(BLOCKS[0])


def loaded(text, tmp_path, *overrides):
    written = yaml.safe_load(text)
    (tmp_path / "e.yaml").write_text(text)
    data = [] if "data" in written else ["data={name: pair, dry: di.wav, wet: amp.wav}"]
    return load_experiment([tmp_path / "e.yaml"], [*data, *overrides])


@ALL
def test_a_chain_streams(text, tmp_path):
    torch.manual_seed(0)
    model = build("model", loaded(text, tmp_path).config["model"])
    laws.stream_equals_offline(model, [1, 300, 64, 127, 9])


@ALL
def test_a_chain_trains(text, tmp_path):
    small = ["train.max_steps=2", "train.validate_every=1", "train.max_minutes=1", f"track.runs_dir={tmp_path}"]
    result = train(loaded(text, tmp_path, DATA, *small))
    assert result.validation["step"] >= 1
    assert 0 < result.test["esr"] < 1e3


def test_a_chain_trains_by_truncated_backpropagation(tmp_path):
    small = ["train.max_steps=4", "train.validate_every=2", "train.max_minutes=1", f"track.runs_dir={tmp_path}"]
    result = train(loaded(BLOCKS[0], tmp_path, DATA, "train.tbptt=1000", *small))
    assert 0 < result.test["esr"] < 1e3
