"""How an answer becomes a typed value."""

import dataclasses
import enum
import json
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError
from typing_extensions import TypedDict

from miniagents import MiniAgents
from miniagents.ext.llms.errors import LLMError, RefusalError, StructuredOutputError, TruncatedOutputError
from miniagents.ext.llms.llm_messages import (
    AssistantMessage,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
    UserMessage,
)
from miniagents.ext.llms.structured import parse_reply, retry_message, validated


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str
    city: str = "Rome"


class Person(BaseModel):
    """Somebody."""

    name: str = Field(min_length=1, description="The full name.")
    age: int = Field(ge=0, lt=150)
    home: Address = Field(description="Where they live.")
    work: Address | None = None
    favourite: Colour = Colour.RED


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: int


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Track(TypedDict):
    title: str
    seconds: int


PERSON = '{"name": "Ann", "age": 30, "home": {"street": "1 Elm"}}'


# -------------------------------------------------------------------------------------------------------- validation


@pytest.mark.parametrize(
    "text",
    [
        PERSON,
        f"```json\n{PERSON}\n```",
        f"Here you are:\n\n```\n{PERSON}\n```\nAnything else?",
        f"I took {{the default}} for the city. {PERSON} That is all, [really].",
        f"\n\n{PERSON}\n",
    ],
    ids=["bare", "fenced", "fenced with words", "among words", "blank lines"],
)
def test_the_answer_is_found_whatever_stands_around_it(text: str) -> None:
    assert validated(text, Person) == Person(name="Ann", age=30, home=Address(street="1 Elm"))


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ('{"x": 1}', Point, Point(1)),
        ('{"title": "So What", "seconds": 545}', Track, {"title": "So What", "seconds": 545}),
        ('{"value": [{"street": "a"}]}', list[Address], [Address(street="a")]),
        ('[{"street": "a"}]', list[Address], [Address(street="a")]),
        ('{"value": {"kind": "dog", "tricks": 2}}', Cat | Dog, Dog(kind="dog", tricks=2)),
        ('{"kind": "dog", "tricks": 2}', Cat | Dog, Dog(kind="dog", tricks=2)),
        ('{"value": 5}', int, 5),
        ("5", int, 5),
        ('{"value": "blue"}', Colour, Colour.BLUE),
        ('{"value": null}', int | None, None),
    ],
)
def test_every_kind_of_type_is_validated_and_unwrapped(text: str, kind: Any, value: Any) -> None:
    assert validated(text, kind) == value


def test_an_invalid_answer_names_every_wrong_place_and_keeps_the_text() -> None:
    text = '{"name": "Ann", "age": "old", "home": {}}'

    with pytest.raises(StructuredOutputError) as caught:
        validated(text, Person, provider="openai", model="gpt")

    error = caught.value
    assert str(error) == (
        "The answer is not a valid `Person`: age: Input should be a valid integer, unable to parse string as an "
        f"integer (given: 'old'); home.street: Field required. It was: {text}"
    )
    assert error.raw_text == text
    assert (error.provider, error.model) == ("openai", "gpt")
    assert isinstance(error.__cause__, ValidationError)


def test_an_answer_that_is_no_json_says_so() -> None:
    with pytest.raises(StructuredOutputError, match="not a valid `Person`: it is not JSON: .* It was: I cannot"):
        validated("I cannot", Person, "stop")


def test_two_different_answers_are_none() -> None:
    with pytest.raises(StructuredOutputError, match="2 different JSON values that fit; give one"):
        validated('{"x": 1} or {"x": 2}', Point)


def test_a_text_that_was_cut_off_is_told_apart_from_a_wrong_one() -> None:
    with pytest.raises(TruncatedOutputError, match="cut off at its longest length, after 14 characters") as caught:
        validated('{"name": "Ann"', Person, "length")

    assert caught.value.partial_text == '{"name": "Ann"'


def test_half_a_number_is_no_answer() -> None:
    with pytest.raises(TruncatedOutputError):
        validated("12", int, "length")


