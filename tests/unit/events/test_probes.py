"""What is known to go wrong in event dispatchers, one test each: here it goes right. In the order of the probes."""

import asyncio
from typing import Any

import pytest
from pydantic import ValidationError

from miniagents.events import (
    AsyncDispatcher,
    BusStoppedError,
    Event,
    JoinIncompleteError,
    QueueFullError,
    TooManyHopsError,
    Tracer,
)
from miniagents.ext.llms.errors import StructuredOutputError
from tests.unit.events.some_agents import (
    Aggregator,
    Answer,
    Asker,
    CountedModel,
    Failing,
    Recorder,
    Slow,
    broker,
    router_of,
    until,
)
from tests.unit.events.some_events import Analysis, LongText, Number, Summary, Text, task_switches

pytestmark = pytest.mark.virtual_clock


def now() -> float:
    return asyncio.get_running_loop().time()


def test_01_the_source_of_an_event_is_a_text_or_a_class() -> None:
    assert Text(source="ExampleSource").source == "ExampleSource"
    assert str(Text(source=Recorder).source).endswith("some_agents.Recorder")


async def test_02_a_chain_of_agents_and_a_model_that_answers_at_once_takes_no_time() -> None:
    asker, recorder = Asker(broker("at once")), Recorder()
    began = now()
    async with AsyncDispatcher(router_of((Text, asker), (Text, recorder))) as dispatcher:
        dispatcher.dispatch(Text(text="a"))

    assert asker.answers == ["at once"]
    assert len(recorder.got) == 1
    assert now() == began


async def test_03_two_model_calls_for_one_event_are_made_at_the_same_time() -> None:
    model = CountedModel(seconds=0.5)
    askers = [Asker(model.broker()) for _ in range(2)]
    began = now()
    async with AsyncDispatcher(router_of(*((Text, asker) for asker in askers))) as dispatcher:
        dispatcher.dispatch(Text())

    assert now() - began == pytest.approx(0.5)
    assert model.most_running == 2


async def test_04_a_model_that_raises_is_seen_before_the_stop_and_the_others_are_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    failing, fine = Asker(broker(ConnectionError("no model"), when_exhausted="repeat_last")), Asker(broker("fine"))
    dispatcher = await AsyncDispatcher(router_of((Text, failing), (Text, fine))).start()
    flow = dispatcher.dispatch(Text())

    assert await dispatcher.wait_for_empty_queue() is True

    assert [letter.handler for letter in flow.errors] == ["Asker"]
    assert "no model" in str(flow.errors[0].error)
    assert dispatcher.dead_letters == flow.errors
    assert "no model" in caplog.text
    assert fine.answers == ["fine"]
    await dispatcher.stop()


async def test_05_an_invalid_structured_output_is_asked_for_again_and_is_an_error_at_last() -> None:
    again = Asker(broker("no JSON", '{"text": "second"}'), response_model=Answer)
    never = Asker(broker("no JSON", when_exhausted="repeat_last"), response_model=Answer)
    recorder = Recorder()
    async with AsyncDispatcher(router_of((Text, again), (Text, never), (Number, recorder))) as dispatcher:
        flow = dispatcher.dispatch(Text())
        await flow
        dispatcher.dispatch(Number())

    assert again.answers == [Answer(text="second")]
    assert [type(letter.error) for letter in flow.errors] == [StructuredOutputError]
    assert len(recorder.got) == 1


async def test_06_an_agent_that_raises_for_one_event_gets_the_others_and_the_wait_ends() -> None:
    agent = Failing(lambda event: event.n == 1)
    dispatcher = await AsyncDispatcher(router_of((Number, agent)), batch_size=1).start()
    for n in range(4):
        dispatcher.dispatch(Number(n=n))

    assert await dispatcher.wait_for_empty_queue() is True

    assert [event.n for event in agent.got] == [0, 2, 3]
    assert [letter.event for letter in dispatcher.dead_letters] == [Number(n=1)]
    await dispatcher.stop()


async def test_07_an_agent_that_raises_takes_nothing_from_the_others_of_its_event() -> None:
    first, third, after = Recorder(lambda _: Summary(text="of the first")), Recorder(), Recorder()
    routes = router_of((Text, first), (Text, Failing()), (Text, third), (Summary, after))
    async with AsyncDispatcher(routes) as dispatcher:
        dispatcher.dispatch(Text())

    assert len(third.got) == 1
    assert [event.text for event in after.got] == ["of the first"]


async def test_08_the_wait_for_an_empty_queue_includes_what_is_in_work_and_what_follows() -> None:
    slow, after = Slow(0.6, lambda _: Summary()), Recorder()
    dispatcher = await AsyncDispatcher(router_of((Text, slow), (Summary, after)), batch_size=1).start()
    dispatcher.dispatch(Text())
    began = now()

    assert await dispatcher.wait_for_empty_queue() is True

    assert now() - began == pytest.approx(0.6)
    assert len(after.got) == 1
    await dispatcher.stop()


