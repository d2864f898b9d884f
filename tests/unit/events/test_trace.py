"""What happened can be asked for, read, drawn and followed; and the shared memory."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.events import Event, EventBus, SharedMemory, TraceEvent
from tests.unit.events.some_events import Analysis, LongText, Number, Text, task_switches


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
