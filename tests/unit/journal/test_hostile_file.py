"""What happens to the file of a journal while it is open."""

import asyncio
import sqlite3
import time
from pathlib import Path

import pytest

from miniagents.journal import Journal, JournalError
from miniagents.journal.run_journal import RunJournal
from tests.unit.journal.conftest import StartProgram, call, record


async def _until_refused(run: RunJournal) -> None:
    """Write until the file is looked for again."""
    async with asyncio.timeout(10):
        while True:
            await run.remember(f"k{time.monotonic()}", 1)


def remove(folder: Path, *, and_replace: bool) -> None:
    for file in folder.glob("runs.db*"):
        file.unlink()
    if and_replace:
        sqlite3.connect(folder / "other.db").close()
        (folder / "other.db").touch()
        (folder / "other.db").rename(folder / "runs.db")


@pytest.mark.parametrize("how", ["removed", "replaced"])
async def test_a_file_that_is_removed_or_replaced_while_it_is_open_is_noticed(
    tmp_path: Path, sqlite_url: str, how: str
) -> None:
    journal = await Journal.open(sqlite_url)
    run = await journal.begin_run("r")
    await record(run, call("k"), "done")

    remove(tmp_path, and_replace=how == "replaced")

    with pytest.raises(JournalError, match=f"The file has been {how}.*Start the program again"):
        await _until_refused(run)
    with pytest.raises(JournalError, match=f"The file has been {how}"):
        await journal.close()


_LAZY = """
import asyncio, os, sys, threading
from miniagents import Message
from miniagents.journal import Journal, StartedCall

async def see_it_finished(key):
    async with await Journal.open(sys.argv[1], read_only=True) as reader, asyncio.timeout(20):
        while key not in [one.key async for one in reader.log("r") if one.state == "finished"]:
            await asyncio.sleep(0.005)  # nothing tells of what was committed through another connection

async def main():
    journal = await Journal.open(sys.argv[1])
    run = await journal.begin_run("r", durability="lazy")
    for key in "ab":
        await run.call_started(StartedCall(key, None, "model"))
        await run.call_finished(key, [(Message("done"), None)])
        watching = threading.Thread(target=lambda: asyncio.run(see_it_finished(key)))
        watching.start()
        watching.join()  # the event loop is busy meanwhile
    os._exit(9)

asyncio.run(main())
"""


async def test_a_lazy_write_is_committed_soon_though_the_event_loop_is_busy(
    sqlite_url: str, start_program: StartProgram
) -> None:
    program = await start_program(_LAZY, sqlite_url)
    await program.communicate()

    async with await Journal.open(sqlite_url) as journal:
        assert {one.key: one.state async for one in journal.log("r")} == {"a": "finished", "b": "finished"}
