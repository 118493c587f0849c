"""Files of sweeps are read and checked completely, with clear errors, before any trial starts."""

from __future__ import annotations

import json
import os

import pytest
import yaml

from nablafx_core.config import load_experiment
from nablafx_core.errors import ConfigError
from nablafx_core.registry.import_paths import Code
from nablafx_core.registry.provenance import Provenance
from nablafx_core.runs.plain import plain
from nablafx_core.sweep.sweep_file import read_sweep, recorded_sweep
from nablafx_core.sweep.trial_book import Entry, new_entries, recorded_entries
from nablafx_core.sweep.trials import trials
from reference.places import TESTS

pytestmark = pytest.mark.slow

EXPERIMENT = {
    "data": {"name": "reference.tiny:TanhDataset"},
    "model": {"name": "tcn", "num_blocks": 2},
    "metrics": ["esr"],
    "train": {"max_steps": 1000, "validate_every": 100},
}
SPACE = {"model.channel_width": [8, 16], "train.learning_rate": {"min": 1e-4, "max": 1e-2, "log": True}}


def written(folder, experiment=None, **sweep):
    file = folder / "sweep.yaml"
    sections = EXPERIMENT if experiment is None else experiment
    text = yaml.safe_dump({"experiment": sections, "sweep": {"search": "grid", **sweep}}, sort_keys=False)
    file.write_text(text)
    return file


def line(file, text):
    return next(n for n, row in enumerate(file.read_text().splitlines(), 1) if text in row)


def test_trials_are_the_experiments_that_set_would_make(tmp_path):
    space = {"model.channel_width": [8, 16], "model.num_blocks": [2, 3], "metrics": [["esr"], ["mae"]]}
    made = trials(read_sweep(written(tmp_path, space=space), ["train.max_steps=500"]))
    assert [trial.number for trial in made] == list(range(1, 9))
    assert made[5].overrides == ("model.channel_width=16", "model.num_blocks=2", 'metrics=["mae"]')
    for trial in made:
        expected = load_experiment(sections=EXPERIMENT, overrides=["train.max_steps=500", *trial.overrides])
        assert trial.experiment == expected
        assert trial.validations == 5


def test_the_experiment_may_be_in_a_file_next_to_the_sweep(tmp_path, monkeypatch):
    inline = trials(read_sweep(written(tmp_path, space={"model.channel_width": [8]})))
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "muff.yaml").write_text(yaml.safe_dump(EXPERIMENT))
    monkeypatch.chdir(tmp_path / "deep")
    named = trials(read_sweep(written(tmp_path, experiment="deep/muff.yaml", space={"model.channel_width": [8]})))
    assert named == inline


def test_drawn_values_are_written_without_loss(tmp_path):
    space = {"train.learning_rate": {"min": 1e-7, "max": 1e-5, "log": True}, "train.max_steps": [100, 200]}
    space["model.activation"] = ["tanh", "relu"]
    made = trials(read_sweep(written(tmp_path, search="random", trials=6, space=space)))
    for trial in made:
        shown = trial.settings
        assert trial.experiment.train.learning_rate == float(shown["train.learning_rate"])
        assert trial.experiment.train.max_steps == int(shown["train.max_steps"])
        assert shown["model.activation"] in ("tanh", "relu")


def test_settings_of_the_sweep_can_be_set_too(tmp_path):
    file = written(tmp_path, search="random", trials=3, space=SPACE)
    assert len(trials(read_sweep(file, ["sweep.trials=5"]))) == 5
    with pytest.raises(ConfigError, match="--set sweep.trails: sweep.trails: .*Did you mean 'trials'"):
        read_sweep(file, ["sweep.trails=5"])


def test_a_recorded_sweep_equals_the_original(tmp_path):
    file = written(tmp_path, search="asha", trials=5, asha={"grace_period": 2}, space=SPACE)
    sweep = read_sweep(file, ["train.max_steps=700"])
    stored = yaml.safe_load(yaml.safe_dump(plain(sweep.record(), "config")))
    file.unlink()
    again = recorded_sweep(stored, Provenance({}), Code())
    assert trials(again) == trials(sweep)
    assert (again.settings, again.asha, again.resources) == (sweep.settings, sweep.asha, sweep.resources)
    entries = new_entries(trials(sweep))
    assert [entry.set for entry in recorded_entries([vars(entry) for entry in entries], bool)] == [
        trial.overrides for trial in trials(sweep)
    ]
    assert all(isinstance(entry, Entry) for entry in entries)


