"""Programs that wait for long and are well: never a `DeadlockError`; and one that stalls, which is only reported."""

import asyncio
import logging
import random
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from miniagents import AgentCall, InteractionContext, Message, MessageTokenAppender, MiniAgents, miniagent
from miniagents.promising.promising import Promise, StreamAppender, StreamedPromise
from tests.endurance.tools import A_MINUTE, AN_HOUR, Watched, in_time, times

SERVER_IDLES_S = times(AN_HOUR)


@miniagent
async def conversing(ctx: InteractionContext) -> None:
    async for message in ctx.message_promises:
        await asyncio.sleep(A_MINUTE)
        ctx.reply(f"You said: {await message}")


async def a_plain_event() -> None:
    event = asyncio.Event()

    @miniagent
    async def waiting(ctx: InteractionContext) -> None:
        await event.wait()
        ctx.reply("at last")

    asyncio.get_running_loop().call_later(10 * A_MINUTE, event.set)
    assert str((await waiting.inquire())[0]) == "at last"


async def a_queue_that_another_task_fills() -> None:
    queue: asyncio.Queue[str] = asyncio.Queue()

    async def fill() -> None:
        for text in "abc":
            await asyncio.sleep(A_MINUTE)
            await queue.put(text)

    @miniagent
    async def emptying(ctx: InteractionContext) -> None:
        for _ in range(3):
            ctx.reply(await queue.get())

    filling = asyncio.create_task(fill())
    assert [str(message) for message in await emptying.inquire()] == ["a", "b", "c"]
    await filling


async def a_timer() -> None:
    async def resolver(_: object) -> str:
        await asyncio.sleep(20 * A_MINUTE)
        return "done"

    promise = Promise(resolver=resolver)
    assert await asyncio.gather(promise, promise, promise) == ["done"] * 3


async def a_thread() -> None:
    mini_agents = MiniAgents.get_current()
    appender = StreamAppender[str]().open()
    stream = StreamedPromise(streamer=appender)
    release = threading.Event()

    def write() -> None:
        assert release.wait(timeout=20)
        for piece in "abc":
            mini_agents.run_from_thread(appender.append, piece)
        mini_agents.run_from_thread(appender.close)

    async def let_go() -> None:
        # In real time, as a thread is at work: longer than it takes to look for deadlocks.
        await asyncio.sleep(0.6)
        release.set()

    letting_go = asyncio.create_task(let_go())
    writing = asyncio.create_task(asyncio.to_thread(write))
    assert await stream == ("a", "b", "c")
    await asyncio.gather(writing, letting_go)


async def a_full_duplex_call() -> None:
    call: AgentCall = conversing.initiate_inquiry()
    replies = aiter(call.reply_sequence(close_request_sequence=False))
    for text in ("a", "b", "c"):
        call.send_message(text)
        assert str(await (await anext(replies))) == f"You said: {text}"
        await asyncio.sleep(5 * A_MINUTE)
    call.finish()
    with pytest.raises(StopAsyncIteration):
        await anext(replies)


async def two_calls_that_feed_each_other() -> None:
    async def first_messages() -> AsyncIterator[Any]:
        yield "a"
        async for message in there:
            if len(str(await message)) > 40:
                return
            yield message

    there = conversing.inquire(conversing.inquire(first_messages()))
    assert len(await there) >= 2


async def a_slow_chain() -> None:
    messages: Any = Message.promise(message_token_streamer=slow_tokens)
    for _ in range(5):
        messages = conversing.inquire(messages)
    text = str(await messages.as_single_promise())
    assert text == "You said: " * 5 + "one two three "


async def slow_tokens(_: dict[str, Any]) -> AsyncIterator[str]:
    for word in ("one ", "two ", "three "):
        await asyncio.sleep(3 * A_MINUTE)
        yield word


async def an_appender_in_the_hands_of_a_callback() -> None:
    appender = MessageTokenAppender().open()
    promise = Message.promise(message_token_streamer=appender)
    asyncio.get_running_loop().call_later(15 * A_MINUTE, appender.close)
    appender.append("a")
    del appender
    assert str(await promise) == "a"


async def a_lock_that_is_handed_on() -> None:
    lock = asyncio.Lock()

    @miniagent
    async def one_by_one(ctx: InteractionContext, number: int) -> None:
        async with lock:
            await asyncio.sleep(A_MINUTE)
            ctx.reply(str(number))

    calls = [one_by_one.inquire(number=number) for number in range(10)]
    assert [str((await replies)[0]) for replies in calls] == [str(number) for number in range(10)]


async def a_reader_at_a_bound() -> None:
    async def numbers(_: object) -> AsyncIterator[int]:
        for number in range(20):
            yield number

    stream = StreamedPromise(streamer=numbers, read_ahead=1)
    async for _ in stream:
        await asyncio.sleep(A_MINUTE)


HEALTHY: list[Callable[[], Awaitable[None]]] = [
    a_plain_event,
    a_queue_that_another_task_fills,
    a_timer,
    a_full_duplex_call,
    two_calls_that_feed_each_other,
    a_slow_chain,
    an_appender_in_the_hands_of_a_callback,
    a_lock_that_is_handed_on,
    a_reader_at_a_bound,
]


