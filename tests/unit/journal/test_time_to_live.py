"""Old runs go by themselves."""

import asyncio
import logging
import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from miniagents import Message, MiniAgents
from miniagents.journal import Journal, JournalError, RunBusyError, StartedCall
from miniagents.journal._store import Statement, Steps
from tests.unit.journal.conftest import OpenJournal, call, collected, record
from tests.unit.journal.programs import leaf

DAY_S = 86_400.0


async def make_older(journal: Journal, run_id: str, by: timedelta) -> None:
    def steps() -> Steps[None]:
        yield Statement("UPDATE journal_runs SET active_at = active_at - ? WHERE run = ?", (by.total_seconds(), run_id))

    await journal.store.submit(steps)


async def write_run(journal: Journal, run_id: str, *, days_ago: float = 0, calls: int = 1) -> None:
    run = await journal.begin_run(run_id)
    for number in range(calls):
        await record(run, call(f"{run_id} {number}", f"question of {run_id}"), f"answer {number} of {run_id}")
    await run.end()
    await make_older(journal, run_id, timedelta(days=days_ago))


async def runs_of(journal: Journal) -> list[str]:
    return [run.run_id async for run in journal.runs()]


async def count(journal: Journal, table: str) -> int:
    def steps() -> Steps[int]:
        rows = yield Statement(f"SELECT COUNT(*) FROM {table}")
        return rows[0][0]

    return await journal.store.read(steps)


def files_in(folder: Path) -> list[str]:
    return [file.name for file in folder.iterdir()]


async def until_runs_are(journal: Journal, expected: list[str]) -> None:
    # Without a timeout of its own: a virtual clock would reach it while the database works.
    while await runs_of(journal) != expected:  # each look is a visit to the database
        pass


# ------------------------------------------------------------------------------------------------- what is removed


async def test_opening_removes_the_runs_in_which_nothing_has_happened_for_so_long(shared_journal: OpenJournal) -> None:
    journal = await shared_journal()
    await write_run(journal, "old", days_ago=31)
    await write_run(journal, "young", days_ago=29)

    await shared_journal(time_to_live=timedelta(days=30))

    await until_runs_are(journal, ["young"])
    assert [await count(journal, f"journal_{table}") for table in ("calls", "replies", "sequences", "messages")] == [
        1, 1, 1, 2,
    ]  # fmt: skip


async def test_the_url_says_it_too(tmp_path: Path, sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url) as journal:
        await write_run(journal, "old", days_ago=8)
        async with await Journal.open(f"{sqlite_url}?time_to_live=1w"):
            await until_runs_are(journal, [])
        async with MiniAgents(journal=f"{sqlite_url}?time_to_live=1w", run_id="new"):
            await leaf([]).inquire("hi")

    assert files_in(tmp_path) == ["runs.db"]


@pytest.mark.virtual_clock
async def test_while_it_is_open_it_looks_about_once_an_hour() -> None:
    async with await Journal.open("memory://?time_to_live=30d") as journal:
        await write_run(journal, "r")
        await until_runs_are(journal, ["r"])
        await make_older(journal, "r", timedelta(days=31))
        assert await runs_of(journal) == ["r"]

        await asyncio.sleep(2 * 3600)

        await until_runs_are(journal, [])


async def test_a_run_that_somebody_holds_stays_and_goes_on(shared_journal: OpenJournal) -> None:
    journal = await shared_journal()
    await write_run(journal, "old", days_ago=31)
    run = await journal.begin_run("held")
    await record(run, call("k", "question"), "answer")
    await make_older(journal, "held", timedelta(days=31))

    await shared_journal(time_to_live=timedelta(days=30))

    await until_runs_are(journal, ["held"])
    await record(run, call("k2", "question"), "another answer")
    assert [one.key for one in await collected(journal.log("held"))] == ["k", "k2"]


async def test_the_run_of_a_process_that_was_killed_goes_when_it_is_old(shared_journal: OpenJournal) -> None:
    journal = await shared_journal()
    await write_run(journal, "r")

    def killed() -> Steps[None]:
        yield Statement(
            "UPDATE journal_runs SET state = 'running', owner = 'host 1 1 x', lease_until = 1, active_at = 1"
        )

    await journal.store.submit(killed)

    await shared_journal(time_to_live=timedelta(days=30))

    await until_runs_are(journal, [])


