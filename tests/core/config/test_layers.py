"""Experiment files are read as plain data with the line of every value; errors have the line."""

from __future__ import annotations

import pytest

from nablafx_core.config.layers import Layer, merge, read_file, read_yaml, with_override
from nablafx_core.errors import ConfigError


def refusal(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        read_yaml(text, "e.yaml")
    return str(error.value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("-2E5", -200000.0),
        ("1.5e3", 1500.0),
        (".5e1", 5.0),
        ("3.", 3.0),
        (".inf", float("inf")),
        ("16", 16),
        ("true", True),
        ("null", None),
        ("", None),
        ("'1e-3'", "1e-3"),
        ("e5", "e5"),
        ("1e", "1e"),
        ("2026-11-23", "2026-11-23"),
        ("a/b.wav", "a/b.wav"),
        ("!!str 5", "5"),
        ("[1, {a: b}]", [1, {"a": "b"}]),
    ],
)
def test_values_have_the_expected_types(text, value):
    found = read_yaml(f"x: {text}", "e.yaml").value["x"]
    assert found == value
    assert type(found) is type(value)


def test_every_value_has_its_line():
    layer = read_yaml("# head\nmodel:\n  name: tcn\n  taps:\n    - 1\n    - {a: 2}\n", "e.yaml")
    lines = {
        ("model",): 2,
        ("model", "name"): 3,
        ("model", "taps"): 4,
        ("model", "taps", 0): 5,
        ("model", "taps", 1, "a"): 6,
    }
    for path, line in lines.items():
        assert layer.where(path) == f"e.yaml:{line}"
    assert layer.where(("model", "taps", 1, "a", "nothing", "here")) == "e.yaml:6"


@pytest.mark.parametrize(
    ("text", "place", "named"),
    [
        ("a: 1\nb: {x: 1, x: 2}\n", "e.yaml:2", "b.x"),
        ("a: 1\n\na: 2\n", "e.yaml:3", "a "),
        ("a: [1\nb: 2\n", "e.yaml:2", "not YAML"),
        ("a: 1\n--- \nb: 2\n", "e.yaml:2", "another document"),
        ("a: 1\nb: *nowhere\n", "e.yaml:2", "'nowhere'"),
        ("a: 1\nb: \0\n", "e.yaml", "#x0000"),
        ("a: 1\nb: !acme x\n", "e.yaml:2", "'!acme'"),
        ("a: !!python/name:os.system x\n", "e.yaml:1", "'tag:yaml.org,2002:python/name:os.system'"),
        ("a: !!python/object/apply:os.system [ls]\n", "e.yaml:1", "'tag:yaml.org,2002:python/object/apply:os.system'"),
        ("a: !!python/object:os.X {b: 1}\n", "e.yaml:1", "'tag:yaml.org,2002:python/object:os.X'"),
        ("a: !!binary aGk=\n", "e.yaml:1", "'tag:yaml.org,2002:binary'"),
        ("a: !!bool maybe\n", "e.yaml:1", "a: "),
        ("a: !!int ''\n", "e.yaml:1", "a: "),
        ("a: !!float x\n", "e.yaml:1", "a: "),
        ("a:\n  <<: {b: 1}\n", "e.yaml:2", "'<<'"),
        ("? [a, b]\n: 1\n", "e.yaml:1", "name before ':'"),
        ("- 1\n", "e.yaml", "got [1]"),
        ("hello", "e.yaml", "got 'hello'"),
        ("a: &a [*a]\n", "e.yaml:1", "64 levels"),
        ("a: " + "[" * 100 + "]" * 100, "e.yaml:1", "64 levels"),
        ("a: " + "[" * 100_000, "e.yaml:1", "64 levels"),
        ("a: " + "[" * 65 + "]" * 65, "e.yaml:1", "64 levels"),
    ],
)
def test_anything_but_plain_data_is_rejected_with_its_line(text, place, named):
    told = refusal(text)
    assert told.startswith(f"{place}: ") and named in told


def test_an_alias_bomb_is_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 30)]
    assert "larger than an experiment can be" in refusal("\n".join(lines))


def test_an_alias_is_a_copy():
    value = read_yaml("a: &x {b: [1]}\nc: *x\n", "e.yaml").value
    value["a"]["b"].append(2)
    assert value["c"] == {"b": [1]}


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match=r"gone.yaml: cannot read the experiment: No such file or directory."):
        read_file(tmp_path / "gone.yaml")
    (tmp_path / "audio.yaml").write_bytes(b"RIFF\xff\xfe\x80")
    with pytest.raises(ConfigError, match=r"audio.yaml: cannot read the experiment: it is not text."):
        read_file(tmp_path / "audio.yaml")
    (tmp_path / "windows.yaml").write_bytes("\ufeffmodel: tcn\r\ndata: x\r\n".encode())
    assert read_file(tmp_path / "windows.yaml").value == {"model": "tcn", "data": "x"}
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert read_file(tmp_path / "empty.yaml").value == {}


