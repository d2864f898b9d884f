"""`AsyncDispatcher` and `Router`: what their documentation promises."""

import asyncio
import logging
import threading
from typing import Any

import pytest

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.errors import DeadlockError
from miniagents.events import (
    AsyncDispatcher,
    BaseAgent,
    BaseAsyncAgent,
    BusStoppedError,
    Event,
    EventBus,
    FlowClosedError,
    RegistrationError,
    Router,
    SharedMemory,
    SharedWorkingMemory,
    TerminateEvent,
    Tracer,
)
from tests.unit.events.some_agents import Failing, Gated, Recorder, Slow, router_of
from tests.unit.events.some_events import Analysis, Number, Summary, Text, errors_of, task_switches


class Finished(TerminateEvent):
    """A subclass of what terminates."""


# -- the end -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("event", [TerminateEvent(), Finished()], ids=["the event", "a subclass"])
@pytest.mark.parametrize("way", ["dispatched", "returned", "returned in a list"])
async def test_a_terminate_event_stops_the_dispatcher(
    event: TerminateEvent, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    gated = Gated()
    ending = Recorder(lambda _: event if way == "returned" else [Summary(), event, Summary()])
    dispatcher = await AsyncDispatcher(router_of((Number, gated), (Text, ending), (Summary, gated))).start()
    dispatcher.dispatch(Number(n=1))
    await gated.begun.wait()
    dispatcher.dispatch(Text() if way != "dispatched" else event)
    dispatcher.dispatch(Number(n=2)) if way != "dispatched" else None
    await task_switches()

    with pytest.raises(BusStoppedError):
        dispatcher.dispatch(Number(n=3))
    assert gated.got == []
    gated.gate.set()
    assert await dispatcher.wait_for_empty_queue() is True

    # What was in work has ended, what was queued is a dead letter.
    assert gated.got == [Number(n=1)]
    dead = [type(letter.event).__name__ for letter in dispatcher.dead_letters]
    assert (
        sorted(dead)
        == {
            "dispatched": [],
            "returned": ["Number"],
            "returned in a list": ["Number", "Summary", "Summary"],
        }[way]
    )
    assert dispatcher.stats.received == dispatcher.stats.handled + dispatcher.stats.dead
    await dispatcher.stop()
    assert "takes events of the type `TerminateEvent`" not in caplog.text


async def test_an_agent_of_a_terminate_event_still_gets_it() -> None:
    last = Recorder()
    dispatcher = await AsyncDispatcher(router_of((TerminateEvent, last), (Number, Recorder()))).start()
    dispatcher.dispatch(Number())
    dispatcher.dispatch(Finished())

    await dispatcher.stop()

    assert last.got == [Finished()]
    assert [letter.event for letter in dispatcher.dead_letters] == [Number()]


async def test_on_a_bus_a_terminate_event_closes_its_flow_and_no_other(mini_agents: MiniAgents) -> None:
    got: list[str] = []
    async with EventBus(max_concurrency=1) as bus:

        @bus.on(Text)
        async def ending(ctx: Any, event: Text) -> None:
            ctx.reply([Summary(), Finished(), Summary()])

        @bus.on(Summary, Analysis, TerminateEvent)
        async def other(ctx: Any, event: Event) -> None:
            got.append(type(event).__name__)

        closed, open_flow = bus.emit(Text()), bus.emit(Analysis())
        await closed
        await open_flow
        assert bus.is_open

    assert sorted(got) == ["Analysis", "Finished"]
    assert [type(error) for error in errors_of(closed)] == [FlowClosedError] * 2
    assert closed.errors[0].event == Summary()
    assert open_flow.errors == ()


async def test_stopping_lets_what_is_in_work_end_and_draining_delivers_the_rest_too() -> None:
    for drain in (False, True):
        gated = Gated()
        dispatcher = await AsyncDispatcher(router_of((Number, gated))).start()
        for n in range(3):
            dispatcher.dispatch(Number(n=n))
        await gated.begun.wait()
        stopping = asyncio.create_task(dispatcher.stop(drain=drain))
        await task_switches()
        assert not stopping.done()
        gated.gate.set()
        await stopping

        assert len(gated.got) == (3 if drain else 1)
        assert len(dispatcher.dead_letters) == (0 if drain else 2)
        await dispatcher.stop()


@pytest.mark.virtual_clock
async def test_an_agent_that_never_ends_is_cancelled_when_the_timeout_of_stop_is_over() -> None:
    gated = Gated()
    dispatcher = await AsyncDispatcher(router_of((Number, gated))).start()
    dispatcher.dispatch(Number())

    assert await dispatcher.wait_for_empty_queue(timeout=5) is False
    await dispatcher.stop(timeout=5)

    assert asyncio.get_running_loop().time() == pytest.approx(10, abs=0.1)
    assert [letter.attempt for letter in dispatcher.dead_letters] == [1]


async def test_after_a_stop_nothing_is_taken_and_nothing_starts_again() -> None:
    dispatcher = await AsyncDispatcher(router_of((Number, Recorder()))).start()
    assert await dispatcher.start() is dispatcher
    await dispatcher.stop()

    with pytest.raises(BusStoppedError):
        dispatcher.dispatch(Number())
    with pytest.raises(BusStoppedError, match="Make another"):
        await dispatcher.start()
    assert await dispatcher.wait_for_empty_queue() is True


async def test_a_dispatcher_may_be_stopped_by_another_task_and_leaves_no_context_behind() -> None:
    dispatcher = await AsyncDispatcher(router_of((Number, Recorder()))).start()
    await asyncio.create_task(dispatcher.stop())

    async with MiniAgents() as context:
        assert context.parent is None


async def test_two_dispatchers_without_a_context_go_on_when_the_other_one_is_stopped() -> None:
    @miniagent
    async def helping(ctx: InteractionContext) -> None:
        ctx.reply("helped")

    class Helped(BaseAsyncAgent):
        async def receive_event_async(self, event: Event) -> Summary:
            return Summary(text=str((await helping.inquire("Help!"))[0]))

    after = Recorder()
    first = await AsyncDispatcher(router_of((Text, Recorder()))).start()
    second = await AsyncDispatcher(router_of((Text, Helped()), (Summary, after))).start()
    await first.stop()
    second.dispatch(Text())
    await second.stop(drain=True)

    assert after.got == [Summary(text="helped")]


async def test_an_agent_that_waits_for_its_own_dispatcher_is_told_so() -> None:
    class Waiting(BaseAsyncAgent):
        async def receive_event_async(self, event: Event) -> None:
            await (dispatcher.stop() if isinstance(event, Text) else dispatcher.wait_for_empty_queue())

    agent = Waiting()
    async with AsyncDispatcher(router_of((Number, agent), (Text, agent))) as dispatcher:
        dispatcher.dispatch(Number())
        dispatcher.dispatch(Text())

    assert [type(letter.error) for letter in dispatcher.dead_letters] == [DeadlockError] * 2


# -- the batch size ----------------------------------------------------------------------------------------------------


@pytest.mark.virtual_clock
async def test_the_batch_size_is_how_many_events_are_in_work_however_many_agents_each_has() -> None:
    in_work: set[int] = set()
    most = 0

    class Counting(Slow):
        async def receive_event_async(self, event: Any) -> Any:
            nonlocal most
            in_work.add(event.n)
            most = max(most, len(in_work))
            await super().receive_event_async(event)
            in_work.discard(event.n)

    class Free(Counting):
        concurrent_events = None

    agents = [Free(1.0) for _ in range(20)]
    began = asyncio.get_running_loop().time()
    async with AsyncDispatcher(router_of(*((Number, agent) for agent in agents)), batch_size=3) as dispatcher:
        for n in range(9):
            dispatcher.dispatch(Number(n=n))

    assert most == 3
    assert [len(agent.got) for agent in agents] == [9] * 20
    assert asyncio.get_running_loop().time() - began == pytest.approx(3, abs=0.1)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("batch_size", [1, 2, 100])
async def test_the_batch_size_changes_no_result(batch_size: int) -> None:
    first = Slow(0.3, lambda event: [Text(text=str(event.n)), Text(text=f"{event.n}b")])
    second = Slow(0.1, lambda event: Summary(text=event.text + "!"))
    third = Recorder()
    routes = router_of((Number, first), (Text, second), (Summary, third))
    async with AsyncDispatcher(routes, batch_size=batch_size) as dispatcher:
        for n in range(5):
            dispatcher.dispatch(Number(n=n))

    assert [event.text for event in third.got] == [f"{n}{b}!" for n in range(5) for b in ("", "b")]


@pytest.mark.virtual_clock
async def test_agents_that_wait_for_events_of_others_do_not_use_the_batch_up() -> None:
    class Nested(BaseAsyncAgent):
        def __init__(self) -> None:
            self.answers: list[Any] = []

        async def receive_event_async(self, event: Event) -> None:
            self.answers.append((await dispatcher.bus.ask(Number(), Summary)).text)

    nested = Nested()
    answering = Slow(1.0, lambda _: Summary(text="answer"))
    async with AsyncDispatcher(router_of((Text, nested), (Number, answering)), batch_size=1) as dispatcher:
        dispatcher.dispatch(Text())
        assert await dispatcher.wait_for_empty_queue(timeout=30) is True

    assert nested.answers == ["answer"]


@pytest.mark.parametrize("size", [0, -1, 2.5, True, None])
def test_a_batch_size_that_is_none_is_refused(size: Any) -> None:
    with pytest.raises(RegistrationError, match="`batch_size`.* at least 1"):
        AsyncDispatcher(Router(), batch_size=size)


@pytest.mark.virtual_clock
async def test_an_instance_handles_one_event_at_a_time_over_all_its_routes_unless_its_class_says_otherwise() -> None:
    class Parallel(Slow):
        concurrent_events = 2

    one, two = Slow(1.0), Parallel(1.0)
    routes = router_of((Number, one), (Text, one), (Number, two), (Text, two))
    async with AsyncDispatcher(routes, batch_size=10) as dispatcher:
        for event in (Number(), Text(), Number(), Text()):
            dispatcher.dispatch(event)

    assert (one.most_running, two.most_running) == (1, 2)
    assert len(one.got) == len(two.got) == 4


# -- synchronous agents ------------------------------------------------------------------------------------------------


async def test_agents_that_block_run_in_threads_and_several_at_once() -> None:
    both_are_there = threading.Barrier(2, timeout=20)

    class Blocking(BaseAgent):
        def receive_event(self, event: Event) -> list[Event]:
            both_are_there.wait()
            return [Summary(text=threading.current_thread().name)]

    after = Recorder()
    routes = router_of((Text, Blocking()), (Text, Blocking()), (Summary, after))
    async with AsyncDispatcher(routes) as dispatcher:
        dispatcher.dispatch(Text())

    assert len(after.got) == 2
    assert threading.main_thread().name not in {event.text for event in after.got}


async def test_a_stop_iteration_in_a_thread_is_a_dead_letter_too() -> None:
    class Stopping(BaseAgent):
        def receive_event(self, event: Event) -> None:
            next(iter(()))

    async with AsyncDispatcher(router_of((Text, Stopping()))) as dispatcher:
        flow = dispatcher.dispatch(Text())

    assert "raised StopIteration" in str(errors_of(flow)[0])


async def test_an_agent_in_a_thread_may_dispatch_and_what_it_raises_is_a_dead_letter() -> None:
    class Dispatching(BaseAgent):
        def receive_event(self, event: Event) -> None:
            dispatcher.dispatch(Summary(text="from the thread"))
            raise OSError("disk full")

    after = Recorder()
    async with AsyncDispatcher(router_of((Text, Dispatching()), (Summary, after))) as dispatcher:
        flow = dispatcher.dispatch(Text())

    assert [event.text for event in after.got] == ["from the thread"]
    assert after.got[0].correlation_id == flow.id
    assert str(errors_of(flow)[0]) == "disk full"


# -- memory and trace --------------------------------------------------------------------------------------------------


async def test_the_shared_working_memory_gives_copies_and_merges_deep() -> None:
    memory = SharedWorkingMemory({"user": {"name": "Ann"}})

    class Remembering(BaseAsyncAgent):
        async def receive_event_async(self, event: Event) -> None:
            memory.get_working_memory()["user"]["name"] = "changed in a copy"
            memory.merge_to_working_memory({"user": {"age": 7}})

    tracer = Tracer()
    async with AsyncDispatcher(router_of((Text, Remembering())), memory, tracer=tracer) as dispatcher:
        assert dispatcher.shared_working_memory is memory
        dispatcher.dispatch(Text())

    assert memory.get_working_memory() == {"user": {"name": "Ann", "age": 7}}
    assert isinstance(memory, SharedMemory)
    assert [event.content for event in tracer.get_events("memory")] == ["user"]


async def test_a_tracer_answers_queries_has_a_cap_and_can_be_switched_off() -> None:
    tracer = Tracer(max_trace_events=5)
    async with AsyncDispatcher(router_of((Number, Failing(lambda event: event.n == 3))), tracer=tracer) as dispatcher:
        for n in range(5):
            await dispatcher.dispatch(Number(n=n))
        last = tracer.get_last_n_tracer_events(1)[0]
        assert len(tracer.get_events()) == 5
        assert [event.kind for event in tracer.get_events(Number, filter_func=lambda e: e.kind == "dead")] == ["dead"]
        assert tracer.get_events(start_time=last.at)[-1] == last
        assert tracer.get_events(end_time=tracer.get_events()[0].at.timestamp() - 60) == []
        assert tracer.get_last_n_tracer_events(0) == []

        tracer.clear()
        tracer.disable()
        await dispatcher.dispatch(Number())
        assert tracer.get_events() == []
        tracer.enable()
        await dispatcher.dispatch(Number())
        assert [event.kind for event in tracer.get_events()] == ["emitted", "handled"]


async def test_without_a_tracer_nothing_is_traced_and_no_log_is_configured() -> None:
    level = logging.getLogger("miniagents").level
    async with AsyncDispatcher(router_of((Number, Recorder()))) as dispatcher:
        dispatcher.dispatch(Number())

    assert len(dispatcher.bus.trace) == 0
    assert logging.getLogger("miniagents").level == level
