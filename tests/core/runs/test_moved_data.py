"""A run whose data was moved can be resumed only with the same data."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from nablafx_core.audio.reading import write
from nablafx_core.cli import cli
from nablafx_core.data.fingerprint import difference, fingerprint
from nablafx_core.errors import ConfigError, DataError, NablafxError, RunError
from nablafx_core.runs.moved_data import check_overrides
from nablafx_core.runs.records import RunRecord
from nablafx_core.training.fit import train
from nablafx_core.training.resumable import resumable
from reference.folder import Folder

BASE = {
    "model": {"name": "tcn", "num_blocks": 1, "channel_width": 2},
    "loss": ["l1"],
    "metrics": ["esr"],
    "train": {"max_steps": 4, "validate_every": 2, "accelerator": "cpu"},
}


def write_data(folder):
    folder.mkdir()
    for number in range(3):
        dry = 0.3 * torch.randn(1, 6000, generator=torch.Generator().manual_seed(number))
        write(folder / f"{number}.dry.wav", dry, 48000)
        write(folder / f"{number}.wet.wav", torch.tanh(2 * dry), 48000)


def section(path):
    return {"name": "reference.folder:Folder", "path": path, "segment_length": 2048, "batch_size": 2}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Create a folder with data, a finished run of two steps, and the same run as if interrupted."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        write_data(Path("data"))
        result = train({**BASE, "data": section("data")})
        entry = json.loads((result.folder / "run.json").read_text())
        (result.folder / "run.json").write_text(json.dumps({**entry, "status": "INTERRUPTED"}))
    return folder, result.id


@pytest.fixture
def place(trained, tmp_path, monkeypatch):
    """Copy and enter that folder; return the run's id."""
    folder, run_id = trained
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    return run_id


def go_on(run_id, *overrides):
    run_id, experiment = resumable(run_id, Path("runs"), overrides)
    return train(experiment, resume=run_id)


def test_a_run_records_the_fingerprint_of_its_data_as_an_artifact(place):
    run = RunRecord.read(Path("runs") / place)
    assert "data.json" in run.artifacts
    noted = json.loads((run.folder / "data.json").read_text())
    first = noted["recordings"][0]["dry"]
    assert (first["file"], first["size"]) == ("0.dry.wav", Path("data/0.dry.wav").stat().st_size)
    assert "/" not in json.dumps(noted)  # a record holds no path of this machine


def test_a_run_resumes_with_the_new_path_of_moved_data(place):
    Path("data").rename("elsewhere")
    with pytest.raises(DataError) as caught:
        go_on(place)
    assert str(caught.value).endswith(f"If the data was moved: nablafx train --resume {place} --set data.path=NEW")
    result = go_on(place, "data.path=elsewhere")
    assert RunRecord.read(result.folder).status == "COMPLETED"
    assert RunRecord.read(result.folder).config["data"]["path"] == "elsewhere"
    assert (result.folder / "config.1.yaml").exists()


def one_sample(folder):
    data = bytearray((folder / "1.wet.wav").read_bytes())
    data[-2] ^= 1
    (folder / "1.wet.wav").write_bytes(data)


def shorter(folder):
    write(folder / "1.wet.wav", torch.zeros(1, 5000), 48000)
    write(folder / "1.dry.wav", torch.zeros(1, 5000), 48000)


def swapped(folder):
    for signal in ("dry", "wet"):
        (folder / f"0.{signal}.wav").rename(folder / f"9.{signal}.wav")


CHANGES = {
    "one bit": (one_sample, "elsewhere/1.wet.wav: its content"),
    "shorter": (shorter, "elsewhere/1.dry.wav: has"),
    "order": (swapped, "elsewhere/1.dry.wav: its content"),
    "one less": (lambda folder: (folder / "2.dry.wav").unlink(), "2 recordings instead of 3: '2' is missing"),
}