MERGES = {
    "settings add up": ({"m": {"name": "a", "x": 1}}, {"m": {"y": 2}}, {"m": {"name": "a", "x": 1, "y": 2}}),
    "the upper one wins": (
        {"m": {"x": 1, "z": {"u": 1, "v": 2}}},
        {"m": {"z": {"v": 3}}},
        {"m": {"x": 1, "z": {"u": 1, "v": 3}}},
    ),
    "lists are replaced": ({"l": [1, 2, 3]}, {"l": [4]}, {"l": [4]}),
    "null is a value": ({"t": {"x": 1}}, {"t": {"x": None}}, {"t": {"x": None}}),
    "another name, other settings": (
        {"m": {"name": "a", "x": 1}},
        {"m": {"name": "b", "y": 2}},
        {"m": {"name": "b", "y": 2}},
    ),
    "the same name keeps them": ({"m": {"name": "a", "x": 1}}, {"m": {"name": "a"}}, {"m": {"name": "a", "x": 1}}),
    "a plain name is short for a section": ({"m": {"name": "a", "x": 1}}, {"m": "a"}, {"m": {"name": "a", "x": 1}}),
    "also when it is another": ({"m": {"name": "a", "x": 1}}, {"m": "b"}, {"m": {"name": "b"}}),
    "and below": ({"m": "a"}, {"m": {"x": 1}}, {"m": {"name": "a", "x": 1}}),
}


@pytest.mark.parametrize(("below", "above", "expected"), MERGES.values(), ids=MERGES)
def test_layers_merge(below, above, expected):
    assert merge(Layer(below), Layer(above)).value == expected


def test_the_place_of_a_value_is_the_layer_that_set_it():
    below = read_yaml("m: {name: a, x: 1}\nn: {name: a, x: 1}\n", "below.yaml")
    above = read_yaml("\n\nm: {x: 2}\nn: {name: b}\n", "above.yaml")
    merged = merge(below, above)
    assert merged.where(("m", "x")) == "above.yaml:3"
    assert merged.where(("m", "name")) == "below.yaml:1"
    assert merged.where(("n", "x")) == "above.yaml:4"


BASE = {
    "loss": [{"name": "l1", "weight": 0.5}, "stft"],
    "model": {"name": "tcn", "taps": [[1, 2], [3, 4]], "deep": {"a": {"b": 1}}},
}
OVERRIDES = {
    "model.deep.a.b=2": ("model", "deep", {"a": {"b": 2}}),
    "model.deep.a.c=1e-3": ("model", "deep", {"a": {"b": 1, "c": 0.001}}),
    "model.deep=": ("model", "deep", None),
    "model.deep=[1, {x: y}]": ("model", "deep", [1, {"x": "y"}]),
    "model.taps.1.0=9": ("model", "taps", [[1, 2], [9, 4]]),
    "model.taps.0=7": ("model", "taps", [7, [3, 4]]),
    "model.title=a=b": ("model", "title", "a=b"),
    "model.new.key=x": ("model", "new", {"key": "x"}),
}


@pytest.mark.parametrize(("text", "expected"), OVERRIDES.items(), ids=OVERRIDES)
def test_an_override_sets_one_value(text, expected):
    section, key, value = expected
    layer = with_override(Layer(BASE), text)
    assert layer.value[section][key] == value
    assert {k: v for k, v in layer.value[section].items() if k != key} == {
        k: v for k, v in BASE[section].items() if k != key
    }
    assert layer.value["loss"] == BASE["loss"]
    name = text.partition("=")[0]
    assert (
        layer.where((section, *(int(part) if part.isdigit() else part for part in name.split(".")[1:])))
        == f"--set {name}"
    )


def test_the_place_of_a_new_name_is_its_override():
    layer = with_override(read_yaml("model: {name: tcn}", "e.yaml"), "model.nwe.key=x")
    assert layer.where(("model", "nwe")) == "--set model.nwe.key"


def test_an_override_changes_a_section_in_a_list():
    layer = Layer(BASE)
    for text in ("loss.0.weight=2", "loss.1.weight=3", "loss.1.alpha=x"):
        layer = with_override(layer, text)
    assert layer.value["loss"] == [{"name": "l1", "weight": 2}, {"name": "stft", "weight": 3, "alpha": "x"}]
    assert BASE["loss"] == [{"name": "l1", "weight": 0.5}, "stft"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model", "--set model: write it as section.setting=value."),
        ("=5", "--set =5: write it as section.setting=value."),
        ("model..x=5", "--set model..x=5: write it as section.setting=value."),
        ("loss.2.weight=1", "--set loss.2.weight: the list has 2 items, counted from 0; there is no '2'."),
        ("loss.first.weight=1", "--set loss.first.weight: the list has 2 items, counted from 0; there is no 'first'."),
    ],
)
def test_an_override_that_cannot_be_read(text, message):
    with pytest.raises(ConfigError) as error:
        with_override(Layer(BASE), text)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[1", "this is not YAML"),
        ("a: b", "this is not YAML"),
        ("a\tb: c", "this is not YAML"),
        ("\udcff.wav", "this is not YAML"),
        ("!x", "the tag"),
        ("1\nrequires: [a]", "the value must be one line of YAML."),
        ("a #b", "'#b' begins a comment in YAML"),
    ],
)
def test_an_override_that_is_not_yaml_is_the_text_itself(text, problem):
    layer = with_override(Layer(BASE), f"model.x={text}")
    assert layer.value["model"]["x"] == text
    assert layer.marks["model", "x"].problem.startswith(problem)