async def test_09_what_is_queued_at_a_stop_becomes_dead_letters_and_the_log_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent = Recorder()
    dispatcher = await AsyncDispatcher(router_of((Number, agent))).start()
    for n in range(20):
        dispatcher.dispatch(Number(n=n))

    await dispatcher.stop()

    assert agent.got == []
    assert [letter.event for letter in dispatcher.dead_letters] == [Number(n=n) for n in range(20)]
    assert {type(letter.error) for letter in dispatcher.dead_letters} == {BusStoppedError}
    assert dispatcher.stats.received == dispatcher.stats.dead == 20
    assert "The bus was stopped before this was done" in caplog.text


async def test_10_a_subclass_takes_the_route_of_its_base_and_an_event_without_one_is_reported(
    caplog: pytest.LogCaptureFixture,
) -> None:
    agent = Recorder()
    async with AsyncDispatcher(router_of((Text, agent))) as dispatcher:
        dispatcher.dispatch(LongText())
        dispatcher.dispatch(Number())

    assert [type(event) for event in agent.got] == [LongText]
    assert dispatcher.stats.unrouted == 1
    assert "`router.add_route(Number, agent)`" in caplog.text


async def test_11_no_agent_can_change_an_event_under_the_others_and_dispatching_changes_none() -> None:
    class Changing(Recorder):
        async def receive_event_async(self, event: Any) -> None:
            event.n = 1

    other, event = Recorder(), Number(n=0)
    async with AsyncDispatcher(router_of((Number, Changing()), (Number, other))) as dispatcher:
        flow = dispatcher.dispatch(event)

    assert isinstance(flow.errors[0].error, ValidationError)
    assert other.got == [Number(n=0)]
    assert (event.id, event.correlation_id) == (None, None)


async def test_12_one_agent_handles_events_in_their_order_also_if_it_waits() -> None:
    class Uneven(Recorder):
        async def receive_event_async(self, event: Any) -> None:
            await asyncio.sleep(1 / (event.n + 1))
            self.got.append(event.n)

    agent = Uneven()
    async with AsyncDispatcher(router_of((Number, agent)), batch_size=7) as dispatcher:
        for n in range(20):
            dispatcher.dispatch(Number(n=n))

    assert agent.got == list(range(20))


async def test_13_a_late_event_of_an_id_whose_set_is_complete_begins_another_set() -> None:
    agent = Aggregator([Text, Summary])
    async with AsyncDispatcher(router_of((Text, agent), (Summary, agent))) as dispatcher:
        for event in (Text(text="1"), Summary(), Text(text="2"), Summary()):
            dispatcher.dispatch(event.model_copy(update={"correlation_id": "x"}))

    assert [[first.text for first in events[:1]] for events in agent.sets] == [["1"], ["2"]]
    assert dispatcher.stats.dead == 0


async def test_14_an_aggregator_gets_one_event_of_each_class_it_needs_and_nothing_else() -> None:
    agent = Aggregator([Text, Summary])
    async with AsyncDispatcher(router_of((Event, agent))) as dispatcher:
        for event in (Text(text="1"), Text(text="2"), Analysis(), Summary()):
            dispatcher.dispatch(event.model_copy(update={"correlation_id": "x"}))

    assert agent.sets == [[Text(text="1"), Summary()]]


async def test_15_the_set_stays_if_its_processing_raises_and_sending_the_last_event_again_tries_again() -> None:
    agent = Aggregator([Text, Summary])
    agent.errors.append(ValueError("not now"))
    async with AsyncDispatcher(router_of((Text, agent), (Summary, agent))) as dispatcher:
        dispatcher.dispatch(Text(text="1", correlation_id="x"))
        await dispatcher.dispatch(Summary(correlation_id="x"))
        (letter,) = dispatcher.dead_letters
        assert agent.sets == []

        dispatcher.dispatch(letter.event)

    assert agent.sets == [[Text(text="1"), Summary()]]


async def test_16_events_can_be_waited_for_after_a_timeout_and_again_after_completion() -> None:
    agent = Aggregator([Text, Summary])
    async with AsyncDispatcher(router_of((Text, agent), (Summary, agent))) as dispatcher:
        dispatcher.dispatch(Text(correlation_id="x"))
        with pytest.raises(TimeoutError, match="`Summary` missing"):
            await agent.wait_for_events("x", timeout=1)
        waiting = asyncio.create_task(agent.wait_for_events("x", timeout=5))
        await task_switches()
        dispatcher.dispatch(Summary(correlation_id="x"))

        assert await waiting == [Text(), Summary()]
        assert await agent.wait_for_events("x") == [Text(), Summary()]
        assert await agent.wait_for_events("x", timeout=0) == [Text(), Summary()]


