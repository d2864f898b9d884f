"""A connection to Postgres that is lost in the middle of a write: what was written then is written once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.journal import Journal, RunJournal
from miniagents.journal._histories import history_of
from tests.unit.journal.conftest import call, collected, record
from tests.unit.journal.network import Loses, Network


async def write_one_of_everything(journal: Journal) -> None:
    run = await journal.begin_run("first")
    await record(run, call("done", "in"), "out", Message("second"))
    await run.call_started(call("long"), durability="step")
    await run.call_replied("long", 0, (Message("so far"), None))
    await run.call_finished("long", [(Message("so far"), ("so", " far")), (Message("whole"), None)])
    await run.call_started(call("broken"))
    await run.call_failed("broken", ValueError("no"))
    await run.remember("once", {"value": Message("kept")})
    await run.ask("approve", "Publish?")
    await journal.answer("first", "approve", "yes")
    await keep(run, "hello")
    await keep(run, "hello again")
    await run.end()

    again = await journal.begin_run("first")
    await record(again, call("broken"), "now it works")
    assert await again.find_equal_call(call("under another key", "in"))
    await journal.begin_run("second")
    await again.end("failed")


async def keep(run: RunJournal, text: str) -> None:
    with history_of(run, "shared", "scope").call() as history:
        await history.keep([Message(text)])


_DIFFERENT = {"lease_until", "owner", "origin", "error_traceback", "seq", "call", "id", "history"}


async def rows_of(url: str) -> dict[str, list[list[Any]]]:
    """Everything in the tables, but for times, for numbers that are given, and for who has written it."""
    server = await asyncpg.connect(url)
    tables = await server.fetch("SELECT tablename FROM pg_tables WHERE schemaname = current_schema() ORDER BY 1")
    found: dict[str, list[list[Any]]] = {}
    for (table,) in tables:
        rows = await server.fetch(f"SELECT * FROM {table} ORDER BY 1, 2" if table != "journal_version" else "SELECT 1")
        found[table] = [
            [value for name, value in row.items() if not name.endswith("_at") and name not in _DIFFERENT]
            for row in rows
        ]
    await server.close()
    return found


@pytest.fixture
async def another_url(postgres_url: str) -> AsyncIterator[str]:
    """A schema that nothing happens to."""
    schema = f"{postgres_url.rpartition('=')[2]}_calm"
    server = await asyncpg.connect(postgres_url)
    await server.execute(f"CREATE SCHEMA {schema}")
    yield f"{postgres_url.rpartition('=')[0]}={schema}"
    await server.execute(f"DROP SCHEMA {schema} CASCADE")
    await server.close()


@pytest.mark.parametrize("loses", ["answer", "commit"])
async def test_whatever_is_written_while_the_connection_is_lost_is_written_once(
    network: tuple[Network, str], postgres_url: str, another_url: str, loses: Loses
) -> None:
    wire, url = network
    async with await Journal.open(another_url) as journal:
        await write_one_of_everything(journal)

    async with await Journal.open(url) as journal:
        wire.loses = loses
        await write_one_of_everything(journal)
    assert wire.lost > 12

    assert await rows_of(postgres_url) == await rows_of(another_url)


async def test_what_is_removed_while_the_connection_is_lost_is_counted_once(network: tuple[Network, str]) -> None:
    wire, url = network
    async with await Journal.open(url) as journal:
        run = await journal.begin_run("old")
        await record(run, call("k"), "out")
        await run.end()

        wire.loses = "answer"
        removed = await journal.prune(older_than=timedelta())

        assert (removed.runs, removed.calls, removed.messages) == (1, 1, 1)
        assert wire.lost


@miniagent(durable=True)
async def leaf(ctx: InteractionContext) -> None:
    executed.append(1)
    one_more.set()
    ctx.reply(f"about {await ctx.message_promises.as_single_promise()}")


executed: list[int] = []
one_more = asyncio.Event()


async def test_calls_that_were_finished_are_not_made_again_however_often_the_connection_was_ended(
    postgres_url: str,
) -> None:
    name = postgres_url.rpartition("=")[2]
    url = f"{postgres_url}&application_name={name}"
    server = await asyncpg.connect(postgres_url)
    ended = 0

    async def ask_all() -> None:
        for number in range(15):
            await asyncio.gather(*(leaf.inquire(f"{number} {one}") for one in range(4)))

    async def end_connections(program: "asyncio.Task[None]") -> None:
        nonlocal ended
        while not program.done():
            ended += await server.fetchval(
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = $1", name
            )
            # Where calls begin others have just ended, and are being written.
            one_more.clear()
            waiting = asyncio.ensure_future(one_more.wait())
            await asyncio.wait([program, waiting], return_when=asyncio.FIRST_COMPLETED)
            waiting.cancel()

    for expected in (60, 0):
        executed.clear()
        async with MiniAgents(journal=url, run_id="r", on_store_error="raise"):
            program = asyncio.create_task(ask_all())
            if expected:
                await end_connections(program)
            await program
        assert len(executed) == expected
    await server.close()
    assert ended > 5

    async with await Journal.open(postgres_url) as journal:
        assert {one.state for one in await collected(journal.log("r"))} == {"finished"}
