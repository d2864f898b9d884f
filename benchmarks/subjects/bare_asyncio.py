"""The floors: what the same work costs when it is written with bare asyncio, knowing what is to be done.

They do less than a framework must: no replay, no errors on their way, no order among replies, no owner of a task.
"""

import asyncio
import gc
import time
import tracemalloc
from collections.abc import AsyncIterator
from typing import Any


async def source(tokens: int, burst: int) -> AsyncIterator[str]:
    for index in range(tokens):
        yield "t"
        if index % burst == burst - 1:
            await asyncio.sleep(0)


async def relay(incoming: asyncio.Queue[str | None], outgoing: asyncio.Queue[str | None]) -> None:
    while True:
        token = await incoming.get()
        outgoing.put_nowait(token)
        if token is None:
            return


def chain_of_tasks(depth: int) -> tuple[list[asyncio.Queue[str | None]], list[asyncio.Task[None]]]:
    queues: list[asyncio.Queue[str | None]] = [asyncio.Queue() for _ in range(depth + 1)]
    return queues, [asyncio.create_task(relay(queues[i], queues[i + 1])) for i in range(depth)]


async def restream(tokens: int, depth: int, burst: int) -> None:
    """One task and one queue per stage."""
    queues, tasks = chain_of_tasks(depth)

    async def feed() -> None:
        async for token in source(tokens, burst):
            queues[0].put_nowait(token)
        queues[0].put_nowait(None)

    tasks.append(asyncio.create_task(feed()))
    count = 0
    while await queues[-1].get() is not None:
        count += 1
    assert count == tokens
    await asyncio.gather(*tasks)


async def restream_generators(tokens: int, depth: int, burst: int) -> None:
    """One async generator per stage, and no task at all."""

    async def stage(incoming: AsyncIterator[str]) -> AsyncIterator[str]:
        async for token in incoming:
            yield token

    stream = source(tokens, burst)
    for _ in range(depth):
        stream = stage(stream)
    count = 0
    async for _ in stream:
        count += 1
    assert count == tokens


async def first_token(depth: int) -> float:
    """The CPU time from the first call until the first token has come through the chain of tasks."""
    arrived = asyncio.Event()
    began = time.process_time()
    queues, tasks = chain_of_tasks(depth)

    async def feed() -> None:
        queues[0].put_nowait("t")
        await arrived.wait()
        queues[0].put_nowait(None)

    tasks.append(asyncio.create_task(feed()))
    assert await queues[-1].get() == "t"
    elapsed = time.process_time() - began
    arrived.set()
    await asyncio.gather(*tasks)
    return elapsed


async def trivial() -> str:
    return "x"


async def calls_in_sequence(calls: int) -> None:
    for _ in range(calls):
        assert await asyncio.create_task(trivial()) == "x"


async def calls_at_once(calls: int) -> None:
    assert len(await asyncio.gather(*[asyncio.create_task(trivial()) for _ in range(calls)])) == calls


def nested_list(levels: int) -> Any:
    return "x" if levels == 0 else [nested_list(levels - 1) for _ in range(5)]


async def flatten_lists(levels: int) -> None:
    async def flat(item: Any) -> AsyncIterator[str]:
        if isinstance(item, str):
            yield item
        else:
            for nested in item:
                async for text in flat(nested):
                    yield text

    texts = [text async for text in flat(nested_list(levels))]
    assert len(texts) == 5**levels


async def flatten_agents(levels: int) -> None:
    """A tree of tasks; each returns the list of what its five children returned."""

    async def branch(level: int) -> list[str]:
        if level == 1:
            return ["x"] * 5
        children = [asyncio.create_task(branch(level - 1)) for _ in range(5)]
        return [text for child in children for text in await child]

    assert len(await asyncio.create_task(branch(levels))) == 5**levels


async def live_call_bytes(calls: int) -> float:
    release = asyncio.Event()

    async def wait() -> None:
        await release.wait()

    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tasks = [asyncio.create_task(wait()) for _ in range(calls)]
    await asyncio.sleep(0.01)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    release.set()
    await asyncio.gather(*tasks)
    return used / calls


async def retained_bytes(tokens: int) -> float:
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    pieces = [f"{index} " for index in range(tokens)]
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    return used / len(pieces)


class SharedList:
    """A list of tokens that any number of readers follow; one event wakes them all."""

    def __init__(self) -> None:
        self.pieces: list[str] = []
        self.is_closed = False
        self.event = asyncio.Event()

    def append(self, piece: str) -> None:
        self.pieces.append(piece)
        self.event.set()
        self.event = asyncio.Event()

    def close(self) -> None:
        self.is_closed = True
        self.event.set()

    async def read(self) -> AsyncIterator[str]:
        index = 0
        while True:
            while index < len(self.pieces):
                yield self.pieces[index]
                index += 1
            if self.is_closed:
                return
            await self.event.wait()


async def count_all(shared: SharedList) -> int:
    count = 0
    async for _ in shared.read():
        count += 1
    return count


async def readers_live(readers: int, tokens: int) -> None:
    shared = SharedList()
    tasks = [asyncio.create_task(count_all(shared)) for _ in range(readers)]
    async for token in source(tokens, 1):
        shared.append(token)
    shared.close()
    assert await asyncio.gather(*tasks) == [tokens] * readers


async def replays(readers: int, tokens: int) -> float:
    shared = SharedList()
    async for token in source(tokens, 1):
        shared.append(token)
    shared.close()
    began = time.process_time()
    for _ in range(readers):
        assert await count_all(shared) == tokens
    return time.process_time() - began


async def agent_run(runs: int) -> None:
    """A coroutine that asks a "model" which answers at once."""
    for _ in range(runs):
        assert [token async for token in source(1, 1000)] == ["t"]


async def agents_at_once(runs: int) -> None:
    async def ask() -> list[str]:
        return [token async for token in source(1, 1)]

    assert len(await asyncio.gather(*[ask() for _ in range(runs)])) == runs


async def agent_stream(tokens: int) -> None:
    assert len([token async for token in source(tokens, 1)]) == tokens


async def task_chain(tasks: int, shape: str) -> None:
    """Each task makes the next one and awaits it (`"nested"`), or each comes after the one before."""

    async def link(left: int) -> str:
        return "x" if left == 1 else await asyncio.create_task(link(left - 1))

    if shape == "nested":
        assert await asyncio.create_task(link(tasks)) == "x"
        return
    for _ in range(tasks):
        assert await asyncio.create_task(trivial()) == "x"