async def test_17_an_aggregator_keeps_no_set_of_a_flow_that_has_ended() -> None:
    class Both(Recorder):
        async def receive_event_async(self, event: Any) -> list[Event]:
            return [Text(), Summary()] if event.n % 2 else [Text()]

    agent = Aggregator([Text, Summary])
    routes = router_of((Number, Both()), (Text, agent), (Summary, agent))
    async with AsyncDispatcher(routes) as dispatcher:
        flows = [dispatcher.dispatch(Number(n=n)) for n in range(4_000)]
        await dispatcher.wait_for_empty_queue()

        assert all(agent.collected.group_of(flow.id) is None for flow in flows)
        assert not any(flow.rounds for flow in flows)
        assert len(agent.sets) == 2_000
        assert [len(flow.errors) for flow in flows] == [1, 0] * 2_000
        error = flows[0].errors[0].error
        assert isinstance(error, JoinIncompleteError)
        assert error.missing == (Summary,)
        # For those who ask late, the last ones alone.
        assert await agent.wait_for_events(flows[-1].id) == [Text(), Summary()]
        with pytest.raises(TimeoutError):
            await agent.wait_for_events(flows[1].id, timeout=1)


async def test_18_a_dispatcher_with_a_tracer_works_and_the_trace_has_the_whole_causal_tree() -> None:
    tracer, after = Tracer(), Recorder()
    routes = router_of((Text, Recorder(lambda _: [Summary(), Analysis()])), (Summary, after), (Analysis, after))
    async with AsyncDispatcher(routes, tracer=tracer) as dispatcher:
        flow = dispatcher.dispatch(Text())

    emitted = [event for event in tracer.get_events() if event.kind == "emitted"]
    assert [(event.event_type, event.handler) for event in emitted] == [
        ("Text", None),
        ("Summary", "Recorder"),
        ("Analysis", "Recorder"),
    ]
    assert [event.parent_id for event in emitted] == [None, flow.id, flow.id]
    assert len([event for event in tracer.get_events() if event.kind == "handled"]) == 3


async def test_19_model_calls_are_traced_at_the_event_that_they_are_made_for_and_without_an_id_too() -> None:
    tracer = Tracer()
    async with AsyncDispatcher(router_of((Text, Asker(broker("well")))), tracer=tracer) as dispatcher:
        flow = dispatcher.dispatch(Text())
    calls = tracer.get_events("model_called")

    assert [(call.flow_id, call.event_id, call.handler) for call in calls] == [(flow.id, flow.id, "Asker")]
    assert [call.content for call in calls] == ["rehearsal"]

    alone = broker("well")
    alone_tracer = Tracer()
    traced = type(alone)("rehearsal", gateway=alone.agent, tracer=alone_tracer)

    assert await traced.agenerate("Hi") == "well"
    assert [call.kind for call in alone_tracer.get_events()] == ["model_called", "model_answered"]


async def test_20_a_circle_of_events_ends_in_a_dead_letter_and_others_have_their_turn_meanwhile() -> None:
    again = Recorder(lambda event: event)
    turns_before: list[int] = []
    other = Recorder(lambda _: turns_before.append(len(again.got)))
    async with AsyncDispatcher(router_of((Number, again), (Text, other)), max_hops=50) as dispatcher:
        flow = dispatcher.dispatch(Number())
        dispatcher.dispatch(Text())

    assert turns_before == [1]
    assert len(again.got) == 51
    assert [type(letter.error) for letter in flow.errors] == [TooManyHopsError]


async def test_21_a_burst_of_events_lets_everything_else_on_the_loop_have_its_turn() -> None:
    agent, turns = Recorder(), 0
    async with AsyncDispatcher(router_of((Number, agent)), batch_size=20_000) as dispatcher:
        for n in range(20_000):
            dispatcher.dispatch(Number(n=n))
        while len(agent.got) < 20_000:
            turns += 1
            await asyncio.sleep(0)

    # A turn every few milliseconds of work; without slices of time it would be one.
    assert turns > 10


async def test_22_events_before_the_start_are_refused_and_a_queue_has_a_bound(
    caplog: pytest.LogCaptureFixture,
) -> None:
    dispatcher = AsyncDispatcher(router_of((Number, Recorder())), max_pending=100)
    with pytest.raises(BusStoppedError, match=r"await AsyncDispatcher\(router\)\.start\(\)"):
        dispatcher.dispatch(Number())

    await dispatcher.start()
    for n in range(100):
        dispatcher.dispatch(Number(n=n))
    with pytest.raises(QueueFullError, match="max_pending=100"):
        dispatcher.dispatch(Number())
    await dispatcher.publish(Number(n=100))

    await dispatcher.stop(drain=True)
    assert (dispatcher.stats.handled, dispatcher.stats.dead) == (101, 0)
    assert caplog.records == []


async def test_23_cancelling_a_flow_ends_the_model_call_that_was_made_in_it() -> None:
    model = CountedModel(seconds=60)
    async with AsyncDispatcher(router_of((Text, Asker(model.broker())))) as dispatcher:
        flow = dispatcher.dispatch(Text())
        await until(lambda: model.running)

        flow.cancel("no longer wanted")
        await dispatcher.wait_for_empty_queue()

        assert (model.running, model.given_up) == (0, 1)
    assert now() < 60


async def test_24_twenty_model_calls_are_made_at_once() -> None:
    model = CountedModel(seconds=0.1)
    llm = model.broker()
    began = now()

    await asyncio.gather(*(llm.agenerate("Hi") for _ in range(20)))

    assert now() - began == pytest.approx(0.1)
    assert model.most_running == 20
