"""The example pack installs, keeps the laws, and is trained from an experiment file like what ships with NablAFx."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.signal
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st

from installing import CHECKOUT, Elsewhere
from nablafx_core.building import build
from nablafx_core.registry import Registry
from nablafx_core.testing import laws, laws_gradients, laws_saving

PACK = CHECKOUT / "tests" / "example_pack"


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory):
    made = Elsewhere(tmp_path_factory.mktemp("example"))
    made.install("nablafx_core", PACK)
    return made


@pytest.fixture(scope="module", autouse=True)
def _installed(elsewhere, tmp_path_factory):
    """The pack in this process too, without the copy of core that is beside it."""
    folder = tmp_path_factory.mktemp("pack")
    for item in elsewhere.site.glob("nablafx_example*"):
        (folder / item.name).symlink_to(item)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        Registry.discover.cache_clear()
        yield
    Registry.discover.cache_clear()


def model(knobs=("tone",)):
    return build("model", {"name": "soft-tone"}, sample_rate=16000, controls=[{"name": knob} for knob in knobs])


def tremolo():
    return build("processor", {"name": "example/tremolo", "max_rate_hz": 200.0}, sample_rate=16000)


def test_it_is_listed_with_all_that_it_has(elsewhere):
    packs = {pack["name"]: pack for pack in json.loads(elsewhere.nablafx("packs", "--json"))}
    assert packs["nablafx-example"] == {
        "name": "nablafx-example",
        "version": "0.1.0",
        "provides": {
            "models": ["soft-tone"],
            "processors": ["tremolo"],
            "datasets": ["bursts"],
            "presets": ["soft-tone-dark"],
        },
        "problems": [],
        "warnings": [],
    }
    assert "cutoff_hz" in elsewhere.nablafx("show", "soft-tone")


@pytest.mark.parametrize("subject", [model, lambda: model(()), lambda: model(("tone", "presence")), tremolo])
class TestLaws:
    @given(cuts=st.lists(st.integers(1, 200), min_size=1, max_size=6), moving=st.booleans())
    def test_stream_is_offline(self, subject, cuts, moving):
        laws.stream_equals_offline(subject(), cuts, moving_controls=moving)

    def test_single_precision(self, subject):
        laws.stream_equals_offline(subject(), [1, 500, 37, 3000], dtype=torch.float32)

    def test_items_and_time(self, subject):
        laws.items_are_independent(subject())
        laws.no_look_ahead(subject())
        laws.silence_gives_no_nan(subject())

    def test_gradients_and_knobs(self, subject):
        laws_gradients.every_control_moves_output(subject())
        laws_gradients.every_parameter_moves_output(subject())
        laws_gradients.gradients_are_right(subject())
        laws_gradients.gradients_are_finite(subject())

    def test_saving(self, subject):
        laws_saving.saves_what_it_loads(subject())


def test_the_filter_is_the_recursion_that_it_says():
    from nablafx_example.one_pole import one_pole

    random = np.random.default_rng(1)
    audio, last = random.standard_normal((2, 777)), random.standard_normal(2)
    cutoff_hz = np.array([[300.0], [5000.0]])
    pole = np.exp(-2 * np.pi * cutoff_hz[:, 0] / 16000)
    expected = [
        scipy.signal.lfilter([1 - a], [1, -a], x, zi=[a * y])[0] for a, x, y in zip(pole, audio, last, strict=True)
    ]
    found = one_pole(*map(torch.from_numpy, (audio, cutoff_hz)), 16000, torch.from_numpy(last))
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-12)


def test_the_tremolo_swings_between_full_and_one_minus_depth():
    effect = tremolo()
    parameters = {"rate_hz": torch.tensor([4.0]), "depth": torch.tensor([0.75])}
    gain = effect(torch.ones(1, 1, 16000), parameters)[0][0, 0]
    assert gain[0] == gain[4000] == 1
    assert gain[2000] == pytest.approx(0.25)
    assert gain.mean() == pytest.approx(1 - 0.75 / 2)


def test_an_experiment_file_trains_it(elsewhere):
    """The model has the form of the effect, so that a short training comes near it."""
    experiment = PACK / "experiment.yaml"
    merged = yaml.safe_load(elsewhere.nablafx("config", str(experiment)))
    assert merged["model"] == {"name": "soft-tone", "cutoff_hz": 1000.0, "octaves": 1.0}
    result = json.loads(elsewhere.nablafx("train", str(experiment), "--json"))
    assert result["test"]["esr"] < 0.01
    bundle = result["bundle"]
    loaded = elsewhere.python(
        "-c", f"import nablafx_core as n; m = n.load({bundle!r}); print(m.sample_rate, [c.name for c in m.controls])"
    )
    assert loaded.stdout == "16000 ['tone']\n"
