"""Steps of calls that are committed before they are filed: nobody can tell the difference, not even after a kill."""

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from miniagents import Message
from miniagents.journal import Journal, JournalCorruptError, JournalError, JournalLockedError, RunBusyError
from tests.unit.journal.conftest import call, collected, record

KILLED = """
import asyncio, os, sys
from miniagents import Message
from miniagents.journal import Journal, StartedCall

async def main():
    journal = await Journal.open(sys.argv[1])
    run = await journal.begin_run("r")
    dialog = []
    for number in range(5):
        dialog.append(Message(f"question {number}"))
        await run.call_started(StartedCall(f"k{number}", None, "model", inputs=tuple(dialog)))
        dialog.append(Message(f"answer {number}"))
        await run.call_finished(f"k{number}", [(dialog[-1], ["answer ", str(number)])])
    await run.call_started(StartedCall("failed", None, "model"))
    await run.call_failed("failed", ValueError("bad"))
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


@pytest.fixture
async def left_behind(tmp_path: Path, sqlite_url: str) -> Path:
    """The file of a process that was killed before it had filed anything."""
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", KILLED, sqlite_url], timeout=20)
    return tmp_path / "runs.db"


def unfiled_in(file: Path) -> int:
    connection = sqlite3.connect(file)
    (count,) = connection.execute("SELECT COUNT(*) FROM journal_unfiled").fetchone()
    connection.close()
    return count


@pytest.mark.parametrize("read_only", [True, False], ids=["only looks", "may write"])
async def test_what_a_killed_process_has_not_filed_is_read_all_the_same(
    left_behind: Path, sqlite_url: str, *, read_only: bool
) -> None:
    before = unfiled_in(left_behind)

    async with await Journal.open(sqlite_url, read_only=read_only) as journal:
        calls = await collected(journal.log("r"))

    dialog = [Message(text).hash_key for n in range(5) for text in (f"question {n}", f"answer {n}")]
    assert [one.inputs for one in calls[:5]] == [tuple(dialog[: 2 * n + 1]) for n in range(5)]
    assert [one.replies for one in calls[:5]] == [(dialog[2 * n + 1],) for n in range(5)]
    assert (calls[5].state, calls[5].error.text) == ("failed", "bad")
    assert before > 0
    assert unfiled_in(left_behind) == (before if read_only else 0)


async def test_what_a_killed_process_has_not_filed_is_resumed_with_its_tokens(
    left_behind: Path, sqlite_url: str
) -> None:
    assert unfiled_in(left_behind) > 0

    async with await Journal.open(sqlite_url) as journal:
        found = await (await journal.begin_run("r")).find_call("k3")

    assert found.replies[0].tokens == ("answer ", "3")


@pytest.mark.parametrize("text", ["no JSON", "[1]", '[["start", []]]', '{"a": 1}'])
async def test_unfiled_steps_that_somebody_has_changed_are_refused_and_named(
    left_behind: Path, sqlite_url: str, text: str
) -> None:
    connection = sqlite3.connect(left_behind)
    connection.execute("UPDATE journal_unfiled SET steps = ? WHERE seq = 2", (text,))
    connection.commit()
    connection.close()

    async with await Journal.open(sqlite_url) as journal:
        with pytest.raises(JournalCorruptError, match="journal_unfiled") as raised:
            await journal.begin_run("r")

    assert raised.value.row == "unfiled 2"


async def test_a_second_process_reads_each_step_as_soon_as_it_is_committed(sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url) as writing, await Journal.open(sqlite_url) as reading:
        run = await writing.begin_run("r")
        for number in range(20):
            await record(run, call(str(number), f"question {number}"), f"answer {number}")

            seen = await collected(reading.log("r"))
            assert [one.replies for one in seen][number] == (Message(f"answer {number}").hash_key,)


async def test_calls_are_listed_in_the_order_of_their_beginnings_whichever_ends_first(sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url) as journal:
        run = await journal.begin_run("r")
        keys = [str(number) for number in range(100)]
        for key in keys:
            await run.call_started(call(key))
        for key in reversed(keys):
            await run.call_finished(key, [(Message(key), None)])

        calls = await collected(journal.log("r"))

    assert [(one.key, one.state) for one in calls] == [(key, "finished") for key in keys]


async def test_a_process_that_is_fenced_off_leaves_nothing_unfiled_either(tmp_path: Path, sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url) as one, await Journal.open(sqlite_url) as other:
        fenced_off = await one.begin_run("r")
        await other.begin_run("r", on_busy="fence")
        await fenced_off.call_started(call("k"))
        with pytest.raises(JournalError, match="taken over"):
            await fenced_off.call_finished("k", [(Message("too late"), None)])

        assert unfiled_in(tmp_path / "runs.db") == 0
        assert await collected(other.log("r")) == []


async def test_the_loop_goes_on_while_a_file_is_locked(tmp_path: Path, sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url, busy_timeout_s=0.2) as journal:
        run = await journal.begin_run("r")
        await run.call_started(call("k"))
        other = sqlite3.connect(tmp_path / "runs.db")
        other.execute("BEGIN IMMEDIATE")
        turns = 0

        writing = asyncio.ensure_future(run.call_finished("k", [(Message("late"), None)]))
        while not writing.done():
            turns += 1
            await asyncio.sleep(0)
        other.rollback()
        other.close()

        with pytest.raises(JournalLockedError):
            await writing
        # So was the beginning, which nothing has waited for.
        with pytest.raises(JournalLockedError):
            await run.flush()
        # Counted, as a busy machine lets everybody wait: a loop that waits for the file takes one or two, this thousands.
        assert turns > 100


async def test_a_beginning_that_nothing_waits_for_is_committed_within_the_time_it_has(
    tmp_path: Path, sqlite_url: str
) -> None:
    async with await Journal.open(sqlite_url) as journal:
        run = await journal.begin_run("r")
        await run.call_started(call("k"))
        before = unfiled_in(tmp_path / "runs.db")

        async with asyncio.timeout(10):
            # Nothing tells another connection that something was committed.
            while not unfiled_in(tmp_path / "runs.db") and not [one async for one in journal.log("r")]:  # noqa: ASYNC110
                await asyncio.sleep(0.005)

    assert before == 0


async def test_an_end_is_left_unfiled_though_its_beginning_was_filed(tmp_path: Path, sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url) as journal:
        run = await journal.begin_run("r")
        await run.call_started(call("k", "question"), durability="step")
        assert [one.state for one in await collected(journal.log("r"))] == ["started"]
        assert unfiled_in(tmp_path / "runs.db") == 0

        await run.call_finished("k", [(Message("answer"), None)])

        assert unfiled_in(tmp_path / "runs.db") == 1
        (one,) = await collected(journal.log("r"))
        assert (one.state, one.replies) == ("finished", (Message("answer").hash_key,))


async def test_of_two_runs_at_once_only_the_one_that_was_taken_over_is_refused(tmp_path: Path, sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url) as one, await Journal.open(sqlite_url) as other:
        held, fenced_off = await one.begin_run("held"), await one.begin_run("lost")
        await other.begin_run("lost", on_busy="fence")
        for run in (held, fenced_off):
            await run.call_started(call("k"))

        ends = [run.call_finished("k", [(Message("answer"), None)]) for run in (held, fenced_off)]
        of_held, of_fenced_off = await asyncio.gather(*ends, return_exceptions=True)

        assert of_held is None
        assert isinstance(of_fenced_off, RunBusyError)
        assert [len(await collected(other.log(run))) for run in ("held", "lost")] == [1, 0]
