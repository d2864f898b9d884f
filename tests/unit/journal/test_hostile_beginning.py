"""Who holds a run when the beginning is cancelled, its holder is busy, or the process was forked."""

import asyncio

import pytest

from miniagents.journal import RunBusyError
from tests.unit.journal.conftest import OpenJournal, StartProgram, call, record

_HOLDER = """
import asyncio, sys, threading
from miniagents.journal import Journal

async def main():
    journal = await Journal.open(sys.argv[1], lease_s=-1)
    await journal.begin_run("r")
    print("began", flush=True)
    threading.Event().wait()  # the event loop is busy, and the lease has ended

asyncio.run(main())
"""


async def test_a_run_of_a_busy_process_of_this_machine_is_not_free_when_its_lease_has_ended(
    shared_journal: OpenJournal, url: str, start_program: StartProgram
) -> None:
    journal = await shared_journal()
    holder = await start_program(_HOLDER, url)
    assert holder.stdout is not None
    assert await holder.stdout.readline() == b"began\n"

    with pytest.raises(RunBusyError, match="Wait until that has ended, choose"):
        await journal.begin_run("r")

    await record(await journal.begin_run("r", on_busy="fence"), call("k"), "done")


async def test_a_run_is_held_by_nobody_wherever_its_beginning_was_cancelled(shared_journal: OpenJournal) -> None:
    one, other = await shared_journal(), await shared_journal()

    turns = 0
    while True:
        beginning = asyncio.ensure_future(one.begin_run(f"r{turns}"))
        for _ in range(turns):
            await asyncio.sleep(0)
        if beginning.done():
            break
        beginning.cancel()
        await asyncio.wait([beginning])
        assert beginning.cancelled()
        await (await other.begin_run(f"r{turns}")).end()
        turns += 1

    assert turns > 2
    await (await beginning).end()


_FORKING = """
import asyncio, os, sys
from miniagents import MiniAgents
from miniagents.journal import Journal

async def nothing(): pass

journal = asyncio.run(Journal.open(sys.argv[1]))
if os.fork() == 0:
    try:
        MiniAgents(journal=journal).run(nothing())
    except BaseException as error:
        print(repr(error), flush=True)
    asyncio.run(journal.close())
    os._exit(0)
os.wait()
"""


async def test_a_process_that_was_forked_is_told_to_open_the_journal_itself(
    url: str, start_program: StartProgram
) -> None:
    program = await start_program(_FORKING, url)
    async with asyncio.timeout(20):
        output, _ = await program.communicate()

    assert "JournalError" in output.decode()
    assert "Open the journal after the fork" in output.decode()
