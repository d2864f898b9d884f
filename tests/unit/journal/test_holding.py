"""A run is held from its beginning to its end, whatever becomes of the tasks, contexts and loops in between."""

import asyncio
import contextvars
import sqlite3
import threading
from pathlib import Path
from typing import Any

import pytest

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.journal import Journal, JournalError, RunBusyError
from miniagents.journal._store import Statement, Steps
from tests.unit.journal.conftest import OpenJournal, call, collected, record

_BACKGROUND = {"signs of life of runs", "changes in the journal"}


async def leases(journal: Journal) -> dict[str, float]:
    def steps() -> Steps[dict[str, float]]:
        rows = yield Statement("SELECT run, lease_until FROM journal_runs")
        return {row[0]: row[1] for row in rows}

    return await journal.store.read(steps)


async def until_renewed(journal: Journal) -> None:
    before = await leases(journal)
    async with asyncio.timeout(5):
        while await leases(journal) == before:  # each look is a visit to the database
            pass


# ------------------------------------------------------------------------------------------------------ beginning


async def test_of_two_that_begin_a_run_at_once_one_gets_it(journal: Journal) -> None:
    got = await asyncio.gather(*(journal.begin_run("r") for _ in range(3)), return_exceptions=True)

    assert [type(one).__name__ for one in got] == ["RunJournal", "RunBusyError", "RunBusyError"]


async def test_a_run_that_could_not_be_begun_can_be_begun_later(shared_journal: OpenJournal) -> None:
    one, other = await shared_journal(), await shared_journal()
    held = await one.begin_run("r")
    with pytest.raises(RunBusyError):
        await other.begin_run("r")
    await held.end()

    assert (await other.begin_run("r")).is_resumed


async def test_a_run_whose_beginning_was_cancelled_can_be_begun_later(journal: Journal) -> None:
    beginning = asyncio.ensure_future(journal.begin_run("r"))
    await asyncio.sleep(0)
    beginning.cancel()
    await asyncio.wait([beginning])

    assert beginning.cancelled()
    await record(await journal.begin_run("r"), call("k"), "done")


# ------------------------------------------------------------------------------------------------- signs of life


def test_a_run_is_held_on_each_event_loop_that_its_journal_is_used_on(sqlite_url: str) -> None:
    journal = asyncio.run(Journal.open(sqlite_url, lease_s=0.05))

    async def main() -> None:
        await until_renewed(journal)

    for _ in range(2):
        MiniAgents(journal=journal, run_id="r").run(main())
    asyncio.run(journal.close())


def test_an_error_of_the_program_does_not_end_the_signs_of_life_before_the_run(sqlite_url: str) -> None:
    journal = asyncio.run(Journal.open(sqlite_url, lease_s=0.05))
    began, renewed = asyncio.Event(), list[str]()

    @miniagent
    async def slow_to_end(_: InteractionContext) -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await until_renewed(journal)
            renewed.append("while it was cancelled")

    async def main() -> None:
        slow_to_end.inquire()
        await began.wait()
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        MiniAgents(journal=journal, run_id="r").run(main())
    asyncio.run(journal.close())

    assert renewed == ["while it was cancelled"]


