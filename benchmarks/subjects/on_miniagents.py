"""The cases, written with this package."""

import asyncio
import gc
import statistics
import time
import tracemalloc
from collections.abc import AsyncIterator, Coroutine
from typing import Any

from miniagents import (
    InteractionContext,
    Message,
    MessagePromise,
    MessageSequencePromise,
    MiniAgents,
    UsageLimits,
    miniagent,
)
from miniagents.ext.llms import ScriptedAgent


def inside_context(coroutine: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    """Each function runs inside a context of its own; entering and leaving it is not measured."""
    return MiniAgents().arun(coroutine)


def message_of(tokens: int, burst: int, *, text: str = "t") -> MessagePromise:
    """A message whose tokens come in bursts of so many; `burst=0`: all at once, with no wait in between."""

    async def stream(_: dict[str, Any]) -> AsyncIterator[str]:
        for index in range(tokens):
            yield text
            if burst and index % burst == burst - 1:
                await asyncio.sleep(0)

    return Message.promise(message_token_streamer=stream)


@miniagent
async def restreamer(ctx: InteractionContext) -> None:
    """Yields every token it gets into a message of its own."""
    async for promise in ctx.message_promises:

        async def stream(_: dict[str, Any], promise: MessagePromise = promise) -> AsyncIterator[str]:
            async for token in promise:
                yield token

        ctx.reply(Message.promise(message_token_streamer=stream))


@miniagent
async def forwarder(ctx: InteractionContext) -> None:
    ctx.reply(ctx.message_promises)


@miniagent
async def trivial(ctx: InteractionContext) -> None:
    ctx.reply("x")


@miniagent
async def tree(ctx: InteractionContext, level: int) -> None:
    for _ in range(5):
        ctx.reply("x" if level == 1 else tree.inquire(level=level - 1))


@miniagent
async def reader(ctx: InteractionContext) -> None:
    """Reads all that it is sent and answers with one word."""
    async for promise in ctx.message_promises:
        await promise
    ctx.reply("ok")


@miniagent
async def nested(ctx: InteractionContext, levels: int) -> None:
    ctx.reply(nested_list(levels))


@miniagent
async def talker(ctx: InteractionContext, count: int) -> None:
    for _ in range(count):
        ctx.reply("x")


async def count_tokens(messages: MessageSequencePromise) -> int:
    count = 0
    async for promise in messages:
        async for _ in promise:
            count += 1
    return count


def through(agent: Any, depth: int, message: MessagePromise) -> MessageSequencePromise:
    messages: Any = message
    for _ in range(depth):
        messages = agent.inquire(messages)
    return messages


async def restream(tokens: int, depth: int, burst: int) -> None:
    assert await count_tokens(through(restreamer, depth, message_of(tokens, burst))) == tokens


async def forward(tokens: int, depth: int, burst: int) -> None:
    assert await count_tokens(through(forwarder, depth, message_of(tokens, burst))) == tokens


async def first_token(depth: int) -> float:
    """The CPU time from the first call until the first token has come through the agents."""
    arrived = asyncio.Event()

    async def stream(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "t"
        await arrived.wait()

    began = time.process_time()
    messages = through(restreamer, depth, Message.promise(message_token_streamer=stream))
    async for promise in messages:
        async for _ in promise:
            if not arrived.is_set():
                elapsed = time.process_time() - began
                arrived.set()
    return elapsed


async def calls_in_sequence(calls: int) -> None:
    for _ in range(calls):
        await trivial.inquire("hi")


async def calls_at_once(calls: int) -> None:
    promises = [trivial.inquire("hi") for _ in range(calls)]
    for promise in promises:
        await promise


def nested_list(levels: int) -> Any:
    return "x" if levels == 0 else [nested_list(levels - 1) for _ in range(5)]


async def flatten_lists(levels: int) -> None:
    """The lists are what an agent replies."""
    assert len(await nested.inquire(levels=levels)) == 5**levels


async def flatten_agents(levels: int) -> None:
    assert len(await tree.inquire(level=levels)) == 5**levels


async def reply_of_messages(messages: int) -> None:
    """One agent that replies with so many messages, each read by its caller."""
    count = 0
    async for promise in talker.inquire(count=messages):
        await promise
        count += 1
    assert count == messages


async def live_calls(calls: int, measure: str) -> float:
    """What one call costs that has begun and waits, with no message and with nobody reading: "bytes" or "tasks"."""
    release = asyncio.Event()

    @miniagent
    async def waiter(ctx: InteractionContext) -> None:
        await release.wait()

    tasks_before = len(asyncio.all_tasks())
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    promises = [waiter.inquire() for _ in range(calls)]
    await asyncio.sleep(0.01)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    tasks = len(asyncio.all_tasks()) - tasks_before
    release.set()
    for promise in promises:
        await promise
    return (used if measure == "bytes" else tasks) / calls


async def live_call_bytes(calls: int) -> float:
    return await live_calls(calls, "bytes")


async def live_call_tasks(calls: int) -> float:
    return await live_calls(calls, "tasks")


async def retained_bytes(tokens: int) -> float:
    """Bytes per token that a message keeps when all its tokens and its text are there; the tokens are all different."""

    async def stream(_: dict[str, Any]) -> AsyncIterator[str]:
        for index in range(tokens):
            yield f"{index} "

    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    promise = Message.promise(message_token_streamer=stream)
    await promise
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return used / tokens


async def garbage_per_call(calls: int, kind: str) -> float:
    """How many objects of cyclic garbage one call leaves behind. The calls before the first count are not counted."""

    async def once() -> None:
        if kind == "plain":
            await trivial.inquire("hi")
        elif kind == "nested":
            await tree.inquire(level=2)
        elif kind == "streaming":
            await count_tokens(through(restreamer, 2, message_of(3, 1)))
        elif kind == "forwarding":
            await count_tokens(through(forwarder, 2, message_of(3, 1)))
        elif kind == "unread":
            trivial.inquire("hi")
            await asyncio.sleep(0)
        else:
            raise ValueError(kind)

    async def times(count: int) -> int:
        for _ in range(count):
            await once()
        # The task of the last call ends after its reader has gone on.
        await asyncio.sleep(0.01)
        return gc.collect()

    gc.disable()
    try:
        await times(10)
        few = await times(10)
        return (await times(10 + calls) - few) / calls
    finally:
        gc.enable()


async def first_token_at_hand(tokens: int, times: int) -> float:
    """The part of the time after which the reader has the first of the tokens, which a streamer has all at hand.

    The median over so many streams: being interrupted in its first microseconds makes one several times slower.
    """
    parts: list[float] = []
    for _ in range(times):
        began = time.process_time()
        first_after: float | None = None
        async for _ in message_of(tokens, 0):
            if first_after is None:
                first_after = time.process_time() - began
        assert first_after is not None
        parts.append(first_after / (time.process_time() - began))
    return statistics.median(parts)


def history_of(turns: int) -> list[Message]:
    return [Message(f"message {index}", role=("user", "assistant")[index % 2]) for index in range(2 * turns)]


async def dialog_turn(turn: int, times: int) -> float:
    """The CPU time of one turn of a dialog that sends all its history, and of which the answer is read."""
    history = history_of(turn)
    # What is old was sent before.
    await reader.inquire(history)
    began = time.process_time()
    for _ in range(times):
        await reader.inquire([*history, "a new message"])
    return (time.process_time() - began) / times


async def dialog_growth(early: int, late: int, times: int) -> float:
    """How much more the late turn costs than the early one."""
    return await dialog_turn(late, times) - await dialog_turn(early, times)


async def linked_dialog_turn(turn: int, times: int) -> float:
    """The same, where the history is handed on as the promise in which it arrived."""
    history = forwarder.inquire(history_of(turn))
    await reader.inquire(history)
    began = time.process_time()
    for _ in range(times):
        await reader.inquire([history, "a new message"])
    return (time.process_time() - began) / times


async def linked_dialog_growth(early: int, late: int, times: int) -> float:
    return await linked_dialog_turn(late, times) - await linked_dialog_turn(early, times)


async def read_once(messages: int, times: int) -> float:
    """The CPU time of reading so many messages that are all there."""
    promise = forwarder.inquire(history_of(messages // 2))
    await promise
    began = time.process_time()
    for _ in range(times):
        async for message_promise in promise:
            await message_promise
    return (time.process_time() - began) / times


async def readers_live(readers: int, tokens: int) -> None:
    promise = message_of(tokens, 1)

    async def read() -> int:
        count = 0
        async for _ in promise:
            count += 1
        return count

    assert await asyncio.gather(*[read() for _ in range(readers)]) == [tokens] * readers


async def replays(readers: int, tokens: int) -> float:
    promise = message_of(tokens, 1)
    await promise
    began = time.process_time()
    for _ in range(readers):
        count = 0
        async for _ in promise:
            count += 1
        assert count == tokens
    return time.process_time() - began


def model(tokens: int, *, burst: int = 0) -> Any:
    """A model agent that answers with so many tokens, and waits after each so many."""

    async def reply(prompt: Any) -> AsyncIterator[str]:
        for index in range(tokens):
            yield "t"
            if burst and index % burst == burst - 1:
                await asyncio.sleep(0)

    return ScriptedAgent.fork(script=reply, system="Be brief.")


async def agent_run(runs: int) -> None:
    """One model agent, asked again and again: with its prompt, its roles and the usage in its answer."""
    agent = model(1)
    for _ in range(runs):
        (message,) = await agent.inquire("hi")
        assert str(message) == "t"


async def limited_agent_run(runs: int) -> None:
    """The same with limits on every call, none of which is reached."""
    agent = model(1)
    limits = UsageLimits(requests=10, total_tokens=10_000, tool_calls=10, cost=1)
    for _ in range(runs):
        (message,) = await agent.inquire("hi", usage_limits=limits)
        assert str(message) == "t"


async def agents_at_once(runs: int) -> None:
    agent = model(1, burst=1)
    for promise in [agent.inquire("hi") for _ in range(runs)]:
        assert len(await promise) == 1


async def agent_stream(tokens: int) -> None:
    assert await count_tokens(model(tokens, burst=1).inquire("hi")) == tokens
