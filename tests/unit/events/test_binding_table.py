"""What an event system must do, capability by capability; figures are times of a virtual clock, or turns of the loop.

What is measured against other systems, and in real time, is in `benchmarks/`.
"""

import asyncio
import gc
import inspect
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from miniagents import Message, MiniAgents
from miniagents.events import (
    AsyncDispatcher,
    DeadLetter,
    Event,
    EventBus,
    JoinIncompleteError,
    QueueFullError,
    TooManyHopsError,
    Tracer,
)
from miniagents.ext.llms import Script, ScriptedAgent, parse_reply
from miniagents.ext.llms.errors import StructuredOutputError
from miniagents.messages import MessagePromise, MessageTokenAppender
from miniagents.promising.errors import PromiseCancelledError
from tests.unit.events.some_agents import Failing, Recorder, Slow, router_of
from tests.unit.events.some_events import Analysis, LongText, Number, Summary, Text, errors_of, kinds, task_switches

pytestmark = pytest.mark.virtual_clock


def now() -> float:
    return asyncio.get_running_loop().time()


class Opinion(BaseModel):
    text: str


class Combined(Event):
    analysis: str
    summary: str


async def text_analysis(text: str, model: Any) -> str:
    """Analyse and summarise a text at the same time, and put both together."""
    async with EventBus() as bus:

        @bus.on(Text)
        async def analyze(ctx: Any, event: Text) -> Analysis:
            replies = model.inquire(f"Analyze this text: {event.text}", response_model=Opinion)
            return Analysis(text=(await parse_reply(replies, Opinion)).text)

        @bus.on(Text)
        async def summarize(ctx: Any, event: Text) -> Summary:
            replies = model.inquire(f"Summarize this text: {event.text}", response_model=Opinion)
            return Summary(text=(await parse_reply(replies, Opinion)).text)

        @bus.join(Text, Analysis, Summary, timeout=30)
        async def combine(ctx: Any, text: Text, analysis: Analysis, summary: Summary) -> Combined:
            return Combined(analysis=analysis.text, summary=summary.text)

        result = await bus.ask(Text(text=text), Combined, timeout=60)
    return f"Analysis: {result.analysis}; summary: {result.summary}"


async def test_the_text_analysis_takes_forty_lines_at_most_and_asks_twice_at_once(mini_agents: MiniAgents) -> None:
    async def answer(prompt: Any) -> Any:
        await asyncio.sleep(0.5)
        yield '{"text": "' + prompt.last_text.split()[0] + '"}'

    model = ScriptedAgent.fork(script=Script(answer, when_exhausted="repeat_last"))

    assert await text_analysis("a text", model) == "Analysis: Analyze; summary: Summarize"
    assert now() == pytest.approx(0.5, abs=0.01)
    assert len(inspect.getsource(text_analysis).splitlines()) <= 40


async def test_two_agents_of_one_event_that_take_half_a_second_each_take_less_than_six_tenths() -> None:
    agents = [Slow(0.5), Slow(0.5)]
    async with AsyncDispatcher(router_of(*((Text, agent) for agent in agents))) as dispatcher:
        dispatcher.dispatch(Text())

    assert [len(agent.got) for agent in agents] == [1, 1]
    assert now() < 0.6


@pytest.mark.parametrize("batch_size", [1, 5])
async def test_one_event_for_a_hundred_agents_of_fifty_milliseconds_takes_less_than_a_tenth_of_a_second(
    batch_size: int,
) -> None:
    agents = [Slow(0.05) for _ in range(100)]
    async with AsyncDispatcher(router_of(*((Text, agent) for agent in agents)), batch_size=batch_size) as dispatcher:
        dispatcher.dispatch(Text())

    assert sum(len(agent.got) for agent in agents) == 100
    assert now() < 0.1


async def test_three_hops_of_many_events_wait_for_no_tick_at_the_default_batch_size() -> None:
    first, second = Recorder(lambda _: Text()), Recorder(lambda _: Summary())
    third = Recorder()
    async with AsyncDispatcher(router_of((Number, first), (Text, second), (Summary, third))) as dispatcher:
        for n in range(2_000):
            dispatcher.dispatch(Number(n=n))

    assert len(third.got) == 2_000
    assert now() == 0


async def test_an_idle_dispatcher_hands_an_event_over_in_the_next_turn_of_the_loop() -> None:
    agent = Recorder()
    async with AsyncDispatcher(router_of((Text, agent))) as dispatcher:
        for count in range(1, 11):
            dispatcher.dispatch(Text())
            assert len(agent.got) == count - 1

            await asyncio.sleep(0)

            assert len(agent.got) == count
    assert now() == 0


