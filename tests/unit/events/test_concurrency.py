"""How many handlers run at once, in which order they end, and that waiting for the bus takes no place."""

import asyncio
import contextvars
import gc
import time
import weakref
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.events import Event, EventBus
from tests.unit.events.some_events import Analysis, Number, Summary, Text, errors_of, kinds, task_switches


class Gauge:
    """How many are inside at once, now and at most."""

    def __init__(self) -> None:
        self.now = self.most = 0

    async def __aenter__(self) -> None:
        self.now += 1
        self.most = max(self.most, self.now)

    async def __aexit__(self, *_: object) -> None:
        self.now -= 1


@pytest.mark.parametrize("limit", [1, 3, 128])
async def test_no_more_handlers_run_at_once_than_may_and_as_many_as_may(limit: int, mini_agents: MiniAgents) -> None:
    gauge = Gauge()
    async with EventBus(max_concurrency=limit) as bus:

        @bus.on(Number)
        async def handler(ctx: Any, event: Number) -> None:
            async with gauge:
                for _ in range(5):
                    await asyncio.sleep(0)

        for n in range(20):
            bus.emit(Number(n=n))

    assert gauge.most == min(limit, 20)
    assert bus.stats.handled == 20


@pytest.mark.parametrize("concurrency", [1, 2])
async def test_a_handler_runs_at_most_so_often_at_once(concurrency: int, mini_agents: MiniAgents) -> None:
    gauge, ended, others = Gauge(), [], []
    async with EventBus() as bus:

        @bus.on(Number, concurrency=concurrency)
        async def limited(ctx: Any, event: Number) -> None:
            async with gauge:
                for _ in range(10 - event.n):
                    await asyncio.sleep(0)
            ended.append(event.n)

        @bus.on(Number)
        async def other(ctx: Any, event: Number) -> None:
            others.append(event.n)

        for n in range(10):
            bus.emit(Number(n=n))
        await task_switches(5)
        assert bus.stats.pending == 10 - concurrency
        assert others == list(range(10))

    assert gauge.most == concurrency
    assert sorted(ended) == list(range(10))
    if concurrency == 1:
        assert ended == list(range(10))


async def test_events_of_one_key_are_handled_one_after_another_and_other_keys_at_the_same_time(
    mini_agents: MiniAgents,
) -> None:
    gauges, ended, gauge = {0: Gauge(), 1: Gauge(), 2: Gauge()}, [], Gauge()
    async with EventBus() as bus:

        @bus.on(Number, key=lambda event: event.n % 3)
        async def handler(ctx: Any, event: Number) -> None:
            async with gauge, gauges[event.n % 3]:
                for _ in range(20 - event.n):
                    await asyncio.sleep(0)
            ended.append(event.n)

        for n in range(12):
            bus.emit(Number(n=n))

    assert [gauge.most for gauge in gauges.values()] == [1, 1, 1]
    assert gauge.most == 3
    for key in range(3):
        assert [n for n in ended if n % 3 == key] == [n for n in range(12) if n % 3 == key]


async def test_a_key_and_a_limit_hold_together(mini_agents: MiniAgents) -> None:
    gauge, ended = Gauge(), []
    async with EventBus() as bus:

        @bus.on(Number, key=lambda event: event.n % 3, concurrency=2)
        async def handler(ctx: Any, event: Number) -> None:
            async with gauge:
                await asyncio.sleep(0)
            ended.append(event.n)

        for n in range(12):
            bus.emit(Number(n=n))

    assert gauge.most == 2
    for key in range(3):
        assert [n for n in ended if n % 3 == key] == [n for n in range(12) if n % 3 == key]


