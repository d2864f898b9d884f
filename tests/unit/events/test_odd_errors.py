"""Errors and values that cannot be shown, or are far too long: what happened is told all the same, and in short."""

import logging
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.events import EventBus, FlowFailedError, RegistrationError
from tests.unit.events.some_events import Analysis, Number, Text

LONG = "x" * 1_000_000
MOST = 3_000


class MuteError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("nothing to say")

    __repr__ = __str__


async def test_an_error_without_a_text_is_a_dead_letter_like_any_other(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    async with EventBus() as bus:

        @bus.on(Number)
        async def fails(ctx: Any, event: Number) -> None:
            raise MuteError

        flow = bus.emit(Number())
        await flow

    (letter,) = flow.errors
    assert isinstance(letter.error, MuteError)
    assert bus.stats.dead == 1
    (told,) = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert "MuteError: <its text cannot be told: `str()` of it raised RuntimeError>" in told.getMessage()
    assert "MuteError" in repr(letter)
    assert "MuteError" in letter.model_dump_json()


async def test_a_condition_that_fails_with_such_an_error_loses_nothing_either(mini_agents: MiniAgents) -> None:
    def mute(event: Number) -> bool:
        raise MuteError

    handled: list[Number] = []
    async with EventBus() as bus:

        @bus.on(Number, when=mute)
        async def never(ctx: Any, event: Number) -> None:
            raise AssertionError

        @bus.on(Number)
        async def takes(ctx: Any, event: Number) -> None:
            handled.append(event)

        flow = bus.emit(Number(n=1))
        await flow

    assert handled == [Number(n=1)]
    assert [type(letter.error) for letter in flow.errors] == [MuteError]


async def test_a_long_error_is_short_wherever_it_is_told(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def fails(ctx: Any, event: Text) -> None:
            raise ValueError(event.text)

        with pytest.raises(FlowFailedError) as failed:
            await bus.ask(Text(text=LONG), Analysis)

        (letter,) = failed.value.dead_letters
        (row,) = bus.trace.query(type="dead")
        assert row.error is not None
        assert row.error.endswith("xxx... (999012 more characters)")
        texts = [row.error, bus.trace.summary(), str(failed.value), repr(letter), repr(letter.event)]
        assert [len(text) < MOST for text in texts] == [True] * len(texts)
        assert [len(record.getMessage()) < MOST for record in caplog.records] == [True]
    # The error itself is whole.
    assert str(letter.error) == LONG


async def test_what_is_refused_is_quoted_in_short(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:
        refused: list[Any] = [
            lambda: bus.emit(LONG),
            lambda: bus.on(LONG),
            lambda: bus.on(Text, concurrency=LONG)(lambda: None),
            lambda: EventBus(max_pending=LONG),
            lambda: bus.trace.query(since=LONG),
            lambda: bus.shared_memory.merge(LONG),
        ]
        for call in refused:
            with pytest.raises(TypeError) as error:
                call()
            assert len(str(error.value)) < MOST


async def test_a_value_that_cannot_be_shown_is_refused_all_the_same(mini_agents: MiniAgents) -> None:
    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError("nothing to say")

    with pytest.raises(RegistrationError, match="<Mute object>"):
        EventBus(max_pending=Mute())


async def test_a_merge_of_many_keys_is_one_short_row_of_the_trace(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:
        bus.shared_memory.merge({f"key {n}": n for n in range(10_000)})

        (row,) = bus.trace.query(type="memory")

    assert row.content is not None
    assert row.content.startswith("key 0, key 1, ")
    assert len(row.content) < MOST
