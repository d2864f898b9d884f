"""A process that is killed in the middle of writing leaves a journal that is whole and has all that was committed."""

import asyncio
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from miniagents.journal import Journal
from tests.unit.journal.conftest import collected

WRITER = """
import asyncio, sys
from miniagents import Message
from miniagents.journal import Journal, StartedCall

async def leaf(run, key):
    await run.call_started(StartedCall(key, None, "leaf", inputs=(Message(key),)))
    await run.call_finished(key, [(Message("answer to " + key, padding="x" * 500), ["answer to ", key])])
    # Only what was awaited counts as recorded.
    print(key, flush=True)

async def main():
    journal = await Journal.open(sys.argv[1])
    run = await journal.begin_run("r")
    number = 0
    while True:
        async with asyncio.TaskGroup() as group:
            for _ in range(10):
                number += 1
                group.create_task(leaf(run, f"{sys.argv[2]}-{number}"))

asyncio.run(main())
"""


def write_and_be_killed(url: str, name: str, after: int) -> list[str]:
    """Give the keys of the calls that the process has told to be recorded; it is killed soon after so many."""
    told: list[str] = []
    with subprocess.Popen([sys.executable, "-c", WRITER, url, name], stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout:
            told.append(line.strip())
            if len(told) == after:
                process.kill()
    # The last line may have been cut off.
    return told[:-1]


@pytest.mark.timeout(120)
async def test_a_kill_at_any_moment_leaves_the_file_whole_with_all_that_was_committed(
    tmp_path: Path, sqlite_url: str
) -> None:
    chance = random.Random(7)
    for number in range(20):
        keys = await asyncio.to_thread(write_and_be_killed, sqlite_url, f"w{number}", chance.randrange(1, 200))

        connection = sqlite3.connect(tmp_path / "runs.db")
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
        async with await Journal.open(sqlite_url) as journal:
            run = await journal.begin_run("r")
            for key in keys:
                found = await run.find_call(key)
                assert found.replies[0].tokens == ("answer to ", key)
            # No reply of a call without an end: what belongs together is committed together.
            for one in await collected(journal.log("r")):
                assert len(one.replies) == (1 if one.state == "finished" else 0)
