"""Looking into a file that a process has left behind which was killed, and changing nothing in it."""

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from miniagents import Message
from miniagents.journal import Journal, JournalError
from tests.unit.journal.conftest import StartProgram, call, collected, record

KILLED = """
import asyncio, os, sys
from miniagents import Message
from miniagents.journal import Journal, StartedCall

async def main():
    journal = await Journal.open(sys.argv[1])
    run = await journal.begin_run("r")
    for number in range(int(sys.argv[2])):
        await run.call_started(StartedCall(str(number), None, "model", inputs=(Message(f"question {number}"),)))
        await run.call_finished(str(number), [(Message(f"answer {number}"), None)])
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


@pytest.fixture
async def killed(start_program: StartProgram, tmp_path: Path, sqlite_url: str) -> Path:
    process = await start_program(KILLED, sqlite_url, "450")
    await asyncio.wait_for(process.wait(), 20)
    path = tmp_path / "runs.db"
    assert unfiled(path) > 0, "there is something that a reader cannot find where it belongs"
    return path


def unfiled(path: Path) -> int:
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    try:
        return connection.execute("SELECT COUNT(*) FROM journal_unfiled").fetchone()[0]
    finally:
        connection.close()


class Copies:
    """How often a file was copied."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from miniagents.journal import _sqlite

        self.count = 0
        connect = _sqlite.sqlite3.connect
        copies = self

        class Connection(sqlite3.Connection):
            def backup(self, *arguments: Any, **options: Any) -> None:
                copies.count += 1
                super().backup(*arguments, **options)

        def counting(*arguments: Any, **options: Any) -> sqlite3.Connection:
            return connect(*arguments, factory=Connection, **options)

        monkeypatch.setattr(_sqlite.sqlite3, "connect", counting)


async def test_however_much_is_read_the_file_is_copied_once(
    killed: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = Copies(monkeypatch)
    async with await Journal.open(sqlite_url, read_only=True) as journal:
        calls = await collected(journal.log("r"))
        told = await asyncio.gather(*(journal.show(one.replies[0]) for one in calls[-20:]))
        runs = await collected(journal.runs())

    assert [one.key for one in calls] == [str(number) for number in range(450)]
    assert [str(one) for one in told] == [f"answer {number}" for number in range(430, 450)]
    assert [run.calls for run in runs] == [450]
    assert copies.count == 1
    assert unfiled(killed) > 0, "whoever looks changes nothing"


async def test_what_has_changed_is_seen(killed: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    copies = Copies(monkeypatch)
    async with await Journal.open(sqlite_url, read_only=True) as looking:
        before = await collected(looking.log("r"))
        connection = sqlite3.connect(killed)
        last = connection.execute("SELECT steps FROM journal_unfiled ORDER BY seq DESC LIMIT 1").fetchone()[0]
        again = json.dumps(json.loads(last)).replace("449", "450")
        connection.execute("INSERT INTO journal_unfiled (steps) VALUES (?)", (again,))
        connection.commit()
        connection.close()
        in_between = await collected(looking.log("r"))
        async with await Journal.open(sqlite_url) as writing:
            run = await writing.begin_run("r")
            await record(run, call("after"), Message("after"))
            await run.end()
        after = await collected(looking.log("r"))

    assert len(before) == 450
    assert len(in_between) == 451
    assert [one.key for one in after[-2:]] == ["450", "after"]
    assert copies.count == 2, "and none where all is filed"


async def test_a_damaged_file_is_an_error_of_the_journal(killed: Path, sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url, read_only=True) as looking:
        connection = sqlite3.connect(killed)
        connection.execute("DROP TABLE journal_calls")
        connection.commit()
        connection.close()

        with pytest.raises(JournalError, match=r"SQLite says: no such table: .*runs\.db"):
            await collected(looking.runs())