async def test_an_agent_that_raises_makes_a_dead_letter_and_all_else_is_delivered(mini_agents: MiniAgents) -> None:
    letters, after = Recorder(), Recorder()
    replying = Recorder(lambda _: Summary())
    routes = router_of((Text, replying), (Text, Failing()), (Summary, after), (DeadLetter, letters))
    async with AsyncDispatcher(routes) as dispatcher:
        for _ in range(10):
            dispatcher.dispatch(Text())

    assert len(after.got) == 10
    assert [letter.handler for letter in letters.got] == ["Failing"] * 10
    assert (dispatcher.stats.handled, dispatcher.stats.dead) == (40 - 10, 10)


async def test_draining_polls_nothing_always_returns_and_reports_errors(caplog: pytest.LogCaptureFixture) -> None:
    dispatcher = await AsyncDispatcher(router_of((Text, Failing()), (Number, Slow(0.123)))).start()
    dispatcher.dispatch(Text())
    dispatcher.dispatch(Number())

    assert await dispatcher.wait_for_empty_queue() is True

    # At the very moment when the last one ended.
    assert now() == pytest.approx(0.123, abs=1e-6)
    assert len(dispatcher.dead_letters) == 1
    assert "`Failing` did not handle this `Text`" in caplog.text
    assert await dispatcher.wait_for_empty_queue() is True
    await dispatcher.stop()


@pytest.mark.parametrize("drain", [False, True])
async def test_a_stop_with_a_full_queue_accounts_for_every_event(drain: bool) -> None:
    agent = Slow(0.01)
    dispatcher = await AsyncDispatcher(router_of((Number, agent))).start()
    for n in range(50):
        dispatcher.dispatch(Number(n=n))
    await task_switches()

    await dispatcher.stop(drain=drain)

    stats = dispatcher.stats
    assert (stats.received, stats.pending, stats.running) == (50, 0, 0)
    assert stats.handled == len(agent.got) == (50 if drain else 1)
    assert stats.dead == len(dispatcher.dead_letters) == 50 - stats.handled


async def test_events_cannot_be_changed() -> None:
    event = Number(n=1)

    with pytest.raises(ValidationError):
        event.n = 2
    with pytest.raises((ValidationError, AttributeError)):
        event.correlation_id = "x"


class Headline(Event):
    """Of a name that no other module has: an event is made again by the name of its class."""

    text: str


async def test_an_event_comes_back_from_json_equal_and_with_its_stamps() -> None:
    event = Headline(text="a", source=Recorder, correlation_id="x")
    back = Event.model_validate_json(event.model_dump_json())

    assert back == event
    assert isinstance(back, Headline)
    assert back.stamps == event.stamps


