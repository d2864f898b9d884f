"""`Frozen`: an immutable pydantic model."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, PrivateAttr, ValidationError

from miniagents.promising.ext.frozen import Frozen, cached_privately


class Colour(Enum):
    RED = "red"


class Pair(Frozen):
    left: int
    right: int = 0


# --------------------------------------------------------------------------------------------------- freezing


def test_lists_and_tuples_become_tuples_however_deep() -> None:
    frozen = Frozen(value=[1, [2, (3, [4])]])

    assert frozen.value == (1, (2, (3, (4,))))


def test_dicts_become_frozen_objects_however_deep() -> None:
    frozen = Frozen(value={"a": {"b": [{"c": 1}]}})

    assert isinstance(frozen.value, Frozen)
    assert frozen.value.a.b[0].c == 1


LEAVES = [
    None,
    "text",
    1,
    1.5,
    Decimal("1.50"),
    True,
    UUID(int=1),
    datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
    date(2024, 1, 2),
    time(3, 4),
    timedelta(seconds=90),
    Path("a/b"),
    Colour.RED,
    b"\x00\xff",
    frozenset({1, 2}),
    frozenset({b"a", Colour.RED}),
    Frozen(a=1),
]


@pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: f"{type(leaf).__name__}")
def test_allowed_leaves_are_kept_as_they_are(leaf: object) -> None:
    frozen = Frozen(value=leaf, nested=[{"value": leaf}])

    assert frozen.value == leaf
    assert type(frozen.value) is type(leaf)
    assert frozen.nested[0].value == leaf


@pytest.mark.parametrize(
    "value",
    [{1, 2}, object(), bytearray(b"a"), lambda: None, iter([]), frozenset({object()}), int, ...],
    ids=["set", "object", "bytearray", "function", "iterator", "frozenset of objects", "class", "ellipsis"],
)
def test_anything_else_is_refused_naming_the_field(value: object) -> None:
    with pytest.raises(ValidationError, match="my_field"):
        Frozen(my_field=value)
    with pytest.raises(ValidationError, match=r"outer.*inner"):
        Frozen(outer=[{"inner": value}])


def test_values_of_declared_fields_are_frozen_too() -> None:
    class WithAny(Frozen):
        value: Any

    assert WithAny(value=[1, [2]]).value == (1, (2,))
    with pytest.raises(ValidationError, match="value"):
        WithAny(value={1})


def test_the_default_of_a_declared_field_is_frozen_too() -> None:
    class WithDefault(Frozen):
        value: Any = [1, 2]

    assert WithDefault().value == (1, 2)


def test_changing_what_was_handed_over_changes_nothing() -> None:
    numbers, table = [1, 2], {"a": [1]}
    frozen = Frozen(numbers=numbers, table=table)

    numbers.append(3)
    table["a"].append(2)

    assert frozen.numbers == (1, 2)
    assert frozen.table.a == (1,)


def test_nested_frozen_objects_are_kept_and_not_copied() -> None:
    class Holder(Frozen):
        declared: Pair

    inner = Pair(left=1)
    frozen = Holder(declared=inner, extra=inner, deep=[(inner,)], table={"key": inner})

    assert frozen.declared is inner
    assert frozen.extra is inner
    assert frozen.deep[0][0] is inner
    assert frozen.table.key is inner


def test_declared_fields_are_validated() -> None:
    with pytest.raises(ValidationError, match="left"):
        Pair(left="no number")
    with pytest.raises(ValidationError, match="left"):
        Pair(right=1)


# --------------------------------------------------------------------------------------------------- immutability


def test_setting_a_field_raises_pydantics_validation_error() -> None:
    frozen = Pair(left=1, extra=2)

    for name in ("left", "extra", "new", "class_"):
        with pytest.raises(ValidationError):
            setattr(frozen, name, 3)

    assert (frozen.left, frozen.extra) == (1, 2)


def test_deleting_a_field_is_refused() -> None:
    frozen = Pair(left=1, extra=2)

    for name in ("left", "extra"):
        with pytest.raises(ValidationError):
            delattr(frozen, name)


def test_private_attributes_may_be_set_and_never_change_the_hash() -> None:
    class WithPrivate(Frozen):
        value: int
        _note: str = PrivateAttr(default="")

    frozen, same = WithPrivate(value=1), WithPrivate(value=1)
    before = (frozen.hash_key, hash(frozen))

    frozen._note = "changed"

    assert frozen._note == "changed"
    assert (frozen.hash_key, hash(frozen)) == before
    assert frozen == same
    assert "_note" not in frozen.full_json


# --------------------------------------------------------------------------------------------------- equality


def test_equal_means_same_class_and_same_content() -> None:
    class OtherPair(Frozen):
        left: int
        right: int = 0

    assert Pair(left=1, right=2) == Pair(right=2, left=1)
    assert Pair(left=1) != Pair(left=2)
    assert Pair(left=1) != OtherPair(left=1)
    assert Pair(left=1) != Pair(left=1, extra=None)
    assert Pair(left=1) != {"left": 1}
    assert Frozen(a=[1]) == Frozen(a=(1,))


def test_hash_agrees_with_equality() -> None:
    objects = {Pair(left=1), Pair(left=1), Pair(left=2), Frozen(a={"b": [1]}), Frozen(a={"b": (1,)})}

    assert len(objects) == 3
    assert hash(Frozen(a=1, b=2)) == hash(Frozen(b=2, a=1))


def test_caches_do_not_count_for_equality() -> None:
    used, unused = Frozen(a=1), Frozen(a=1)
    _ = used.hash_key, used.full_json, used.serialized, hash(used), str(used)

    assert used == unused
    assert dict(used) == dict(unused)


# --------------------------------------------------------------------------------------------------- as a mapping


def test_it_can_be_read_as_a_mapping() -> None:
    frozen = Pair(left=1, extra="x")

    assert frozen["left"] == 1
    assert frozen["extra"] == "x"
    assert frozen["class_"] == "Pair"
    assert frozen.get("extra") == "x"
    assert frozen.get("missing") is None
    assert frozen.get("missing", 5) == 5
    assert "left" in frozen
    assert "extra" in frozen
    assert "missing" not in frozen
    assert set(frozen.keys()) == {"class_", "left", "right", "extra"}
    assert sorted(map(str, frozen.values())) == ["0", "1", "Pair", "x"]
    assert len(frozen) == 4
    with pytest.raises(KeyError, match="missing"):
        frozen["missing"]


def test_only_fields_are_in_the_mapping_and_no_methods_or_private_attributes() -> None:
    frozen = Pair(left=1)

    for name in ("hash_key", "serialize", "_cache", "model_fields"):
        assert name not in frozen
        assert frozen.get(name) is None


def test_iteration_gives_pairs_of_key_and_value_as_in_pydantic() -> None:
    frozen = Pair(left=1, extra="x")

    assert dict(frozen) == {"class_": "Pair", "left": 1, "right": 0, "extra": "x"}
    assert list(frozen) == list(zip(frozen.keys(), frozen.values(), strict=True))


def test_as_kwargs_gives_all_fields_but_the_class() -> None:
    frozen = Pair(left=1, extra="x")

    assert frozen.as_kwargs() == {"left": 1, "right": 0, "extra": "x"}
    assert Pair(**frozen.as_kwargs()) == frozen


def test_class_is_the_name_of_the_class() -> None:
    class SubPair(Pair):
        pass

    assert Frozen().class_ == "Frozen"
    assert SubPair(left=1).class_ == "SubPair"


# --------------------------------------------------------------------------------------------------- caches


def test_cached_privately_computes_once_per_object_and_makes_no_field() -> None:
    computed: list[int] = []

    class Squared(Frozen):
        value: int

        @cached_privately
        def square(self) -> int:
            computed.append(self.value)
            return self.value**2

        @property
        @cached_privately
        def cube(self) -> int:
            computed.append(self.value)
            return self.value**3

    two, three = Squared(value=2), Squared(value=3)

    assert [two.square(), two.square(), three.square(), two.cube, two.cube] == [4, 4, 9, 8, 8]
    assert computed == [2, 3, 2]
    assert dict(two) == {"class_": "Squared", "value": 2}
    assert two == Squared(value=2)
    assert two.hash_key == Squared(value=2).hash_key


def test_cached_privately_also_remembers_none() -> None:
    computed: list[str] = []

    class Empty(Frozen):
        @cached_privately
        def nothing(self) -> None:
            computed.append("once")

    empty = Empty()

    assert (empty.nothing(), empty.nothing()) == (None, None)
    assert computed == ["once"]


def test_a_method_that_a_subclass_overrides_and_calls_is_cached_apart() -> None:
    class Base(Frozen):
        @cached_privately
        def names(self) -> list[str]:
            return ["base"]

    class Derived(Base):
        @cached_privately
        def names(self) -> list[str]:
            return [*super().names(), "derived"]

    derived = Derived()

    assert derived.names() == ["base", "derived"]
    assert derived.names() == ["base", "derived"]


# --------------------------------------------------------------------------------------------------- with pydantic


def test_it_can_be_a_field_of_an_ordinary_pydantic_model() -> None:
    class Model(BaseModel):
        frozen: Frozen

    frozen = Frozen(a=[1])

    assert Model(frozen=frozen).frozen is frozen


def test_it_survives_a_round_trip_through_its_own_fields() -> None:
    frozen = Frozen(a=[1, {"b": 2}], c="d")

    def pairs() -> Iterator[tuple[str, Any]]:
        yield from frozen

    assert Frozen(**dict(pairs())) == frozen
    assert Frozen.model_validate(dict(frozen)) == frozen
