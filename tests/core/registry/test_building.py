"""Targets that a section may name, and settings that a class rejects."""

from __future__ import annotations

import sys

import pytest

from nablafx_core.config import load_experiment
from nablafx_core.controls import Control
from nablafx_core.errors import ConfigError, DataError, RegistryError
from nablafx_core.interfaces import RunObserver
from nablafx_core.registry.building import build, interface_of
from nablafx_core.registry.kinds import KINDS, Kind
from nablafx_core.training.fit import train

SECTIONS = {"data": {"name": "pair", "dry": "a.wav", "wet": "b.wav"}, "model": {"name": "tcn"}}


@pytest.fixture
def trap(tmp_path, monkeypatch):
    """Write a module whose function and class create a file when they are called; return the file."""
    mark = tmp_path / "called"
    (tmp_path / "trap_of_a_file.py").write_text(
        f"class Thing:\n    def __init__(self, **settings):\n        open({str(mark)!r}, 'w')\n\n"
        f"def function(**settings):\n    open({str(mark)!r}, 'w')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    yield mark
    sys.modules.pop("trap_of_a_file", None)


CODE = [name for name, kind in KINDS.items() if not kind.content]


@pytest.mark.parametrize("kind", CODE)
@pytest.mark.parametrize("name", ["trap_of_a_file:Thing", "trap_of_a_file:function"])
def test_a_target_of_another_kind_is_not_called(trap, kind, name):
    wanted = "is not an instance of click.Command" if kind == "command" else "does not derive from nablafx_core"
    with pytest.raises(RegistryError, match=f"'{name}' is not an? {kind}: it {wanted}"):
        build(kind, {"name": name})
    assert not trap.exists()


@pytest.mark.parametrize("kind", CODE)
@pytest.mark.parametrize("name", ["antigravity:x", "this:x", "idlelib.idle:x"])
def test_modules_of_the_standard_library_are_not_imported(kind, name):
    module = name.partition(":")[0]
    sys.modules.pop(module, None)
    with pytest.raises(RegistryError, match=f"'{name}' is not an? {kind}: .* Python's standard library"):
        build(kind, {"name": name})
    assert module not in sys.modules


def test_every_kind_of_code_has_an_interface():
    with pytest.raises(ValueError, match="kind 'reverb': code needs an interface"):
        Kind("reverb", "reverbs", "Reverbs.", "", laws="a.module:REVERB")
    with pytest.raises(TypeError, match="laws"):
        Kind("reverb", "reverbs", "Reverbs.", "", interface="a.module:Reverb")
    for kind in CODE:
        assert isinstance(interface_of(KINDS[kind]), type)


def test_the_kind_of_an_observer_is_checked_before_it_is_called(trap, tmp_path):
    track = {"observers": ["trap_of_a_file:Thing"], "runs_dir": str(tmp_path / "runs")}
    data = {"name": "nablafx_core.testing.tiny:TinyData", "segment_length": 4096}
    sections = {"data": data, "model": {"name": "lstm"}, "track": track}
    with pytest.raises(ConfigError, match="'trap_of_a_file:Thing' is not an observer: it does not derive from"):
        train(sections)
    assert not trap.exists()
    assert not (tmp_path / "runs").exists()


def test_observers_of_sacred_are_accepted(tmp_path):
    observer = build("observer", {"name": "sacred.observers:FileStorageObserver", "basedir": str(tmp_path)})
    assert isinstance(observer, RunObserver)


def test_an_experiment_with_a_target_of_another_kind_is_rejected(trap):
    with pytest.raises(ConfigError, match=r"model.name: 'trap_of_a_file:Thing' is not a model"):
        load_experiment(sections={**SECTIONS, "model": {"name": "trap_of_a_file:Thing"}})
    with pytest.raises(ConfigError, match=r"model.processors.0.name: 'trap_of_a_file:Thing' is not a processor"):
        load_experiment(
            sections={**SECTIONS, "model": {"name": "graybox", "processors": [{"name": "trap_of_a_file:Thing"}]}}
        )
    assert not trap.exists()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"channel_width": -1}, r"model 'nablafx-models/tcn' .*: RuntimeError: .*-1"),
        ({"num_blocks": "many"}, r"model 'nablafx-models/tcn' .*: TypeError: "),
        ({"controls": 3}, r"controls: should be a valid array"),
        ({"controls": [1]}, r"controls: 0: should be an object"),
        ({"controls": [{"nam": "d"}]}, r"controls: 0.name: Field required; 0.nam: Unexpected"),
        ({"controls": [{"name": 3}]}, r"controls: 0.name: should be a valid string"),
        ({"controls": [{"name": "d", "minimum": 5, "maximum": 1}]}, r"range 5.0 to 1.0 is not a range"),
        ({"controls": [{"name": "d", "positions": 3}]}, r"controls: 0.positions: should be a valid array"),
    ],
)
def test_settings_that_a_class_rejects_give_an_error(settings, message):
    with pytest.raises(ConfigError, match=message):
        build("model", {"name": "tcn", "num_blocks": 2, **settings})


def test_errors_of_nablafx_pass_unchanged():
    with pytest.raises(DataError, match="no such file"):
        build("dataset", {"name": "pair", "dry": "nowhere.wav", "wet": "nowhere.wav"})


def test_controls_may_be_plain_data_or_controls():
    knob = Control("drive", 0, 10, "dB", default=3.0)
    for given in ([knob], (knob,), [{"name": "drive", "maximum": 10, "unit": "dB", "default": 3}]):
        model = build("model", {"name": "tcn", "num_blocks": 2, "conditioning": "film"}, controls=given)
        assert model.controls == (knob,)
