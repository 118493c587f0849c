"""Ranges of parameters: as wide as those of devices, limited by the sample rate, noted if a value is at an end."""

from __future__ import annotations

import json
import logging
import warnings

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner

import nablafx_core as nfx
from nablafx_core.bundles.bundle import save_bundle
from nablafx_core.cli import cli
from nablafx_core.controls import Centred, Control
from nablafx_core.data.sources import ArraySource
from nablafx_core.errors import ModelError
from nablafx_core.evaluation.test_folder import score
from nablafx_core.interfaces import Recording
from nablafx_core.pictures.excerpts import Excerpt
from nablafx_core.pictures.stage_panel import StagePanel
from nablafx_core.registry import Registry
from nablafx_core.scoring.metrics import ESR
from nablafx_dsp.processors.dynamics import PARAMETERS
from nablafx_dsp.processors.equalizers import ParametricEQ

RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 96_000)


def of_this_pack(kind):
    return [entry for entry in Registry.discover().entries(kind) if entry.pack.name == "nablafx-dsp"]


@pytest.mark.parametrize("rate", RATES)
def test_every_processor_has_its_default_ranges_at_every_rate(rate):
    """Building does not warn that a part of a range is clamped."""
    for entry in of_this_pack("processor"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            made = nfx.build("processor", {"name": entry.qualified_name, **entry.component.example}, sample_rate=rate)
        for parameter in made.effect_parameters:
            assert parameter.minimum < parameter.maximum
            if parameter.unit == "Hz":
                assert parameter.maximum <= 0.49 * rate


@pytest.mark.filterwarnings("ignore:.*are clamped")  # presets of NablAFx end in a low-pass at 20 kHz
@pytest.mark.parametrize("rate", [8_000, 16_000])
def test_every_preset_builds_at_low_rates(rate):
    for entry in of_this_pack("preset"):
        model = yaml.safe_load(entry.resource().read_text(encoding="utf-8"))["model"]
        knobs = [Control("a"), Control("b")] if "_cond" in str(model) else []
        assert nfx.build("model", model, sample_rate=rate, controls=knobs).sample_rate == rate


def test_bands_move_down_together():
    highshelf = ParametricEQ(8_000).bands[-1]
    assert (highshelf.lowest, highshelf.highest) == pytest.approx((980.0, 3_920.0))
    assert ParametricEQ(48_000).bands == ParametricEQ.table


def test_a_range_above_the_sample_rate_is_refused_with_both():
    section = {"name": "highshelf", "min_cutoff_hz": 5_000.0}
    with pytest.raises(ModelError, match="highshelf: .*5000 to 2000 Hz.*8000 Hz .* 3920 Hz"):
        nfx.build("processor", section, sample_rate=8_000)


class TestCentred:
    wide = Centred("attack_ms", 0.05, 1000.0, "ms", "log", middle=5.0)

    def test_it_passes_through_both_ends_and_the_middle(self):
        assert [self.wide.from_unit(u) for u in (0.0, 0.5, 1.0)] == pytest.approx([0.05, 5.0, 1000.0])

    def test_to_unit_inverts_from_unit(self):
        for u in np.linspace(0, 1, 21):
            assert self.wide.to_unit(self.wide.from_unit(u)) == pytest.approx(u, abs=1e-12)

    def test_it_moves_a_sigmoid(self):
        """The middle of a range shifts the input of the sigmoid by a constant."""
        plain = super(Centred, self.wide)
        x = torch.linspace(-6, 6, 50, dtype=torch.float64)
        shift = torch.logit(torch.tensor(plain.to_unit(5.0), dtype=torch.float64))
        torch.testing.assert_close(self.wide.from_unit(x.sigmoid()), plain.from_unit((x + shift).sigmoid()))

    @pytest.mark.parametrize("middle", [0.05, 1000.0, 2000.0])
    def test_a_middle_outside_the_range_is_refused(self, middle):
        with pytest.raises(ModelError, match="the middle .* is not between 0.05 and 1000"):
            Centred("attack_ms", 0.05, 1000.0, "ms", "log", middle=middle)


def test_dynamics_cover_the_ranges_of_devices():
    """An attack of 405 ms and a threshold of -61 dB are inside the ranges of every kind."""
    for kind, parameters in PARAMETERS.items():
        by_name = {parameter.name: parameter for parameter in parameters}
        assert by_name["threshold_db"].minimum < -61
        if kind != "limiter":
            assert by_name["attack_ms"].maximum > 405


def chain(**logits):
    """Return a trained filter and compressor, with some parameters at given positions in (0, 1)."""
    sections = [{"name": "nablafx-dsp/peaking"}, {"name": "nablafx-dsp/compressor", "fixed": {"ratio": 20.0}}]
    for section in sections:
        section["controller"] = {"name": "nablafx-dsp/static", "spread": 0.1}
    model = nfx.build("model", {"name": "nablafx-core/graybox", "processors": sections}, sample_rate=8_000).eval()
    for stage in model.stages:
        for index, parameter in enumerate(stage.driven):
            if parameter.name in logits:
                with torch.no_grad():
                    stage.controller.logits[index] = logits[parameter.name]
    return model


ENDS = {"attack_ms": 9.0, "gain_db": -9.0, "knee_db": 3.0}


def test_show_names_values_at_an_end(tmp_path):
    save_bundle(chain(**ENDS), tmp_path / "a.nfx")
    shown = CliRunner().invoke(cli, ["show", str(tmp_path / "a.nfx")])
    assert shown.exit_code == 0, shown.output
    (attack,) = (line for line in shown.output.splitlines() if " attack_ms " in line)
    assert "(highest)" in attack
    (gain,) = (line for line in shown.output.splitlines() if " gain_db " in line)
    assert "(lowest)" in gain
    told = "1 peaking filter (static): gain_db, the lowest; 2 compressor (static): attack_ms, the highest."
    assert told in " ".join(shown.output.split())
    rows = json.loads(CliRunner().invoke(cli, ["show", str(tmp_path / "a.nfx"), "--json"]).stdout)
    at_end = {row["parameter"]: row["at_end"] for row in rows["learned"]["stages"] if "at_end" in row}
    assert at_end == {"gain_db": "lowest", "attack_ms": "highest"}


def test_a_chain_inside_its_ranges_gives_no_note(tmp_path, caplog):
    save_bundle(chain(), tmp_path / "a.nfx")
    assert "end of their range" not in CliRunner().invoke(cli, ["show", str(tmp_path / "a.nfx")]).output


@pytest.mark.parametrize("ends", [ENDS, {}], ids=["at the ends", "inside"])
def test_a_test_notes_values_at_an_end(ends, tmp_path, caplog):
    audio = ArraySource(0.1 * torch.randn(4_000, generator=torch.Generator().manual_seed(0)))
    recording = Recording("a", audio, audio, "a", stop=4_000)
    with caplog.at_level(logging.WARNING):
        evaluation = score(chain(**ends), [recording], {"esr": ESR()}, tmp_path, media=0)
    assert ("2 compressor (static): attack_ms, the highest" in caplog.text) == bool(ends)
    written = json.loads((tmp_path / "test.json").read_text())["stages"]
    expected = [{"gain_db": "lowest"}, {"attack_ms": "highest"}] if ends else [None, None]
    assert [row.get("at_end") for row in written] == [row.get("at_end") for row in evaluation.stages] == expected


def test_the_picture_marks_values_at_an_end():
    stage = chain(**ENDS).stages[1]
    with torch.no_grad():
        values = {name: value[0] for name, value in stage.values(stage.controller(torch.zeros(1, 1, 9))[0]).items()}
    panel = StagePanel("1", stage, [Excerpt("", "a", 0, np.zeros(9), {"1": values})], None)
    told = " ".join(line for line, _ in panel.lines)
    assert "ms (highest of its range)" in told
    assert "ratio 20," in told  # fixed intentionally
