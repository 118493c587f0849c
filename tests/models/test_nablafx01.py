"""An imported checkpoint gives the output of NablAFx 1.0, for every configuration that NablAFx can run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import nablafx_core as nfx
from nablafx_core.cli import cli
from nablafx_core.errors import ConversionError
from nablafx_models import nablafx01 as importer
from nablafx_models.nablafx01 import NablAFx01
from reference import nablafx01 as reference

pytestmark = pytest.mark.slow

PARITY = sorted((Path(__file__).parent / "parity").glob("*.pt"))
CONVOLUTIONS = {
    "num_inputs": 1,
    "num_outputs": 1,
    "num_blocks": 3,
    "kernel_size": 3,
    "dilation_growth": 3,
    "channel_width": 5,
    "channel_growth": 1,
    "stack_size": 12,
    "groups": 1,
    "bias": True,
    "causal": True,
    "batchnorm": False,
    "residual": True,
    "direct_path": False,
    "cond_type": None,
    "cond_block_size": 128,
    "cond_num_layers": 1,
    "num_controls": 0,
}
RECURRENT = {"hidden_size": 6, "num_layers": 1, "residual": True, "direct_path": False}
STATE_SPACE = {"num_blocks": 2, "s4_state_dim": 3, "channel_width": 5, "batchnorm": False, "residual": True}
ARGUMENTS = {
    "TCN": CONVOLUTIONS | {"act_type": "tanh"},
    "GCN": CONVOLUTIONS,
    "LSTM": {key: CONVOLUTIONS[key] for key in ("cond_type", "cond_block_size", "cond_num_layers")} | RECURRENT,
    "S4": {key: CONVOLUTIONS[key] for key in ("cond_type", "cond_block_size", "cond_num_layers", "direct_path")}
    | STATE_SPACE
    | {"act_type": "tanh", "s4_learning_rate": 0.01},
}


def written(folder, name, arguments, weights, prefix="model.processor."):
    """Write a Lightning checkpoint and the YAML of a training, as NablAFx does."""
    model = {"class_path": f"nablafx.{name.lower()}.{name}", "init_args": arguments}
    system = {"class_path": "nablafx.models.BlackBoxModel", "init_args": {"processor": model}}
    config = {"model": {"class_path": "nablafx.system.BlackBoxSystem", "init_args": {"lr": 0.005, "model": system}}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    state = {prefix + key: value for key, value in weights.items()}
    content = {"state_dict": state | {"loss.window": torch.ones(3)}, "epoch": 3, "hyper_parameters": {"lr": 0.005}}
    torch.save(content if prefix else weights, folder / "last.ckpt")
    return folder / "last.ckpt", folder / "config.yaml"


def imported(folder, name, arguments, weights, prefix="model.processor."):
    checkpoint, config = written(folder, name, arguments, weights, prefix)
    return nfx.import_model(checkpoint, config=str(config))


@pytest.mark.parametrize("file", PARITY, ids=lambda path: path.stem)
def test_outputs_equal_those_that_nablafx_stored(file, tmp_path):
    stored = torch.load(file, weights_only=True)
    name = stored["class_path"].rpartition(".")[2]
    checkpoint, config = written(tmp_path, name, stored["init_args"], stored["state_dict"])
    bundle = tmp_path / "model.nfx"
    result = CliRunner().invoke(cli, ["import", str(checkpoint), "--config", str(config), "-o", str(bundle)])
    assert result.exit_code == 0, result.output
    model, controls, count = nfx.load(bundle), stored["controls"], stored["y"].shape[-1]
    with torch.no_grad():
        single = model(stored["x"], controls)[0][..., :count]
        model.double()
        double = model(stored["x"].double(), None if controls is None else controls.double())[0][..., :count]
        weights = {key: value.double() for key, value in stored["state_dict"].items()}
        arguments = {key: argument.default for key, argument in importer.ARGUMENTS[name][1].items()}
        arguments |= stored["init_args"]
        textbook = reference.output(
            name, arguments, weights, stored["x"].double(), None if controls is None else controls.double()
        )
    assert (double - stored["y64"]).abs().max() < 1e-9
    assert (textbook[..., :count] - stored["y64"]).abs().max() < 1e-9
    assert (single - stored["y"]).abs().max() < max(1e-5, 2 * float((stored["y"] - stored["y64"]).abs().max()))


CONFIGURATIONS = [
    ("TCN", {}),
    ("TCN", {"batchnorm": True, "direct_path": True, "bias": False}),
    ("TCN", {"causal": False, "direct_path": True}),
    ("TCN", {"act_type": "prelu", "channel_growth": 2, "stack_size": 2}),
    ("TCN", {"act_type": "rational", "residual": False}),
    ("TCN", {"kernel_size": 1, "direct_path": True}),
    ("GCN", {}),
    ("GCN", {"direct_path": True, "stack_size": 2, "bias": False}),
    ("GCN", {"causal": False, "direct_path": True}),
    ("GCN", {"residual": False, "batchnorm": True}),
    *[
        (name, {"cond_type": kind, "num_controls": knobs} | more)
        for name in ("TCN", "GCN")
        for kind in ("film", "tfilm", "ttfilm", "tvfilm")
        for knobs, more in ((2, {}), (0, {"dilation_growth": 7, "num_blocks": 4}), (1, {"causal": False}))
        if knobs or kind != "film"
    ],
    ("TCN", {"cond_type": "tfilm", "cond_num_layers": 2, "num_controls": 1, "direct_path": True}),
    ("LSTM", {}),
    ("LSTM", {"num_layers": 2, "residual": False, "direct_path": True}),
    ("LSTM", {"cond_type": "fixed", "num_controls": 2}),
    ("LSTM", {"cond_type": "tvcond", "num_controls": 1, "direct_path": True}),
    ("LSTM", {"cond_type": "tvcond"}),
    ("S4", {}),
    ("S4", {"residual": False, "direct_path": True, "act_type": "prelu"}),
    ("S4", {"batchnorm": True, "act_type": "rational"}),
    *[("S4", {"cond_type": kind, "num_controls": 2}) for kind in ("film", "tfilm", "ttfilm", "tvfilm")],
]


def weights_of(name, arguments):
    """Return random weights with the keys of NablAFx and the shapes that the arguments give."""
    from nablafx_core.registry.building import build
    from nablafx_models.nablafx01 import _section

    fake = {"blocks.0.film.bn.running_mean": 0} if arguments["cond_type"] == "film" else {}
    fake |= {"blocks.0.bn.running_mean": 0} if arguments.get("batchnorm") and arguments["cond_type"] is None else {}
    fake |= {"blocks.0.act.numerator": [0] * 5, "blocks.0.act.denominator": [0] * 3}
    section = _section(name, arguments, fake, "test")
    knobs = [{"name": f"k{i}"} for i in range(arguments.get("num_controls", 0))]
    shapes = build("model", section, controls=knobs).state_dict()
    generator = torch.Generator().manual_seed(7)
    weights = {}
    for key, value in shapes.items():
        if value.is_floating_point():
            weights[key] = 0.4 * torch.randn(value.shape, generator=generator, dtype=torch.float64)
        if key.endswith("running_var"):
            weights[key] = weights[key].abs() + 0.5
        if key.endswith("log_dt"):
            weights[key] = weights[key] - 4
    return weights


@pytest.mark.parametrize(("name", "changes"), CONFIGURATIONS)
@pytest.mark.parametrize("time", [600, 1024])
def test_every_configuration_equals_the_textbook_network(name, changes, time, tmp_path):
    arguments = {**ARGUMENTS[name], **changes}
    weights = weights_of(name, arguments)
    model = imported(tmp_path, name, arguments, weights).double()
    knobs = arguments.get("num_controls", 0)
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(2, 1, time, generator=generator, dtype=torch.float64) * 0.5
    controls = torch.rand(2, knobs, generator=generator, dtype=torch.float64) if knobs else None
    exact = {key: value.float().double() for key, value in weights.items()}  # a model stores them in float32
    with torch.no_grad():
        expected = reference.output(name, arguments, exact, x, controls)
        found = model(x, controls)[0]
    assert found.abs().max() > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=0)


@settings(max_examples=20)
@given(
    cuts=st.lists(st.integers(1, 300), min_size=1, max_size=8),
    causal=st.booleans(),
    name=st.sampled_from(["TCN", "GCN"]),
)
def test_end_alignment_streams_if_the_length_is_a_multiple_of_the_block(cuts, causal, name, tmp_path_factory):
    cuts = [*cuts, -sum(cuts) % 128]
    changes = {"cond_type": "tvfilm", "num_controls": 1, "dilation_growth": 6, "num_blocks": 4, "causal": causal}
    arguments = {**ARGUMENTS[name], **changes}
    folder = tmp_path_factory.mktemp("import")
    model = imported(folder, name, arguments, weights_of(name, arguments))
    from nablafx_core.testing.laws import stream_equals_offline

    stream_equals_offline(model, cuts)


@pytest.mark.parametrize("prefix", ["model.processor.", "processor.", ""])
def test_weights_are_found_under_several_prefixes(prefix, tmp_path):
    weights = weights_of("TCN", ARGUMENTS["TCN"])
    model = imported(tmp_path, "TCN", ARGUMENTS["TCN"], weights, prefix)
    assert torch.equal(model.blocks[0].conv.weight, weights["blocks.0.conv.weight"].float())


def test_code_in_a_checkpoint_is_not_executed(tmp_path):
    """A Lightning checkpoint can contain pickled objects; this one would create a file."""
    weights = weights_of("TCN", ARGUMENTS["TCN"])
    checkpoint, config = written(tmp_path, "TCN", ARGUMENTS["TCN"], weights)
    content = torch.load(checkpoint, weights_only=True)
    torch.save(content | {"hyper_parameters": {"model": Writes(tmp_path / "executed")}}, checkpoint)
    model = nfx.import_model(checkpoint, config=str(config))
    assert torch.equal(model.blocks[0].conv.weight, weights["blocks.0.conv.weight"].float())
    assert not (tmp_path / "executed").exists()


class Writes:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_controls_without_effect_are_not_imported(tmp_path, caplog):
    arguments = ARGUMENTS["TCN"] | {"num_controls": 2}
    assert imported(tmp_path, "TCN", arguments, weights_of("TCN", ARGUMENTS["TCN"])).controls == ()
    assert "uses its 2 controls" in caplog.text


#: Defaults of NablAFx 1.0.
LEFT_OUT = {
    "TCN": {"num_blocks": 10, "kernel_size": 3, "dilation_growth": 2, "stack_size": 10, "bias": False, "causal": False},
    "GCN": {"residual": False, "channel_width": 32, "bias": False, "causal": False},
    "LSTM": {"residual": False, "hidden_size": 32},
    "S4": {"residual": False, "num_blocks": 4, "s4_state_dim": 4, "channel_width": 32, "act_type": "tanh"},
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_a_missing_argument_has_the_default_of_nablafx(name, tmp_path):
    complete = ARGUMENTS[name] | LEFT_OUT[name]
    given = {key: value for key, value in complete.items() if key not in LEFT_OUT[name]}
    weights = weights_of(name, complete)
    models = [imported(tmp_path, name, arguments, weights) for arguments in (complete, given)]
    assert models[0].section == models[1].section


def test_channel_growth_of_a_gcn_is_ignored_as_nablafx_does(tmp_path):
    weights = weights_of("GCN", ARGUMENTS["GCN"])
    model = imported(tmp_path, "GCN", ARGUMENTS["GCN"] | {"channel_growth": 2}, weights)
    assert [block.out_channels for block in model.blocks] == [5, 5, 5]


REJECTED = {
    "no configuration": (None, {}, "--config"),
    "an unknown argument": ({"wavelets": 3}, {}, "TCN.*'wavelets'"),
    "two inputs": ({"num_inputs": 2}, {}, "num_inputs is 2"),
    "groups": ({"groups": 4}, {}, "groups is 4"),
    "film without controls": ({"cond_type": "film"}, {}, "TCN.*conditioning 'film'.*controls"),
    "an unknown conditioning": ({"cond_type": "hyper"}, {}, "cond_type 'hyper'.*film, tfilm"),
    "another kernel": ({"kernel_size": 5}, {}, r"'blocks.0.conv.weight'.*\(5, 1, 3\).*\(5, 1, 5\)"),
    "more blocks": ({"num_blocks": 4}, {}, "'blocks.3.conv.weight'"),
    "fewer blocks": ({"num_blocks": 2}, {}, "'blocks.2.conv.weight'"),
    "names for controls": (
        {"num_controls": 1, "cond_type": "tfilm"},
        {"controls": ["a", "b"]},
        "1 controls.*2 nam",
    ),
}


@pytest.mark.parametrize(("changes", "more", "message"), REJECTED.values(), ids=REJECTED)
def test_what_cannot_be_imported_is_rejected_and_named(changes, more, message, tmp_path):
    arguments = {**ARGUMENTS["TCN"], **(changes or {})}
    checkpoint, config = written(tmp_path, "TCN", arguments, weights_of("TCN", ARGUMENTS["TCN"]))
    importer = NablAFx01(None if changes is None else str(config), **more)
    with pytest.raises(ConversionError, match=message):
        importer.read(checkpoint)


def test_other_classes_are_rejected_and_named(tmp_path):
    checkpoint, config = written(tmp_path, "TCN", {}, {"blocks.0.conv.weight": torch.ones(1)})
    config.write_text(yaml.safe_dump({"class_path": "nablafx.models.GreyBoxModel", "init_args": {"processors": []}}))
    with pytest.raises(ConversionError, match="config.yaml: .*nablafx.models.GreyBoxModel"):
        NablAFx01(str(config)).read(checkpoint)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04", b"\x80\x02}q\x00."])
def test_a_file_that_is_not_a_checkpoint_is_rejected(content, tmp_path):
    (tmp_path / "x.ckpt").write_bytes(content)
    _, config = written(tmp_path, "TCN", ARGUMENTS["TCN"], {})
    with pytest.raises(ConversionError, match=r"x\.ckpt"):
        nfx.import_model(tmp_path / "x.ckpt", config=str(config))
