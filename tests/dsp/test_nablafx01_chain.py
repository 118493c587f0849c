"""Gray-box checkpoints of NablAFx 1.0 give exactly the output that their parameters describe."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner

import nablafx_core as nfx
from nablafx_core.cli import cli
from nablafx_core.errors import ConversionError
from nablafx_core.graybox import describe

pytestmark = pytest.mark.slow

PARITY = Path(__file__).parent / "parity"
CHAIN = torch.load(PARITY / "chain_gb_comp.pt", weights_only=True)


def written(folder, config=None, weights=None, prefix="model."):
    """Write a checkpoint and the YAML of its model like a training with NablAFx."""
    config = CHAIN["model_cfg"] if config is None else config
    weights = CHAIN["state_dict"] if weights is None else weights
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": {"class_path": "x.System", "init_args": config}}))
    torch.save({"state_dict": {prefix + key: value for key, value in weights.items()}}, folder / "last.ckpt")
    return folder / "last.ckpt"


def imported(folder, config=None, weights=None, prefix="model.", **settings):
    path = written(folder, config, weights, prefix)
    return nfx.import_model(path, config=folder / "config.yaml", **settings)


def with_processors(*items, **arguments):
    config = copy.deepcopy(CHAIN["model_cfg"])
    config["init_args"] |= {"processors": list(items)} | arguments
    return config


def processor(name, **arguments):
    return {"class_path": f"nablafx.processors.{name}", "init_args": arguments}


@pytest.mark.parametrize("prefix", ["model.", ""])
def test_parity_of_a_compressor(prefix, tmp_path):
    model = imported(tmp_path, prefix=prefix).double()
    with torch.no_grad():
        out, _ = model(CHAIN["x"].double())
    torch.testing.assert_close(out, CHAIN["y_eval_noclamp64"].double(), rtol=0, atol=1e-6)


def test_parity_of_an_equalizer():
    case = torch.load(PARITY / "proc_ParametricEQ_static.pt", weights_only=True)
    eq = nfx.build("processor", {"name": "parametric_eq", "curves": "linear"}, sample_rate=48000)
    units = case["control_params"][..., 0].double()
    values = {p.name: p.from_unit(units[:, i]) for i, p in enumerate(eq.effect_parameters)}
    for value, theirs in zip(values.values(), case["param_dict"].values(), strict=True):
        torch.testing.assert_close(value, theirs[:, 0].double(), rtol=1e-5, atol=1e-5)
    out, _ = eq(case["x"].double(), values)
    torch.testing.assert_close(out, case["y_eval_noclamp64"].double(), rtol=0, atol=1e-6)


def test_the_command_finds_it_by_its_class(tmp_path):
    path, config = written(tmp_path), str(tmp_path / "config.yaml")
    done = CliRunner().invoke(cli, ["import", str(path), "--config", config, "-o", str(tmp_path / "gb.nfx")])
    assert done.exit_code == 0, done.output
    model = nfx.load(tmp_path / "gb.nfx")
    units = CHAIN["state_dict"]["controller.controllers.0.control_params"].sigmoid()
    learned = {(v.index, v.parameter): v.value for v in describe(model)}
    first = model.stages[0].processor.effect_parameters[0]
    assert learned[0, first.name] == pytest.approx(-12 + 24 * float(units[0]), rel=1e-5)


class TestKinds:
    def test_every_processor_obeys_the_laws(self, tmp_path):
        """Its weights are ours, saved under NablAFx's names."""
        items = [
            processor("Peaking", min_cutoff_freq=50, max_cutoff_freq=5000, control_type="static"),
            processor("Highpass", control_type="static-cond"),
            processor("Lowshelf", control_type="dynamic"),
            processor("PhaseInversion", sample_rate=48000),
            processor("DCOffset", control_type="dynamic-cond"),
            processor("StaticMLPNonlinearity", hidden_dim=8, num_layers=2, lr_multiplier=0.01, pretrained="x.pt"),
            processor("StaticRationalNonlinearity", degrees=[4, 3], init_approx_func="tanh"),
            processor("StaticFIRFilter", n_taps=16, hidden_dim=8, num_layers=2),
            processor("ShelvingEQ", min_low_shelf_cutoff_freq=30, control_type="static"),
            processor("Lowpass", min_cutoff_freq=20000, max_cutoff_freq=20000, control_type="static"),
        ]
        config = with_processors(*items, num_controls=2, stat_cond_hidden_dim=7, dyn_block_size=64)
        ours = _chain(config, tmp_path)
        assert [c.block_size for c in ours.controllers if hasattr(c, "block_size")] == [64, 128]
        assert ours.processors[8].bands[1][2:] == (30, 4000)
        assert ours.processors[5].lr_multiplier == 0.01
        model = imported(tmp_path, config, _theirs(ours), controls=["drive", "tone"])
        assert [control.name for control in model.controls] == ["drive", "tone"]
        audio, knobs = 0.1 * torch.randn(1, 1, 1000), torch.rand(1, 2)
        with torch.no_grad():
            torch.testing.assert_close(model(audio, knobs)[0], ours.eval()(audio, knobs)[0], rtol=0, atol=1e-6)

    def test_missing_arguments_have_the_defaults_of_nablafx(self, tmp_path):
        """Write a model of these processors; a processor with parameters is driven by a static controller."""
        names = ("Gain", "Lowshelf", "PhaseShift", "StaticMLPNonlinearity", "StaticFIRFilter")
        given = [processor(name, **({"n_taps": 64} if "FIR" in name else {})) for name in names]
        learned = {"lr_multiplier": 1.0, "control_type": "static"}
        network = {"hidden_dim": 64, "num_layers": 3, "w0_initial": 30.0, "lr_multiplier": 1.0}
        complete = [
            processor("Gain", min_gain_db=-32.0, max_gain_db=32.0, **learned),
            processor(
                "Lowshelf",
                min_gain_db=-12.0,
                max_gain_db=12.0,
                min_q_factor=0.1,
                max_q_factor=10.0,
                min_cutoff_freq=20.0,
                max_cutoff_freq=2000.0,
                **learned,
            ),
            processor("PhaseShift", min_shift=-180.0, max_shift=180.0, **learned),
            processor("StaticMLPNonlinearity", **network),
            processor("StaticFIRFilter", n_taps=64, **network),
        ]
        from nablafx_dsp.nablafx01 import sections_of

        sections = sections_of({"processors": given}, "test")
        assert sections == sections_of({"processors": complete}, "test")
        assert [section["controller"]["name"] for section in sections[:3]] == ["nablafx-dsp/static"] * 3
        build = nfx.build("model", {"name": "graybox", "processors": sections})
        assert [parameter.minimum for parameter in build.processors[1].effect_parameters] == [-12.0, 20.0, 0.1]

    def test_a_phase_shift_is_imported_as_the_mix_of_two_samples(self, tmp_path):
        config = with_processors(processor("PhaseShift"))
        weights = {"controller.controllers.0.control_params": torch.tensor([0.3])}
        model, audio = imported(tmp_path, config, weights), torch.randn(1, 1, 100)
        angle = torch.deg2rad(-180 + 360 * torch.sigmoid(torch.tensor(0.3)))
        before = torch.nn.functional.pad(audio[..., :-1], (1, 0))
        torch.testing.assert_close(model(audio)[0], audio * angle.cos() + before * angle.sin(), atol=1e-5, rtol=0)

    def test_controllers_numbered_without_those_that_have_no_weights(self, tmp_path):
        """Some versions number only the controllers of processors with parameters."""
        config = with_processors(processor("PhaseInversion"), processor("Gain", control_type="static"), num_controls=0)
        weights = {"controller.controllers.0.control_params": torch.tensor([0.5])}
        model = imported(tmp_path, config, weights)
        assert model.controllers[1].logits.tolist() == [0.5]

    def test_a_high_shelf_is_imported_as_a_low_shelf(self, tmp_path, caplog):
        config = with_processors(processor("Highshelf", control_type="static"))
        model = imported(tmp_path, config, {"controller.controllers.0.control_params": torch.zeros(3)})
        assert model.processors[0].bands[0].type == "lowshelf"
        assert "NablAFx's Highshelf computes a low shelf" in caplog.text

    def test_controls_that_no_controller_reads_are_reported(self, tmp_path, caplog):
        assert imported(tmp_path, with_processors(*CHAIN["model_cfg"]["init_args"]["processors"], num_controls=2))
        assert "uses its 2 controls" in caplog.text


