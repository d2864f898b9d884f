"""`hash_key`: what names a `Frozen` by its content."""

import hashlib
import json
from decimal import Decimal
from typing import Any

import pytest

from miniagents.promising.ext.frozen import Frozen
from miniagents.promising.promising import PromisingContext


class Point(Frozen):
    x: int
    y: int = 0


def key_by_hand(frozen: Frozen) -> str:
    text = json.dumps(frozen.serialize(), ensure_ascii=False, sort_keys=True)
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


@pytest.mark.parametrize(
    "frozen",
    [
        Frozen(),
        Frozen(a=1, text="grün 💧", nothing=None),
        Point(x=1),
        Frozen(nested={"list": [1, 2.5, {"deep": True}]}, raw=b"\x00", money=Decimal("1.10")),
        Frozen(members=frozenset({"b", "a", "ä"})),
    ],
    ids=str,
)
def test_the_key_is_the_sha256_of_the_sorted_json_in_utf8_in_its_first_40_digits(frozen: Frozen) -> None:
    assert frozen.hash_key == key_by_hand(frozen)[:40]


def test_a_known_key_never_changes() -> None:
    text = '{"class_": "Frozen", "text": "grün"}'

    assert Frozen(text="grün").serialized == text
    assert Frozen(text="grün").hash_key == hashlib.sha256(text.encode()).hexdigest()[:40]
    assert Frozen(text="grün").hash_key == "178e13d63ffc9eb24d78939be527dad82f317fa1"


def test_the_order_of_fields_does_not_matter() -> None:
    assert Frozen(a=1, b={"c": 1, "d": 2}).hash_key == Frozen(b={"d": 2, "c": 1}, a=1).hash_key


def test_lists_and_tuples_are_one_but_their_order_matters() -> None:
    assert Frozen(a=[1, 2]).hash_key == Frozen(a=(1, 2)).hash_key
    assert Frozen(a=[1, 2]).hash_key != Frozen(a=[2, 1]).hash_key


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Frozen(a=1), Frozen(a="1")),
        (Frozen(a=1), Frozen(b=1)),
        (Frozen(a=None), Frozen()),
        (Frozen(x=1, y=0), Point(x=1)),
        (Frozen(a=[[1], 2]), Frozen(a=[1, [2]])),
    ],
    ids=["type", "name", "absent", "class", "nesting"],
)
def test_other_content_or_another_class_gives_another_key(one: Frozen, other: Frozen) -> None:
    assert one.hash_key != other.hash_key


def test_an_explicit_default_is_the_same_content() -> None:
    assert Point(x=1).hash_key == Point(x=1, y=0).hash_key


def test_sequences_stay_tuples_in_serialize() -> None:
    assert Frozen(a=[1, [2]]).serialize() == {"class_": "Frozen", "a": (1, (2,))}


async def test_longer_hash_keys_have_all_64_digits() -> None:
    frozen = Frozen(a=1)

    async with PromisingContext(longer_hash_keys=True):
        assert frozen.hash_key == key_by_hand(frozen)
        assert len(frozen.hash_key) == 64


async def test_the_key_is_cached_per_length() -> None:
    frozen = Frozen(a=1)
    short = frozen.hash_key
    assert frozen.hash_key is short

    async with PromisingContext(longer_hash_keys=True):
        long = frozen.hash_key
        assert frozen.hash_key is long
        async with PromisingContext():
            assert frozen.hash_key is short

    assert frozen.hash_key is short
    assert long.startswith(short)


def test_it_works_without_an_active_context() -> None:
    with pytest.raises(Exception, match="context"):
        PromisingContext.get_current()

    assert len(Frozen(a=1).hash_key) == 40


def test_the_key_is_computed_once() -> None:
    class Counted(Frozen):
        a: int

        def serialize(self) -> dict[str, Any]:
            computed.append(self.a)
            return super().serialize()

    computed: list[int] = []
    counted = Counted(a=1)

    assert counted.hash_key == counted.hash_key
    assert computed == [1]
