"""A store that is gone, or locked, for longer than one write: the program does not wait for it with each call."""

import asyncio
import sqlite3
from pathlib import Path

import asyncpg
import pytest

from miniagents import MiniAgents
from miniagents.journal import Journal, JournalError, JournalLockedError, JournalUnreachableError, _postgres_connections
from miniagents.journal._patience import Patience
from miniagents.journal._postgres_transactions import LOCK, locking
from tests.unit.journal.conftest import call, collected, record
from tests.unit.journal.network import Network
from tests.unit.journal.programs import leaf, texts

LOST = "the program goes on without its record"
BACK = "can be written again"


@pytest.fixture(autouse=True)
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_postgres_connections, "RECONNECT_S", 0.2)
    monkeypatch.setattr(_postgres_connections, "LOOK_AGAIN_S", 0.01)


async def test_a_server_that_is_gone_is_waited_for_once_and_not_with_each_call(
    network: tuple[Network, str], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_postgres_connections, "LOOK_AGAIN_S", 3600.0)
    wire, url = network
    async with asyncio.timeout(30), MiniAgents(journal=url, run_id="r", on_store_error="report"):
        await leaf([]).inquire("before")
        wire.break_off()
        await leaf([]).inquire("the first one that finds nobody")
        asked = wire.asked
        for number in range(20):
            assert await texts(leaf([]).inquire(str(number)))

        assert wire.asked == asked
    assert caplog.text.count(LOST) == 1
    assert BACK not in caplog.text


async def test_reads_too_fail_at_once_while_the_server_is_gone(
    network: tuple[Network, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_postgres_connections, "LOOK_AGAIN_S", 3600.0)
    wire, url = network
    async with await Journal.open(url) as journal:
        wire.break_off()
        for _ in range(2):
            with pytest.raises(JournalUnreachableError, match="cannot be reached"):
                await collected(journal.runs())
            asked = wire.asked
        assert wire.asked == asked


async def test_a_server_that_comes_back_is_found_and_the_log_tells_each_of_that_once(
    network: tuple[Network, str], caplog: pytest.LogCaptureFixture
) -> None:
    wire, url = network
    async with asyncio.timeout(60), MiniAgents(journal=url, run_id="r", on_store_error="report"):
        for times in (1, 2):
            wire.break_off()
            await leaf([], f"LOST_{times}").inquire("x")
            assert caplog.text.count(LOST) == times
            wire.come_back()
            while caplog.text.count(BACK) < times:
                await leaf([], "BETWEEN").inquire("x")
            await leaf([], f"AFTER_{times}").inquire("x")

    assert caplog.text.count(LOST) == caplog.text.count(BACK) == 2
    assert "calls which ended meanwhile are made again where the run 'r' is resumed" in caplog.text
    async with await Journal.open(url) as journal:
        found = {one.agent: one.state for one in await collected(journal.log("r"))}
    assert found["AFTER_1"] == found["AFTER_2"] == "finished"
    assert "LOST_1" not in found


async def test_a_file_that_stays_locked_is_waited_for_once_and_written_as_soon_as_it_is_free(
    tmp_path: Path, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    clock = asyncio.get_running_loop().time
    async with await Journal.open(sqlite_url, busy_timeout_s=0.5) as journal:
        async with MiniAgents(journal=journal, run_id="r", on_store_error="report"):
            await leaf([]).inquire("before")
            connection = sqlite3.connect(tmp_path / "runs.db")
            connection.execute("BEGIN IMMEDIATE")
            await leaf([]).inquire("the first one")
            began = clock()
            for number in range(20):
                await leaf([]).inquire(str(number))
            # Each of them would wait for half a second, twice.
            assert clock() - began < 5
            assert caplog.text.count(LOST) == 1
            connection.close()
            await leaf([], "AFTERWARDS").inquire("x")
        states = {one.agent: one.state for one in await collected(journal.log("r"))}

    assert states["AFTERWARDS"] == "finished"
    assert caplog.text.count(LOST) == caplog.text.count(BACK) == 1


async def test_a_store_that_is_lost_only_when_the_run_ends_is_told_of(
    tmp_path: Path, sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    connection = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    async with await Journal.open(sqlite_url, busy_timeout_s=0.05) as journal:
        async with MiniAgents(journal=journal, run_id="r"):
            await leaf([]).inquire("x")
            connection.execute("BEGIN IMMEDIATE")
        connection.execute("ROLLBACK")
    connection.close()

    assert caplog.text.count("locked for too long") == 1


def test_who_got_a_lock_again_waits_for_the_next_one_as_long_as_before(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "runs.db", timeout=60)
    patience = Patience(connection)
    waits: list[int] = []

    for was_locked_out in (False, True, True, False, False):
        patience.note(was_locked_out=was_locked_out)
        waits += connection.execute("PRAGMA busy_timeout").fetchone()

    connection.close()
    assert waits[0] == waits[3] == waits[4] == 60_000
    assert waits[1] == waits[2] < 100


async def test_a_lock_in_postgres_is_waited_for_once(postgres_url: str) -> None:
    clock = asyncio.get_running_loop().time
    server = await asyncpg.connect(postgres_url)
    async with await Journal.open(postgres_url, busy_timeout_s=0.5) as journal:
        run = await journal.begin_run("r")
        await server.execute(f"{locking('pg_advisory_lock').replace('$1', str(LOCK))}")
        with pytest.raises(JournalLockedError):
            await run.remember("a", 1)
        began = clock()
        for _ in range(20):
            with pytest.raises(JournalLockedError):
                await run.remember("a", 1)
        assert clock() - began < 5

        await server.execute("SELECT pg_advisory_unlock_all()")
        await record(run, call("k"), "done")
        assert (await collected(journal.log("r")))[0].state == "finished"
    await server.close()


@pytest.mark.allow_errors_in_log("what is raised is told, too")
async def test_with_raise_each_call_fails_at_once_while_the_server_is_gone(network: tuple[Network, str]) -> None:
    wire, url = network
    failed: list[JournalError] = []
    with pytest.raises(JournalError):
        async with asyncio.timeout(30), MiniAgents(journal=url, run_id="r", on_store_error="raise"):
            wire.break_off()
            for number in range(3):
                try:
                    await leaf([]).inquire(str(number))
                except JournalError as error:
                    failed.append(error)

    assert len(failed) == 3
