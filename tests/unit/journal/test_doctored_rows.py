"""A row of a run, a call or a question into which somebody has put anything at all is named, and hides no other one."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from miniagents import Message
from miniagents.journal import Journal, JournalCorruptError
from miniagents.usage import UsageTotals
from tests.unit.journal.conftest import call, record

ANSWER = Message("answer")


@pytest.fixture
async def file(tmp_path: Path, sqlite_url: str) -> Path:
    """Two runs, of two calls each, with a question that is answered and something that has happened once."""
    async with await Journal.open(sqlite_url) as journal:
        for name in ("good", "bad"):
            run = await journal.begin_run(name)
            for key in ("one", "two"):
                await run.call_started(call(f"{name} {key}", "question", agent=key))
                await run.call_finished(f"{name} {key}", [(ANSWER, None)], usage=UsageTotals(requests=1))
            await run.ask("which", "Which?")
            await journal.answer(name, "which", {"message": ANSWER})
            await run.remember("sent", {"message": ANSWER})
            await run.end()
    return tmp_path / "runs.db"


def change(file: Path, sql: str) -> None:
    connection = sqlite3.connect(file)
    connection.execute(sql)
    connection.commit()
    connection.close()


async def told(records: AsyncIterator[Any]) -> tuple[list[Any], JournalCorruptError]:
    """Give what is told before the error, and the error."""
    found: list[Any] = []
    try:
        async for record_ in records:
            found.append(record_)
    except JournalCorruptError as error:
        return found, error
    raise AssertionError("there was no error")


BAD_CALLS = {
    "usage": "usage = '{bad'",
    "usage that is a list": "usage = '[1]'",
    "usage without an end": "usage = '{\"requests\": Infinity}'",
    "cost": 'usage = \'{"cost": "NaN"}\'',
    "time": "started_at = 'abc'",
    "time that is too late": "started_at = 1e300",
    "end": "ended_at = 'abc'",
    "attempts": "attempts = 'abc'",
    "state": "state = 'weird'",
    "agent": "agent = x'ff'",
    "error": "error_type = x'ff'",
    "inputs": "inputs = '0123'",
}


@pytest.mark.parametrize("change_of_call", BAD_CALLS.values(), ids=BAD_CALLS)
async def test_a_call_that_cannot_be_read_is_named_and_the_others_are_told(
    file: Path, sqlite_url: str, change_of_call: str
) -> None:
    change(file, f"UPDATE journal_calls SET {change_of_call} WHERE key = 'bad one'")

    async with await Journal.open(sqlite_url) as journal:
        calls, error = await told(journal.log("bad"))

    assert [one.key for one in calls] == ["bad two"]
    assert error.row in ("call bad one", "sequence 0123")
    assert str(error).endswith(f"(journal: {file})")


async def test_several_rows_that_cannot_be_read_are_counted(file: Path, sqlite_url: str) -> None:
    change(file, "UPDATE journal_calls SET usage = '{bad' WHERE run = 'bad'")

    async with await Journal.open(sqlite_url) as journal:
        calls, error = await told(journal.log("bad"))

    assert calls == []
    assert "The call 'bad one' of the run 'bad' cannot be read: this is no usage: '{bad'" in str(error)
    assert error.__notes__ == ["Beside this one, 1 more rows cannot be read."]


@pytest.mark.parametrize(
    ("sql", "runs", "row"),
    [
        ("UPDATE journal_runs SET started_at = 'abc' WHERE run = 'bad'", ["good"], "run bad"),
        ("UPDATE journal_runs SET ended_at = 1e300 WHERE run = 'bad'", ["good"], "run bad"),
        ("UPDATE journal_runs SET state = 'weird' WHERE run = 'bad'", ["good"], "run bad"),
        # The run itself is well.
        ("UPDATE journal_calls SET usage = '{bad' WHERE key = 'bad one'", ["bad", "good"], "call bad one"),
    ],
    ids=["beginning", "end", "state", "usage of a call"],
)
async def test_a_run_that_cannot_be_read_is_named_and_the_others_are_told(
    file: Path, sqlite_url: str, sql: str, runs: list[str], row: str
) -> None:
    change(file, sql)

    async with await Journal.open(sqlite_url) as journal:
        found, error = await told(journal.runs())

    assert [one.run_id for one in found] == runs
    assert (error.row, error.place) == (row, str(file))


BAD_VALUES = ["'{bad'", "'{\"$frozen\": 5}'", '\'{"$frozen": "0123"}\'', "x'ff'"]


@pytest.mark.parametrize("value", BAD_VALUES, ids=["no JSON", "no hash", "no message", "bytes"])
async def test_an_answer_that_cannot_be_read_is_named(file: Path, sqlite_url: str, value: str) -> None:
    change(file, f"UPDATE journal_questions SET answer = {value} WHERE run = 'bad'")

    async with await Journal.open(sqlite_url) as journal:
        questions, _ = await told(journal.questions())
        resumed = await journal.begin_run("bad")
        with pytest.raises(JournalCorruptError, match=r"which|0123"):
            await resumed.ask("which", "Which?")
        with pytest.raises(JournalCorruptError, match=r"which|0123"):
            await resumed.wait_for_answer("which")

    assert [one.run_id for one in questions] == ["good"]


@pytest.mark.parametrize("value", BAD_VALUES, ids=["no JSON", "no hash", "no message", "bytes"])
async def test_what_has_happened_once_and_cannot_be_read_is_named(file: Path, sqlite_url: str, value: str) -> None:
    change(file, f"UPDATE journal_onces SET value = {value} WHERE run = 'bad'")

    async with await Journal.open(sqlite_url) as journal:
        resumed = await journal.begin_run("bad")
        with pytest.raises(JournalCorruptError, match=r"sent|0123"):
            await resumed.recall("sent")
        with pytest.raises(JournalCorruptError, match=r"sent|0123"):
            await resumed.remember("sent", 5)


@pytest.mark.parametrize(
    "change_of_run",
    ["journal_runs SET token = 'x'", "journal_runs SET lease_until = 'x'", "journal_runs SET owner = x'ff'",
     "journal_calls SET state = 'weird'", "journal_calls SET attempts = 'x'"],
    ids=["token", "lease", "owner", "state of a call", "attempts of a call"],
)  # fmt: skip
async def test_a_run_of_which_something_cannot_be_read_is_not_resumed(
    file: Path, sqlite_url: str, change_of_run: str
) -> None:
    change(file, f"UPDATE {change_of_run} WHERE run = 'bad'")

    async with await Journal.open(sqlite_url) as journal:
        with pytest.raises(JournalCorruptError, match="'bad' cannot be read: its `"):
            await journal.begin_run("bad")


async def test_nothing_is_removed_where_it_cannot_be_told_what_is_needed(file: Path, sqlite_url: str) -> None:
    change(file, "UPDATE journal_onces SET value = '{$frozen' WHERE run = 'good'")

    async with await Journal.open(sqlite_url) as journal:
        await record(await journal.begin_run("new"), call("new one", "question"), Message("new"))
        with pytest.raises(JournalCorruptError, match="The row 'sent' of the run 'good' in `journal_onces`"):
            await _prune_only(journal, file, "bad")
        assert await journal.show(ANSWER.hash_key) == ANSWER


async def _prune_only(journal: Journal, file: Path, run_id: str) -> None:
    await asyncio.to_thread(change, file, f"UPDATE journal_runs SET active_at = 0 WHERE run = '{run_id}'")
    await journal.prune(timedelta(days=1))


@pytest.mark.parametrize("tokens", ["5", "'x'", "x'0101ffff'", "x'025b'"], ids=["number", "text", "too many", "JSON"])
async def test_tokens_that_cannot_be_read_are_refused(file: Path, sqlite_url: str, tokens: str) -> None:
    change(file, f"UPDATE journal_replies SET tokens = {tokens}")

    async with await Journal.open(sqlite_url) as journal:
        resumed = await journal.begin_run("bad")
        with pytest.raises(JournalCorruptError, match="a reply of the call 'bad one'"):
            await resumed.find_call("bad one")
