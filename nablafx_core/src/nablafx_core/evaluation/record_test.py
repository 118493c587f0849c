"""Test a trained model as a recorded run."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

from nablafx_core.bundles.loading import load
from nablafx_core.config import Experiment
from nablafx_core.data.contract import check_channels, checked
from nablafx_core.data.splits import split
from nablafx_core.errors import ConfigError
from nablafx_core.evaluation.evaluate import Evaluation
from nablafx_core.evaluation.shown_progress import shown_progress
from nablafx_core.evaluation.test_folder import score
from nablafx_core.registry.building import build
from nablafx_core.runs.moved_data import check_same_data
from nablafx_core.runs.observers import built_observers
from nablafx_core.runs.recorder import Run, record
from nablafx_core.scoring.built import built_metrics


def record_test(
    source: str | Path,
    experiment: Experiment,
    say: Callable[[str], None] = lambda text: None,
    mongo: str | None = None,
    same_as: Path | None = None,
    progress: bool = True,
) -> tuple[Path, Evaluation]:
    """Score a trained model on the test recordings of an experiment, recorded as a run.

    Args:
        source: model, as for `nablafx_core.load`.
        experiment: experiment whose data, split, metrics, observers and folder of runs are used.
        say: function that is called with each line for the user: notes about the data, and remarks on silent targets.
        mongo: MongoDB that keeps a copy of the run, as for `record`; None for no copy.
        same_as: folder of a run whose data must be the same, even if it was moved; None for any data.
        progress: if true, show the progress of the test on stderr.

    Returns:
        The run folder and the figures.

    Raises:
        BundleError: if the model cannot be loaded.
        ConfigError: if the sample rate, the number of knobs or the channels of the model and the data differ, or
            `mongo` cannot be used.
        DataError: if the data cannot be read, checked or split, has no test recording, or differs from that of the run
            `same_as`.
        RunError: if `source` is a folder without a bundle, the run `same_as` has no usable fingerprint of its data, or
            the test cannot be recorded.
    """
    model = load(source)
    with experiment.code.used():
        dataset = checked(build("dataset", experiment.dataset))
    if same_as is not None:
        check_same_data(same_as, dataset, True, "To test on other recordings, give an experiment FILE that names them.")
    for note in dataset.notes:
        say(note)
    if (model.sample_rate, len(model.controls)) != (dataset.sample_rate, len(dataset.controls)):
        raise ConfigError(
            f"{source} is a model for {model.sample_rate} Hz with {len(model.controls)} controls; "
            f"the data has {dataset.sample_rate} Hz and {len(dataset.controls)} controls. "
            "Test it on recordings with the sample rate and the controls of the model."
        )
    check_channels(model, dataset, each=True)
    gap = model.history(experiment.train.warm_up)
    recordings = split(dataset.recordings, experiment.loading, gap)["test"]
    with experiment.code.used():
        metrics = built_metrics(experiment.config["metrics"], dataset.sample_rate)
        observers = built_observers(experiment.track.observers)

    def body(run: Run) -> tuple[Path, Evaluation]:
        # Only the name, because a record must not contain paths of this machine.
        run.set_info("tested", Path(source).name if os.path.exists(source) else str(source))
        with shown_progress("Testing") if progress else nullcontext() as shown:
            evaluation = score(model, recordings, metrics, run.folder, progress=shown)
        for remark in evaluation.remarks(dataset.sample_rate):
            say(remark)
        run.summary({f"test/{name}": value for name, value in evaluation.split.items()})
        run.artifact(run.folder / "test.json")
        run.artifacts_in("pictures", "audio")
        return run.folder, evaluation

    runs_dir = Path(experiment.track.runs_dir)
    return record("test", experiment.config, runs_dir, body, observers=observers, mongo=mongo)
