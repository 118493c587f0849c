"""The language of --where, compared with a slow, obvious reference; errors show their place."""

from __future__ import annotations

import math
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nablafx_core.errors import RunError
from nablafx_core.runs.ranking import ordered, ranked, select
from nablafx_core.runs.rows import Row
from nablafx_core.runs.where import parse


def row(run_id="a", config=None, start=None, **given):
    import json

    known = dict.fromkeys(("damage", "error", "command", "model", "data", "device", "step", "parent", "host"))
    known |= {"status": "COMPLETED", "summary": {}, "tags": (), "note": "", "duration": 60.0, **given}
    began = start or datetime(2026, 1, 1, tzinfo=timezone.utc)
    return Row(id=run_id, began=began, start=start, _config=json.dumps(config or {}), **known)


SAMPLE = row(
    "20261123-amber-fjord-7k3q",
    {"model": {"name": "tcn", "stages": [{"name": "eq"}, {"name": "808"}], "causal": True}, "train": {"max_steps": 30}},
    datetime(2026, 11, 23, 14, 30, tzinfo=timezone.utc),
    model="tcn",
    step=29,
    summary={"test/esr": 0.02, "validation/esr": 0.5, "validation/loss": 0.1, "odd": math.nan},
    tags=("keep", "paper"),
    note="Warm and good",
)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("model.name=tcn", True),
        ("model=tcn and model.name == 'tcn'", True),
        ("model.name=TCN", False),
        ("model.name~TC", True),
        ("model.stages.1.name=808", True),
        ("model.stages.1.name>800", True),
        ("model.stages.2.name=eq", False),
        ("model.causal=true", True),
        ("model.causal=1", False),
        ("model.causal~TRUE", True),
        ("config.model.name=tcn", True),
        ("train.max_steps<31", True),
        ("train.max_steps<=3e1", True),
        ("train.max_steps>30.0", False),
        ("train.max_steps='30'", False),
        ("metrics.esr<0.03", True),
        ("metrics.loss=0.1", True),
        ("metrics.validation/esr=0.5", True),
        ("metrics.test/loss<1", False),
        ("metrics.odd<1 or metrics.odd>=1", False),
        ("metrics.odd=nan", True),
        ("metrics.odd!=1", True),
        ("tags=keep", True),
        ("tags=kee", False),
        ("tags~kee", True),
        ("tags!=keep", False),
        ("tags!=other", True),
        ("tags in [a, paper]", True),
        ("note~'WARM and'", True),
        ("parent=null", True),
        ("parent!=null", False),
        ("parent!=a", False),
        ("parent=a", False),
        ("not parent=a", True),
        ("step!=null", True),
        ("step in [1, 29]", True),
        ("step not in [1, 29]", False),
        ("start=2026-11-23", True),
        ("start=2026-11", True),
        ("start>2026-11-23", False),
        ("start>=2026-11-23", True),
        ("start<2026-11-23T14:31", True),
        ("start<'2026-11-23 14:30'", False),
        ("start>=2026-11-23T16:30+02:00", True),
        ("start>2026-11-24", False),
        ("duration=60", True),
        ("id~amber-fjord", True),
        ("step=1 and step=2 or step=29", True),
        ("step=29 or step=1 and step=2", True),
        ("(step=29 or step=1) and step=2", False),
        ("NOT (step=1 OR step=2) AND step=29", True),
    ],
)
def test_a_condition_means_what_it_says(text, holds):
    assert parse(text).holds(SAMPLE) is holds


@pytest.mark.parametrize(
    ("text", "what", "place"),
    [
        ("", "a name is expected", 0),
        ("model.name", "a comparison is expected", 10),
        ("model.name = ", "a value is expected", 12),
        ("model.name=tcn step=1", "'and' or 'or' is expected", 15),
        ("(step=1", r"'\)' is expected", 7),
        ("step=1)", "'and' or 'or' is expected", 6),
        ("step=1 and", "a name is expected", 10),
        ("step in 3", r"'\[' is expected", 8),
        ("step in [1 2]", r"',' or '\]' is expected", 11),
        ("step in []", "a value is expected", 9),
        ("note='a", "this quote is not closed", 5),
        ("a ! b", "'!'", 2),
        ("step=and", "a value is expected", 5),
        ("start>noon", "such as 2026-11-23", 6),
        ("start=20261123", "such as 2026-11-23", 6),
        ("start>0001-01-01T00:00+02:00", "such as 2026-11-23", 6),
        ("start>2026-13-40T99", None, None),
        ("(" * 60 + "step=1" + ")" * 60, "more than 50", None),
        ("not " * 60 + "step=1", "more than 50", None),
    ],
)
def test_the_error_shows_the_place_that_cannot_be_parsed(text, what, place):
    if what is None:
        assert not parse(text).holds(SAMPLE)
        return
    with pytest.raises(RunError, match=what) as caught:
        parse(text)
    caret = str(caught.value).splitlines()[-1]
    assert place is None or caret == " " * (place + 2) + "^"


NAMES = {"step": [None, 1, 2.5, 3], "model": [None, "tcn", "Lstm", "3"], "train.rate": [None, 0.1, 3, True, "x"]}
VALUES = {"1": 1, "2.5": 2.5, "3": 3, "tcn": "tcn", "'3'": "3", "true": True, "null": None, "l": "l"}


