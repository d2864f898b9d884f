"""The cases of the journal: each makes one, in a folder that it removes again."""

import asyncio
import sqlite3
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, closing
from pathlib import Path
from random import Random
from typing import Any

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.journal import Journal

NAME = "runs.db"


def inside_context(coroutine: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
    """Each function makes the contexts that it needs."""
    return coroutine


@asynccontextmanager
async def recorded(folder: str, durability: Any = "step") -> AsyncIterator[Journal]:
    """Give a journal, and have the calls inside recorded in it."""
    async with (
        await Journal.open(f"sqlite:///{folder}/{NAME}") as journal,
        MiniAgents(journal=journal, run_id="run", durability=durability),
    ):
        yield journal


def chain_agent(**marks: Any) -> Any:
    """An agent that asks itself so many times, each time inside of the call before."""

    @miniagent(**marks)
    async def link(ctx: InteractionContext, left: int) -> None:
        if left > 1:
            (message,) = await link.inquire("on", left=left - 1)
            ctx.reply(message)
        else:
            ctx.reply("x")

    return link


def echo_agent(**marks: Any) -> Any:
    @miniagent(**marks)
    async def echo(ctx: InteractionContext) -> None:
        ctx.reply(f"{(await ctx.message_promises)[0]}")

    return echo


async def ask_in_chain(agent: Any, calls: int, shape: str) -> None:
    if shape == "nested":
        (message,) = await agent.inquire("on", left=calls)
    else:
        message: Any = "x"
        for _ in range(calls):
            (message,) = await agent.inquire(message)
    assert str(message) == "x"


async def journal_chain(
    calls: int, durability: str, shape: str, *, durable: bool = True, flushes: bool = False
) -> AsyncGenerator[None]:
    """Until the last answer is there; with `flushes` until everything is committed, and stands in its place."""
    agent = chain_agent(durable=durable) if shape == "nested" else echo_agent(durable=durable)
    async with AsyncExitStack() as stack:
        journal: Journal | None = None
        if durability:
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            journal = await stack.enter_async_context(recorded(folder, durability))
        else:
            await stack.enter_async_context(MiniAgents())
        yield
        await ask_in_chain(agent, calls, shape)
        if journal is not None and flushes:
            await journal.flush()
        yield


async def journal_at_once(calls: int) -> AsyncGenerator[None]:
    agent = echo_agent(durable=True)
    with tempfile.TemporaryDirectory() as folder:
        async with recorded(folder):
            yield
            promises = [agent.inquire(f"question {index}") for index in range(calls)]
            for index, promise in enumerate(promises):
                (message,) = await promise
                assert str(message) == f"question {index}"
            yield


async def journal_first_token(times: int, how: str) -> float:
    """The median, on the clock on the wall; `how` is "no journal", "free" or "locked"."""
    waited: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        async with AsyncExitStack() as stack:
            journal: Journal | None = None
            if how == "no journal":
                await stack.enter_async_context(MiniAgents())
            else:
                journal = await stack.enter_async_context(recorded(folder))
            for index in range(times):
                if journal is not None:
                    # Nothing of the call before is still to be done.
                    await journal.flush()
                waited.append(await first_token_after(f"question {index}", Path(folder, NAME), locks=how == "locked"))
    return statistics.median(waited)


async def first_token_after(question: str, file: Path, *, locks: bool) -> float:
    """The seconds until the first token of a durable call, of which the rest comes when the lock is gone."""
    arrived = asyncio.Event()

    async def stream(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "t"
        await arrived.wait()
        yield "t"

    @miniagent(durable=True)
    async def streamer(ctx: InteractionContext) -> None:
        ctx.reply(Message.promise(message_token_streamer=stream))

    with closing(sqlite3.connect(file if locks else ":memory:", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.perf_counter()
        promise = streamer.inquire(question).as_single_promise()
        async for _ in promise:
            if not arrived.is_set():
                elapsed = time.perf_counter() - began
                other.execute("ROLLBACK")
                arrived.set()
    assert str(await promise) == "tt"
    return elapsed


class Answerer:
    """A durable agent that answers each question with a kilobyte of its own, and counts how often it is executed."""

    def __init__(self) -> None:
        self.executed = 0

        @miniagent(durable=True)
        async def answerer(ctx: InteractionContext) -> None:
            self.executed += 1
            number = int(str((await ctx.message_promises)[0]))
            ctx.reply(Random(number).randbytes(500).hex())

        self.agent = answerer

    async def ask(self, calls: int, shape: str = "at once", batch: int = 1000) -> None:
        """Ask so many questions, and read each answer."""
        if shape == "in sequence":
            batch = 1
        for first in range(0, calls, batch):
            promises = [self.agent.inquire(str(number)) for number in range(first, min(first + batch, calls))]
            for promise in promises:
                (message,) = await promise
                assert len(message.content) == 1000


async def record_run(folder: str, calls: int) -> None:
    async with recorded(folder):
        answerer = Answerer()
        await answerer.ask(calls)
        assert answerer.executed == calls


async def journal_resume(calls: int, shape: str) -> AsyncGenerator[None]:
    """From opening the file until all answers are there; all calls at once, or one after another."""
    with tempfile.TemporaryDirectory() as folder:
        await record_run(folder, calls)
        answerer = Answerer()
        yield
        async with recorded(folder):
            await answerer.ask(calls, shape, batch=calls)
            yield
        assert answerer.executed == 0


def size_of(folder: str) -> float:
    return sum(file.stat().st_size for file in Path(folder).iterdir())


async def journal_bytes(messages: int) -> float:
    """All bytes of the folder, when the journal is closed."""
    with tempfile.TemporaryDirectory() as folder:
        await record_run(folder, messages)
        return size_of(folder)


async def journal_log(messages: int) -> AsyncGenerator[None]:
    with tempfile.TemporaryDirectory() as folder:
        await record_run(folder, messages)
        yield
        async with await Journal.open(f"sqlite:///{folder}/{NAME}") as journal:
            assert len([call async for call in journal.log("run")]) == messages
            yield
