"""An import path in a file is followed only if the user wrote the file or trusts the module by name."""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import nablafx_core as nfx
from nablafx_core.bundles.bundle import DESCRIPTION, describe_bundle, save_bundle
from nablafx_core.cli import cli
from nablafx_core.config import load_experiment
from nablafx_core.errors import BundleError, ConfigError, NablafxError, RegistryError
from nablafx_core.registry import Registry
from nablafx_core.registry.building import component_class
from nablafx_core.registry.import_paths import code_of_stranger, trusting
from nablafx_core.training.fit import train
from nablafx_core.training.resumable import resumable

pytestmark = pytest.mark.slow

MODULE = "a_model_of_mine"
SOURCE = f"""
from pathlib import Path

import torch

import {MODULE}_helper
from nablafx_core.interfaces import Controller, Model, Processor
from nablafx_core.testing.tiny import TinyData

Path(__file__).with_name("imported").touch()


class Net(Model):
    receptive_field = 1

    def __init__(self, start: float = 0.5, sample_rate: int = 48000, controls=()):
        super().__init__(sample_rate, controls)
        self.gain = torch.nn.Parameter(torch.tensor(start))

    def initial_state(self, batch_size, controls=None):
        return {{}}

    def forward(self, audio, controls=None, state=None):
        return audio * self.gain, {{}}


class Wire(Processor):
    def forward(self, audio, parameters, state=None):
        return audio, {{}}


class Nothing(Controller):
    def forward(self, audio, controls=None, state=None):
        return audio.new_zeros(audio.shape[0], 0), {{}}


class Data(TinyData):
    pass
"""
CHAIN = {"name": "graybox", "processors": [{"name": f"{MODULE}:Wire", "controller": {"name": f"{MODULE}:Nothing"}}]}
SECTIONS = {
    "data": {"name": f"{MODULE}:Data", "segment_length": 4096},
    "model": {"name": f"{MODULE}:Net"},
    "loss": [{"name": "l1"}],
    "metrics": ["mae"],
    "train": {"max_steps": 1, "validate_every": 1},
}


