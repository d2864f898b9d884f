"""What a bus says, and shows, to whoever made a mistake, cancelled something, or called from elsewhere."""

import asyncio
import threading
import weakref
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.errors import DeadlockError
from miniagents.events import (
    BaseAgent,
    BusStoppedError,
    Dispatcher,
    EventBus,
    Flow,
    RegistrationError,
    Router,
    SharedMemory,
)
from miniagents.promising.errors import PromiseCancelledError, WrongThreadError
from tests.unit.events.some_events import Analysis, Event, Number, Summary, Text, errors_of, task_switches


def test_a_dispatcher_gives_the_flow_at_once_however_long_that_takes() -> None:
    gate = threading.Event()

    class Waiting(BaseAgent):
        def receive_event(self, event: Event) -> None:
            assert gate.wait(timeout=20)

    dispatcher = Dispatcher(Router({Text: [Waiting()]}))
    flow = dispatcher.dispatch(Text())
    assert isinstance(flow, Flow)
    assert not flow.is_ended
    gate.set()
    dispatcher.wait_for_empty_queue()
    dispatcher.stop()

    assert flow.is_ended


async def test_an_event_that_is_emitted_in_another_thread_is_refused(mini_agents: MiniAgents) -> None:
    async with EventBus(max_pending=1) as bus:
        with pytest.raises(WrongThreadError, match=r"emit an event .* `mini_agents.run_from_thread"):
            await asyncio.to_thread(bus.emit, Text())
        with pytest.raises(WrongThreadError, match="emit an event"):
            await asyncio.to_thread(lambda: asyncio.run(bus.publish(Text())))

        assert bus.stats.received == bus.stats.unrouted == 0


async def test_a_merge_is_in_the_trace_of_the_bus_whose_handler_it_was(mini_agents: MiniAgents) -> None:
    memory = SharedMemory()
    async with EventBus(shared_memory=memory) as one:
        async with EventBus(shared_memory=memory) as two:
            for bus, name in ((one, "one"), (two, "two")):

                @bus.on(Text)
                async def merge(ctx: Any, event: Text, name: str = name) -> None:
                    ctx.shared_memory.merge({name: 1})

                await bus.emit(Text())
        await one.emit(Text())
        memory.merge({"outside": 1})

    assert [(event.handler, event.content) for event in one.trace.query(type="memory")] == [
        ("merge", "one"),
        ("merge", "one"),
        (None, "outside"),
    ]
    assert [(event.handler, event.content) for event in two.trace.query(type="memory")] == [("merge", "two")]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"terminate_event": "stop"}, r"`terminate_event` of `EventBus` is 'closes_flow' or 'stops_bus', not 'stop'"),
        ({"concurrency_counts": 3}, r"`concurrency_counts` of `EventBus` is 'handlers' or 'events', not 3"),
        ({"trace": 3}, r"`trace` of `EventBus` is a `Trace`, such as `Tracer\(\)`, not 3"),
        ({"shared_memory": [1]}, r"`shared_memory` of `EventBus` is a dict or a `SharedMemory`, not \[1\]"),
    ],
    ids=["terminate_event", "concurrency_counts", "trace", "shared_memory"],
)
def test_a_wrong_option_of_a_bus_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(RegistrationError, match=says):
        EventBus(**options)


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"since": 3}, "`since` .* `datetime`"),
        ({"type": 3}, "`type` .* class of events"),
        ({"flow": 3}, "`flow` .* id"),
    ],
    ids=["since", "type", "flow"],
)
def test_a_wrong_question_to_the_trace_is_refused(wanted: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError, match=says):
        EventBus().trace.query(**wanted)


async def test_a_class_may_be_a_predicate_or_a_key_unless_it_is_one_of_events(mini_agents: MiniAgents) -> None:
    got: list[int] = []
    async with EventBus() as bus:

        @bus.on(Number, when=bool, key=str)
        async def take(ctx: Any, event: Number) -> None:
            got.append(event.n)

        bus.emit(Number(n=7))
        with pytest.raises(RegistrationError, match="`when` of `take` .* not the class `Text`"):
            bus.on(Number, when=Text)(take)

    assert got == [7]