@pytest.mark.parametrize(
    ("sweep", "place", "message"),
    [
        ({"spcae": SPACE}, "spcae", "sweep.spcae: 'sweep' has no setting 'spcae'. Did you mean 'space'?"),
        ({"space": {"modle.x": [1]}}, "modle", "an experiment has no setting 'modle'. Did you mean 'model'?"),
        ({"space": {"track.runs_dir": ["a"]}}, "track", "'track' is the same for all trials"),
        ({"space": {"model.num_blocks": 3}}, "num_blocks: 3", "list of values or a range {min: …, max: …}, got 3"),
        ({"space": {"model.num_blocks": []}}, "num_blocks: []", "list of values or a range"),
        ({"space": {"model.num_blocks": [2, 2]}}, "model.num_blocks", "value twice"),
        ({"space": SPACE}, "train.learning_rate", "only lists"),
        ({"space": {"model.num_blocks": [2]}, "trials": 3}, "trials", "a grid runs all combinations"),
        ({"space": {"train.learning_rate": {"min": 1, "mx": 2}}}, "mx", "Did you mean 'max'?"),
        ({"space": {"train.learning_rate": {"min": 2, "max": 1}}}, "learning_rate", "min must be less than max"),
        ({"space": {"train.lr_factor": {"min": 0, "max": 1, "log": True}}}, "lr_factor", "a min above 0, not 0"),
        ({"space": {"train.lr_factor": {"min": 0.5, "max": 1, "integer": True}}}, "lr_factor", "whole bounds"),
        ({"space": SPACE, "search": "random"}, "sweep:", "the setting 'trials'"),
        ({"space": SPACE, "search": "bayes"}, "bayes", "'grid', 'random' or 'asha'"),
        ({"space": SPACE, "resources": {"cpu": 2}}, "cpu", "Did you mean 'cpus'?"),
        ({"space": {}}, "space", "name at least one setting"),
    ],
)
def test_errors_in_a_file_name_their_line(tmp_path, sweep, place, message):
    file = written(tmp_path, **sweep)
    with pytest.raises(ConfigError) as caught:
        read_sweep(file)
    assert str(caught.value).startswith(f"{file}:{line(file, place)}: "), caught.value
    assert message in str(caught.value)


@pytest.mark.parametrize("experiment", [{}, 3])
def test_a_sweep_needs_an_experiment(tmp_path, experiment):
    file = written(tmp_path, experiment=experiment, space={"model.num_blocks": [2]})
    with pytest.raises(ConfigError, match="no section 'data'" if experiment == {} else "experiment: give the file"):
        trials(read_sweep(file))


def test_a_missing_experiment_and_an_unknown_part_are_named(tmp_path):
    file = written(tmp_path, experiment="mufff.yaml", space={"model.num_blocks": [2]})
    with pytest.raises(ConfigError, match="sweep.yaml:1: experiment: .*mufff.yaml: cannot read the experiment"):
        read_sweep(file)
    file.write_text("experimnt: {}\n")
    with pytest.raises(ConfigError, match="sweep.yaml:1: a sweep has no setting 'experimnt'. Did you mean"):
        read_sweep(file)


def test_an_invalid_trial_is_an_error_before_any_trial_starts(tmp_path):
    file = written(tmp_path, space={"model.channel_width": [4, 8], "model.num_blocks": [1, 2, "many"]})
    with pytest.raises(ConfigError) as caught:
        trials(read_sweep(file))
    start = f"{file}:{line(file, 'space')}: trial 3 of 6 (model.channel_width=4, model.num_blocks=many): "
    assert str(caught.value).startswith(start + "model.num_blocks: "), caught.value


def test_a_metric_that_validations_do_not_have_is_an_error(tmp_path):
    file = written(tmp_path, space={"model.num_blocks": [2]}, metric="validation/mae")
    with pytest.raises(ConfigError, match="no 'validation/mae'.\n  metrics: validation/loss, .*validation/esr"):
        trials(read_sweep(file))


def test_asha_that_cannot_stop_any_trial_is_an_error(tmp_path):
    sweep = {"search": "asha", "trials": 2, "space": SPACE, "asha": {"grace_period": 10}}
    with pytest.raises(ConfigError, match=r"sweep.yaml:\d+: sweep.asha.grace_period: a trial has at most 10 valid"):
        trials(read_sweep(written(tmp_path, **sweep)))
    assert trials(read_sweep(written(tmp_path, **{**sweep, "asha": {"grace_period": 9}})))


def _without_ray(forked, folder, *arguments):
    hidden = "import sys; sys.modules['ray'] = None; from nablafx_core.cli import main; main()"
    path = os.pathsep.join([str(TESTS), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path}
    return forked.run(["-c", hidden, "sweep", *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def test_without_ray_trials_are_listed_and_a_sweep_says_how_to_install_it(forked, tmp_path):
    file = written(tmp_path, space={"model.channel_width": [8, 16], "model.num_blocks": [2, 3]})
    listed = _without_ray(forked, tmp_path, file.name, "--dry-run", "--json")
    assert listed.returncode == 0, listed.stderr
    found = json.loads(listed.stdout)
    assert found[2] == {"number": 3, "set": ["model.channel_width=16", "model.num_blocks=2"]}
    assert len(found) == 4
    swept = _without_ray(forked, tmp_path, file.name)
    assert swept.returncode == 1
    assert swept.stderr == (
        "Error: a sweep requires Ray Tune, which is not installed: pip install 'nablafx-core[sweep]'\n"
    )
    assert not (tmp_path / "runs").exists()
