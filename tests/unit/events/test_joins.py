"""A join gets one event of each type as arguments; what it lacks at the end is told."""

import asyncio
import gc
import weakref
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.events import Event, EventBus, JoinIncompleteError
from tests.unit.events.some_events import Analysis, LongText, Number, Summary, Text, task_switches


class Start(Event):
    replies: tuple[Event, ...] = ()


class Joined:
    """A bus on which `Start` is replied to with the events that it has, and a join of texts and analyses."""

    def __init__(self, **options: Any) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.bus = EventBus()

        @self.bus.on(Start)
        async def begin(ctx: Any, event: Start) -> None:
            for reply in event.replies:
                ctx.reply(reply)
                await asyncio.sleep(0)

        @self.bus.join(Text, Analysis, **options)
        async def both(ctx: Any, text: Text, analysis: Analysis) -> None:
            self.calls.append((text, analysis))

    async def run(self, *replies: Event) -> Any:
        async with self.bus:
            flow = self.bus.emit(Start(replies=replies))
            await flow
        stats = self.bus.stats
        assert stats.received == stats.handled + stats.dead
        return flow


A, B = Text(text="a"), Text(text="b")
X, Y = Analysis(text="x"), Analysis(text="y")


@pytest.mark.parametrize("order", [(A, X), (X, A)])
async def test_a_join_gets_its_events_as_typed_arguments_in_whatever_order_they_come(
    order: Any, mini_agents: MiniAgents
) -> None:
    joined = Joined()

    flow = await joined.run(*order)

    assert joined.calls == [(A, X)]
    assert flow.errors == ()


async def test_each_flow_has_a_round_of_its_own(mini_agents: MiniAgents) -> None:
    joined = Joined()
    async with joined.bus as bus:
        await asyncio.gather(*(bus.emit(Start(replies=(Text(text=str(n)), Analysis(text=str(n))))) for n in range(20)))

    assert sorted(int(text.text) for text, _ in joined.calls) == list(range(20))
    assert all(text.text == analysis.text for text, analysis in joined.calls)


@pytest.mark.parametrize(
    ("duplicates", "expected"),
    [("first", (A, X)), ("last", (B, X)), ("list", ((A, B), (X,)))],
)
async def test_what_becomes_of_duplicates(duplicates: Any, expected: Any, mini_agents: MiniAgents) -> None:
    joined = Joined(duplicates=duplicates)

    flow = await joined.run(A, B, X)

    assert joined.calls == [expected]
    assert flow.errors == ()
    assert len(joined.bus.trace.query(type="ignored")) == (duplicates == "first")


async def test_late_events_begin_a_new_round(mini_agents: MiniAgents) -> None:
    joined = Joined()

    flow = await joined.run(A, X, Y, B, A)

    assert joined.calls == [(A, X), (B, Y)]
    (letter,) = flow.errors
    assert letter.error.have == (A,)
    assert letter.error.missing == (Analysis,)


async def test_a_join_of_several_of_each_gets_tuples(mini_agents: MiniAgents) -> None:
    joined = Joined(count=2)

    await joined.run(A, X, B, Y)

    assert joined.calls == [((A, B), (X, Y))]


async def test_a_join_of_one_type_collects_so_many(mini_agents: MiniAgents) -> None:
    got: list[Any] = []
    async with EventBus() as bus:

        @bus.on(Text)
        async def split(ctx: Any, event: Text) -> None:
            ctx.reply([Number(n=n) for n in range(4)])

        @bus.join(Number, count=3)
        async def three(ctx: Any, numbers: tuple[Number, ...]) -> None:
            got.append([number.n for number in numbers])

        flow = bus.emit(Text())
        await flow

    assert got == [[0, 1, 2]]
    assert flow.errors[0].error.missing == (Number, Number)


async def test_an_incomplete_join_is_a_dead_letter_that_says_what_was_missing(mini_agents: MiniAgents) -> None:
    joined = Joined()

    flow = await joined.run(A)

    assert joined.calls == []
    (letter,) = flow.errors
    assert isinstance(letter.error, JoinIncompleteError)
    assert str(letter.error) == (
        "The join `both` is incomplete: its flow has ended. It got `Text` and misses `Analysis`."
    )
    assert (letter.event, letter.handler, letter.attempt) == (A, "both", 0)


