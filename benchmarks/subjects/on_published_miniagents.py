"""The cases, written with the published versions 0.0.24 and 0.0.35 of the package of the same name."""

import asyncio
import gc
import statistics
import time
import tracemalloc
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import miniagents
from miniagents import InteractionContext, MiniAgent, MiniAgents, miniagent

# 0.0.25 renamed `inquire`; 0.0.30 made `Message` a class without text.
MessageClass: Any = getattr(miniagents, "TextMessage", miniagents.Message)


def ask(agent: MiniAgent, messages: Any = None, **settings: Any) -> Any:
    return (agent.inquire if hasattr(agent, "inquire") else agent.trigger)(messages, **settings)


def inside_context(coroutine: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    return MiniAgents().arun(coroutine)


def message_of(tokens: int, burst: int) -> Any:
    async def stream(_: Any) -> AsyncIterator[Any]:
        for index in range(tokens):
            yield "t"
            if burst and index % burst == burst - 1:
                await asyncio.sleep(0)

    return MessageClass.promise(message_token_streamer=stream)


@miniagent
async def restreamer(ctx: InteractionContext) -> None:
    async for promise in ctx.message_promises:

        async def stream(_: Any, promise: Any = promise) -> AsyncIterator[Any]:
            async for token in promise:
                yield token

        ctx.reply(MessageClass.promise(message_token_streamer=stream))


@miniagent
async def forwarder(ctx: InteractionContext) -> None:
    ctx.reply(ctx.message_promises)


@miniagent
async def trivial(ctx: InteractionContext) -> None:
    ctx.reply("x")


@miniagent
async def tree(ctx: InteractionContext, level: int) -> None:
    for _ in range(5):
        ctx.reply("x" if level == 1 else ask(tree, level=level - 1))


@miniagent
async def reader(ctx: InteractionContext) -> None:
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


async def count_tokens(messages: Any) -> int:
    count = 0
    async for promise in messages:
        async for _ in promise:
            count += 1
    return count


def through(agent: MiniAgent, depth: int, message: Any) -> Any:
    messages = message
    for _ in range(depth):
        messages = ask(agent, messages)
    return messages


async def restream(tokens: int, depth: int, burst: int) -> None:
    assert await count_tokens(through(restreamer, depth, message_of(tokens, burst))) == tokens


async def forward(tokens: int, depth: int, burst: int) -> None:
    assert await count_tokens(through(forwarder, depth, message_of(tokens, burst))) == tokens


async def first_token(depth: int) -> float:
    arrived = asyncio.Event()

    async def stream(_: Any) -> AsyncIterator[Any]:
        yield "t"
        await arrived.wait()

    began = time.process_time()
    elapsed = 0.0
    async for promise in through(restreamer, depth, MessageClass.promise(message_token_streamer=stream)):
        async for _ in promise:
            if not arrived.is_set():
                elapsed = time.process_time() - began
                arrived.set()
    return elapsed


async def calls_in_sequence(calls: int) -> None:
    for _ in range(calls):
        await ask(trivial, "hi")


async def calls_at_once(calls: int) -> None:
    for promise in [ask(trivial, "hi") for _ in range(calls)]:
        await promise


def nested_list(levels: int) -> Any:
    return "x" if levels == 0 else [nested_list(levels - 1) for _ in range(5)]


async def flatten_lists(levels: int) -> None:
    assert len(await ask(nested, levels=levels)) == 5**levels


async def flatten_agents(levels: int) -> None:
    assert len(await ask(tree, level=levels)) == 5**levels


async def reply_of_messages(messages: int) -> None:
    count = 0
    async for promise in ask(talker, count=messages):
        await promise
        count += 1
    assert count == messages


async def live_calls(calls: int, measure: Callable[[int, int], float]) -> float:
    release = asyncio.Event()

    @miniagent
    async def waiter(ctx: InteractionContext) -> None:
        await release.wait()

    tasks_before = len(asyncio.all_tasks())
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    promises = [ask(waiter) for _ in range(calls)]
    for _ in range(20):
        await asyncio.sleep(0.001)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    tasks = len(asyncio.all_tasks()) - tasks_before
    release.set()
    for promise in promises:
        await promise
    return measure(used, tasks) / calls


async def live_call_bytes(calls: int) -> float:
    return await live_calls(calls, lambda used, _: used)


async def live_call_tasks(calls: int) -> float:
    return await live_calls(calls, lambda _, tasks: tasks)


async def retained_bytes(tokens: int) -> float:
    async def stream(_: Any) -> AsyncIterator[Any]:
        for index in range(tokens):
            yield f"{index} "

    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    promise = MessageClass.promise(message_token_streamer=stream)
    await promise
    for _ in range(20):
        await asyncio.sleep(0.001)
    gc.collect()
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return used / tokens


async def garbage_per_call(calls: int, kind: str) -> float:
    assert kind == "plain"

    async def times(count: int) -> int:
        for _ in range(count):
            await ask(trivial, "hi")
        for _ in range(20):
            await asyncio.sleep(0.001)
        return gc.collect()

    gc.disable()
    try:
        await times(10)
        few = await times(10)
        return (await times(10 + calls) - few) / calls
    finally:
        gc.enable()


async def first_token_at_hand(tokens: int, times: int) -> float:
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


def history_of(turns: int) -> list[Any]:
    return [MessageClass(f"message {index}", role=("user", "assistant")[index % 2]) for index in range(2 * turns)]


async def dialog_turn(turn: int, times: int) -> float:
    history = history_of(turn)
    await ask(reader, history)
    began = time.process_time()
    for _ in range(times):
        await ask(reader, [*history, "a new message"])
    return (time.process_time() - began) / times


async def dialog_growth(early: int, late: int, times: int) -> float:
    return await dialog_turn(late, times) - await dialog_turn(early, times)


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


@miniagent
async def model(ctx: InteractionContext, tokens: int, burst: int) -> None:
    """As its model agents do it, without prompt, roles and usage: tokens appended to a message."""
    with miniagents.MessageTokenAppender() as appender:
        ctx.reply(MessageClass.promise(message_token_streamer=appender))
        for index in range(tokens):
            appender.append("t")
            if burst and index % burst == burst - 1:
                await asyncio.sleep(0)


async def agent_run(runs: int) -> None:
    for _ in range(runs):
        (message,) = await ask(model, "hi", tokens=1, burst=0)
        assert str(message) == "t"


async def agents_at_once(runs: int) -> None:
    for promise in [ask(model, "hi", tokens=1, burst=1) for _ in range(runs)]:
        assert len(await promise) == 1


async def agent_stream(tokens: int) -> None:
    assert await count_tokens(ask(model, "hi", tokens=tokens, burst=1)) == tokens