async def test_a_key_function_that_fails_makes_a_dead_letter_of_that_event_alone(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Number, key=lambda event: 1 // event.n)
        async def handler(ctx: Any, event: Number) -> None: ...

        bad, good = bus.emit(Number(n=0)), bus.emit(Number(n=1))
        await good

    assert [type(error) for error in errors_of(bad)] == [ZeroDivisionError]
    assert good.errors == ()


async def test_a_cancelled_flow_gives_its_turn_to_the_next_of_the_same_handler(mini_agents: MiniAgents) -> None:
    handled: list[int] = []
    async with EventBus() as bus:

        @bus.on(Number, concurrency=1, key=lambda event: "one")
        async def handler(ctx: Any, event: Number) -> None:
            if event.n == 0:
                await asyncio.Event().wait()
            handled.append(event.n)

        flows = [bus.emit(Number(n=n)) for n in range(6)]
        await task_switches()
        flows[2].cancel()
        flows[0].cancel()
        flows[3].cancel()
        flows[4].close()

    assert handled == [1, 5]
    assert bus.stats.received == bus.stats.handled + bus.stats.dead == 6


@pytest.mark.parametrize("way", ["ask", "await", "iterate", "publish"])
async def test_a_handler_that_waits_for_the_bus_takes_no_place(way: str, mini_agents: MiniAgents) -> None:
    gauge = Gauge()
    async with EventBus(max_concurrency=1) as bus:

        @bus.on(Number)
        async def nests(ctx: Any, event: Number) -> None:
            async with gauge:
                await asyncio.sleep(0)
            if event.n:
                match way:
                    case "ask":
                        await ctx.bus.ask(Number(n=event.n - 1), Text)
                    case "await":
                        await ctx.bus.emit(Number(n=event.n - 1))
                    case "iterate":
                        async for promise in ctx.bus.emit(Number(n=event.n - 1)):
                            await promise
                    case "publish":
                        await (await ctx.bus.publish(Number(n=event.n - 1)))
            async with gauge:
                await asyncio.sleep(0)
            ctx.reply(Text(text=str(event.n)))

        answer = await bus.ask(Number(n=10), Text)

    assert answer.text == "10"
    assert gauge.most == 1


async def test_a_nested_flow_says_which_event_it_comes_from(mini_agents: MiniAgents) -> None:
    inner: list[Event] = []
    async with EventBus() as bus:

        @bus.on(Text)
        async def outer(ctx: Any, event: Text) -> None:
            inner.extend(await ctx.bus.emit(Analysis()))

        @bus.on(Analysis)
        async def nothing(ctx: Any, event: Analysis) -> None: ...

        (text,) = await bus.emit(Text())

    (analysis,) = inner
    assert (analysis.causation_id, analysis.correlation_id) == (text.id, text.correlation_id)
    assert analysis.source == "outer"


async def test_two_handlers_of_one_event_run_at_the_same_time(mini_agents: MiniAgents) -> None:
    here, there = asyncio.Event(), asyncio.Event()
    async with EventBus() as bus:

        @bus.on(Text)
        async def one(ctx: Any, event: Text) -> None:
            here.set()
            await there.wait()
            ctx.reply(Analysis())

        @bus.on(Text)
        async def other(ctx: Any, event: Text) -> None:
            there.set()
            await here.wait()
            ctx.reply(Summary())

        assert sorted(await kinds(bus.emit(Text()))) == ["Analysis", "Summary", "Text"]


async def test_many_handlers_that_never_wait_leave_the_loop_to_others(mini_agents: MiniAgents) -> None:
    turns = 0

    async def other_work() -> None:
        nonlocal turns
        while bus.stats.pending:
            turns += 1
            await asyncio.sleep(0)

    async with EventBus() as bus:

        @bus.on(Number)
        async def busy(ctx: Any, event: Number) -> None:
            until = time.perf_counter() + 0.0005
            while time.perf_counter() < until:
                pass

        for n in range(100):
            bus.emit(Number(n=n))
        await other_work()

    # 50 ms of work in slices of 3 ms.
    assert turns >= 8


async def test_an_idle_bus_has_no_task(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Number)
        async def handler(ctx: Any, event: Number) -> None:
            await asyncio.sleep(0)

        await bus.emit(Number())
        await task_switches()

        assert asyncio.all_tasks() == {asyncio.current_task()}


variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="unset")


async def test_a_handler_sees_the_context_variables_of_the_place_that_emitted(mini_agents: MiniAgents) -> None:
    seen: list[str] = []
    async with EventBus() as bus:

        @bus.on(Text)
        async def first(ctx: Any, event: Text) -> None:
            seen.append(variable.get())
            if event.text:
                variable.set(f"{variable.get()} and {event.text}")
            ctx.reply(Analysis())
            await asyncio.sleep(0)
            variable.set("too late")

        @bus.on(Analysis)
        async def second(ctx: Any, event: Analysis) -> None:
            await asyncio.sleep(0)
            seen.append(variable.get())

        for value, text in (("one", ""), ("two", "more")):
            variable.set(value)
            flow = bus.emit(Text(text=text))
            variable.set("later")
            await flow

    assert seen == ["one", "one", "two", "two and more"]
    assert variable.get() == "later"


async def test_equal_values_of_context_variables_are_not_mixed_up(mini_agents: MiniAgents) -> None:
    kept: contextvars.ContextVar[list[int]] = contextvars.ContextVar("kept")
    async with EventBus() as bus:

        @bus.on(Number)
        async def handler(ctx: Any, event: Number) -> None:
            kept.get().append(event.n)
            kept.set([])
            ctx.reply(Text())

        @bus.on(Text)
        async def after(ctx: Any, event: Text) -> None:
            kept.get().append(-1)

        lists: list[list[int]] = []
        for n in range(3):
            lists.append([])
            kept.set(lists[-1])
            bus.emit(Number(n=n))

    assert lists == [[0], [1], [2]]


async def test_handlers_that_are_taken_off_are_freed_when_they_have_nothing_more_to_do(
    mini_agents: MiniAgents,
) -> None:
    async with EventBus(max_trace_events=0) as bus:
        references: list[weakref.ref[Any]] = []
        for _ in range(10):

            async def session(ctx: Any, event: Number) -> None:
                await asyncio.sleep(0)

            references.append(weakref.ref(session))
            bus.on(Number, concurrency=1)(session)
            flows = [bus.emit(Number()) for _ in range(3)]
            await task_switches(2)
            flows[1].cancel()
            bus.off(session)
            await flows[2]
        del session
        gc.collect()

        assert [reference() for reference in references] == [None] * 10
        assert (bus.stats.pending, bus.stats.handled, bus.stats.dead) == (0, 20, 10)


async def test_the_oldest_of_what_waits_is_known_wherever_it_waits(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()
    async with EventBus(max_concurrency=2) as bus:

        @bus.on(Number, key=lambda event: event.n % 2)
        async def keyed(ctx: Any, event: Number) -> None:
            await release.wait()

        bus.emit(Number(n=0))
        await task_switches()
        ages = [bus.stats.oldest_age_s]
        # In line for its key; then in the queue, as there is no place; and each one that is older than it.
        for n in (0, 1, 2, 3):
            bus.emit(Number(n=n))
            await task_switches()
            ages.append(bus.stats.oldest_age_s)
        release.set()

    assert ages[0] == 0.0
    assert ages[1:] == sorted(ages[1:])
    assert 0.0 < ages[1] < ages[-1]
