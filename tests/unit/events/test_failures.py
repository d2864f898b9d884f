"""What fails becomes a dead letter of its flow; everything else goes on."""

import asyncio
import logging
from typing import Any

import pytest

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.errors import MiniAgentsError, RepliesClosedError
from miniagents.events import (
    AskTimeoutError,
    DeadLetter,
    Event,
    EventBus,
    FlowFailedError,
    HandlerTimeoutError,
    TooManyHopsError,
)
from miniagents.promising.errors import PromiseCancelledError
from tests.unit.events.some_events import Analysis, Number, Summary, Text, errors_of, kinds, task_switches


async def test_a_handlers_exception_becomes_a_dead_letter_and_all_others_go_on(mini_agents: MiniAgents) -> None:
    error = ValueError("no")
    handled: list[str] = []
    async with EventBus() as bus:
        for name in "abc":

            @bus.on(Number)
            async def handler(ctx: Any, event: Number, name: str = name) -> None:
                if name == "b" and event.n == 1:
                    ctx.reply(Analysis())
                    raise error
                ctx.reply(Summary())
                handled.append(f"{name}{event.n}")

        flows = [bus.emit(Number(n=n)) for n in range(3)]

    assert handled == ["a0", "b0", "c0", "a1", "c1", "a2", "b2", "c2"]
    assert [len(flow.errors) for flow in flows] == [0, 1, 0]
    (letter,) = flows[1].errors
    assert letter.error is error
    assert (letter.event, letter.handler, letter.attempt) == (Number(n=1), "handler #2", 1)
    assert letter.causation_id == letter.event.id
    # What it had replied before it failed stands.
    assert sorted(await kinds(flows[1])) == ["Analysis", "DeadLetter", "Number", "Summary", "Summary"]