async def test_what_the_first_agent_has_set_is_nothing_to_what_the_journal_does_in_the_background(
    open_journal: OpenJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting: contextvars.ContextVar[str] = contextvars.ContextVar("setting", default="nothing")
    setting.set("of the first agent")
    seen: dict[str, str] = {}
    journal = await open_journal(lease_s=0.05)
    submit, until_changed = journal.store.submit, journal.store.until_changed

    def note() -> None:
        task = asyncio.current_task()
        assert task is not None
        seen[task.get_name()] = setting.get()

    def noting_submit(*arguments: Any, **options: Any) -> Any:
        note()
        return submit(*arguments, **options)

    async def noting_until_changed(timeout_s: float) -> None:
        note()
        await until_changed(timeout_s)

    monkeypatch.setattr(journal.store, "submit", noting_submit)
    monkeypatch.setattr(journal.store, "until_changed", noting_until_changed)
    run = await journal.begin_run("r")
    await run.ask("k", "Well?")
    waiting = asyncio.ensure_future(run.wait_for_answer("k"))
    await until_renewed(journal)
    await journal.answer("r", "k", "well")
    await waiting

    assert {seen[name] for name in _BACKGROUND} == {"nothing"}


async def test_closing_ends_everything_in_the_background(open_journal: OpenJournal) -> None:
    journal = await open_journal()
    run = await journal.begin_run("r")
    await run.ask("k", "Well?")
    waiting = asyncio.ensure_future(run.wait_for_answer("k"))
    await asyncio.sleep(0)

    await journal.close()
    with pytest.raises(JournalError, match="It is closed"):
        await waiting

    assert asyncio.all_tasks() - {asyncio.current_task()} == set()


# ------------------------------------------------------------------------------------------------------------ end


async def test_a_write_after_the_end_of_the_run_is_refused_and_changes_nothing(journal: Journal) -> None:
    run = await journal.begin_run("r")
    await run.end()

    with pytest.raises(RunBusyError, match="The run 'r' has ended, so that nothing more is written for it here"):
        await run.call_started(call("late"), durability="step")
    with pytest.raises(RunBusyError, match="has ended"):
        await run.remember("late", 1)

    assert await collected(journal.log("r")) == []
    assert [one.state async for one in journal.runs()] == ["finished"]


async def test_who_was_fenced_off_is_told_so_also_when_the_other_one_has_ended(shared_journal: OpenJournal) -> None:
    fenced_off = await (await shared_journal()).begin_run("r")
    taken_over = await (await shared_journal()).begin_run("r", on_busy="fence")
    await taken_over.end()

    with pytest.raises(RunBusyError, match="was taken over by another process"):
        await fenced_off.call_started(call("late"), durability="step")


# ---------------------------------------------------------------------------------------------------------- closing


async def test_closing_that_is_cancelled_loses_nothing_on_a_server(postgres_url: str) -> None:
    import asyncpg

    journal = await Journal.open(postgres_url)
    run = await journal.begin_run("r", durability="end")
    await run.call_started(call("k"))
    somebody = await asyncpg.connect(postgres_url)
    await somebody.execute("BEGIN; LOCK TABLE journal_runs IN ACCESS EXCLUSIVE MODE")

    closing = asyncio.ensure_future(journal.store.close())
    await waits_for_a_lock(somebody)
    closing.cancel()
    await asyncio.wait([closing])
    await somebody.execute("ROLLBACK")
    await journal.store.close()

    assert closing.cancelled()
    assert await somebody.fetchval("SELECT COUNT(*) FROM journal_calls") == 1
    with pytest.raises(JournalError, match="It is closed"):
        await run.flush()
    await somebody.close()
    await closed_without_writing(journal)


async def waits_for_a_lock(connection: Any) -> None:
    async with asyncio.timeout(10):
        while not await connection.fetchval(
            "SELECT COUNT(*) FROM pg_locks WHERE NOT granted AND relation = 'journal_runs'::regclass"
        ):
            pass


async def closed_without_writing(journal: Journal) -> None:
    with pytest.raises(JournalError, match="It is closed"):
        await journal.close()


async def test_closing_that_is_cancelled_loses_nothing_in_a_file(tmp_path: Path, sqlite_url: str) -> None:
    journal = await Journal.open(sqlite_url)
    run = await journal.begin_run("r", durability="end")
    await run.call_started(call("k"))
    held, release = threading.Event(), threading.Event()

    def holds_the_thread_up() -> Steps[None]:
        held.set()
        release.wait(10)
        return
        yield  # a generator, as all operations are

    holding = asyncio.ensure_future(journal.store.read(holds_the_thread_up))
    await asyncio.to_thread(held.wait, 10)
    closing = asyncio.ensure_future(journal.store.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    release.set()
    await holding
    await journal.store.close()

    assert closing.cancelled()
    assert not (tmp_path / "runs.db-wal").exists(), "nobody has the file open"
    connection = sqlite3.connect(tmp_path / "runs.db")
    assert connection.execute("SELECT COUNT(*) FROM journal_calls").fetchone() == (1,)
    connection.close()
    await closed_without_writing(journal)


async def test_a_journal_whose_closing_was_cancelled_is_closed_by_the_next_one(shared_journal: OpenJournal) -> None:
    journal = await shared_journal()
    run = await journal.begin_run("r", durability="end")
    await run.call_started(call("k"))
    closing = asyncio.ensure_future(journal.close())
    await asyncio.sleep(0)
    closing.cancel()
    await asyncio.wait([closing])
    await journal.close()

    other = await shared_journal()
    assert [one.key async for one in other.log("r")] == ["k"]
    assert [one.state async for one in other.runs()] == ["interrupted"]
    assert "signs of life of runs" not in {task.get_name() for task in asyncio.all_tasks()}
