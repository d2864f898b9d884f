"""A call whose row, or whose replies, somebody has changed or lost answers nothing, and is not made again either."""

import sqlite3
from datetime import timedelta
from pathlib import Path

import pytest

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.journal import Journal, JournalCorruptError
from miniagents.usage import UsageTotals
from tests.unit.journal.conftest import OpenJournal, call, record
from tests.unit.journal.programs import streamed


def change(file: Path, sql: str) -> None:
    connection = sqlite3.connect(file)
    assert connection.execute(sql).rowcount > 0
    connection.commit()
    connection.close()


CHANGES = {
    "lost reply": "DELETE FROM journal_replies WHERE position = 1",
    "lost replies": "DELETE FROM journal_replies",
    "moved reply": "UPDATE journal_replies SET position = position + 3",
    "other tokens": "UPDATE journal_replies SET tokens = x'010104' WHERE position = 0",
    "one token": "UPDATE journal_replies SET tokens = NULL",
    "one reply for another": "UPDATE journal_replies SET hash = (SELECT hash FROM journal_replies WHERE position = 1), "
    "tokens = NULL WHERE position = 0",
    "agent": "UPDATE journal_calls SET agent = 'ANOTHER'",
    "version": "UPDATE journal_calls SET version = '2'",
    "parent": "UPDATE journal_calls SET parent = key",
    "settings": "UPDATE journal_calls SET settings = NULL",
    "inputs": "UPDATE journal_calls SET inputs = NULL",
    "likeness": "UPDATE journal_calls SET equal = '0123'",
    "no likeness": "UPDATE journal_calls SET equal = NULL",
    "usage": "UPDATE journal_calls SET usage = '{\"requests\": 7}'",
    "seal": "UPDATE journal_calls SET seal = '0123'",
    "no seal": "UPDATE journal_calls SET seal = NULL",
    "state": "UPDATE journal_calls SET state = 'started'",
    "failed": "UPDATE journal_calls SET state = 'failed'",
}


@pytest.mark.parametrize("sql", CHANGES.values(), ids=CHANGES)
def test_a_call_that_is_not_what_was_written_is_refused_on_resume(tmp_path: Path, sqlite_url: str, sql: str) -> None:
    made: list[str] = []

    @miniagent(durable=True)
    async def leaf(ctx: InteractionContext, mood: str) -> None:
        made.append(mood)

        ctx.reply(streamed("th", "re", "e"))
        ctx.reply("four")

    def run() -> list[str]:
        async def main() -> list[str]:
            return [str(message) for message in await leaf.inquire("two", mood="good")]

        return MiniAgents(journal=sqlite_url, run_id="r").run(main())

    first, second = run(), run()
    change(tmp_path / "runs.db", sql)
    with pytest.raises(JournalCorruptError, match=r"The call '\w+' of the run 'r' cannot be read: its ") as refused:
        run()

    assert first == second == ["three", "four"]
    assert made == ["good"]
    assert refused.value.row is not None
    assert refused.value.row.startswith("call ")


async def test_two_answers_that_were_exchanged_are_refused(tmp_path: Path, sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url) as journal:
        run = await journal.begin_run("r")
        await record(run, call("one", "question"), "yes")
        await record(run, call("two", "question"), "no")
    change(tmp_path / "runs.db", "UPDATE journal_replies SET call = 13 - call")
    change(tmp_path / "runs.db", "UPDATE journal_replies SET call = call - 10")

    async with await Journal.open(sqlite_url) as journal:
        resumed = await journal.begin_run("r")
        for key in ("one", "two"):
            with pytest.raises(JournalCorruptError, match=f"The call '{key}' of the run 'r'"):
                await resumed.find_call(key)


async def test_an_answer_that_was_changed_is_not_given_to_other_runs(tmp_path: Path, sqlite_url: str) -> None:
    asked, other = call("k", "question"), call("k", "another question")
    async with await Journal.open(sqlite_url) as journal:
        run = await journal.begin_run("r")
        await record(run, asked, "yes")
        await record(run, call("k2", "another question"), "no")
    change(
        tmp_path / "runs.db",
        "UPDATE journal_calls SET equal = (SELECT equal FROM journal_calls WHERE key = 'k2') WHERE key = 'k'",
    )
    change(tmp_path / "runs.db", "DELETE FROM journal_calls WHERE key = 'k2'")

    async with await Journal.open(sqlite_url) as journal:
        assert await journal.find_memoized(asked) is None
        with pytest.raises(JournalCorruptError, match="The call 'k' of the run 'r' cannot be read: its `equal`"):
            await journal.find_memoized(other, max_age=timedelta(days=1))


async def test_calls_that_end_in_every_way_are_answered(shared_journal: OpenJournal) -> None:
    """However an end comes to be written, what is read later is what was written."""
    answer, tokens = Message("answer"), ("an", "swer")
    journal = await shared_journal()
    run = await journal.begin_run("r")
    await record(run, call("plain", "x"), answer)
    await run.call_started(call("committed", "x"), durability="step")
    await run.call_finished("committed", [(answer, tokens)], usage=UsageTotals(requests=1))
    await run.call_started(call("in steps", "x"))
    await run.call_replied("in steps", 0, (answer, tokens))
    await run.call_finished("in steps", [(answer, tokens), (Message("and more"), None)])
    await run.call_started(call("empty"))
    await run.call_finished("empty", [])
    await run.call_started(call("again", "x"))
    await run.call_failed("again", ValueError("no"), [(answer, None)])
    await run.call_started(call("again", "x"))
    await run.call_finished("again", [(answer, None)])
    await run.call_started(call("by another process", "x"))
    await run.end()
    other = await (await shared_journal()).begin_run("r")
    await other.call_finished("by another process", [(answer, None)], inputs=[Message("y")])
    await other.end()

    resumed = await (await shared_journal()).begin_run("r")
    found = [
        await resumed.find_call(key)
        for key in ("plain", "committed", "in steps", "empty", "again", "by another process")
    ]
    equal = await resumed.find_equal_call(call("moved", "y"))

    assert [None if one is None else len(one.replies) for one in found] == [1, 1, 2, 0, 1, 1]
    assert equal is None


async def test_an_answer_that_another_call_has_taken_over_is_sealed_as_well(shared_journal: OpenJournal) -> None:
    answer, tokens = Message("answer"), ("an", "swer")
    run = await (await shared_journal()).begin_run("r")
    await run.call_started(call("before", "x"))
    await run.call_finished("before", [(answer, tokens), (Message("more"), None)], usage=UsageTotals(requests=1))
    await run.end()
    edited = await (await shared_journal()).begin_run("r")
    adopted = await edited.find_equal_call(call("now", "x"))
    await edited.end()

    again = await (await shared_journal()).begin_run("r")
    found = await again.find_call("now", call("now", "x"))

    assert adopted is not None
    assert found is not None
    assert found.replies == adopted.replies
