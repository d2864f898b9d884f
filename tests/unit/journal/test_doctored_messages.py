"""A message whose row somebody has changed is refused, whichever column that was: nothing hangs, nothing is executed."""

import sqlite3
from pathlib import Path

import pytest

from miniagents import Message
from miniagents.journal import Journal, JournalCorruptError
from tests.unit.journal.conftest import call, record

INNER = Message("inner")
MIDDLE = Message("middle", inside=INNER)
OUTER = Message("outer", inside=MIDDLE)


@pytest.fixture
async def file(tmp_path: Path, sqlite_url: str) -> Path:
    async with await Journal.open(sqlite_url) as journal:
        run = await journal.begin_run("r")
        await record(run, call("k", "question"), OUTER)
        await run.end()
    return tmp_path / "runs.db"


def change(file: Path, sql: str, *parameters: object) -> None:
    connection = sqlite3.connect(file)
    connection.execute(sql, parameters)
    connection.commit()
    connection.close()


@pytest.mark.parametrize("back_to", [INNER, MIDDLE, OUTER], ids=["itself", "what holds it", "the outermost"])
async def test_messages_that_are_inside_of_themselves_are_refused(
    file: Path, sqlite_url: str, back_to: Message
) -> None:
    change(file, "UPDATE journal_messages SET refs = ? WHERE hash = ?", back_to.hash_key, INNER.hash_key)

    async with await Journal.open(sqlite_url) as journal:
        resumed = await journal.begin_run("r")
        with pytest.raises(JournalCorruptError, match="its `refs` lead back to itself") as shown:
            await journal.show(OUTER.hash_key)
        with pytest.raises(JournalCorruptError, match="its `refs` lead back to itself"):
            await resumed.find_call("k")

    assert shown.value.row == f"message {OUTER.hash_key}"


@pytest.mark.parametrize(
    ("column", "value"),
    [("body", b"\xff"), ("refs", b"\xff"), ("kinds", b"\xff"), ("kinds", "5"), ("kinds", '[[["inside"], "decimal"]]')],
    ids=["body of bytes", "refs of bytes", "kinds of bytes", "kinds that are a number", "kinds that do not fit"],
)
async def test_a_column_of_a_message_that_cannot_be_read_is_refused(
    file: Path, sqlite_url: str, column: str, value: object
) -> None:
    change(file, f"UPDATE journal_messages SET {column} = ? WHERE hash = ?", value, MIDDLE.hash_key)

    async with await Journal.open(sqlite_url) as journal:
        resumed = await journal.begin_run("r")
        with pytest.raises(JournalCorruptError, match=MIDDLE.hash_key):
            await journal.show(MIDDLE.hash_key)
        with pytest.raises(JournalCorruptError, match=OUTER.hash_key):
            await resumed.find_call("k")
