"""`Frozen` as text and JSON, and what is refused because JSON has no form for it."""

import json
import math
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from pydantic import TypeAdapter, ValidationError

from miniagents.promising.ext.frozen import Frozen


class Colour(Enum):
    RED = "red"


class Pair(Frozen):
    left: int
    right: int = 0


# --------------------------------------------------------------------------------------------------- as text


def test_str_and_as_string_are_the_same_and_can_be_overridden() -> None:
    class Greeting(Frozen):
        name: str

        def _as_string(self) -> str:
            return f"Hello, {self.name}!"

    assert str(Greeting(name="you")) == "Hello, you!"
    assert Greeting(name="you").as_string == "Hello, you!"
    assert json.loads(str(Frozen(a=1))) == {"class_": "Frozen", "a": 1}
    assert Frozen(a=1).as_string == str(Frozen(a=1))


def test_full_json_holds_everything_nested_objects_included() -> None:
    frozen = Frozen(pair=Pair(left=1), many=[Pair(left=2), "x"], text="grün")

    assert json.loads(frozen.full_json) == {
        "class_": "Frozen",
        "pair": {"class_": "Pair", "left": 1, "right": 0},
        "many": [{"class_": "Pair", "left": 2, "right": 0}, "x"],
        "text": "grün",
    }


@pytest.mark.parametrize(
    ("value", "in_json"),
    [
        (b"\x00\xff", "AP8="),
        (frozenset({3, 1, 2}), [1, 2, 3]),
        # Its own text is another one in each process.
        pytest.param(frozenset({"b", "a"}), ["a", "b"], id="a set of texts"),
        (Decimal("1.50"), "1.50"),
        (datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC), "2024-01-02T03:04:05+00:00"),
        (date(2024, 1, 2), "2024-01-02"),
        (time(3, 4, 5), "03:04:05"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (PurePosixPath("a/b"), "a/b"),
        (Colour.RED, "red"),
        (None, None),
        (True, True),
        (1.5, 1.5),
        ("grün", "grün"),
    ],
    ids=str,
)
def test_each_kind_of_value_has_its_form_in_json(value: object, in_json: object) -> None:
    frozen = Frozen(value=value)

    assert json.loads(frozen.full_json)["value"] == in_json
    assert json.loads(frozen.serialized)["value"] == in_json


@pytest.mark.parametrize(
    "duration", [timedelta(minutes=1, seconds=30), timedelta(days=-2, microseconds=1), timedelta()], ids=str
)
def test_a_duration_is_in_iso_8601(duration: timedelta) -> None:
    text = json.loads(Frozen(value=duration).full_json)["value"]

    assert text.lstrip("-").startswith("P")
    assert TypeAdapter(timedelta).validate_python(text) == duration


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, Decimal("NaN"), Decimal("Infinity")], ids=str)
def test_nan_and_infinities_are_refused_naming_the_field(number: object) -> None:
    with pytest.raises(ValidationError, match="my_field"):
        Frozen(my_field=number)
    with pytest.raises(ValidationError, match="inner"):
        Frozen(outer=[{"inner": number}])


def test_nan_is_refused_in_a_declared_field_too() -> None:
    class WithFloat(Frozen):
        my_field: float

    with pytest.raises(ValidationError, match="my_field"):
        WithFloat(my_field=math.nan)


@pytest.mark.parametrize("key", [1, None, (1, 2), b"a", Colour.RED], ids=repr)
def test_keys_that_are_not_strings_are_refused_naming_the_field(key: object) -> None:
    with pytest.raises(ValidationError, match="my_field"):
        Frozen(my_field={key: "value"})


@pytest.mark.parametrize(
    "values",
    [
        pytest.param({"my_field": "\ud800"}, id="a value"),
        pytest.param({"my_field": ["a", "b\udfff"]}, id="in a list"),
        pytest.param({"my_field": {"\ud800": 1}}, id="a key"),
        pytest.param({"my_field": frozenset({"\ud800"})}, id="in a set"),
    ],
)
def test_lone_surrogates_are_refused_naming_the_field(values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="my_field"):
        Frozen(**values)


def test_a_lone_surrogate_in_a_declared_field_is_refused_too() -> None:
    class WithText(Frozen):
        my_field: str

    with pytest.raises(ValidationError, match="my_field"):
        WithText(my_field="\ud800")


@pytest.mark.parametrize("name", ["child__hash_key", "children__hash_keys", "__hash_key"])
def test_fields_that_end_like_references_to_nested_messages_are_refused_naming_the_field(name: str) -> None:
    with pytest.raises(ValidationError, match=name):
        Frozen(**{name: "value"})
    with pytest.raises(ValidationError, match=name):
        Frozen(nested=[{name: "value"}])