@pytest.mark.parametrize(("change", "told"), CHANGES.values(), ids=CHANGES)
def test_other_data_is_refused_with_the_file_that_differs(place, change, told):
    Path("data").rename("elsewhere")
    change(Path("elsewhere"))
    before = {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()}
    with pytest.raises(DataError) as caught:
        go_on(place, "data.path=elsewhere")
    assert told in str(caught.value)
    assert f"--init runs/{place}" in str(caught.value)
    assert {path: path.read_bytes() for path in Path("runs").rglob("*") if path.is_file()} == before


def test_data_that_was_changed_in_place_is_rejected(place):
    one_sample(Path("data"))
    with pytest.raises(DataError, match=r"data/1.wet.wav: its content"):
        go_on(place)


def test_names_of_files_may_change_but_not_their_content(place):
    Path("data").rename("elsewhere")
    for path in Path("elsewhere").iterdir():
        path.rename(path.with_name(f"take-{path.name}"))
    assert go_on(place, "data.path=elsewhere").id == place


def test_the_same_files_with_other_settings_are_different_data(place):
    with pytest.raises(DataError, match=r"start of '0' is 7"):
        go_on(place, "data.skip=7")


DAMAGED = ["{", "[]", '{"recordings": [1, 2, 3]}', '{"recordings": [{"dry": {"size": "many"}}, {}, {}]}']


@pytest.mark.parametrize("noted", [None, *DAMAGED])
def test_a_run_without_a_fingerprint_rejects_moved_data(place, noted):
    file = Path("runs") / place / "data.json"
    file.unlink()
    if noted is not None:
        file.write_text(noted)
    Path("data").rename("elsewhere")
    with pytest.raises(NablafxError, match=r"symbolic link|is damaged"):
        go_on(place, "data.path=elsewhere")


def test_a_run_of_an_older_version_resumes_with_data_in_place(place):
    (Path("runs") / place / "data.json").unlink()
    go_on(place)
    assert (Path("runs") / place / "data.json").exists()


@pytest.mark.parametrize(
    "override",
    [
        "train.max_steps=9",
        "data.segment_length=64",
        "data.name=pair",
        "data.batch_size=1",
        "model.x=1",
        "data={}",
        "data=1",
    ],
)
def test_other_settings_cannot_be_set_at_a_resume(override):
    with pytest.raises(ConfigError, match="--resume continues a run as it is"):
        check_overrides([override])


def test_observers_can_be_set_at_a_resume():
    check_overrides(["track.observers=[]", "track.observers.0.url=x", "track.sample_seconds=null", "data.path=x"])


def command(*words):
    result = CliRunner().invoke(cli, [*words])
    return result.exit_code, str(result.exception or ""), result.output


def test_a_test_reads_moved_data_and_refuses_other_data(place):
    Path("data").rename("else where")
    code, error, _ = command("test", place)
    assert (code, error.partition("\n")[2]) == (
        1,
        f"If the data was moved: nablafx test {place} --set data.path=NEW",
    )
    code, error, output = command("test", place, "--set", "data.path=else where")
    assert code == 0, (error, output)
    one_sample(Path("else where"))
    code, error, _ = command("test", place, "--set", "data.path=else where")
    assert code == 1
    assert "else where/1.wet.wav: its content" in error
    assert "give an experiment FILE" in error
    code, error, output = command("test", place, f"runs/{place}/config.yaml", "--set", "data.path=else where")
    assert code == 0, (error, output)  # with a FILE any data may be tested on


def test_a_dataset_without_files_has_no_fingerprint():
    from reference.tiny import TanhDataset

    assert fingerprint(TanhDataset()) is None


def test_a_file_that_was_changed_is_hashed_again(place):
    dataset = Folder("data")
    before = fingerprint(dataset)
    assert difference(before, dataset) is None
    one_sample(Path("data"))
    assert "1.wet.wav" in difference(before, Folder("data"))
    Path("data/1.wet.wav").unlink()
    with pytest.raises(DataError, match=r"1.wet.wav: cannot be read: No such file"):
        fingerprint(dataset)


def test_a_resume_of_a_missing_run_is_an_error(place):
    with pytest.raises(RunError):
        resumable("nothing", Path("runs"), ["data.path=x"])
