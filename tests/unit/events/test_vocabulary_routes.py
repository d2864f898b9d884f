"""Which agents of a router get what, and what they may return."""

import asyncio
import sys
from typing import Any

import pytest

from miniagents import InteractionContext, miniagent
from miniagents.events import AsyncDispatcher, BusStoppedError, Event, RegistrationError, Router, TerminateEvent
from tests.unit.events.some_agents import Recorder, router_of
from tests.unit.events.some_events import LongText, Number, Summary, Text

# -- routes ------------------------------------------------------------------------------------------------------------


def test_a_router_gives_each_agent_once_in_the_order_of_registration() -> None:
    first, second = Recorder(), Recorder()
    router = Router({Text: [first]})
    router.add_route(Event, second)
    router.add_route(LongText, first)

    assert router.get_agents(LongText()) == [first, second]
    assert router.get_agents(Number()) == [second]
    router.remove_route(Event, second)
    assert router.get_agents(Number()) == []
    with pytest.raises(RegistrationError, match="no route of `Event`"):
        router.remove_route(Event, second)


@pytest.mark.parametrize(
    ("kind", "agent", "text"),
    [
        (int, Recorder(), "<class 'int'> is none"),
        (Text, Recorder, r"Make one of it: `Recorder\(\.\.\.\)`"),
        (Text, object(), "no object with a method `receive_event_async`"),
    ],
    ids=["no event", "a class", "no agent"],
)
def test_a_route_that_cannot_be_is_refused(kind: Any, agent: Any, text: str) -> None:
    with pytest.raises(RegistrationError, match=text):
        Router().add_route(kind, agent)


async def test_routes_may_change_while_the_dispatcher_works() -> None:
    first, second = Recorder(), Recorder()
    router = router_of((Number, first))
    async with AsyncDispatcher(router) as dispatcher:
        await dispatcher.dispatch(Number(n=1))
        router.add_route(Number, second)
        router.add_route(Text, first)
        await dispatcher.dispatch(Number(n=2))
        router.remove_route(Number, first)
        await dispatcher.dispatch(Number(n=3))
        await dispatcher.dispatch(Text())

    assert first.got == [Number(n=1), Number(n=2), Text()]
    assert second.got == [Number(n=2), Number(n=3)]


async def test_an_agent_of_a_router_may_be_a_mini_agent_and_it_may_end_the_dispatcher() -> None:
    @miniagent
    async def shouting(ctx: InteractionContext) -> None:
        (event,) = await ctx.message_promises
        assert isinstance(event, Text)
        ctx.reply(Summary(text=event.text.upper()))
        ctx.reply(TerminateEvent())

    after = Recorder()
    dispatcher = await AsyncDispatcher(router_of((Text, shouting), (Summary, after))).start()
    flow = dispatcher.dispatch(Text(text="a"))
    await flow

    assert [type(event) for event in flow.events][:3] == [Text, Summary, TerminateEvent]
    with pytest.raises(BusStoppedError):
        dispatcher.dispatch(Text())
    await dispatcher.stop()


class Unable(Recorder):
    """Cannot be registered."""

    concurrent_events = 0


async def test_a_dispatcher_that_cannot_call_an_agent_does_not_start_and_starts_without_it() -> None:
    able, unable = Recorder(), Unable()
    router = Router({Text: [able, unable]})
    dispatcher = AsyncDispatcher(router)

    for _ in range(2):
        with pytest.raises(RegistrationError, match="`concurrency` of `Unable`"):
            await dispatcher.start()
        with pytest.raises(BusStoppedError, match="before it is started"):
            dispatcher.dispatch(Text())
    router.remove_route(Text, unable)
    await dispatcher.start()
    await dispatcher.dispatch(Text())
    await dispatcher.stop()

    assert able.got == [Text()]