@pytest.mark.parametrize("start_asap", [True, False], ids=["eager", "lazy"])
@pytest.mark.parametrize("program", [*HEALTHY, a_thread], ids=lambda program: program.__name__)
def test_a_slow_program_that_is_well_is_never_told_of_a_deadlock(program: Any, start_asap: bool) -> None:
    watched = Watched()

    _, error = watched.run(MiniAgents(start_everything_asap_by_default=start_asap, stall_report_s=1e9), program())

    assert error is None, repr(error)
    assert not watched.complaints


@pytest.mark.parametrize("start_asap", [True, False], ids=["eager", "lazy"])
def test_many_slow_programs_side_by_side_are_never_told_of_a_deadlock(start_asap: bool) -> None:
    watched = Watched()
    dice = random.Random(3)

    async def begin_later(program: Callable[[], Awaitable[None]], seconds: float) -> None:
        await asyncio.sleep(seconds)
        await program()

    async def main() -> None:
        await asyncio.gather(*(begin_later(dice.choice(HEALTHY), dice.uniform(0, AN_HOUR)) for _ in range(times(40))))

    _, error = watched.run(MiniAgents(start_everything_asap_by_default=start_asap, stall_report_s=1e9), main())

    assert error is None, repr(error)
    assert not watched.complaints


def test_a_server_that_is_idle_for_an_hour_is_well_and_answers_afterwards(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()

    async def main() -> float:
        requests: asyncio.Queue[Any] = asyncio.Queue()
        answers: asyncio.Queue[str] = asyncio.Queue()
        open_call = conversing.initiate_inquiry()
        readers = [asyncio.create_task(collect(open_call.reply_sequence(close_request_sequence=False)))]

        @miniagent
        async def serving(ctx: InteractionContext) -> None:
            while (request := await requests.get()) is not None:
                async for message in conversing.inquire(request):
                    await answers.put(str(await message))

        server = serving.inquire()
        readers.append(asyncio.create_task(collect(server)))
        with MiniAgents.get_current().waits_for_outside("requests"):
            await asyncio.sleep(SERVER_IDLES_S)
        assert "No progress" not in caplog.text
        await requests.put("are you there?")
        assert await answers.get() == "You said: are you there?"
        await requests.put(None)
        open_call.send_message("and you?").finish()
        assert [len(messages) for messages in await asyncio.gather(*readers)] == [1, 0]
        return asyncio.get_running_loop().time()

    lasted_s, error = watched.run(MiniAgents(), main())

    assert error is None, repr(error)
    assert lasted_s >= SERVER_IDLES_S
    assert not watched.complaints


async def collect(sequence: Any) -> list[str]:
    return [str(await message) async for message in sequence]


# -- what nothing can be proved of -----------------------------------------------------------------------------------------


def test_lazy_agents_that_wait_for_each_other_through_a_plain_event_are_shown_by_the_stall_report(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watched = Watched()
    event = asyncio.Event()

    @miniagent
    async def waiter(ctx: InteractionContext) -> None:
        await event.wait()
        ctx.reply("it was set")

    @miniagent
    async def setter(ctx: InteractionContext) -> None:
        event.set()
        ctx.reply("set")

    @miniagent
    async def asking_both(ctx: InteractionContext) -> None:
        # In lazy mode the second one would start only when the first one's replies have been read.
        ctx.reply([waiter.inquire(), setter.inquire()])

    async def main() -> tuple[str, Any, list[str]]:
        mini_agents = MiniAgents.get_current()
        replies = asking_both.inquire()
        outcome, _ = await in_time(lambda: collect(replies), 10 * A_MINUTE)
        tree_at_the_end = mini_agents.who_waits()
        event.set()
        return tree_at_the_end, outcome, await collect(replies)

    with caplog.at_level(logging.WARNING):
        result, error = watched.run(MiniAgents(start_everything_asap_by_default=False), main())

    assert error is None, repr(error)
    _, outcome, afterwards = result
    assert isinstance(outcome, TimeoutError)
    assert afterwards == ["it was set", "set"]
    report = [record.getMessage() for record in caplog.records if "No progress" in record.getMessage()]
    assert len(report) == 1
    assert "`WAITER`" in report[0]
    assert not watched.complaints


@pytest.mark.parametrize("start_asap", [True, False], ids=["eager", "lazy"])
def test_the_report_of_a_stall_shows_the_chain_of_agents_that_hang_on_the_one_which_waits_outside(
    start_asap: bool, caplog: pytest.LogCaptureFixture
) -> None:
    watched = Watched()

    @miniagent
    async def innermost(ctx: InteractionContext) -> None:
        await asyncio.get_running_loop().create_future()

    @miniagent
    async def middle(ctx: InteractionContext) -> None:
        ctx.reply(str(await innermost.inquire()))

    @miniagent
    async def outermost(ctx: InteractionContext) -> None:
        ctx.reply(str(await middle.inquire()))

    async def main() -> Any:
        async with outermost.inquire() as replies:
            return await in_time(lambda: replies, AN_HOUR)

    with caplog.at_level(logging.WARNING):
        result, error = watched.run(MiniAgents(start_everything_asap_by_default=start_asap), main())

    assert error is None, repr(error)
    assert isinstance(result[0], TimeoutError)
    lines = [line for line in caplog.text.splitlines() if "_MOST" in line.upper() or "`" in line]
    order = [name for line in lines for name in ("OUTERMOST", "MIDDLE", "INNERMOST") if f"agent `{name}` " in line]
    assert order == ["OUTERMOST", "MIDDLE", "INNERMOST"]
    assert not watched.complaints