def forget() -> None:
    """Forget that this process has imported the module."""
    for name in [name for name in sys.modules if name.startswith(MODULE)]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Create the folder of an experiment with its code; the current folder is another one."""
    monkeypatch.setenv("NABLAFX_CACHE", str(tmp_path / "cache"))
    place = tmp_path / "experiment"
    place.mkdir()
    (place / f"{MODULE}.py").write_text(SOURCE)
    (place / f"{MODULE}_helper.py").touch()
    (place / "e.yaml").write_text(yaml.safe_dump(SECTIONS))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    forget()
    yield place
    forget()


@pytest.fixture
def run(folder):
    """Train a run with that code, in a process that has ended."""
    found = train(folder / "e.yaml").folder
    forget()
    (folder / "imported").unlink()
    return found


def bundle_of(model: dict, folder: Path) -> Path:
    """Write a bundle of a model whose code is in the folder."""
    sys.path.insert(0, str(folder))
    try:
        path = save_bundle(nfx.build("model", model), folder / "m.nfx")
    finally:
        sys.path.remove(str(folder))
    forget()
    (folder / "imported").unlink()
    return path


def test_a_module_beside_the_experiment_is_found_and_nothing_else_changes(folder):
    before = list(sys.path), list(sys.meta_path)
    result = train(folder / "e.yaml")
    assert type(nfx.load(result.bundle)).__module__ == MODULE
    assert (sys.path, sys.meta_path) == before
    forget()
    with pytest.raises(
        RegistryError, match=rf"No module named '{MODULE}'\. Put {MODULE}\.py beside the experiment file"
    ):
        nfx.build("model", SECTIONS["model"])


@pytest.mark.parametrize("command", ["config", "profile --seconds 0"])
def test_commands_find_a_module_beside_the_experiment(command, folder):
    found = CliRunner().invoke(cli, [*command.split(), str(folder / "e.yaml")], catch_exceptions=False)
    assert found.exit_code == 0
    assert (folder / "imported").exists()


@pytest.mark.parametrize("command", [f"data {MODULE}:Data", f"show --kind model {MODULE}:Net"])
def test_without_a_file_a_module_in_the_current_folder_is_found(command, folder, monkeypatch):
    monkeypatch.chdir(folder)
    assert CliRunner().invoke(cli, command.split(), catch_exceptions=False).exit_code == 0


def test_a_sweep_finds_the_module_for_each_trial(folder):
    (folder / "s.yaml").write_text("experiment: e.yaml\nsweep: {search: grid, space: {model.start: [0.1, 0.2]}}\n")
    found = CliRunner().invoke(cli, ["sweep", "--dry-run", str(folder / "s.yaml")], catch_exceptions=False)
    assert "0.2" in found.stdout


def test_a_file_named_like_a_standard_module_does_not_replace_it(folder):
    (folder / "random.py").write_text("raise RuntimeError")
    train(folder / "e.yaml")


def test_a_second_module_of_the_same_name_gives_an_error(folder, tmp_path):
    load_experiment([folder / "e.yaml"])
    other = tmp_path / "other"
    other.mkdir()
    for name in (f"{MODULE}.py", f"{MODULE}_helper.py", "e.yaml"):
        (other / name).write_text((folder / name).read_text())
    with pytest.raises(ConfigError, match=rf"means .*other.*, but another module '{MODULE}' is loaded \(.*experiment"):
        load_experiment([other / "e.yaml"])


def test_a_bundle_names_the_code_that_it_needs(run):
    assert describe_bundle(run / "model.nfx")["code"] == {MODULE: f"{MODULE}.py"}


def test_a_run_of_this_user_finds_its_code(run, folder):
    runner = CliRunner()
    for command in (["test", "latest"], ["show", str(run)], ["profile", str(run), "--seconds", "0"]):
        forget()
        assert runner.invoke(cli, command, catch_exceptions=False).exit_code == 0


def test_a_run_of_another_user_imports_nothing(run, folder):
    """Without the note that this user trained the run, neither its config nor its model is trusted."""
    for file in (folder.parent / "cache" / "code").iterdir():
        file.unlink()
    for load in (
        lambda: nfx.load(run),
        lambda: load_experiment([run / "config.yaml"]),
        lambda: train(run / "config.yaml"),
        lambda: CliRunner().invoke(cli, ["test", "latest"], catch_exceptions=False),
        lambda: CliRunner().invoke(cli, ["show", str(run)], catch_exceptions=False),
    ):
        with pytest.raises(NablafxError, match=rf"names code outside packs: {MODULE}:.*--trust {MODULE}\.py"):
            load()
    assert not (folder / "imported").exists()
    trust = ["--trust", str(folder / f"{MODULE}.py")]
    assert CliRunner().invoke(cli, ["test", "latest", *trust], catch_exceptions=False).exit_code == 0


@pytest.mark.parametrize("command", ["test {}", "train --resume {}"])
def test_a_folder_without_a_record_is_not_trusted(command, run, folder):
    """An attacker may leave run.json out of a run's folder, and put code beside config.yaml."""
    (run / "run.json").unlink()
    for name in (f"{MODULE}.py", f"{MODULE}_helper.py"):
        (run / name).write_text((folder / name).read_text())
    for file in (folder.parent / "cache" / "code").iterdir():
        file.unlink()
    name = str(run) if command.startswith("test") else run.name
    with pytest.raises(NablafxError, match=rf"names code outside packs: {MODULE}:"):
        CliRunner().invoke(cli, command.format(name).split(), catch_exceptions=False)
    assert not (run / "imported").exists()


def test_a_resumed_run_finds_its_code(folder):
    class Stop(Exception):
        pass

    def stop(*arguments, **settings):
        raise Stop

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("nablafx_core.training.fit.Trainer", stop)
        with pytest.raises(Stop):
            train(folder / "e.yaml")
    forget()
    run_id, experiment = resumable("latest", Path("runs"))
    forget()
    assert train(experiment, resume=run_id).test["mae"] > 0


@pytest.mark.parametrize("model", [SECTIONS["model"], CHAIN], ids=["model", "parts of a chain"])
def test_a_bundle_imports_nothing_unless_it_is_trusted(model, folder):
    path = bundle_of(model, folder)
    with pytest.raises(BundleError) as error:
        nfx.load(path)
    made_with = f"{'nablafx-core 0.1.0, ' * (model is CHAIN)}{MODULE}.py (not in a pack)"
    assert f"It was made with {made_with}" in str(error.value)
    assert f"names code outside packs: {MODULE}:" in str(error.value)
    assert f'trust="{MODULE}.py"' in str(error.value)
    assert not (folder / "imported").exists()
    assert nfx.load(path, trust=folder / f"{MODULE}.py").sample_rate == 48000


def test_loaded_code_needs_no_trust(folder, monkeypatch):
    path = bundle_of(CHAIN, folder)
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(BundleError, match="names code outside packs"):
        nfx.load(path)
    with trusting(MODULE):
        nfx.load(path)
    assert nfx.load(path).sample_rate == 48000