async def test_routes_are_by_base_class_and_by_predicate_for_everything_and_can_be_taken_off(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    got: list[str] = []
    async with EventBus() as bus:

        @bus.on(Text)
        async def texts(ctx: Any, event: Text) -> None:
            got.append(f"base {type(event).__name__}")

        @bus.on(Number, when=lambda event: event.n > 5)
        async def large(ctx: Any, event: Number) -> None:
            got.append(f"large {event.n}")

        @bus.on(Event)
        async def everything(ctx: Any, event: Event) -> None:
            got.append("any")

        for event in (LongText(), Number(n=1), Number(n=9)):
            await bus.emit(event)
        assert got == ["base LongText", "any", "any", "large 9", "any"]
        bus.off(everything)
        got.clear()
        await bus.emit(Number(n=9))
        await bus.emit(Summary())

    assert got == ["large 9"]
    assert "No handler takes events of the type `Summary`" in caplog.text


async def test_a_join_keeps_nothing_after_its_flow_begins_anew_with_late_events_and_has_a_timeout(
    mini_agents: MiniAgents,
) -> None:
    class Part(Event):
        text: str = ""

    joined: list[str] = []
    async with EventBus() as bus:

        @bus.join(Part, Summary, timeout=5)
        async def both(ctx: Any, part: Part, summary: Summary) -> None:
            joined.append(part.text)

        @bus.on(Number)
        async def spread(ctx: Any, event: Number) -> None:
            ctx.reply(Part(text="1"))
            if event.n:
                ctx.reply([Summary(), Part(text="2"), Summary()])

        @bus.on(Analysis)
        async def slow(ctx: Any, event: Analysis) -> None:
            ctx.reply(Part())
            await asyncio.sleep(20)

        await bus.emit(Number(n=1))
        assert joined == ["1", "2"]
        incomplete = bus.emit(Number(n=0))
        await incomplete
        assert [type(error) for error in errors_of(incomplete)] == [JoinIncompleteError]
        del incomplete
        flow = bus.emit(Analysis())
        async for _ in flow:
            if flow.errors:
                break
        assert now() == pytest.approx(5)
        await flow
        del flow
        bus.emit(Number(n=1))
        await bus.wait_until_idle()
        gc.collect()
        # The letters of the two that were incomplete are kept, on purpose; nothing of those that were complete is.
        kept = [found for found in gc.get_objects() if type(found) is Part]
        assert len(kept) == len(bus.dead_letters) == 2


async def test_a_trace_has_the_whole_causal_tree_and_a_cap() -> None:
    tracer = Tracer(max_trace_events=50)
    routes = router_of((Number, Recorder(lambda _: [Text(), Text()])), (Text, Recorder(lambda _: Summary())))
    async with AsyncDispatcher(routes, tracer=tracer) as dispatcher:
        flow = dispatcher.dispatch(Number())
        await flow
        emitted = [event for event in tracer.query(flow=flow) if event.kind == "emitted"]
        parents = {event.event_id: event.parent_id for event in emitted}
        texts = [event.event_id for event in emitted if event.event_type == "Text"]
        assert parents == {flow.id: None, **dict.fromkeys(texts, flow.id), **_children(emitted, texts)}
        assert len(parents) == 5
        for _ in range(100):
            dispatcher.dispatch(Number())

    assert len(tracer) == 50


def _children(emitted: list[Any], parents: list[Any]) -> dict[str, str]:
    found = {event.event_id: event.parent_id for event in emitted if event.event_type == "Summary"}
    assert sorted(found.values()) == sorted(parents)
    return found


async def test_an_invalid_answer_of_a_model_is_asked_for_again_with_the_error_and_then_raised(
    mini_agents: MiniAgents,
) -> None:
    script = Script('{"txet": 1}', when_exhausted="repeat_last")
    model = ScriptedAgent.fork(script=script)
    async with EventBus() as bus:

        @bus.on(Text)
        async def analyze(ctx: Any, event: Text) -> None:
            await parse_reply(model.inquire("Analyze", response_model=Opinion), Opinion)

        flow = bus.emit(Text())
        await flow

    assert [type(error) for error in errors_of(flow)] == [StructuredOutputError]
    assert len(script.prompts) == 2
    assert "Field required" in script.prompts[1].last_text


async def test_a_full_bus_refuses_or_waits_a_circle_ends_and_the_loop_is_shared(mini_agents: MiniAgents) -> None:
    turns = 0
    async with EventBus(max_pending=500, max_hops=300) as bus:

        @bus.on(Number)
        async def circle(ctx: Any, event: Number) -> None:
            ctx.reply(event)

        flows = [bus.emit(Number()) for _ in range(500)]
        with pytest.raises(QueueFullError):
            bus.emit(Number())
        waiting = asyncio.create_task(bus.publish(Text()))
        while not flows[-1].done():
            turns += 1
            await asyncio.sleep(0)
        await waiting

    assert all([type(error) for error in errors_of(flow)] == [TooManyHopsError] for flow in flows)
    assert turns > 10


async def test_handlers_are_cancelled_with_their_flow_and_read_tokens_before_the_writer_ends(
    mini_agents: MiniAgents,
) -> None:
    class Streamed(Event):
        text: MessagePromise

    order: list[str] = []
    async with EventBus() as bus:

        @bus.on(Text)
        async def write(ctx: Any, event: Text) -> None:
            with MessageTokenAppender() as appender:
                ctx.reply(Streamed(text=Message.promise(message_token_streamer=appender)))
                for token in ("one", "two"):
                    order.append(f"writes {token}")
                    appender.append(token)
                    await asyncio.sleep(1)
            order.append("written")

        @bus.on(Streamed)
        async def read(ctx: Any, event: Streamed) -> None:
            async for token in event.text:
                order.append(f"reads {token}")

        @bus.on(Number)
        async def endless(ctx: Any, event: Number) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                order.append("cancelled")

        assert await kinds(bus.emit(Text())) == ["Text", "Streamed"]
        assert order == ["writes one", "reads one", "writes two", "reads two", "written"]

        flow = bus.emit(Number())
        await task_switches()
        flow.cancel()
        with pytest.raises(PromiseCancelledError):
            await flow
        await bus.wait_until_idle()
        assert order[-1] == "cancelled"
