"""Fields that are declared as dicts, or as models of pydantic's, hold `Frozen`s, and come back as such."""

import warnings
from collections.abc import Mapping
from typing import Annotated, Any

import pytest
from pydantic import BaseModel, ConfigDict, Field

from miniagents import Frozen, MiniAgents, miniagent
from miniagents.events import Event
from miniagents.messages import Message


class Place(BaseModel):
    # Whatever is added to it on the way is refused.
    model_config = ConfigDict(extra="forbid")

    name: str
    near: "list[Place]" = []


class FrozenDicts(Frozen):
    counts: dict[str, int] = {}
    read: Mapping[str, list[int]] | None = None
    rows: list[dict[str, Any]] = []
    anything: dict[Any, Any] = {}
    place: Annotated[Place | None, Field(description="where")] = None
    whole: Frozen = Frozen()
    free: Any = None


class MessageDicts(Message, FrozenDicts):
    pass


class EventDicts(Event, FrozenDicts):
    pass


FIELDS: list[dict[str, Any]] = [
    {"counts": {"a": 1, "b": 2}},
    {"read": {"a": [1, 2]}},
    {"rows": [{"a": {"b": [{"c": None}]}}]},
    {"anything": {"a": {"b": 1}}},
    {"place": Place(name="a", near=[Place(name="b")])},
    {"whole": {"a": {"b": 1}}, "free": {"a": [{"b": 1}]}},
]
CLASSES: list[type[FrozenDicts]] = [FrozenDicts, MessageDicts, EventDicts]


@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: "-".join(fields))
@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_json_gives_an_equal_object_without_a_warning(kind: type[FrozenDicts], fields: dict[str, Any]) -> None:
    made = kind(**fields)

    with warnings.catch_warnings(action="error"):
        back = kind.model_validate_json(made.model_dump_json())

    assert back == made
    assert back.hash_key == made.hash_key


@pytest.mark.parametrize("fields", FIELDS, ids=lambda fields: "-".join(fields))
@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_a_copy_with_a_change_keeps_all_other_fields(kind: type[FrozenDicts], fields: dict[str, Any]) -> None:
    made = kind(**fields)

    copy = made.model_copy(update={"counts": {"c": 3}})

    assert copy == kind(**(fields | {"counts": {"c": 3}}))


def test_json_of_an_object_inside_of_another_is_whole_too() -> None:
    class Outer(Message):
        inner: MessageDicts

    outer = Outer(inner=MessageDicts(place=Place(name="a"), counts={"b": 1}))

    assert Outer.model_validate_json(outer.model_dump_json()) == outer


def test_what_is_in_such_a_dict_is_validated_as_before() -> None:
    with pytest.raises(ValueError, match="unable to parse string as an integer"):
        FrozenDicts(counts={"a": "many"})
    with pytest.raises(ValueError, match="unable to parse string as an integer"):
        FrozenDicts.model_validate_json('{"counts": {"class_": "Frozen", "a": "many"}}')


def test_a_dict_that_contains_itself_is_refused() -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless

    with pytest.raises(ValueError, match="contains itself, or is nested too deep"):
        FrozenDicts(anything=endless)


async def test_a_dict_in_a_message_arrives_in_a_typed_message_of_another_agent(mini_agents: MiniAgents) -> None:
    @miniagent
    async def counts(ctx: Any) -> None:
        (message,) = await ctx.message_promises
        ctx.reply(MessageDicts(**message.as_kwargs()))

    (reply,) = await counts.inquire(MessageDicts(counts={"a": 1}))

    assert reply == MessageDicts(counts={"a": 1})
