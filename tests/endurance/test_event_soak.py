"""A hundred thousand events with handlers that fail, wait and are cancelled at random: each is accounted for."""

import asyncio
import random
import time
from collections import Counter
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.events import DeadLetter, Event, EventBus, Flow
from miniagents.promising.errors import PromiseCancelledError

ROOTS = 28_000
WAVE = 500


class Order(Event):
    n: int


class Packed(Event):
    n: int


class Billed(Event):
    n: int


class Sent(Event):
    n: int


@pytest.mark.timeout(60)
async def test_each_of_a_hundred_thousand_events_was_handled_or_is_a_dead_letter() -> None:  # noqa: C901 - one scenario
    dice = random.Random(20_000)
    begun: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    fates: Counter[str] = Counter()
    emitted = 0
    started = time.monotonic()

    async with MiniAgents(), EventBus(max_concurrency=100, max_pending=2_000, max_trace_events=1_000) as bus:

        @bus.on(Order)
        async def spread(ctx: Any, event: Order) -> None:
            begun["spread"] += 1
            if dice.random() < 0.05:
                raise ValueError("this order cannot be read")
            ctx.reply([Packed(n=event.n), Billed(n=event.n)])
            ended["spread"] += 1

        @bus.on(Packed, concurrency=40)
        async def slow(ctx: Any, event: Packed) -> None:
            begun["slow"] += 1
            for _ in range(dice.randrange(5)):
                await asyncio.sleep(0)
            if dice.random() < 0.02:
                ctx.flow.cancel("of no use")
            ctx.reply(Sent(n=event.n))
            ended["slow"] += 1

        @bus.on(Billed, key=lambda event: event.n % 50, retries=1)
        async def shaky(ctx: Any, event: Billed) -> None:
            begun["shaky"] += 1
            await asyncio.sleep(0)
            if dice.random() < 0.2:
                raise ConnectionError("no answer")
            ended["shaky"] += 1

        @bus.join(Packed, Billed, Sent)
        async def joined(ctx: Any, *events: Event) -> None:
            begun["joined"] += 1
            if dice.random() < 0.05:
                raise KeyError("a part")
            ended["joined"] += 1

        @bus.on(Sent, DeadLetter)
        async def counted(ctx: Any, event: Event) -> None:
            begun["counted"] += 1
            ended["counted"] += 1

        for first in range(0, ROOTS, WAVE):
            flows = [await bus.publish(Order(n=n)) for n in range(first, first + WAVE)]
            for flow in dice.sample(flows, WAVE // 20):
                flow.cancel("from outside")
            for flow in dice.sample(flows, WAVE // 50):
                flow.close()
            for flow in flows:
                await _account_for(flow, fates)
            # A cancelled flow has ended for its readers, while handlers that take note of it are still in work.
            await bus.wait_until_idle()
            emitted += sum(len(flow.events) for flow in flows)
            fates["dead"] += sum(len(flow.errors) for flow in flows)
        await bus.stop()
        stats = bus.stats

    assert emitted > 100_000
    assert (stats.pending, stats.running) == (0, 0)
    assert stats.received == stats.handled + stats.dead
    assert stats.dead == fates["dead"]
    assert stats.received > 100_000
    # Nothing was left in the middle but by a failure or a cancellation, and each of these is a dead letter.
    assert sum(ended.values()) == stats.handled
    assert min(ended.values()) > 0
    assert fates["flows"] == ROOTS
    assert min(fates["cancelled"], fates["dead"], fates["whole"]) > 100
    assert time.monotonic() - started < 60
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def _account_for(flow: Flow, fates: "Counter[str]") -> None:
    """Wait for a flow, and count what became of it."""
    fates["flows"] += 1
    try:
        messages = await flow
    except PromiseCancelledError:
        fates["cancelled"] += 1
    else:
        letters = sum(isinstance(message, DeadLetter) for message in messages)
        assert letters == len(flow.errors)
        fates["whole" if not letters else "partly"] += 1