def test_an_answer_that_is_complete_counts_though_what_follows_it_was_cut_off() -> None:
    assert validated('{"x": 1}\n\nI hope that', Point, "length") == Point(1)


@pytest.mark.parametrize(("reason", "why"), [("refusal", "the model refused"), ("content_filter", "a content filter")])
def test_a_refusal_has_an_error_of_its_own_with_its_words(reason: str, why: str) -> None:
    with pytest.raises(RefusalError, match=why) as caught:
        validated("I must not do that.", Person, reason)

    assert caught.value.partial_text == "I must not do that."


def test_a_text_full_of_brackets_is_looked_through_in_no_time() -> None:
    for text in ("[" * 100_000, "{" * 100_000, '{"a":' * 20_000):
        with pytest.raises(StructuredOutputError):
            validated(text, Person)


def test_the_model_is_told_what_is_wrong_and_to_answer_again() -> None:
    with pytest.raises(StructuredOutputError) as caught:
        validated('{"name": "", "age": 3}', Person)

    assert retry_message(caught.value) == (
        "Your answer could not be used:\n"
        "- name: String should have at least 1 character (given: '')\n"
        "- home: Field required\n\n"
        "Answer again, in full, with nothing but JSON that fits the schema: no words around it, no code block."
    )


def test_an_endless_list_of_mistakes_is_cut_short() -> None:
    with pytest.raises(StructuredOutputError) as caught:
        validated(json.dumps({"value": ["x"] * 500}), list[int])

    assert "- and 480 more" in retry_message(caught.value)
    assert len(retry_message(caught.value)) < 4000


# -------------------------------------------------------------------------------------------------------- parse_reply


async def test_a_reply_is_parsed(mini_agents: MiniAgents) -> None:
    assert await parse_reply(AssistantMessage('{"x": 3}'), Point) == Point(3)
    assert await parse_reply(AssistantMessage('{"x": 3}').as_promise, Point) == Point(3)
    assert await parse_reply("{'x': 3}".replace("'", '"'), Point) == Point(3)


async def test_what_was_parsed_already_is_not_parsed_again(mini_agents: MiniAgents) -> None:
    point = Point(7)

    assert await parse_reply(AssistantMessage("seven").with_parsed(point), Point) is point


async def test_what_was_parsed_as_something_else_is_parsed_anew(mini_agents: MiniAgents) -> None:
    message = AssistantMessage('{"x": 3}').with_parsed({"x": 3})

    assert await parse_reply(message, Point) == Point(3)


async def test_the_answer_is_the_last_text_of_the_model(mini_agents: MiniAgents) -> None:
    messages = [
        UserMessage("Where?"),
        ThinkingMessage('{"x": 0}'),
        AssistantMessage('{"x": 1}'),
        ToolCallMessage('{"x": 2}', tool_name="find", tool_call_id="1"),
        ToolResultMessage('{"x": 3}', tool_call_id="1"),
        AssistantMessage('{"x": 4}'),
        ThinkingMessage('{"x": 5}', finish_reason="stop"),
    ]

    assert await parse_reply(messages, Point) == Point(4)


async def test_why_the_model_ended_may_stand_on_a_later_message(mini_agents: MiniAgents) -> None:
    messages = [AssistantMessage('{"x": ', provider="openai"), ThinkingMessage("...", finish_reason="length")]

    with pytest.raises(TruncatedOutputError) as caught:
        await parse_reply(messages, Point)

    assert caught.value.provider == "openai"


async def test_replies_without_an_answer_are_no_answer(mini_agents: MiniAgents) -> None:
    with pytest.raises(StructuredOutputError, match="no `Point` in these 1 messages"):
        await parse_reply(ThinkingMessage("hm"), Point)


async def test_an_error_in_the_replies_is_the_error(mini_agents: MiniAgents) -> None:
    error = LLMError("no connection")

    with pytest.raises(LLMError) as caught:
        await parse_reply([AssistantMessage('{"x": 1}'), error], Point)

    assert caught.value is error
