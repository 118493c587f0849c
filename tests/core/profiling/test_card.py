"""The cost card counts and measures correctly, and lists modules that it cannot count."""

from __future__ import annotations

import json
import math

import pytest
import torch
from click.testing import CliRunner
from torch import nn

from nablafx_core.bundles.bundle import save_bundle
from nablafx_core.cli import cli
from nablafx_core.cli.profiled import find_subject
from nablafx_core.errors import ConfigError, DataError, RegistryError
from nablafx_core.interfaces import Model, Processor
from nablafx_core.profiling import cost_card, count_macs
from nablafx_core.profiling.peak_memory import peak_memory
from nablafx_core.testing.tiny import TINY_DATA, TinyModel

pytestmark = pytest.mark.slow

CPU = torch.device("cpu")
MEGA = 1 << 20


class Unknown(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.inner = nn.Linear(3, 4)


class Slow(nn.Module):
    """Layer that runs once per eight samples, with a part that never runs."""

    samples_per_step = 8

    def __init__(self):
        super().__init__()
        self.layer = nn.Conv1d(2, 6, 3, groups=2)
        self.once = Unknown()
        self.once.samples_per_step = math.inf


class Declared(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 4)

    def macs_per_sample(self):
        return 7.0


class Offline(Model):
    """Model that scales its input, cannot stream, and has no weights."""

    streams = False

    def forward(self, audio, controls=None, state=None):
        return 0.5 * audio, {}


def test_macs_of_layers_and_of_modules_that_declare_them():
    assert count_macs(nn.Conv1d(4, 6, 3, groups=2)).per_sample == 6 * 2 * 3
    assert count_macs(nn.GRU(2, 5, num_layers=2)).per_sample == 3 * 5 * (2 + 5 + 5 + 5)
    assert count_macs(nn.Sequential(Declared(), nn.PReLU(), nn.Linear(4, 2))).per_sample == 7 + 8
    assert count_macs(Slow()) == (6 * 1 * 3 / 8, ())


def test_modules_with_unknown_macs_are_listed():
    counted = count_macs(nn.Sequential(Unknown(), nn.Conv1d(1, 1, 3, stride=2), Processor(), nn.Tanh()))
    assert counted.per_sample == 12  # known layers inside an unknown module count
    assert counted.not_counted == ("0 (Unknown)", "1 (Conv1d)", "2 (Processor)")


def test_peak_memory_is_the_largest_sum_of_live_allocations():
    def two_of_three():
        first, second = torch.empty(MEGA), torch.empty(2 * MEGA)
        del first
        return second, torch.empty(MEGA // 2)

    assert peak_memory(two_of_three, CPU) == 4 * 3 * MEGA
    assert peak_memory(lambda: torch.empty(0), CPU) == 0


def test_peak_memory_of_a_step_whose_size_is_known():
    weight = torch.ones(MEGA, requires_grad=True)

    def step():
        torch.tanh(torch.tanh(torch.tanh(weight))).sum().backward()
        weight.grad = None

    # Three outputs are kept for the gradients; the sum's gradient is a number that is repeated. The last tanh frees its
    # output only after it has made its gradient.
    assert peak_memory(step, CPU) == pytest.approx(4 * 4 * MEGA, rel=1e-4)


def test_the_card_does_not_change_the_model():
    model = TinyModel()
    card = cost_card(model, 2, 1024, seconds=0.0, block_sizes=(64, 100))
    assert (card.parameters, card.trained_parameters, card.receptive_field, card.latency) == (1, 1, 1, 0)
    assert card.not_counted == ("TinyModel",)
    assert card.step_samples_per_second == 2 * 1024 / card.step_seconds
    assert list(card.real_time_factors) == [64, 100]
    assert min(card.real_time_factors.values()) > 0
    assert model.weight.item() == 1.0
    assert model.weight.grad is None


def test_a_model_without_stream_or_weights_has_a_card():
    card = cost_card(Offline(), 1, 256, seconds=0.0)
    assert card.real_time_factors == {}
    assert card.parameters == 0


def profiled(*arguments):
    result = CliRunner().invoke(cli, ["profile", *arguments, "--seconds", "0"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def experiment(tmp_path):
    path = tmp_path / "e.yaml"
    path.write_text(
        f"data: {{name: '{TINY_DATA}', num_controls: 2, segment_length: 512, batch_size: 3}}\n"
        "model: {name: 'nablafx_core.testing.tiny:TinyModel'}\n"
    )
    return path


def test_the_card_of_an_experiment_has_its_batch_segment_and_knobs(experiment):
    card = json.loads(profiled(str(experiment), "--json"))
    assert (card["batch_size"], card["segment_length"], card["num_controls"], card["threads"]) == (3, 512, 2, 1)
    assert json.loads(profiled(str(experiment), "--controls", "5", "--json"))["num_controls"] == 5


def test_the_card_of_a_preset_and_of_a_model_name(install):
    install(
        "nablafx-acme",
        """
        @hookimpl
        def nablafx_models():
            return [Component("scale", "nablafx_core.testing.tiny:TinyModel", "Scales")]
        """,
    )
    text = profiled("scale", "--controls", "1")
    lines = dict(line.split("  ", 1) for line in text.splitlines() if not line.startswith(" "))
    assert lines["Model"].strip() == "TinyModel at 48,000 Hz, 1 controls"
    assert lines["Training step"].strip().endswith("ms for 4 x 16,384 samples")
    assert "  not counted    TinyModel" in text.splitlines()
    assert json.loads(profiled("scale", "--set", "model.sample_rate=8000", "--json"))["sample_rate"] == 8000


def test_the_card_of_a_bundle(tmp_path):
    model = TinyModel()
    model.section = {"name": "nablafx_core.testing.tiny:TinyModel"}
    save_bundle(model, tmp_path / "a.nfx", {})
    assert json.loads(profiled(str(tmp_path / "a.nfx"), "--json"))["parameters"] == 1
    with pytest.raises(ConfigError, match="a.nfx' is not .* --set and --controls"):
        find_subject(str(tmp_path / "a.nfx"), ["model.x=1"], None, tmp_path)


def test_an_unknown_name_is_an_error(tmp_path):
    with pytest.raises(RegistryError, match=r"^'tnc-45' is not a preset.* `nablafx list"):
        find_subject("tnc-45", [], None, tmp_path)


def test_an_experiment_without_its_data_needs_the_number_of_controls(tmp_path, install):
    install.module(
        "acme_away",
        """
        from nablafx_core.interfaces import Dataset
        from nablafx_core.errors import DataError

        class Away(Dataset):
            '''On another disk.'''

            def __init__(self) -> None:
                raise DataError("data: there is no such folder.")
        """,
    )
    path = tmp_path / "e.yaml"
    path.write_text("data: {name: 'acme_away:Away'}\nmodel: {name: 'nablafx_core.testing.tiny:TinyModel'}\n")
    told = r"^data: there is no such folder\.\n  .*: --controls N\.$"
    with pytest.raises(DataError, match=told):
        find_subject(str(path), [], None, tmp_path)
    assert len(find_subject(str(path), [], 3, tmp_path).model.controls) == 3
