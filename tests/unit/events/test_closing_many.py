"""Flows that are closed or cancelled while a great many wait: nothing is lost, and it costs as much as there is."""

import asyncio
import random
import time
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.events import AskTimeoutError, EventBus, Flow, TerminateEvent
from tests.unit.events.some_events import Analysis, Number, Text, task_switches

OPTIONS: dict[str, dict[str, Any]] = {
    "free": {},
    "concurrency": {"concurrency": 2},
    "key": {"key": lambda event: event.n % 3},
    "both": {"key": lambda event: event.n % 5, "concurrency": 2},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=list(OPTIONS))
@pytest.mark.parametrize("seed", range(5))
async def test_each_delivery_is_handled_once_or_dead_whatever_is_closed_when(
    options: dict[str, Any], seed: int, mini_agents: MiniAgents
) -> None:
    chance, handled = random.Random(seed), []
    flows: list[Flow] = []
    async with EventBus(max_concurrency=4) as bus:

        @bus.on(Number, **options)
        async def first(ctx: Any, event: Number) -> None:
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if event.n < 100:
                ctx.reply([Number(n=event.n + 100), Number(n=event.n + 100), Text()])
            handled.append((ctx.flow, event.id))

        @bus.on(Text)
        async def second(ctx: Any, event: Text) -> None:
            await asyncio.sleep(0)
            handled.append((ctx.flow, event.id))

        for n in range(60):
            flows.append(bus.emit(Number(n=n)))
            if n % 2:
                await task_switches(chance.randrange(3))
            # One that may have ended, be running, or wait, or have been closed before.
            flow = chance.choice(flows)
            chance.choice([flow.close, flow.cancel, lambda: None])()
            stats = bus.stats
            assert stats.received == stats.pending + stats.running + stats.handled + stats.dead
            assert min(stats.pending, stats.running) >= 0
        await bus.wait_until_idle()

        assert all(flow.is_ended for flow in flows)
        assert (bus.stats.pending, bus.stats.running) == (0, 0)
        assert bus.stats.received == bus.stats.handled + bus.stats.dead
        assert bus.stats.handled == len(set(handled)) == len(handled)
        for flow in flows:
            died = {letter.event.id for letter in flow.errors}
            assert len(died) == len(flow.errors)
            assert died.isdisjoint(event for owner, event in handled if owner is flow)
        # What was dropped is nobody's turn.
        before = bus.stats.handled
        await asyncio.gather(*(bus.publish(Number(n=100 + n)) for n in range(10)))
        await bus.wait_until_idle()
        assert bus.stats.handled == before + 10


async def test_a_terminate_event_is_delivered_although_its_flow_is_closed_by_it(mini_agents: MiniAgents) -> None:
    seen: list[str] = []
    async with EventBus(max_concurrency=1) as bus:

        @bus.on(Number, TerminateEvent, concurrency=1)
        async def handler(ctx: Any, event: Any) -> None:
            seen.append(type(event).__name__)
            if isinstance(event, Number):
                ctx.reply([Text(), Number(n=1), TerminateEvent()])

        bus.on(Text)(handler)
        flow = bus.emit(Number())
        await flow

    assert seen == ["Number", "TerminateEvent"]
    assert [type(letter.event).__name__ for letter in flow.errors] == ["Text", "Number"]


@pytest.mark.parametrize("options", [OPTIONS["free"], OPTIONS["concurrency"]], ids=["free", "concurrency"])
async def test_asks_that_time_out_together_cost_as_much_as_they_are(
    options: dict[str, Any], mini_agents: MiniAgents
) -> None:
    async def cost_s(asks: int) -> float:
        async with EventBus(max_trace_events=0) as bus:

            @bus.on(Number, **options)
            async def handler(ctx: Any, event: Number) -> None:
                await asyncio.Event().wait()

            tasks = [asyncio.create_task(bus.ask(Number(n=n), Analysis, timeout=3600)) for n in range(asks)]
            await task_switches()
            began = time.process_time()
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await bus.wait_until_idle()
            took_s = time.process_time() - began
            assert (bus.stats.received, bus.stats.dead) == (asks, asks)
            return took_s

    # Five times as many: five times as much, where each looks at all others twenty-five times.
    ratio = min([await cost_s(5_000) / await cost_s(1_000) for _ in range(3)])
    assert ratio < 12


@pytest.mark.virtual_clock
async def test_asks_that_time_out_together_leave_nothing_behind(mini_agents: MiniAgents) -> None:
    async with EventBus(max_concurrency=3, max_pending=50) as bus:

        @bus.on(Number)
        async def handler(ctx: Any, event: Number) -> None:
            await asyncio.sleep(1000)

        asks = [bus.ask(Number(n=n), Analysis, timeout=10) for n in range(50)]
        outcomes = await asyncio.gather(*asks, return_exceptions=True)
        await task_switches()

        assert {type(outcome) for outcome in outcomes} == {AskTimeoutError}
        assert (bus.stats.pending, bus.stats.running, bus.stats.dead) == (0, 0, 50)
        assert bus.stats.oldest_age_s == 0.0
        assert [letter.attempt for letter in bus.dead_letters].count(1) == 3
