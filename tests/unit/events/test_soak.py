"""Tens of thousands of events with handlers that fail, wait and are cancelled at random: each is accounted for."""

import asyncio
import random
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.events import DeadLetter, Event, EventBus, Flow
from miniagents.promising.errors import PromiseCancelledError
from tests.unit.events.some_events import Analysis, Number, Summary, Text


@pytest.mark.timeout(60)
@pytest.mark.parametrize("ending", ["drain", "drop"])
async def test_every_event_of_a_soak_was_handled_or_is_a_dead_letter(  # noqa: C901 - one long scenario
    ending: str, mini_agents: MiniAgents
) -> None:
    roots, seed = 4_000, 7
    dice = random.Random(seed)
    flows: list[Flow] = []
    calls = {"ended": 0, "began": 0}

    async with EventBus(max_concurrency=50, max_pending=500) as bus:

        @bus.on(Number, retries=1)
        async def spread(ctx: Any, event: Number) -> None:
            if dice.random() < 0.1:
                raise ValueError
            ctx.reply([Text(text=str(event.n)), Analysis()])

        @bus.on(Text, key=lambda event: event.text[-1], timeout=60)
        async def slow(ctx: Any, event: Text) -> None:
            for _ in range(dice.randrange(4)):
                await asyncio.sleep(0)
            if dice.random() < 0.02:
                ctx.flow.cancel()
            ctx.reply(Summary())

        @bus.on(Analysis, concurrency=20)
        async def waits(ctx: Any, event: Analysis) -> None:
            if dice.random() < 0.3:
                await asyncio.sleep(0)
            if dice.random() < 0.05:
                raise RuntimeError
            ctx.reply("tokens")

        @bus.on(Event)
        async def everything(ctx: Any, event: Event) -> None:
            calls["began"] += 1
            if dice.random() < 0.01:
                await asyncio.sleep(0)
            calls["ended"] += 1

        @bus.join(Text, Analysis, Summary)
        async def joined(ctx: Any, *_: Event) -> None:
            if dice.random() < 0.1:
                raise KeyError

        for n in range(roots):
            flows.append(await bus.publish(Number(n=n)))
            if dice.random() < 0.05:
                flows[dice.randrange(len(flows))].cancel()
            if dice.random() < 0.02:
                flows[dice.randrange(len(flows))].close()
        await bus.stop(drain=ending == "drain")

        stats = bus.stats
        assert (stats.pending, stats.running) == (0, 0)
        assert stats.received == stats.handled + stats.dead
        assert stats.received > 8 * roots * (ending == "drain")
        assert sum(len(flow.errors) for flow in flows) == stats.dead
        assert all(flow.is_ended for flow in flows)
        for flow in flows:
            try:
                messages = await flow
            except PromiseCancelledError:
                continue
            assert sum(isinstance(message, DeadLetter) for message in messages) == len(flow.errors)
    assert asyncio.all_tasks() == {asyncio.current_task()}