def compared(value, sign, text):
    """Evaluate one comparison in the obvious way."""
    wanted = VALUES[text]
    if wanted is None:
        return {"=": value is None, "!=": value is not None}.get(sign, False)
    if value is None:
        return False
    plain = text.strip("'")
    if sign == "~":
        return plain.lower() in ("true" if value is True else str(value)).lower()
    if isinstance(value, str):
        wanted = plain
    same_kind = isinstance(value, bool) == isinstance(wanted, bool) and isinstance(value, str) == isinstance(
        wanted, str
    )
    if sign in ("=", "!="):
        return (same_kind and value == wanted) is (sign == "=")
    if not same_kind or isinstance(value, bool):
        return False
    return {"<": value < wanted, "<=": value <= wanted, ">": value > wanted, ">=": value >= wanted}[sign]


comparisons = st.tuples(
    st.sampled_from(sorted(NAMES)),
    st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "~"]),
    st.sampled_from(sorted(VALUES)),
)
trees = st.recursive(
    comparisons,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(st.sampled_from(["and", "or"]), st.lists(inner, min_size=2, max_size=3)),
    ),
    max_leaves=8,
)


def written(tree):
    if tree[0] == "not":
        return f"not ({written(tree[1])})"
    if tree[0] in ("and", "or"):
        return f" {tree[0]} ".join(f"({written(part)})" for part in tree[1])
    return " ".join(tree)


def evaluated(tree, values):
    if tree[0] == "not":
        return not evaluated(tree[1], values)
    if tree[0] in ("and", "or"):
        parts = [evaluated(part, values) for part in tree[1]]
        return all(parts) if tree[0] == "and" else any(parts)
    return compared(values[tree[0]], *tree[1:])


@given(trees, st.fixed_dictionaries({name: st.sampled_from(values) for name, values in NAMES.items()}))
def test_any_condition_equals_a_slow_reference(tree, values):
    config = {"train": {"rate": values["train.rate"]}} if values["train.rate"] is not None else {}
    one = row(config=config, step=values["step"], model=values["model"])
    assert parse(written(tree)).holds(one) is evaluated(tree, values), written(tree)


@given(st.lists(comparisons, min_size=2, max_size=6), st.lists(st.sampled_from(["and", "or"]), min_size=5, max_size=5))
def test_and_binds_stronger_than_or(parts, joints):
    text, groups = written(parts[0]), [[parts[0]]]
    for joint, part in zip(joints, parts[1:], strict=False):
        text += f" {joint} {written(part)}"
        if joint == "and":
            groups[-1].append(part)
        else:
            groups.append([part])
    values = {"step": 1, "model": "tcn", "train.rate": None}
    expected = any(all(compared(values[part[0]], *part[1:]) for part in group) for group in groups)
    assert parse(text).holds(row(step=1, model="tcn")) is expected


@given(st.text(max_size=30))
def test_any_text_is_a_condition_or_a_run_error(text):
    try:
        condition = parse(text)
    except RunError:
        return
    assert condition.holds(SAMPLE) in (True, False)


def test_an_unknown_name_is_an_error_with_a_suggestion():
    assert select([SAMPLE, row("b")], "train.max_steps=30") == [SAMPLE]
    assert select([], "train.max_stps=30") == []
    assert select([row(config={"train": {"x": None}})], "train.x=1") == []
    for name, meant in (
        ("train.max_stps", "train.max_steps"),
        ("max_steps", "train.max_steps"),
        ("metrics.esrr", "metrics.esr"),
        ("stats", "status"),
    ):
        with pytest.raises(RunError, match=rf"no run has '{name}'. Did you mean '{meant}'\?"):
            select([SAMPLE], f"{name} = 1")


@given(st.lists(st.sampled_from([None, math.nan, -1.0, 0, 0.5, 3, math.inf]), max_size=8))
def test_sorting_is_by_value_and_stable_with_missing_values_last(values):
    rows = [row(str(i), summary={} if value is None else {"x": value}) for i, value in enumerate(values)]
    if not any(value is not None for value in values):
        return
    missing = [one.id for one, value in zip(rows, values, strict=True) if value is None or math.isnan(value)]
    for key, sign in (("metrics.x", 1), ("-metrics.x", -1)):
        found = ordered(rows, key)
        known = [one for one in rows if one.id not in missing]
        expected = sorted(known, key=lambda one, sign=sign: (sign * one.summary["x"], int(one.id)))
        assert [one.id for one in found] == [one.id for one in expected] + missing


def test_the_best_of_each_group_has_the_smallest_finite_figure():
    def of(run_id, device, value):
        config = {"data": {"device": device}} if device else {}
        return row(run_id, config, command="train", summary={"test/esr": value})

    rows = [
        of("a", "TS9", 0.3),
        of("b", "TS9", 0.1),
        of("c", "RAT", math.nan),
        of("d", None, 0.2),
        of("e", "TS9", -math.inf),
    ]
    found = ranked(rows, "metrics.esr", "data.device")
    assert {group: [one.id for one in ranking] for group, ranking in found.items()} == {"": ["d"], "TS9": ["b", "a"]}
    found = ranked(rows, "-metrics.esr", None)
    assert [one.id for one in found[""]] == ["a", "d", "b"]
    with pytest.raises(RunError, match="--per: no run has 'data.devise'"):
        ranked(rows, "metrics.esr", "data.devise")