def _chain(config, folder):
    """Build a chain with random weights like an import of that configuration."""
    from nablafx_dsp.nablafx01 import sections_of

    torch.manual_seed(0)
    sections = sections_of(config["init_args"], "here")
    controls = [{"name": name} for name in ("drive", "tone")]
    return nfx.build("model", {"name": "graybox", "processors": sections}, sample_rate=48000, controls=controls)


def _theirs(model):
    weights = {}
    for key, value in model.state_dict().items():
        kind = "processor" if key.startswith("processors") else "controller"
        weights[f"{kind}.{key.replace('logits', 'control_params')}"] = value
        if ".projection.layers." in key:
            weights[f"{kind}.{key.replace('layers', 'mlp')}"] = value
    return weights


@pytest.mark.parametrize(
    ("config", "told"),
    [
        (with_processors(), "the chain has no processors"),
        (with_processors(processor("Vocoder")), r"processors\[0\]: .*'nablafx.processors.Vocoder'"),
        (with_processors(processor("Gain", colour=1)), "NablAFx's Gain has no argument 'colour'"),
        (with_processors(processor("Gain", control_type="wild")), "control_type 'wild'.* static,"),
        (with_processors(processor("Gain"), speed=1), "argument 'speed'"),
        (with_processors(processor("Gain", control_type=None)), "control_type 'None'.* static,"),
        (with_processors(processor("Gain", min_gain_db=5, max_gain_db=0)), "cannot build .*gain"),
        (
            with_processors(processor("Gain", sample_rate=1, control_type="static"), processor("Tanh", sample_rate=2)),
            "different sample rates: 1, 2",
        ),
    ],
    ids=str,
)
def test_unsupported_configurations_are_refused(config, told, tmp_path):
    with pytest.raises(ConversionError, match=told):
        imported(tmp_path, config)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda w: w.pop("controller.controllers.3.control_params"), r"lacks the weights 'controllers.3.logits'"),
        (lambda w: w.update({"processor.processors.0.x": torch.ones(1)}), "'processors.0.x'"),
        (lambda w: w.update({"controller.controllers.0.control_params": torch.ones(3)}), r"has the shape \(3,\)"),
    ],
)
def test_weights_that_do_not_fit_are_refused(change, told, tmp_path):
    weights = dict(CHAIN["state_dict"])
    change(weights)
    with pytest.raises(ConversionError, match=told):
        imported(tmp_path, weights=weights)


def test_a_missing_configuration_is_named(tmp_path):
    with pytest.raises(ConversionError, match="requires --config"):
        nfx.import_model(written(tmp_path), "nablafx01_chain")
    (tmp_path / "other.yaml").write_text(json.dumps({"class_path": "nablafx.models.TCN"}))
    with pytest.raises(ConversionError, match="0 models that can be imported.*GrayBoxModel, GreyBoxModel"):
        nfx.import_model(tmp_path / "last.ckpt", "nablafx01_chain", config=tmp_path / "other.yaml")