def named(path: Path, name: str) -> Path:
    """Return the bundle with another name for its model."""
    with zipfile.ZipFile(path) as archive:
        parts = {part: archive.read(part) for part in archive.namelist()}
    parts[DESCRIPTION] = yaml.safe_dump({**yaml.safe_load(parts[DESCRIPTION]), "model": {"name": name}}).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for part, content in parts.items():
            archive.writestr(part, content)
    return path


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("this:x", "standard library"),
        ("lightning.pytorch.demos.boring_classes:BoringModel", "names code outside packs"),
        ("nablafx_core.__main__:main", "names code outside packs"),
        ("nablafx_core.testing.tiny:TinyData", "is not a model: it does not derive from"),
        ("torch.nn:Linear", "is not a model: it does not derive from"),
    ],
)
def test_a_bundle_may_name_only_components_of_packs(name, message, folder):
    path = named(bundle_of(SECTIONS["model"], folder), name)
    module = name.partition(":")[0]
    was_there = module in sys.modules
    with pytest.raises(BundleError, match=message):
        nfx.load(path)
    assert (module in sys.modules) is (was_there or module.startswith("nablafx_core.testing"))


def test_observers_of_sacred_need_no_trust(folder):
    with code_of_stranger("config.yaml").used():
        assert component_class(Registry.discover().find("observer", "sacred.observers:FileStorageObserver"))


def test_observers_of_another_users_run_are_left_out(folder, tmp_path, monkeypatch, caplog):
    """They could read recorded data and the user's environment variables."""
    monkeypatch.setenv("PLACE_OF_MINE", str(tmp_path / "told"))
    observers = [{"name": "sacred.observers:FileStorageObserver", "basedir": "${PLACE_OF_MINE}"}]
    data = {"name": "nablafx_core.testing.tiny:TinyData", "segment_length": 4096}
    tcn = {"name": "tcn", "num_blocks": 1, "channel_width": 2}
    found = train({**SECTIONS, "data": data, "model": tcn, "track": {"observers": observers}}).folder

    def told(*options):
        caplog.clear()
        before = len(list((tmp_path / "told").glob("[0-9]*")))
        assert CliRunner().invoke(cli, ["test", "latest", *options], catch_exceptions=False).exit_code == 0
        return len(list((tmp_path / "told").glob("[0-9]*"))) - before

    def observers_of(config):
        return load_experiment([config]).config["track"]["observers"]

    assert told() == 1 and "left out" not in caplog.text
    written = yaml.safe_load((found / "config.yaml").read_text())
    another = {**written["track"]["observers"][0], "basedir": "${HOME}"}
    written["track"]["observers"].append(another)
    (found / "config.yaml").write_text(yaml.safe_dump(written))
    assert observers_of(found / "config.yaml") == written["track"]["observers"][:1]
    assert f"{found}: track.observers names 1 that this run did not have" in caplog.text
    for file in (tmp_path / "cache" / "code").iterdir():
        file.unlink()
    assert told() == 0 and "names 2 that this run did not have" in caplog.text
    assert told("--set", f"track.observers={json.dumps(observers)}") == 1 and "left out" not in caplog.text


@pytest.mark.parametrize(
    ("trust", "message"),
    [
        ("nowhere/mine.py", "there is no such file"),
        ("what is this", "expected a Python file such as mymodel.py"),
        ("my-model.py", "expected a Python file such as mymodel.py"),
    ],
)
def test_invalid_names_of_trusted_modules_are_errors(trust, message, folder):
    Path("my-model.py").touch()
    with pytest.raises(RegistryError, match=message):
        nfx.load("m.nfx", trust=trust)


def test_a_trusted_link_has_the_name_and_folder_of_the_link(folder, monkeypatch):
    package = folder / "package_of_mine"
    package.mkdir()
    (package / "link_of_mine.py").symlink_to(folder / f"{MODULE}.py")
    monkeypatch.chdir(package)
    with trusting([".", "link_of_mine.py"]):
        trusted = code_of_stranger("m.nfx").trusted
    assert trusted == {"package_of_mine": folder, "link_of_mine": package}


def test_a_folder_with_the_same_prefix_is_not_taken_for_the_modules_folder(folder, tmp_path):
    """The note of a run contains the folder of its code."""
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "first.yaml").write_text("train: {seed: 2}")
    run = train(load_experiment([tmp_path / "exp" / "first.yaml", folder / "e.yaml"])).folder
    forget()
    assert type(nfx.load(run)).__module__ == MODULE