async def test_an_event_of_a_subclass_goes_where_it_is_missing(mini_agents: MiniAgents) -> None:
    got: list[Any] = []
    async with EventBus() as bus:

        @bus.on(Start)
        async def begin(ctx: Any, event: Start) -> None:
            ctx.reply(event.replies)

        @bus.join(Text, LongText)
        async def both(ctx: Any, text: Text, long: LongText) -> None:
            got.append((text.text, long.text))

        await bus.emit(Start(replies=(LongText(text="1"), LongText(text="2"))))
        await bus.emit(Start(replies=(Text(text="1"), LongText(text="2"))))

    assert got[-1] == ("1", "2")


@pytest.mark.virtual_clock
async def test_a_round_that_takes_too_long_is_a_dead_letter_while_the_flow_goes_on(mini_agents: MiniAgents) -> None:
    calls: list[Any] = []
    async with EventBus() as bus:

        @bus.on(Start)
        async def begin(ctx: Any, event: Start) -> None:
            ctx.reply(A)
            await asyncio.sleep(60)
            ctx.reply(X)

        @bus.join(Text, Analysis, timeout=30)
        async def both(ctx: Any, text: Text, analysis: Analysis) -> None:
            calls.append((text, analysis))

        flow = bus.emit(Start())
        await asyncio.sleep(31)
        (letter,) = flow.errors
        assert "its `timeout` of 30 s is over" in str(letter.error)
        await flow

    assert calls == []
    # What came late began a new round.
    assert flow.errors[1].error.have == (X,)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("pause_s", [0, 60])
async def test_a_handler_may_take_the_place_of_the_dead_letter(pause_s: int, mini_agents: MiniAgents) -> None:
    partly: list[Any] = []

    async def in_part(ctx: Any, events: tuple[Event, ...]) -> None:
        partly.append(events)
        ctx.reply(Summary())

    async with EventBus() as bus:

        @bus.on(Start)
        async def begin(ctx: Any, event: Start) -> None:
            ctx.reply(A)
            await asyncio.sleep(pause_s)

        @bus.join(Text, Analysis, timeout=30, on_timeout=in_part)
        async def both(ctx: Any, text: Text, analysis: Analysis) -> None: ...

        await bus.ask(Start(), Summary)

    assert partly == [(A,)]
    assert bus.stats.dead == 0


async def test_a_join_that_fails_is_a_dead_letter(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def analyze(ctx: Any, event: Text) -> None:
            ctx.reply(Analysis())

        @bus.join(Text, Analysis)
        async def both(ctx: Any, text: Text, analysis: Analysis) -> None:
            raise ValueError("no")

        flow = bus.emit(A)
        await flow

    (letter,) = flow.errors
    assert (letter.handler, letter.event, str(letter.error)) == ("both", Analysis(), "no")


async def test_the_state_of_a_join_is_gone_with_its_flow(mini_agents: MiniAgents) -> None:
    gone: list[Any] = []
    async with EventBus() as bus:

        @bus.on(Start)
        async def begin(ctx: Any, event: Start) -> None:
            ctx.reply(Text())
            gone.append(weakref.ref(ctx.flow))

        @bus.join(Text, Analysis, timeout=3600)
        async def both(ctx: Any, text: Text, analysis: Analysis) -> None: ...

        for _ in range(10):
            await bus.emit(Start())
        await task_switches()
        gc.collect()

        assert [reference() for reference in gone] == [None] * 10


@pytest.mark.parametrize("why", ["it fails", "it is incomplete", "its flow is cancelled"])
async def test_the_dead_letter_of_a_join_has_all_its_events(why: str, mini_agents: MiniAgents) -> None:
    begun = asyncio.Event()
    async with EventBus() as bus:

        @bus.on(Text)
        async def starts(ctx: Any, event: Text) -> None:
            ctx.reply([Number(n=1), Number(n=2), Analysis(text="last")])

        @bus.join(Number, Analysis, *([Summary] if why == "it is incomplete" else []), duplicates="list")
        async def both(ctx: Any, *events: Any) -> None:
            if why == "it fails":
                raise ValueError("no")
            begun.set()
            await asyncio.Event().wait()

        flow = bus.emit(Text())
        if why == "its flow is cancelled":
            await begun.wait()
            flow.cancel()
        await bus.wait_until_idle()

    (letter,) = flow.errors
    assert letter.event == Analysis(text="last")
    assert letter.events == (Number(n=1), Number(n=2), Analysis(text="last"))
    assert Event.model_validate_json(letter.model_dump_json()).events == letter.events
