"""Every experiment file that is there to be copied builds its model and trains a step."""

from __future__ import annotations

import pytest

from nablafx_core.config import load_experiment
from nablafx_core.training.fit import train
from reference.places import ROOT

FILES = sorted((ROOT / "experiments").glob("*.yaml"))
KNOBS = {"ds1-tcn-film": 2, "ds1-lstm": 2}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_an_experiment(file, tmp_path):
    knobs = KNOBS.get(file.stem, 0)
    data = f"data={{name: reference.tiny:TanhDataset, segment_length: 4096, batch_size: 2, knobs: {knobs}}}"
    small = ["train.max_steps=1", "train.validate_every=1", "train.max_minutes=1", f"track.runs_dir={tmp_path}"]
    experiment = load_experiment([file], [data, *small])
    result = train(experiment)
    assert result.validation["step"] >= 1
    assert result.test["esr"] > 0


def test_there_are_experiments():
    assert len(FILES) >= 4
