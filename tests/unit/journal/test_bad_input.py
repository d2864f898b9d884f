"""What is wrong with a journal is told in a clear error that names the file and the row."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from miniagents import Message
from miniagents.journal import (
    Journal,
    JournalCorruptError,
    JournalError,
    JournalLockedError,
    JournalVersionError,
)
from tests.unit.journal.conftest import call, collected, record

ANSWER = Message("The answer is 42.")


@pytest.fixture
async def file(tmp_path: Path, sqlite_url: str) -> Path:
    async with await Journal.open(sqlite_url) as journal:
        run = await journal.begin_run("r")
        await record(run, call("k", "question"), Message("outer", inside=ANSWER))
        await run.end()
    return tmp_path / "runs.db"


def change(file: Path, sql: str) -> None:
    connection = sqlite3.connect(file)
    connection.execute(sql)
    connection.commit()
    connection.close()


@pytest.mark.parametrize(
    "change_of_body",
    ["replace(body, '42', '43')", "'{}'", "'no JSON'", '\'{"class_": "os.system", "content": "x"}\''],
    ids=["other text", "empty", "no JSON", "other class"],
)
async def test_a_row_that_does_not_match_its_hash_is_refused_and_named(
    file: Path, sqlite_url: str, change_of_body: str
) -> None:
    change(file, f"UPDATE journal_messages SET body = {change_of_body} WHERE hash = '{ANSWER.hash_key}'")

    async with await Journal.open(sqlite_url) as journal:
        resumed = await journal.begin_run("r")
        with pytest.raises(JournalCorruptError, match=ANSWER.hash_key) as shown:
            await journal.show(ANSWER.hash_key[:8])
        with pytest.raises(JournalCorruptError, match=ANSWER.hash_key):
            await resumed.find_call("k")

    assert shown.value.row == f"message {ANSWER.hash_key}"
    assert shown.value.place == str(file)


async def test_inputs_that_somebody_has_changed_are_refused(file: Path, sqlite_url: str) -> None:
    change(file, f"UPDATE journal_sequences SET items = '{ANSWER.hash_key}'")

    async with await Journal.open(sqlite_url) as journal:
        with pytest.raises(JournalCorruptError, match="inputs"):
            await collected(journal.log("r"))


async def test_tokens_that_do_not_make_up_the_text_are_refused(file: Path, sqlite_url: str) -> None:
    change(file, "UPDATE journal_replies SET tokens = x'0102'")

    async with await Journal.open(sqlite_url) as journal:
        resumed = await journal.begin_run("r")
        with pytest.raises(JournalCorruptError, match="the tokens have 2 characters, the text has 5"):
            await resumed.find_call("k")


async def test_a_journal_of_another_version_is_refused(file: Path, sqlite_url: str) -> None:
    change(file, "PRAGMA user_version = 99")

    with pytest.raises(JournalVersionError, match="version 99, and this version of miniagents reads version 1"):
        await Journal.open(sqlite_url)


async def test_a_postgres_journal_of_another_version_is_refused(postgres_url: str) -> None:
    import asyncpg

    await (await Journal.open(postgres_url)).close()
    connection = await asyncpg.connect(postgres_url)
    await connection.execute("UPDATE journal_version SET version = 99")
    await connection.close()

    with pytest.raises(JournalVersionError, match="version 99"):
        await Journal.open(postgres_url)


async def test_the_database_of_something_else_is_left_alone(tmp_path: Path, sqlite_url: str) -> None:
    change(tmp_path / "runs.db", "CREATE TABLE theirs (x)")
    before = (tmp_path / "runs.db").read_bytes()

    with pytest.raises(JournalVersionError, match="something else"):
        await Journal.open(sqlite_url)

    assert (tmp_path / "runs.db").read_bytes() == before


async def test_a_file_that_is_no_database_is_refused(tmp_path: Path, sqlite_url: str) -> None:
    (tmp_path / "runs.db").write_text("Dear diary, " * 1000)

    with pytest.raises(JournalCorruptError, match="damaged, or no journal"):
        await Journal.open(sqlite_url)


async def test_a_file_that_is_locked_is_waited_for_and_then_an_error(file: Path, sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url, busy_timeout_s=0.05) as journal:
        other = sqlite3.connect(file)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalLockedError, match="locked for too long"):
            await journal.begin_run("new")
        other.rollback()
        other.close()

        await journal.begin_run("new")


async def test_a_full_disk_is_an_error_and_leaves_no_half_written_row(tmp_path: Path, sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url, max_bytes=200_000) as journal:
        run = await journal.begin_run("r")
        await record(run, call("small"), "small")
        await run.call_started(call("large"))
        with pytest.raises(JournalError, match="no room left"):
            await run.call_finished("large", [(Message("x" * 300_000), None)])
        states = {one.key: (one.state, one.replies) for one in await collected(journal.log("r"))}

    assert states["small"] == ("finished", (Message("small").hash_key,))
    assert states["large"] == ("started", ())
    connection = sqlite3.connect(tmp_path / "runs.db")
    assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    connection.close()


async def test_what_is_opened_for_reading_only_is_read_and_not_written(file: Path, sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url, read_only=True) as journal:
        assert await journal.show(ANSWER.hash_key) == ANSWER
        with pytest.raises(JournalError, match="for reading only"):
            await journal.begin_run("new")


async def test_a_file_that_is_not_there_is_not_made_by_who_only_looks(tmp_path: Path, sqlite_url: str) -> None:
    for options in ({"read_only": True}, {"may_be_new": False}):
        with pytest.raises(JournalError, match="no such file"):
            await Journal.open(sqlite_url, **options)

    assert not (tmp_path / "runs.db").exists()


@pytest.mark.parametrize("url", ["runs.db", "sqlite://runs.db", "sqlite:///", "redis://x", ""])
async def test_a_url_that_is_none_is_answered_with_those_that_are(url: str) -> None:
    with pytest.raises(JournalError, match="Use 'sqlite:///runs.db'"):
        await Journal.open(url)


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalError, match="missing' does not exist"):
        await Journal.open(f"sqlite:///{tmp_path}/missing/runs.db")


async def test_a_server_that_does_not_answer_is_named_without_the_password() -> None:
    pytest.importorskip("asyncpg")

    with pytest.raises(JournalError, match="127.0.0.1:9/runs") as raised:
        await Journal.open("postgresql://me:secret@127.0.0.1:9/runs")

    assert "secret" not in str(raised.value)


async def test_a_lost_connection_is_made_again_and_nothing_is_written_twice(postgres_url: str) -> None:
    import asyncpg

    # So that the connections of this test are known from those of others.
    url = f"{postgres_url}&application_name={postgres_url.partition('search_path=')[2]}"
    async with await Journal.open(url) as journal:
        run = await journal.begin_run("r")
        await run.call_started(call("k"), durability="step")
        server = await asyncpg.connect(postgres_url)
        schema = await server.fetchval("SELECT current_schema()")
        ended = await server.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE pid <> pg_backend_pid() AND application_name = $1",
            schema,
        )
        await server.close()
        assert ended
        await run.call_finished("k", [(Message("kept"), None)])

        assert [(one.state, len(one.replies)) async for one in journal.log("r")] == [("finished", 1)]


async def test_a_journal_that_is_closed_says_so(sqlite_url: str) -> None:
    journal = await Journal.open(sqlite_url)
    await journal.close()
    await journal.close()

    with pytest.raises(JournalError, match="It is closed"):
        await journal.begin_run("r")


async def test_two_processes_that_make_one_file_at_the_same_moment_both_succeed(sqlite_url: str) -> None:
    journals = await asyncio.gather(*(Journal.open(sqlite_url) for _ in range(8)))
    for number, journal in enumerate(journals):
        await (await journal.begin_run(f"r{number}")).end()

    assert len(await collected(journals[0].runs())) == 8
    for journal in journals:
        await journal.close()