async def test_a_handler_that_waits_for_its_own_flow_is_named(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def narcissus(ctx: Any, event: Text) -> None:
            await ctx.flow

        flow = bus.emit(Text())
        await flow

    [error] = errors_of(flow)
    assert isinstance(error, DeadlockError)
    assert "`handler narcissus`" in str(error)


def test_a_lambda_is_refused_in_words_that_can_be_written() -> None:
    with pytest.raises(RegistrationError, match=r"A lambda .* `async def handle\(ctx, event\): ...`"):
        EventBus().on(Text)(lambda ctx, event: None)


async def test_what_a_drain_had_no_time_for_names_the_setting(mini_agents: MiniAgents) -> None:
    async with EventBus(drain_timeout_s=0) as bus:

        @bus.on(Text)
        async def waits(ctx: Any, event: Text) -> None:
            await asyncio.Event().wait()

        flow = bus.emit(Text())

    [error] = errors_of(flow)
    assert isinstance(error, BusStoppedError)
    assert "`drain_timeout_s`" in str(error)


async def test_what_was_running_is_among_the_errors_right_after_a_flow_was_cancelled(mini_agents: MiniAgents) -> None:
    is_cleaned = asyncio.Event()
    async with EventBus() as bus:

        @bus.on(Text)
        async def waits(ctx: Any, event: Text) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await is_cleaned.wait()

        flow = bus.emit(Text())
        await task_switches()
        assert flow.cancel()

        assert [(letter.handler, type(letter.error), letter.attempt) for letter in flow.errors] == [
            ("waits", PromiseCancelledError, 1)
        ]
        assert (bus.stats.running, bus.stats.dead) == (1, 0)
        is_cleaned.set()
        await bus.wait_until_idle()
        assert (bus.stats.running, bus.stats.dead) == (0, 1)

    assert len(flow.errors) == len(bus.dead_letters) == 1


async def test_a_join_is_drawn_below_all_its_events(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def split(ctx: Any, event: Text) -> None:
            ctx.reply([Analysis(), Summary()])

        @bus.join(Analysis, Summary)
        async def unite(ctx: Any, analysis: Analysis, summary: Summary) -> None:
            ctx.reply(Number())

        @bus.join(Text, Number)
        async def close(ctx: Any, text: Text, number: Number) -> None: ...

        flow = bus.emit(Text())
        await flow

    lines = flow.mermaid().splitlines()
    assert lines[1] == '    n0["Text"]'
    assert [line.strip() for line in lines if "-->" in line] == [
        'n0 -->|"split"| n1',
        'n0 -->|"split"| n2',
        'n1 -->|"unite"| n3',
        'n2 -->|"unite"| n3',
        "n0 --> n4",
        "n3 --> n4",
    ]


async def test_where_errors_are_messages_an_agent_that_fails_is_still_a_dead_letter_and_tried_again() -> None:
    attempts: list[int] = []
    async with MiniAgents(errors_to_messages=True), EventBus() as bus:

        @bus.on(Text, retries=1)
        @miniagent
        async def fails(ctx: InteractionContext) -> None:
            attempts.append(1)
            raise ValueError("no")

        flow = bus.emit(Text())
        await flow

    assert len(attempts) == 2
    assert [str(error) for error in errors_of(flow)] == ["no"]


@pytest.mark.parametrize("wrap", [lambda flow: flow, lambda flow: ["before", flow]], ids=["alone", "in a list"])
async def test_the_events_of_a_nested_flow_are_part_of_the_reply_and_handled_once(
    mini_agents: MiniAgents, wrap: Any
) -> None:
    handled: list[str] = []
    async with EventBus(max_concurrency=1) as bus:

        @bus.on(Text)
        async def outer(ctx: Any, event: Text) -> None:
            ctx.reply(wrap(ctx.bus.emit(Analysis(text="nested"))))

        @bus.on(Analysis)
        async def inner(ctx: Any, event: Analysis) -> None:
            handled.append(event.text)
            ctx.reply([Summary(text="end"), "and a text"])

        @bus.on(Summary)
        async def end(ctx: Any, event: Summary) -> None:
            handled.append(event.text)

        flow = bus.emit(Text())
        messages = await flow

    assert handled == ["nested", "end"]
    assert [message for message in messages if message != Message("before")] == [
        Text(),
        Analysis(text="nested"),
        Summary(text="end"),
        Message("and a text"),
    ]
    assert bus.stats.received == bus.stats.handled == 3


async def test_a_handler_that_emits_the_next_flow_again_and_again_keeps_none_of_those_before(
    mini_agents: MiniAgents,
) -> None:
    flows: list[weakref.ref[Flow]] = []
    async with EventBus() as bus:

        @bus.on(Number)
        async def tick(ctx: Any, event: Number) -> None:
            flows.append(weakref.ref(ctx.flow))
            if event.n:
                ctx.bus.emit(Number(n=event.n - 1))

        bus.emit(Number(n=50))
        await bus.wait_until_idle()

        assert len(flows) == 51
        assert sum(flow() is not None for flow in flows) <= 2


@pytest.mark.parametrize("option", ["key", "when"])
async def test_an_exit_in_a_function_of_a_registration_loses_no_event(option: str) -> None:
    def leaves(event: Number) -> bool:
        if event.n == 1:
            raise SystemExit(3)
        return True

    handled: list[int] = []
    with pytest.raises(SystemExit):
        async with MiniAgents(), EventBus() as bus:

            async def take(ctx: Any, event: Number) -> None:
                handled.append(event.n)

            bus.on(Number, **{option: leaves})(take)
            for n in range(3):
                bus.emit(Number(n=n))

    assert handled == [0, 2]
    assert (bus.stats.received, bus.stats.handled, bus.stats.dead) == (3, 2, 1)
