"""Settings and their documentation are read from constructors, and values are checked against them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from nablafx_core.hints import unknown_setting
from nablafx_core.marks import Described, Range, Section
from nablafx_core.registry.settings import (
    REQUIRED,
    Setting,
    SettingsError,
    argument_docs,
    checked_value,
    plain_default,
    settings_of,
    type_text,
)


class Root:
    """A root.

    Args:
        sample_rate: in Hz.
        norm: batch or none, or what is
            said on a second line: here.
    """

    def __init__(self, sample_rate: int = 48000, norm: str = "none") -> None: ...


class Middle(Root):
    """Passes on what it does not know.

    Args:
        depth: how deep, as one of
            several.

    Raises:
        ValueError: never.
    """

    def __init__(self, depth: int, *args: int, norm: Literal["batch", "none"] = "batch", **kwargs: Any) -> None: ...


class Leaf(Middle):
    """Has no constructor of its own."""


class Closed(Middle):
    def __init__(self, width: float) -> None: ...


def test_kwargs_add_arguments_of_base_classes_and_the_nearest_class_wins():
    found = settings_of(Leaf)
    assert list(found) == ["depth", "norm", "sample_rate"]
    assert found["norm"] == Setting(
        "norm", Literal["batch", "none"], "batch", "batch or none, or what is said on a second line: here."
    )
    assert (found["depth"].default, found["depth"].doc) == (REQUIRED, "how deep, as one of several.")
    assert (found["sample_rate"].default, found["sample_rate"].annotation) == (48000, int)


Mode = Annotated[Literal["a", "b"], Described("from the type.")]


class Documented:
    """Args:
    second: from the class.
    """

    def __init__(self, first: Mode = "a", second: Mode = "b") -> None: ...


def test_a_type_can_document_its_settings():
    found = settings_of(Documented)
    assert {name: setting.doc for name, setting in found.items()} == {
        "first": "from the type.",
        "second": "from the class.",
    }
    assert found["first"].type_text == "a | b"
    assert checked_value(found["first"], "b") == "b"
    with pytest.raises(SettingsError):
        checked_value(found["first"], "c")


def test_without_kwargs_nothing_is_inherited():
    assert list(settings_of(Closed)) == ["width"]


def test_arguments_that_the_framework_passes_are_not_settings():
    assert list(settings_of(Leaf, without={"sample_rate", "norm"})) == ["depth"]


def test_functions_and_pydantic_models_have_settings_too():
    def read(path: str, rate: int = 1) -> None:
        """Read.

        Args:
            path: a file.
        """

    class Options(BaseModel):
        steps: Annotated[int, Ge(1)] = Field(5, description="how many")
        names: list[str] = Field(default_factory=list)
        must: float

    assert {name: (s.default, s.doc) for name, s in settings_of(read).items()} == {
        "path": (REQUIRED, "a file."),
        "rate": (1, ""),
    }
    found = settings_of(Options)
    assert [(s.default, s.doc) for s in found.values()] == [(5, "how many"), ([], ""), (REQUIRED, "")]
    assert checked_value(found["steps"], 1) == 1
    with pytest.raises(SettingsError, match="greater than or equal to 1"):
        checked_value(found["steps"], 0)


def test_a_setting_may_have_a_type_that_is_imported_for_type_checkers_only():
    class Odd:
        def __init__(self, size: int, other: NoSuchName = None) -> None: ...  # type: ignore  # noqa: F821

    assert list(settings_of(Odd)) == ["size", "other"]


def test_documentation_of_several_arguments_on_one_line_and_with_types():
    text = """Line.

    Args:
        a, b: both.
        c (int): with its type,
            and: a colon.

        d: after a gap.

    Returns:
        e: no argument.
    """
    assert argument_docs(text) == {"a": "both.", "b": "both.", "c": "with its type, and: a colon.", "d": "after a gap."}
    assert argument_docs("No arguments.") == argument_docs(None) == {}


TYPES = [
    (int, "int"),
    (float | None, "float | null"),
    (Literal["a", "b"], "a | b"),
    (Sequence[int], "list of int"),
    (tuple[float, ...], "list of float"),
    (dict[str, int], "mapping of str, int"),
    (Annotated[int, Ge(1)] | Literal["auto"], "int | auto"),
    (list[Annotated[dict[str, Any], Section("processor")]], "list of processor section"),
]


@pytest.mark.parametrize(("annotation", "text"), TYPES, ids=[text for _, text in TYPES])
def test_types_as_users_write_them(annotation, text):
    assert type_text(annotation) == text


TAKEN = [
    (int, 3, 3),
    (float, 3, 3.0),
    (float, math.inf, math.inf),
    (bool, True, True),
    (str, "", ""),
    (int | None, None, None),
    (Sequence[int], [1, 2], [1, 2]),
    (tuple[int, float], [1, 2], [1, 2.0]),
    (dict[str, float], {"a": 1}, {"a": 1.0}),
    (Literal["a", 5], 5, 5),
    (Any, {"a": [1, None]}, {"a": [1, None]}),
]
REFUSED = [
    (int, True, "should be a valid integer, not True. Expected: int."),
    (int, "3", "should be a valid integer, not '3'. Expected: int."),
    (int, 3.5, "should be a valid integer"),
    (float, "3", "should be a valid number, not '3'. Expected: float."),
    (float, False, "should be a valid number, not False. Expected: float."),
    (bool, 1, "should be a valid boolean, not 1. Expected: bool."),
    (str, 5, "should be a valid string, not 5. Expected: str."),
    (int, None, "should be a valid integer, not None. Expected: int."),
    (Sequence[int], [1, "x"], "1: should be a valid integer, not [1, 'x']. Expected: list of int."),
    (Sequence[int], 1, "not 1. Expected: list of int."),
    (tuple[int, float], [1], "Expected: list of int, float."),
    (Annotated[float, Gt(0)], -1, "not -1. Expected: float above 0."),
    (Annotated[float, Gt(0), Le(1)] | None, 3, "not 3. Expected: float above 0 to 1 | null."),
    (Annotated[int, Ge(1)] | Literal["auto"], 0, "should be 'auto', not 0. Expected: int from 1 | auto."),
    (Annotated[int, Le(2000)], 3000, "not 3000. Expected: int up to 2,000."),
    (Annotated[float, Gt(-1), Lt(1)], 1, "not 1. Expected: float above -1 below 1."),
    (list[Annotated[int, Range(1, 4096)]], [0], "not [0]. Expected: list of int from 1 to 4,096."),
    (dict[str, float], {"a": "b"}, "a: should be a valid number"),
    (Literal["a", "b"], "c", "should be 'a' or 'b', not 'c'. Expected: a | b."),
    (Root, 5, "'x' can be set in Python only (Root)."),
    (str, list(range(100)), "..."),
]


@pytest.mark.parametrize(("annotation", "value", "expected"), TAKEN)
def test_valid_values_are_returned_as_plain_data(annotation, value, expected):
    found = checked_value(Setting("x", annotation, REQUIRED), value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(("annotation", "value", "message"), REFUSED)
def test_invalid_values_are_rejected_without_conversion(annotation, value, message):
    with pytest.raises(SettingsError) as error:
        checked_value(Setting("x", annotation, REQUIRED), value)
    assert message in str(error.value)
    assert error.value.key == "x"


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda s: st.lists(s, max_size=3)))
def test_checking_twice_is_checking_once(value):
    setting = Setting("x", int | str | list[Any] | None, REQUIRED)
    if not isinstance(value, bool):
        assert checked_value(setting, checked_value(setting, value)) == checked_value(setting, value)


def test_defaults_are_plain_data():
    assert plain_default(Setting("x", tuple[int, ...], (1, 2))) == [1, 2]
    assert plain_default(Setting("x", Any, REQUIRED)) is REQUIRED
    assert plain_default(Setting("x", Any, object())) is REQUIRED


def test_the_error_for_an_unknown_setting_lists_the_settings():
    assert unknown_setting("TCN", "dilatons", ["num_blocks", "dilation"]) == (
        "TCN has no setting 'dilatons'. Did you mean 'dilation'?\n  settings: num_blocks, dilation"
    )
    assert unknown_setting("Gain", "x", []) == "Gain has no setting 'x'.\n  settings: none"
