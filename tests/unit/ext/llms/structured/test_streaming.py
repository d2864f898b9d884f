"""Structured answers while they are written."""

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel

from miniagents import MessageTokenAppender, MiniAgents
from miniagents.ext.llms._structured.partial_json import PartialJSON
from miniagents.ext.llms.errors import ConnectionLostError, StructuredOutputError
from miniagents.ext.llms.llm_messages import AssistantMessage, ThinkingMessage
from miniagents.ext.llms.structured import stream_parsed
from miniagents.message_sequence import MessageSequence
from miniagents.promising.sentinels import NO_VALUE


class Song(BaseModel):
    title: str
    seconds: int = 0
    tags: list[str] = []


class Answer:
    """An answer of which the test writes the tokens; `partials` reads on until nothing new is there."""

    def __init__(self, kind: Any) -> None:
        self.appender = MessageTokenAppender().open()
        self.promise = AssistantMessage.promise(message_token_streamer=self.appender)
        self.stream = stream_parsed(self.promise, kind)

    async def after(self, *tokens: str) -> Any:
        for token in tokens:
            self.appender.append(token)
        return await anext(self.stream)


async def all_of(stream: Any) -> list[Any]:
    return [value async for value in stream]


async def test_the_dict_grows_with_the_tokens_and_the_model_comes_last(mini_agents: MiniAgents) -> None:
    answer = Answer(Song)

    assert await answer.after('{"title"', ': "So') == {"title": "So"}
    assert await answer.after(" What") == {"title": "So What"}
    assert await answer.after('", "sec', 'onds": 54', "5,") == {"title": "So What", "seconds": 545}
    assert await answer.after(' "tags": ["ja') == {"title": "So What", "seconds": 545, "tags": ["ja"]}
    answer.appender.append('zz"]}')
    answer.appender.close()
    assert await all_of(answer.stream) == [
        {"title": "So What", "seconds": 545, "tags": ["jazz"]},
        Song(title="So What", seconds=545, tags=["jazz"]),
    ]


async def test_tokens_that_change_nothing_give_nothing(mini_agents: MiniAgents) -> None:
    answer = Answer(Song)

    assert await answer.after("Sure, {here} it is: ", "{", "\n  ", '"title": ', '"A"', "\n  ") == {"title": "A"}
    for token in (",", ' "seconds"', ": 12"):
        answer.appender.append(token)
    assert await answer.after("0}") == {"title": "A", "seconds": 120}
    answer.appender.append(" I hope it helps. {}")
    answer.appender.close()
    assert await all_of(answer.stream) == [Song(title="A", seconds=120)]


async def test_a_slow_reader_skips_what_it_had_no_time_for(mini_agents: MiniAgents) -> None:
    text = json.dumps({"title": "x" * 5000})
    answer = Answer(Song)
    for letter in text:
        answer.appender.append(letter)
    answer.appender.close()

    assert await all_of(answer.stream) == [{"title": "x" * 5000}, Song(title="x" * 5000)]


async def test_of_a_list_the_part_that_is_there_is_given(mini_agents: MiniAgents) -> None:
    answer = Answer(list[Song])

    assert await answer.after('{"value": [{"title": "A"}') == [{"title": "A"}]
    assert await answer.after(', {"tit', 'le": "B') == [{"title": "A"}, {"title": "B"}]
    answer.appender.append('"}]}')
    answer.appender.close()
    assert await all_of(answer.stream) == [[Song(title="A"), Song(title="B")]]


async def test_partial_text_never_raises_and_the_validation_does_at_the_end(mini_agents: MiniAgents) -> None:
    answer = Answer(Song)

    assert await answer.after('{"title": "A", ') == {"title": "A"}
    answer.appender.append('oops], "seconds": "many"}')
    answer.appender.close()
    with pytest.raises(StructuredOutputError) as caught:
        await all_of(answer.stream)
    assert caught.value.raw_text == '{"title": "A", oops], "seconds": "many"}'


async def test_an_error_of_the_model_comes_at_its_place(mini_agents: MiniAgents) -> None:
    answer = Answer(Song)
    error = ConnectionLostError("gone")

    assert await answer.after('{"title": "A') == {"title": "A"}
    with pytest.raises(ConnectionLostError) as caught:
        await answer.after(error)
    assert caught.value is error


async def test_a_whole_reply_is_read_through_its_thoughts_to_the_answer(mini_agents: MiniAgents) -> None:
    replies = MessageSequence.turn_into_sequence_promise(
        [
            ThinkingMessage('{"title": "no"}'),
            AssistantMessage('{"title": 5}'),
            AssistantMessage('{"title": "A"}'),
        ]
    )

    assert await all_of(stream_parsed(replies, Song)) == [{"title": 5}, {"title": "A"}, Song(title="A")]


async def test_what_the_agent_validated_already_is_what_comes_last(mini_agents: MiniAgents) -> None:
    song = Song(title="A")
    message = AssistantMessage('{"title": "A"}').with_parsed(song)

    *_, last = await all_of(stream_parsed(message.as_promise, Song))

    assert last is song


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)


def is_part_of(part: Any, whole: Any) -> bool:
    """Whether `whole` can be what `part` grows into."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(name in whole and is_part_of(part[name], whole[name]) for name in part)
    if isinstance(part, list):
        return isinstance(whole, list) and len(part) <= len(whole) and all(map(is_part_of, part, whole))
    if isinstance(part, str):
        return isinstance(whole, str) and whole.startswith(part)
    return part == whole and type(part) is type(whole)


@given(
    whole=st.dictionaries(st.text(), JSON_VALUES, min_size=1, max_size=4),
    size=st.integers(1, 7),
    ascii_only=st.booleans(),
    indent=st.sampled_from([None, 2]),
)
def test_it_only_grows_and_ends_as_the_whole(whole: Any, size: int, ascii_only: bool, indent: int | None) -> None:
    text = json.dumps(whole, ensure_ascii=ascii_only, indent=indent)
    partial = PartialJSON()
    before: Any = {}
    for start in range(0, len(text), size):
        partial.add(text[start : start + size])
        value = partial.value()
        assert is_part_of(before, value)
        assert is_part_of(value, whole)
        before = value
    assert before == whole


@given(st.lists(st.text('{}[]":,\\ab1 \n'), max_size=40))
def test_no_text_makes_it_raise(pieces: list[str]) -> None:
    for opening in ("{", "{["):
        partial = PartialJSON(opening)
        for piece in pieces:
            partial.add(piece)
            value = partial.value()
            assert value is NO_VALUE or isinstance(value, dict | list)


def cost_s(item_count: int) -> float:
    text = json.dumps({"items": [{"name": f"item {number}", "tags": ["a", "b"]} for number in range(item_count)]})
    began = time.process_time()
    partial = PartialJSON()
    for start in range(0, len(text), 4):
        partial.add(text[start : start + 4])
        partial.value()
    return time.process_time() - began


def test_the_cost_grows_with_the_text_and_not_with_its_square() -> None:
    small = min(cost_s(250) for _ in range(3))
    large = min(cost_s(2000) for _ in range(3))

    # Eight times the text; parsing it anew for every token would cost 64 times as much.
    assert large < small * 24
