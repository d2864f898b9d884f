"""What a bus says of itself while it works and when it ends."""

import asyncio
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.events import AskTimeoutError, AsyncDispatcher, BusStoppedError, EventBus, RegistrationError, Tracer
from miniagents.promising.errors import WrongThreadError
from tests.unit.events.some_agents import Gated, router_of
from tests.unit.events.some_events import Number, Text, errors_of


async def test_a_handler_that_waits_for_its_own_bus_is_told_so_instead_of_waiting_for_ever(
    mini_agents: MiniAgents,
) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def waits(ctx: Any, event: Text) -> None:
            await bus.wait_until_idle()

        flow = bus.emit(Text())
        await flow

    assert "Reply with an event" in str(errors_of(flow)[0])
    assert bus.dead_letters == flow.errors


async def test_a_bus_keeps_the_last_of_its_dead_letters_alone(mini_agents: MiniAgents) -> None:
    async with EventBus(max_dead_letters=3) as bus:

        @bus.on(Number)
        async def fails(ctx: Any, event: Number) -> None:
            raise ValueError

        for n in range(10):
            bus.emit(Number(n=n))

    assert [letter.event for letter in bus.dead_letters] == [Number(n=n) for n in (7, 8, 9)]
    assert bus.stats.dead == 10


async def test_what_waits_when_a_bus_is_terminated_twice_is_dead_once(mini_agents: MiniAgents) -> None:
    gated = Gated()
    dispatcher = await AsyncDispatcher(router_of((Number, gated))).start()
    for n in range(3):
        dispatcher.dispatch(Number(n=n))
    await gated.begun.wait()
    dispatcher.bus.terminate()
    dispatcher.bus.terminate()
    gated.gate.set()
    await dispatcher.stop()

    assert {type(letter.error) for letter in dispatcher.dead_letters} == {BusStoppedError}
    assert (dispatcher.stats.handled, dispatcher.stats.dead) == (1, 2)


async def test_waiting_for_a_bus_on_another_event_loop_is_refused(mini_agents: MiniAgents) -> None:
    gated = Gated()
    async with AsyncDispatcher(router_of((Number, gated))) as dispatcher:
        dispatcher.dispatch(Number())
        for wait in (dispatcher.bus.wait_until_idle, dispatcher.wait_for_empty_queue):
            with pytest.raises(WrongThreadError, match="wait for the end of all work of a bus"):
                await asyncio.to_thread(lambda wait=wait: asyncio.run(wait()))
        gated.gate.set()
    # There is nothing to wait for.
    await asyncio.to_thread(lambda: asyncio.run(dispatcher.bus.wait_until_idle()))


async def test_a_dispatcher_takes_events_while_it_works_and_says_so_in_its_own_words(mini_agents: MiniAgents) -> None:
    dispatcher = AsyncDispatcher(router_of((Number, Gated())))
    for refused in (dispatcher.dispatch, dispatcher.publish):
        with pytest.raises(BusStoppedError, match=r"`dispatcher = await AsyncDispatcher\(router\)\.start\(\)`"):
            await refused(Number())
    await dispatcher.start()
    await dispatcher.stop()
    for refused in (dispatcher.dispatch, dispatcher.publish):
        with pytest.raises(BusStoppedError, match=r"Dispatch before `stop\(\)`"):
            await refused(Number())


async def test_asking_too_long_tells_what_had_failed_until_then_and_nothing_else(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def slow(ctx: Any, event: Text) -> None:
            await asyncio.Event().wait()

        with pytest.raises(AskTimeoutError, match=r"within 0\.05 s\. Nothing failed until then\.$") as asked:
            await bus.ask(Text(), Number, timeout=0.05)
        assert asked.value.dead_letters == ()

        @bus.on(Text)
        async def fails(ctx: Any, event: Text) -> None:
            raise ValueError("no.")

        with pytest.raises(AskTimeoutError, match=r"until then: `fails` on `Text` with ValueError: no\.$"):
            await bus.ask(Text(), Number, timeout=0.05)


def test_a_trace_and_its_size_are_not_given_both() -> None:
    with pytest.raises(RegistrationError, match="`trace`, which has its own size, or `max_trace_events`, not both"):
        EventBus(trace=Tracer(), max_trace_events=5)
