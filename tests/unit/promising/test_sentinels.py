"""Markers for "not given": `miniagents.promising.sentinels`."""

import copy
import pickle

import pytest

from miniagents.promising.promising import Promise, PromisingContext
from miniagents.promising.sentinels import NO_VALUE, Sentinel


def test_a_sentinel_raises_in_a_boolean_context() -> None:
    with pytest.raises(TypeError, match="NO_VALUE"):
        bool(NO_VALUE)
    with pytest.raises(TypeError, match="NO_VALUE"):
        _ = not NO_VALUE
    with pytest.raises(TypeError, match="is NO_VALUE"):
        _ = NO_VALUE or "default"


def test_a_sentinel_prints_its_name() -> None:
    assert repr(NO_VALUE) == "NO_VALUE"
    assert repr(Sentinel("NOTHING_YET")) == "NOTHING_YET"


def test_copies_of_a_sentinel_are_the_sentinel_itself() -> None:
    assert copy.copy(NO_VALUE) is NO_VALUE
    assert copy.deepcopy({"value": NO_VALUE})["value"] is NO_VALUE
    assert pickle.loads(pickle.dumps(NO_VALUE)) is NO_VALUE


def test_two_sentinels_of_one_name_are_two() -> None:
    assert Sentinel("SAME") != Sentinel("SAME")


async def test_none_is_a_value_and_not_the_absence_of_one(context: PromisingContext) -> None:
    assert await Promise(prefill_result=None) is None