async def test_a_dead_letter_is_routed_like_any_event(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def fails(ctx: Any, event: Text) -> None:
            raise ValueError("no")

        @bus.on(DeadLetter)
        async def repair(ctx: Any, letter: DeadLetter) -> None:
            ctx.reply(Summary(text=f"{letter.handler}: {letter.error}"))

        assert (await bus.ask(Text(), Summary)).text == "fails: no"

    assert (bus.stats.handled, bus.stats.dead) == (1, 1)


async def test_a_handler_of_dead_letters_that_fails_does_not_go_in_a_circle(mini_agents: MiniAgents) -> None:
    calls = 0
    async with EventBus() as bus:

        @bus.on(Event)
        async def always_fails(ctx: Any, event: Event) -> None:
            nonlocal calls
            calls += 1
            raise ValueError("no")

        flow = bus.emit(Text())
        await flow

    assert calls == 2
    assert [type(letter.event) for letter in flow.errors] == [Text, DeadLetter]


async def test_a_failed_handler_is_called_again_as_often_as_it_says(mini_agents: MiniAgents) -> None:
    attempts: list[int] = []
    async with EventBus() as bus:

        @bus.on(Number, retries=2)
        async def flaky(ctx: Any, event: Number) -> None:
            attempts.append(ctx.attempt)
            ctx.reply(f"try {ctx.attempt}")
            if ctx.attempt <= event.n:
                raise ValueError(f"no {ctx.attempt}")

        good, bad = bus.emit(Number(n=2)), bus.emit(Number(n=9))
        assert [str(message) for message in await good][1:] == ["try 1", "try 2", "try 3"]
        await bad

    assert good.errors == ()
    (letter,) = bad.errors
    assert (letter.attempt, str(letter.error)) == (3, "no 3")
    assert (bus.stats.handled, bus.stats.dead) == (1, 1)


@pytest.mark.virtual_clock
async def test_pauses_between_attempts_double_and_take_no_place(mini_agents: MiniAgents) -> None:
    times: list[float] = []
    loop = asyncio.get_running_loop()
    async with EventBus(max_concurrency=1) as bus:

        @bus.on(Text, retries=3, backoff_s=1)
        async def flaky(ctx: Any, event: Text) -> None:
            times.append(loop.time())
            raise ValueError

        @bus.on(Analysis)
        async def other(ctx: Any, event: Analysis) -> None: ...

        began = loop.time()
        flow = bus.emit(Text())
        await bus.emit(Analysis())
        assert loop.time() - began < 1
        await flow

    assert [round(at - began) for at in times] == [0, 1, 3, 7]


@pytest.mark.virtual_clock
async def test_a_handler_that_takes_too_long_is_stopped_in_each_attempt(mini_agents: MiniAgents) -> None:
    stopped = 0
    loop = asyncio.get_running_loop()
    async with EventBus() as bus:

        @bus.on(Text, timeout=5, retries=1)
        async def slow(ctx: Any, event: Text) -> None:
            nonlocal stopped
            try:
                await asyncio.sleep(3600)
            finally:
                stopped += 1

        began = loop.time()
        flow = bus.emit(Text())
        await flow

    assert stopped == 2
    assert loop.time() - began == pytest.approx(10, abs=0.1)
    (letter,) = flow.errors
    assert isinstance(letter.error, HandlerTimeoutError)
    assert isinstance(letter.error, TimeoutError)
    assert str(letter.error).startswith("The handler `slow` was stopped: it took longer than its `timeout` of 5 s")


async def test_a_cycle_is_stopped_with_a_dead_letter(mini_agents: MiniAgents) -> None:
    async with EventBus(max_hops=10) as bus:

        @bus.on(Number)
        async def again(ctx: Any, event: Number) -> None:
            ctx.reply(Number(n=event.n + 1))

        flow = bus.emit(Number())
        await flow

    (letter,) = flow.errors
    assert isinstance(letter.error, TooManyHopsError)
    assert "max_hops=10" in str(letter.error)
    assert letter.event == Number(n=11)
    assert letter.attempt == 0
    assert (bus.stats.handled, bus.stats.dead) == (11, 1)


async def test_an_event_that_nobody_handles_is_told_once_per_type(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    async with EventBus() as bus:
        for _ in range(3):
            bus.emit(Text())
        bus.emit(Analysis())

    assert caplog.text.count("No handler takes events of the type `Text`") == 1
    assert caplog.text.count("`Analysis`") == 1
    assert bus.stats.unrouted == 4
    assert len(bus.trace.query(type="unrouted")) == 4


async def test_an_event_that_is_asked_for_is_not_told_as_one_that_nobody_handles(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def answer(ctx: Any, event: Text) -> None:
            ctx.reply(Summary())

        await bus.ask(Text(), Summary)

    assert caplog.text == ""
    assert bus.stats.unrouted == 0


async def test_a_dead_letter_that_nobody_handles_is_told_once_of_its_kind(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def fails(ctx: Any, event: Text) -> None:
            raise ValueError("no")

        for _ in range(3):
            bus.emit(Text())

    assert caplog.text.count("The handler `fails` did not handle this `Text`: ValueError: no") == 1
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


# -- asking --------------------------------------------------------------------------------------------------------------


async def test_asking_gives_the_first_event_of_the_type_that_follows(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def answer(ctx: Any, event: Text) -> None:
            if event.text:
                ctx.reply(Text())
            ctx.reply([Analysis(text="1"), Analysis(text="2")])

        assert (await bus.ask(Text(text="a"), Analysis)).text == "1"
        # The event that was asked with is no answer.
        assert (await bus.ask(Text(text="a"), Text)).text == ""


async def test_asking_raises_what_failed_when_there_is_no_answer(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def fails(ctx: Any, event: Text) -> None:
            raise ValueError("no luck")

        with pytest.raises(FlowFailedError, match=r"`Summary`.*`fails` on `Text` with ValueError: no luck") as caught:
            await bus.ask(Text(), Summary)

    assert isinstance(caught.value, MiniAgentsError)
    assert isinstance(caught.value.__cause__, ValueError)
    (letter,) = caught.value.dead_letters
    assert letter.handler == "fails"


async def test_asking_says_so_when_nothing_failed_and_there_is_no_answer(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:
        with pytest.raises(FlowFailedError, match="Nothing failed"):
            await bus.ask(Text(), Summary)


@pytest.mark.virtual_clock
async def test_asking_ends_with_its_timeout_and_stops_what_nobody_waits_for(mini_agents: MiniAgents) -> None:
    stopped = False
    async with EventBus() as bus:

        @bus.on(Text)
        async def slow(ctx: Any, event: Text) -> None:
            nonlocal stopped
            try:
                await asyncio.sleep(3600)
            finally:
                stopped = True

        with pytest.raises(AskTimeoutError, match="`Summary` came within 5 s") as caught:
            await bus.ask(Text(), Summary, timeout=5)

    assert isinstance(caught.value, TimeoutError)
    assert stopped
    assert (bus.stats.handled, bus.stats.dead) == (0, 1)


# -- odd ways to fail ----------------------------------------------------------------------------------------------------


async def test_a_handler_that_is_cancelled_from_elsewhere_is_a_dead_letter(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Text)
        async def awaits_a_cancelled_task(ctx: Any, event: Text) -> None:
            task = asyncio.get_running_loop().create_task(asyncio.Event().wait())
            task.cancel()
            await task

        flow = bus.emit(Text())
        await flow
        await bus.emit(Analysis())

    assert [type(error) for error in errors_of(flow)] == [PromiseCancelledError]


async def test_an_agent_that_fails_is_a_dead_letter_and_its_replies_before_stand(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(Analysis())
        raise ValueError("no")

    async with EventBus() as bus:
        bus.on(Text)(agent)
        flow = bus.emit(Text())
        assert await kinds(flow) == ["Text", "Analysis", "DeadLetter"]

    assert flow.errors[0].handler == "AGENT"
    assert str(flow.errors[0].error) == "no"


async def test_a_reply_after_the_handler_has_ended_is_refused(mini_agents: MiniAgents) -> None:
    contexts: list[Any] = []
    async with EventBus() as bus:

        @bus.on(Text)
        async def handler(ctx: Any, event: Text) -> None:
            contexts.append(ctx)

        await bus.emit(Text())
        with pytest.raises(RepliesClosedError, match="handler"):
            contexts[0].reply(Analysis())


async def test_an_exit_in_a_handler_ends_the_program_when_the_context_ends() -> None:
    async def main() -> None:
        async with EventBus() as bus:

            @bus.on(Text)
            async def leaves(ctx: Any, event: Text) -> None:
                raise SystemExit(3)

            flow = bus.emit(Text())
            await task_switches()
            assert [type(error) for error in errors_of(flow)] == [SystemExit]

    with pytest.raises(SystemExit):
        await MiniAgents().arun(main())


@pytest.mark.virtual_clock
@pytest.mark.parametrize("retries", [0, 1])
async def test_a_handler_that_keeps_the_end_of_its_time_to_itself_has_timed_out(
    retries: int, mini_agents: MiniAgents
) -> None:
    async with EventBus() as bus:

        @bus.on(Text, timeout=5, retries=retries)
        async def slow(ctx: Any, event: Text) -> None:
            try:
                await asyncio.sleep(9)
            except asyncio.CancelledError:
                ctx.reply(Analysis())

        flow = bus.emit(Text())
        await flow

    assert [type(error) for error in errors_of(flow)] == [HandlerTimeoutError]
    assert flow.errors[0].attempt == retries + 1


async def test_dead_letters_can_be_asked_for_also_if_no_handler_was_called(mini_agents: MiniAgents) -> None:
    async with EventBus() as bus:

        @bus.on(Number, when=lambda event: 1 // event.n)
        async def handler(ctx: Any, event: Number) -> None: ...

        letter = await bus.ask(Number(n=0), DeadLetter)

    assert isinstance(letter.error, ZeroDivisionError)
