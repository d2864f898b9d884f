"""`durability=`: when what a program has awaited is committed, and that tokens never wait for it."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgent, miniagent
from miniagents.journal import Journal
from miniagents.messages import MessageTokenAppender
from tests.unit.journal.conftest import Kept, OpenJournal, collected
from tests.unit.journal.programs import asking, leaf, texts, until

Locked = Callable[[], AbstractAsyncContextManager[None]]


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Those that others can see, and hold up."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.fixture
def locked(url: str, tmp_path: Path) -> Locked:
    """Gives a block in which nobody else can write."""

    @asynccontextmanager
    async def sqlite() -> AsyncIterator[None]:
        connection = sqlite3.connect(tmp_path / "runs.db")
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.rollback()
        connection.close()

    @asynccontextmanager
    async def postgres() -> AsyncIterator[None]:
        import asyncpg

        connection = await asyncpg.connect(url)
        async with connection.transaction():
            await connection.execute("LOCK TABLE journal_messages, journal_calls IN EXCLUSIVE MODE")
            yield
        await connection.close()

    return sqlite if url.startswith("sqlite") else postgres


class Gated:
    """A leaf that says one message, waits, and says another one; each in two tokens."""

    def __init__(self) -> None:
        self.may_go_on = asyncio.Event()

        @miniagent(durable=True)
        async def gated(ctx: InteractionContext) -> None:
            for name in ["one", "two"]:
                with MessageTokenAppender() as appender:
                    ctx.reply(Message.promise(message_token_streamer=appender))
                    appender.append(f"{name} ").append("said")
                await self.may_go_on.wait()

        self.agent: MiniAgent = gated


async def seen_by(journal: Journal) -> list[tuple[str, int]]:
    """The state of each call, and how many replies are there."""
    return [(one.state, len(one.replies)) for one in await collected(journal.log("r"))]


async def test_each_message_that_was_awaited_is_committed_by_then(kept: Kept, shared_journal: OpenJournal) -> None:
    other = await shared_journal()
    gated = Gated()

    async with kept.mini_agents():
        replies = gated.agent.inquire("x")
        assert str(await (await anext(aiter(replies)))) == "one said"
        assert await seen_by(other) == [("started", 1)]
        gated.may_go_on.set()
        assert await texts(replies) == ["one said", "two said"]
        assert await seen_by(other) == [("finished", 2)]


async def test_what_an_orchestrator_passes_on_is_committed_when_it_is_awaited(
    kept: Kept, shared_journal: OpenJournal
) -> None:
    other = await shared_journal()

    async with kept.mini_agents():
        assert await texts(asking(leaf([])).inquire("x")) == ["re: x"]
        assert ("finished", 1) in await seen_by(other)


async def test_tokens_do_not_wait_for_the_store_and_messages_do(kept: Kept, locked: Locked) -> None:
    gated = Gated()
    gated.may_go_on.set()

    async with kept.mini_agents():
        async with locked():
            replies = gated.agent.inquire("x")
            reader = aiter(replies)
            assert [token async for token in await anext(reader)] == ["one ", "said"]
            assert [token async for token in await anext(reader)] == ["two ", "said"]
            whole = asyncio.ensure_future(texts(replies))
            for _ in range(100):
                await asyncio.sleep(0)
            assert not whole.done()
        assert await whole == ["one said", "two said"]


@pytest.mark.parametrize("durability", ["lazy", "end"])
async def test_nothing_waits_for_the_store_where_that_is_wanted(kept: Kept, locked: Locked, durability: str) -> None:
    async with kept.mini_agents(durability=durability):
        async with locked():
            assert await texts(leaf([]).inquire("x")) == ["re: x"]
        await asyncio.sleep(0)

    assert [one.state for one in await kept.calls()] == ["finished"]


async def test_lazily_it_is_committed_in_the_background(kept: Kept, shared_journal: OpenJournal) -> None:
    other = await shared_journal()
    loop = asyncio.get_running_loop()

    took_s: list[float] = []

    async def is_committed() -> bool:
        return await seen_by(other) == [("finished", 1)] * (len(took_s) + 1)

    async with kept.mini_agents(durability="lazy"):
        # The shortest of several, where a machine that does much else makes the first take longer.
        while not took_s or (min(took_s) >= 0.5 and len(took_s) < 5):
            await leaf([]).inquire("x")
            awaited_at = loop.time()
            async with asyncio.timeout(5):
                await until(is_committed)
            took_s.append(loop.time() - awaited_at)

    # What the other connection needs to look is in it.
    assert min(took_s) < 0.5


async def test_at_the_end_it_is_committed_when_the_run_ends(kept: Kept, shared_journal: OpenJournal) -> None:
    other = await shared_journal()

    async with kept.mini_agents(durability="end"):
        await leaf([]).inquire("x")
        assert await seen_by(other) == []

    assert await seen_by(other) == [("finished", 1)]


@pytest.mark.parametrize("fsync", [True, False])
async def test_the_file_is_opened_to_survive_a_power_failure_if_that_is_wanted(
    kept: Kept,
    monkeypatch: pytest.MonkeyPatch,
    fsync: bool,
) -> None:
    options: list[Any] = []
    true_open = Journal.open

    async def open_and_note(url: str, **given: Any) -> Journal:
        options.append(given)
        return await true_open(url, **given)

    monkeypatch.setattr(Journal, "open", open_and_note)
    async with kept.mini_agents(fsync=fsync):
        await leaf([]).inquire("x")

    assert options == [{"fsync": fsync}]
    assert [one.state for one in await kept.calls()] == ["finished"]
