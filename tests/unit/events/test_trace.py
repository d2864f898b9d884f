"""What happened can be asked for, read, drawn and followed; and the shared memory."""

import asyncio
import json
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.events import (
    AsyncDispatcher,
    BaseAgent,
    BaseAsyncAgent,
    DeadLetter,
    Dispatcher,
    Event,
    EventBus,
    LLMBroker,
    Router,
    SharedMemory,
    TraceEvent,
    Tracer,
)
from miniagents.ext.llms import ScriptedAgent
from tests.unit.events.some_events import Analysis, LongText, Number, Text, task_switches


async def nothing(ctx: Any, event: Event) -> None: ...


def three(bus: EventBus) -> None:
    @bus.on(Text)
    async def analyze(ctx: Any, event: Text) -> None:
        ctx.shared_memory.merge({"seen": {event.text: True}})
        ctx.reply(Analysis(text=event.text))

    @bus.on(Analysis)
    async def count(ctx: Any, event: Analysis) -> None:
        await asyncio.sleep(0)
        ctx.reply(Number(n=len(event.text)))

    @bus.on(Number, retries=1)
    async def fails(ctx: Any, event: Number) -> None:
        raise ValueError("no")


async def test_the_trace_is_the_whole_causal_tree(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:
        three(bus)
        flow = bus.emit(Text(text="abc"))
        await flow

    traced = bus.trace.query()
    assert [(event.kind, event.event_type, event.handler) for event in traced] == [
        ("emitted", "Text", None),
        ("memory", "Text", "analyze"),
        ("emitted", "Analysis", "analyze"),
        ("handled", "Text", "analyze"),
        ("emitted", "Number", "count"),
        ("handled", "Analysis", "count"),
        ("retried", "Number", "fails"),
        ("dead", "Number", "fails"),
        ("emitted", "DeadLetter", "fails"),
    ]
    assert {event.flow_id for event in traced} == {flow.id}
    text, analysis, number, letter = flow.events
    by_event = {event.event_id: event.parent_id for event in traced if event.kind == "emitted"}
    assert by_event == {text.id: None, analysis.id: text.id, number.id: analysis.id, letter.id: number.id}
    handled = traced[3]
    assert isinstance(handled, TraceEvent)
    assert isinstance(handled, Event)
    assert handled.duration_s >= 0
    assert traced[7].error == "ValueError: no"
    assert traced[1].content == "seen"
    assert abs(datetime.now(UTC) - handled.at) < timedelta(seconds=30)
    assert TraceEvent.model_validate_json(handled.model_dump_json()) == handled


async def test_the_trace_can_be_asked_by_flow_type_handler_and_time(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text, Number)
        async def handler(ctx: Any, event: Event) -> None: ...

        one, other = bus.emit(Text()), bus.emit(LongText())
        await one
        await other
        between = bus.trace.query()[-1].at
        bus.emit(Number())

    trace = bus.trace
    assert {event.event_type for event in trace.query(flow=one)} == {"Text"}
    assert trace.query(flow=one.id) == trace.query(flow=one)
    assert {event.event_type for event in trace.query(type=Text)} == {"Text", "LongText"}
    assert {event.event_type for event in trace.query(type="LongText")} == {"LongText"}
    assert len(trace.query(type="handled")) == 3
    assert len(trace.query(handler=handler)) == len(trace.query(handler="handler")) == 3
    assert trace.query(handler="other") == []
    assert {event.event_type for event in trace.query(since=between)} >= {"Number"}
    assert "Text" not in {event.event_type for event in trace.query(since=between)}
    assert trace.query(since=datetime.now() + timedelta(hours=1)) == []
    assert len(trace.query(flow=one, type="handled", handler=handler)) == 1
    assert len(trace) == len(list(trace)) == 6


async def test_the_trace_keeps_no_more_than_it_may(mini_agents: MiniAgents) -> None:
    async with EventBus(max_trace_events=5) as bus, EventBus(max_trace_events=0) as silent:
        for each in (bus, silent):
            three(each)
            for n in range(10):
                each.emit(Text(text=str(n)))

    assert len(bus.trace) == 5
    assert silent.trace.query() == []
    assert silent.trace.summary() == "Nothing is in the trace."


async def test_the_summary_can_be_read_by_a_person(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:
        three(bus)
        for _ in range(2):
            bus.emit(Text())

    summary = bus.trace.summary()
    assert "18 trace events of 2 flows" in summary
    assert "  Text: 2" in summary
    assert "  analyze: 2 handled, 0.0" in summary
    assert "  fails: 0 handled, 2 failed" in summary
    assert "  fails on Number: ValueError: no (2 times)" in summary


async def test_a_subscriber_gets_what_happens_from_then_on(mini_agents: MiniAgents) -> None:
    async with EventBus(max_trace_events=0) as bus:
        three(bus)
        await bus.emit(Text())

        async def follow() -> list[str]:
            events = bus.trace.subscribe()
            found = [(await anext(events)).kind for _ in range(3)]
            await events.aclose()
            return found

        following = [asyncio.create_task(follow()) for _ in range(2)]
        await task_switches()
        await bus.emit(Text())

        assert [await task for task in following] == [["emitted", "memory", "emitted"]] * 2
        assert bus.trace.note is None


async def test_diagrams_show_routes_joins_the_memory_and_what_happened(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:
        three(bus)

        @bus.join(Text, Analysis)
        async def both(ctx: Any, text: Text, analysis: Analysis) -> None: ...

        flow = bus.emit(Text(text="a"))
        await flow

    drawn = bus.mermaid().splitlines()
    assert drawn[0] == "flowchart LR"
    nodes = {line.strip()[:2]: line for line in drawn[1:] if "-->" not in line and "-.->" not in line}
    named = {line.split('"')[1]: name for name, line in nodes.items()}
    assert '{{"both"}}' in nodes[named["both"]]
    for source, arrow, target in [
        ("Text", "-->", "analyze"),
        ("Text", "-->", "both"),
        ("Analysis", "-->", "both"),
        ("analyze", "-.->", "Analysis"),
        ("analyze", "-.->|merges|", "shared memory"),
    ]:
        assert f"    {named[source]} {arrow} {named[target]}" in drawn

    happened = flow.mermaid()
    assert happened.startswith("flowchart TD")
    assert '-->|"analyze"|' in happened
    assert "DeadLetter: ValueError" in happened
    assert '(["both"])' in happened


# -- the shared memory ---------------------------------------------------------------------------------------------------


def test_the_memory_gives_copies_and_merges_deeply() -> None:
    given = {"a": {"b": [1]}}
    memory = SharedMemory(given)
    given["a"]["b"].append(2)
    read = memory.get()
    read["a"]["b"].append(3)

    change = {"a": {"c": [4]}, "d": 5}
    memory.merge(change)
    change["a"]["c"].append(6)

    assert memory.get() == {"a": {"b": [1], "c": [4]}, "d": 5}
    assert read == {"a": {"b": [1, 3]}}


def test_a_merge_that_fails_changes_nothing() -> None:
    class Uncopyable:
        def __deepcopy__(self, memo: object) -> None:
            raise ValueError("no copies")

    memory = SharedMemory({"a": 1})

    with pytest.raises(ValueError, match="no copies"):
        memory.merge({"a": 2, "b": Uncopyable()})
    with pytest.raises(TypeError, match="takes a dict"):
        memory.merge([("a", 2)])
    assert memory.get() == {"a": 1}


async def test_handlers_share_the_memory_of_their_bus(mini_agents: MiniAgents) -> None:
    async with EventBus(shared_memory={"start": 1}) as bus:
        three(bus)
        for name in "ab":
            bus.emit(Text(text=name))

    assert bus.shared_memory.get() == {"start": 1, "seen": {"a": True, "b": True}}
    assert json.dumps(bus.shared_memory.get())


async def test_whoever_reads_along_comes_to_an_end_with_the_bus(mini_agents: MiniAgents) -> None:
    async def kinds_of_trace() -> list[str]:
        return [event.kind async for event in bus.trace.subscribe()]

    async with EventBus() as bus:
        bus.on(Text)(nothing)
        reader = asyncio.create_task(kinds_of_trace())
        await task_switches()
        await bus.emit(Text())

    assert await reader == ["emitted", "handled"]
    assert await kinds_of_trace() == []


async def test_a_trace_of_several_buses_is_read_along_until_the_last_of_them_has_ended(
    mini_agents: MiniAgents,
) -> None:
    tracer = Tracer()

    async def kinds_of_trace() -> list[str]:
        return [event.kind async for event in tracer.subscribe()]

    reader = asyncio.create_task(kinds_of_trace())
    await task_switches()
    async with EventBus(trace=tracer) as bus:
        bus.on(Text)(nothing)
        async with EventBus(trace=tracer) as other:
            await other.emit(Number())
        await task_switches()
        assert not reader.done()
        await bus.emit(Text())

    assert await reader == ["emitted", "unrouted", "emitted", "handled"]


async def test_what_happens_in_a_thread_is_told_on_the_loop_of_who_reads_along() -> None:
    tracer = Tracer()
    loop = asyncio.get_running_loop()
    loop.set_debug(True)
    read = asyncio.Event()

    class Merges(BaseAgent):
        def receive_event(self, event: Event) -> list[Event]:
            dispatcher.shared_working_memory.merge({"key": 1})
            # Only then is it known that the reader was told by the merge, and not by the end.
            asyncio.run_coroutine_threadsafe(read.wait(), loop).result(20)
            return []

    async def read_along() -> None:
        async for event in tracer.subscribe():
            if event.kind == "memory":
                read.set()

    reader = asyncio.create_task(read_along())
    await task_switches()
    dispatcher = AsyncDispatcher(Router({Text: [Merges()]}), tracer=tracer)
    async with dispatcher:
        await dispatcher.dispatch(Text())
        assert read.is_set()
    await reader


def test_a_trace_is_read_in_one_thread_while_it_is_written_in_another() -> None:
    tracer = Tracer(5_000)
    interval = sys.getswitchinterval()

    class Countdown(BaseAsyncAgent):
        async def receive_event_async(self, event: Event) -> list[Event]:
            assert isinstance(event, Number)
            return [Number(n=event.n - 1)] if event.n else []

    sys.setswitchinterval(1e-5)
    try:
        with Dispatcher(Router({Number: [Countdown()]}), tracer=tracer, max_hops=3_000) as dispatcher:
            flow = dispatcher.dispatch(Number(n=2_000))
            while not flow.is_ended:
                events = tracer.get_events()
                assert [event.at for event in events] == sorted(event.at for event in events)
    finally:
        sys.setswitchinterval(interval)

    assert len(tracer.query(type="handled")) > 1_000


async def test_pictures_and_summaries_tell_handlers_of_one_name_apart(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:
        for fails in (False, True):

            @bus.on(Text)
            async def same(ctx: Any, event: Text, fails: bool = fails) -> None:
                if fails:
                    raise ValueError("only the second fails")

        bus.on(Number)(same)
        flow = bus.emit(Text())
        await flow

        assert "same #35;2" in flow.mermaid()
        assert bus.mermaid().count("([") == 2
        assert "same: 1 handled" in bus.trace.summary()
        assert "same #2 on Text: ValueError" in bus.trace.summary()
        # The one function has the one name, whatever it gets.
        assert (await bus.emit(Number()), len(bus.trace.query(type=Number, handler="same #2")))[1] == 1
        assert len(bus.trace.query(type="dead", handler=same)) == 2
        bus.off(same)
        bus.on(Text)(same)
        await bus.emit(Text())
        assert [event.handler for event in bus.trace.query(type="dead")] == ["same #2"] * 3


async def test_a_picture_of_a_flow_hangs_together_whatever_is_in_it(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def fails(ctx: Any, event: Text) -> None:
            raise ValueError("no")

        @bus.on(DeadLetter)
        async def takes(ctx: Any, event: DeadLetter) -> None:
            ctx.reply(Number(source='line "1"\nline 2'))

        bus.on(Number)(nothing)
        flow = bus.emit(Text())
        await flow

    assert flow.mermaid().splitlines() == [
        "flowchart TD",
        '    n0["Text"]',
        '    n1[/"DeadLetter: ValueError"/]',
        '    n0 -->|"fails"| n1',
        '    n2["Number"]',
        '    n1 -->|"line #quot;1#quot;<br/>line 2"| n2',
        '    n3(["takes"])',
        "    n1 --> n3",
        '    n4(["nothing"])',
        "    n2 --> n4",
    ]


async def test_a_summary_counts_flows_alone_as_flows_and_shows_the_calls_of_models(mini_agents: MiniAgents) -> None:
    tracer = Tracer()
    async with EventBus(trace=tracer) as bus:
        bus.shared_memory.merge({"key": 1})
        llm = LLMBroker(model="parrot-1", gateway=ScriptedAgent.fork(script="hello"), tracer=tracer)
        await llm.agenerate("Hi")

    summary = tracer.summary()
    assert summary.startswith("3 trace events of 0 flows")
    assert "models:\n  parrot-1: 1 call\n  1 answered, 0." in summary
