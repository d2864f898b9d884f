"""What is told of calls whose inputs were lost, because a write in the background had failed; nothing else is excused."""

import asyncio
from typing import Any

import pytest

from miniagents.journal import Journal, JournalCorruptError, JournalError, RunJournal
from miniagents.journal._store import Statement, Steps
from tests.unit.journal.conftest import OpenJournal, call, collected, record


class Disk:
    """A disk that may be full."""

    def __init__(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_full = False
        self._place = journal.place
        self._submit = journal.store.submit
        monkeypatch.setattr(journal.store, "submit", self.submit)

    def submit(self, operation: Any, **how: Any) -> "asyncio.Future[Any]":
        if not self.is_full:
            return self._submit(operation, **how)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        future.set_exception(JournalError("There is no room left for it", place=self._place))
        return future


async def run_with_a_gap(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> RunJournal:
    """Give a run of which the beginning of a dialog is missing, and what was built upon it is not."""
    disk = Disk(journal, monkeypatch)
    run = await journal.begin_run("r", durability="lazy")
    run.on_failure = lambda error: None
    await record(run, call("before", "first"), "reply")
    disk.is_full = True
    await run.call_started(call("lost", "a", "b"))
    disk.is_full = False
    await record(run, call("behind", "a", "b", "c"), "reply")
    await record(run, call("passing on"), "first", "second", passes_on=True)
    # The run hears of it, and goes on.
    await asyncio.sleep(0)
    await record(run, call("after", "a", "b", "d"), "reply")
    await run.flush()
    return run


async def inputs(journal: Journal) -> dict[str, int | None]:
    return {one.key: None if one.inputs is None else len(one.inputs) for one in await collected(journal.log("r"))}


async def test_inputs_that_are_built_upon_what_was_lost_are_not_known(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_with_a_gap(journal, monkeypatch)

    assert await inputs(journal) == {"before": 1, "behind": None, "passing on": 0, "after": 3}


async def test_another_process_is_told_the_same_and_so_is_who_resumes_it(
    shared_journal: OpenJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await run_with_a_gap(await shared_journal(), monkeypatch)
    await run.end()

    other = await shared_journal()
    resumed = await other.begin_run("r")

    assert (await inputs(other))["behind"] is None
    assert await resumed.find_call("behind") is not None
    assert [one.key for one in await collected(other.why((await collected(other.log("r")))[0].replies[0]))]


async def remove(journal: Journal, sql: str, *parameters: str) -> None:
    def steps() -> Steps[None]:
        yield Statement(sql, parameters)

    await journal.store.submit(steps)


async def test_inputs_that_somebody_has_removed_are_an_error_in_a_run_that_has_lost_nothing(journal: Journal) -> None:
    run = await journal.begin_run("r")
    await record(run, call("one", "a", "b"), "reply")
    await record(run, call("two", "a", "b", "c"), "reply")
    await journal.flush()
    ids = await journal.store.read(lambda: statement("SELECT previous FROM journal_sequences WHERE previous <> ''"))

    await remove(journal, "DELETE FROM journal_sequences WHERE id = ?", ids[0][0])

    with pytest.raises(JournalCorruptError, match="do not match their hash"):
        await inputs(journal)


async def test_inputs_that_somebody_has_changed_are_an_error_in_a_run_that_has_lost_some_too(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    await run_with_a_gap(journal, monkeypatch)

    await remove(journal, "UPDATE journal_sequences SET items = items || ' 0' WHERE previous IS NULL AND items <> ''")

    with pytest.raises(JournalCorruptError, match="do not match their hash"):
        await inputs(journal)


def statement(sql: str) -> Steps[list[Any]]:
    rows = yield Statement(sql)
    return rows