async def test_a_route_that_a_dispatcher_cannot_take_is_no_route_anywhere() -> None:
    able, other, unable = Recorder(), Recorder(), Unable()
    router = Router()
    async with AsyncDispatcher(router) as one, AsyncDispatcher(router) as two:
        with pytest.raises(RegistrationError, match="`concurrency` of `Unable`"):
            router.add_route(Text, unable)
        router.add_route(Text, able)
        unable.concurrent_events = 1
        two.router.add_route(Number, unable)
        router.add_route(Text, other)
        one.dispatch(Text())
        two.dispatch(Text())

    assert unable.got == []
    assert router.routes == ((Text, able), (Number, unable), (Text, other))
    assert able.got == other.got == [Text(), Text()]


async def test_a_route_more_costs_the_same_however_many_there_are() -> None:
    def calls_of(routes: int) -> int:
        calls = 0

        def count(frame: object, event: str, argument: object) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        agents = [Recorder() for _ in range(routes)]
        sys.setprofile(count)
        try:
            for agent in agents:
                router.add_route(Text, agent)
        finally:
            sys.setprofile(None)
        return calls

    router = Router()
    async with AsyncDispatcher(router):
        first = calls_of(20)
        calls_of(200)
        # The garbage collector may call something in between.
        assert calls_of(20) < first * 1.1


async def test_what_cannot_make_a_dispatcher_is_refused_at_once() -> None:
    router = Router()
    for arguments, says in (
        ((None,), "`router` of `AsyncDispatcher` is a `Router`, such as"),
        (({Text: []},), "`router` of `AsyncDispatcher` is a `Router`, such as"),
        ((router, 5), "`shared_working_memory` of `AsyncDispatcher`"),
        ((router, None, 0), "`batch_size` of `AsyncDispatcher`"),
        ((router, None, 5, "trace"), "`tracer` of `AsyncDispatcher` is a `Tracer`, not 'trace'"),
    ):
        with pytest.raises(RegistrationError, match=says):
            AsyncDispatcher(*arguments)


# -- what agents return ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("result", [None, [], (), Summary(), [Summary()], (Summary(),)], ids=repr)
async def test_an_agent_returns_events_in_a_list_or_one_or_none(result: Any) -> None:
    after = Recorder()
    async with AsyncDispatcher(router_of((Text, Recorder(lambda _: result)), (Summary, after))) as dispatcher:
        dispatcher.dispatch(Text())

    assert len(after.got) == (1 if result else 0)
    assert dispatcher.dead_letters == ()


@pytest.mark.parametrize("result", ["text", 1, {"a": 1}, [Summary(), "text"]], ids=repr)
async def test_what_is_no_event_becomes_a_dead_letter_that_says_so(result: Any) -> None:
    after = Recorder()
    async with AsyncDispatcher(router_of((Text, Recorder(lambda _: result)), (Summary, after))) as dispatcher:
        flow = dispatcher.dispatch(Text())

    assert "`Recorder` returned" in str(flow.errors[0].error)
    assert isinstance(flow.errors[0].error, TypeError)
    assert after.got == []


async def test_an_agent_may_yield_events_one_by_one() -> None:
    class Streaming:
        async def receive_event_async(self, event: Event) -> Any:
            yield Summary(text="1")
            await released.wait()
            yield [Summary(text="2"), Summary(text="3")]

    class Releasing(Recorder):
        async def receive_event_async(self, event: Event) -> None:
            self.got.append(event)
            released.set()

    released, after = asyncio.Event(), Releasing()
    async with AsyncDispatcher(router_of((Text, Streaming()), (Summary, after))) as dispatcher:
        dispatcher.dispatch(Text())

    assert [event.text for event in after.got] == ["1", "2", "3"]


async def test_stamps_need_not_be_copied_and_those_that_are_given_stay() -> None:
    own = Recorder(lambda event: Summary(source=type(own), correlation_id="my own"))
    after = Recorder()
    routes = router_of((Text, Recorder(lambda _: Summary())), (Number, own), (Summary, after))
    async with AsyncDispatcher(routes) as dispatcher:
        flow = dispatcher.dispatch(Text())
        await flow
        dispatcher.dispatch(Number())

    assert (after.got[0].correlation_id, after.got[0].source) == (flow.id, "Recorder")
    assert after.got[1].correlation_id == "my own"
    assert after.got[1].source.endswith("some_agents.Recorder")
