"""What a bus says of itself while it works and when it ends."""

from typing import Any

from miniagents import MiniAgents
from miniagents.events import AsyncDispatcher, BusStoppedError, EventBus
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