async def test_what_another_run_needs_stays(journal: Journal) -> None:
    both = Message("both", inside=Message("within"))
    for run_id in ("old", "young"):
        run = await journal.begin_run(run_id)
        await record(run, call(f"{run_id} 1", both), both)
        await record(run, call(f"{run_id} 2", both, Message("more"), settings=Message("settings")), "x")
        await run.remember(f"once {run_id}", [both, Message(f"remembered by {run_id}")])
        await run.end()
    await make_older(journal, "old", timedelta(days=31))

    pruned = await journal.prune(timedelta(days=30))

    assert (pruned.runs, pruned.calls, pruned.messages) == (1, 2, 1)
    for one in await collected(journal.log("young")):
        for message in (*(one.inputs or ()), *one.replies):
            assert isinstance(await journal.show(message), Message)


# --------------------------------------------------------------------------------------------- in small transactions


async def test_a_large_run_is_removed_in_many_transactions_and_others_write_in_between(
    open_journal: OpenJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("miniagents.journal._pruning_steps.CALLS_AT_A_TIME", 10)
    monkeypatch.setattr("miniagents.journal._pruning._AT_A_TIME", 10)
    journal = await open_journal()
    await write_run(journal, "old", days_ago=31, calls=95)
    submitted: list[object] = []
    submit = journal.store.submit
    monkeypatch.setattr(journal.store, "submit", lambda *a, **k: submitted.append(a) or submit(*a, **k))
    run = await journal.begin_run("new")

    pruning = asyncio.create_task(journal.prune(timedelta(days=30)))
    written = 0
    while not pruning.done():
        # What it begins to need again meanwhile must stay, or be there anew.
        await record(run, call(f"new {written}", "question of old"), f"answer {written % 95} of old")
        written += 1

    assert ((await pruning).runs, (await pruning).calls) == (1, 95)
    assert len(submitted) - 2 * written > 10 + 5
    for one in await collected(journal.log("new")):
        for message in (*(one.inputs or ()), *one.replies):
            assert isinstance(await journal.show(message), Message)


async def test_what_was_needed_again_after_it_was_found_unneeded_stays(
    open_journal: OpenJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await open_journal()
    within = Message("within")
    run = await journal.begin_run("old")
    await record(run, call("1", "input", settings=Message("settings")), "reply", Message("holds", inside=within))
    await run.remember("once", Message("remembered"))
    await run.end()
    await make_older(journal, "old", timedelta(days=31))
    from miniagents.journal import _pruning

    needed_by = _pruning.Pruning._needed
    new = await journal.begin_run("new")

    async def needed_then(self: _pruning.Pruning) -> object:
        found = await needed_by(self)
        started = StartedCall("1", None, "a", settings=Message("settings"), inputs=(Message("input"),))
        await record(new, started, "reply", Message("holds", inside=within))
        await new.remember("once", Message("remembered"))
        return found

    monkeypatch.setattr(_pruning.Pruning, "_needed", needed_then)
    pruned = await journal.prune(timedelta(days=30))

    assert (pruned.runs, pruned.messages) == (1, 0)
    (one,) = await collected(journal.log("new"))
    assert [str(await journal.show(message)) for message in one.inputs] == ["input"]
    assert await journal.show(one.settings) == Message("settings")
    assert (await journal.show(one.replies[1])).inside == within
    assert await new.recall("once") == (Message("remembered"),)


async def test_a_run_that_is_being_removed_cannot_be_begun_and_what_was_cut_off_is_gone_the_next_time(
    open_journal: OpenJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = await open_journal()
    await write_run(journal, "old", days_ago=31)
    from miniagents.journal import _pruning

    class CutOffError(Exception):
        pass

    async def cut_off(_: object) -> object:
        with pytest.raises(RunBusyError):
            await journal.begin_run("old")
        raise CutOffError

    with monkeypatch.context() as patched:
        patched.setattr(_pruning.Pruning, "_needed", cut_off)
        with pytest.raises(CutOffError):
            await journal.prune(timedelta(days=30))
    assert await count(journal, "journal_messages") == 2

    def lease_ends() -> Steps[None]:
        yield Statement("UPDATE journal_runs SET lease_until = 1")

    await journal.store.submit(lease_ends)
    await journal.prune(timedelta(days=30))

    assert await count(journal, "journal_messages") == 0
    assert await runs_of(journal) == []


@pytest.mark.virtual_clock
async def test_a_run_cannot_be_begun_however_long_it_takes_to_remove_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from miniagents.journal import _pruning

    loop, needed_by = asyncio.get_running_loop(), _pruning.Pruning._needed
    monkeypatch.setattr(Journal, "now", lambda _: 1e9 + loop.time())
    refused: list[float] = []
    # One connection: to wait for a lock of SQLite takes time of the wall.
    async with await Journal.open("memory://") as journal:
        await write_run(journal, "old", days_ago=31)
        began = loop.time()

        async def slowly_needed(self: _pruning.Pruning) -> object:
            for _ in range(30):
                await asyncio.sleep(1)
                with pytest.raises(RunBusyError):
                    await journal.begin_run("old")
                refused.append(loop.time() - began)
            return await needed_by(self)

        monkeypatch.setattr(_pruning.Pruning, "_needed", slowly_needed)
        pruned = await journal.prune(timedelta(days=30))

        assert pruned.runs == 1
        assert refused[-1] >= 30
        assert not (await journal.begin_run("old")).is_resumed
        assert "signs of life of runs that are removed" not in {task.get_name() for task in asyncio.all_tasks()}


async def test_closing_in_the_middle_leaves_a_file_that_is_whole(tmp_path: Path, sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url) as journal:
        await write_run(journal, "old", days_ago=31, calls=30)
    for _ in range(5):
        async with await Journal.open(sqlite_url, time_to_live=timedelta(days=30), lease_s=0.0):
            await asyncio.sleep(0)
    async with await Journal.open(sqlite_url, time_to_live=timedelta(days=30)) as journal:
        await until_runs_are(journal, [])

    connection = sqlite3.connect(tmp_path / "runs.db")
    assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    connection.close()


@pytest.mark.virtual_clock
async def test_what_goes_wrong_is_told_to_the_log_and_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tried: list[timedelta] = []

    async def fails(_: Journal, older_than: timedelta) -> None:
        tried.append(older_than)
        raise JournalError("The disk is full", place="here")

    monkeypatch.setattr(Journal, "prune", fails)
    with caplog.at_level(logging.WARNING, logger="miniagents.journal"):
        async with await Journal.open("memory://?time_to_live=2h"):
            await asyncio.sleep(3 * 3600 + 1)

    assert tried == [timedelta(hours=2)] * 4
    assert "Old runs could not be removed from the journal, which is tried again: " in caplog.text


async def test_for_reading_only_nothing_is_removed(sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url) as journal:
        await write_run(journal, "old", days_ago=31)
    async with await Journal.open(f"{sqlite_url}?time_to_live=1d", read_only=True) as journal:
        assert [task.get_name() for task in asyncio.all_tasks() if "time to live" in task.get_name()] == []
        assert await runs_of(journal) == ["old"]


async def test_the_task_ends_with_the_journal(open_journal: OpenJournal) -> None:
    journal = await open_journal(time_to_live=timedelta(days=1))
    assert any("time to live" in task.get_name() for task in asyncio.all_tasks())

    await journal.close()

    assert not any("time to live" in task.get_name() for task in asyncio.all_tasks())


# ---------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize("age", ["30", "d", "0d", "-1d", "1y", "", "9999999999w"])
async def test_an_age_that_is_none_is_refused(age: str) -> None:
    with pytest.raises(JournalError, match="is no age: use a number and s, m, h, d or w, such as time_to_live=30d"):
        await Journal.open(f"memory://?time_to_live={age}")


@pytest.mark.parametrize("url", ["memory://?ttl=1d", "sqlite:///runs.db?ttl=1d", "sqlite:///runs.db?mode=ro&x"])
async def test_a_parameter_that_is_not_known_is_refused(url: str) -> None:
    with pytest.raises(JournalError, match=r"has the parameter '(ttl|mode)', which is not known.*\?time_to_live=30d"):
        await Journal.open(url)


async def test_a_server_gets_the_parameters_that_are_its_own(postgres_url: str) -> None:
    async with await Journal.open(f"{postgres_url}&time_to_live=30d") as journal:
        await write_run(journal, "r")
        assert await runs_of(journal) == ["r"]
    with pytest.raises(JournalError, match="ttl"):
        await Journal.open(f"{postgres_url}&ttl=30d")


@pytest.mark.parametrize(("given", "error"), [(30, TypeError), (timedelta(0), ValueError)], ids=["number", "nothing"])
async def test_a_time_to_live_that_is_none_is_refused(given: object, error: type[Exception]) -> None:
    with pytest.raises(error, match="`time_to_live` is"):
        await Journal.open("memory://", time_to_live=given)
