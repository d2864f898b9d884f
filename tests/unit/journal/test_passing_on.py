"""Calls that pass on what others have replied with: nothing is stored twice, and nobody can tell the difference."""

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from miniagents import Message
from miniagents.journal import CallRecord, Journal, JournalCorruptError, RunJournal, StartedCall, UnstorableValueError
from miniagents.journal._pruning import Pruning
from miniagents.journal._store import Statement, Steps
from tests.unit.journal.conftest import OpenJournal, call, collected

QUESTION, ANSWER = Message("question"), Message("answer")
TOKENS = ["an", "swer"]


async def passed_on(run: RunJournal, key: str, *replies: Message, inputs: tuple[Message, ...] = ()) -> None:
    await run.call_started(call(key, *inputs, agent=key.partition(" ")[0]))
    await run.call_finished(key, [(one, None) for one in replies], passes_on=True)


async def answered(run: RunJournal, key: str, *inputs: Message, answer: Message = ANSWER) -> None:
    await run.call_started(call(key, *inputs, agent=key.partition(" ")[0]))
    await run.call_finished(key, [(answer, TOKENS if answer is ANSWER else None)])


async def turn(run: RunJournal) -> None:
    """A person asks, a model answers, and a history has both, which another call gets from it."""
    await passed_on(run, "user", QUESTION)
    await answered(run, "model", QUESTION)
    await passed_on(run, "history", QUESTION, ANSWER)
    await passed_on(run, "loop", QUESTION, ANSWER)


async def rows_of(journal: Journal, columns: str) -> list[tuple[object, ...]]:
    def read() -> Steps[list[tuple[object, ...]]]:
        return [tuple(row) for row in (yield Statement(f"SELECT {columns}"))]

    return await journal.store.read(read)


async def logged(journal: Journal, run_id: str = "r") -> dict[str, CallRecord]:
    return {one.key: one for one in await collected(journal.log(run_id))}


def hashes(*messages: Message) -> tuple[str, ...]:
    return tuple(one.hash_key for one in messages)


# ---------------------------------------------------------------------------------------------------------- looking


async def test_the_log_has_all_replies_of_each_call(journal: Journal) -> None:
    run = await journal.begin_run("r")
    dialog: list[Message] = []
    expected: dict[str, tuple[str, ...]] = {}
    for number in range(120):
        dialog.append(Message(f"question {number}"))
        await passed_on(run, f"user {number}", *dialog)
        expected[f"user {number}"] = hashes(*dialog)
        await answered(run, f"model {number}", *dialog, answer=Message(f"answer {number}"))
        expected[f"model {number}"] = hashes(Message(f"answer {number}"))
        # One that knows the words alone: other objects, the same messages.
        dialog = [Message(str(one)) for one in (*dialog, f"answer {number}")]
        await passed_on(run, f"history {number}", *dialog)
        expected[f"history {number}"] = hashes(*dialog)

    assert {key: one.replies for key, one in (await logged(journal)).items()} == expected


async def test_each_message_is_stored_as_a_reply_of_the_call_that_made_it_alone(journal: Journal) -> None:
    await turn(await journal.begin_run("r"))

    rows = await rows_of(
        journal, "c.key, r.hash FROM journal_replies r JOIN journal_calls c ON c.seq = r.call ORDER BY c.seq"
    )
    assert rows == [("user", QUESTION.hash_key), ("model", ANSWER.hash_key)]


async def test_what_is_replied_with_and_what_is_called_with_are_one_sequence(journal: Journal) -> None:
    run = await journal.begin_run("r")
    await turn(run)
    await answered(run, "next", QUESTION, ANSWER, answer=Message("more"))

    ((outputs,),) = await rows_of(journal, "outputs FROM journal_calls WHERE key = 'history'")
    assert await rows_of(journal, "inputs FROM journal_calls WHERE key = 'next'") == [(outputs,)]
    # None, the question, and both.
    assert await rows_of(journal, "COUNT(*) FROM journal_sequences") == [(3,)]
    assert (await logged(journal))["next"].inputs == hashes(QUESTION, ANSWER)


async def test_why_tells_who_made_a_message_and_not_who_passed_it_on(journal: Journal) -> None:
    run = await journal.begin_run("r")
    await turn(run)
    await answered(run, "editor", QUESTION, ANSWER, answer=Message("edited"))
    await passed_on(run, "outermost", QUESTION, ANSWER, Message("edited"))

    told = await collected(journal.why(Message("edited").hash_key))

    assert [one.agent for one in told] == ["editor", "user", "model"]


async def test_why_finds_who_made_what_somebody_else_was_called_with_before_the_maker_had_ended(
    journal: Journal,
) -> None:
    run = await journal.begin_run("r")
    await run.call_started(call("maker", agent="maker"))
    await answered(run, "reader", QUESTION, Message("aside"), answer=Message("read"))
    await run.call_finished("maker", [(QUESTION, None), (Message("aside"), None)], passes_on=True)

    assert [one.agent for one in await collected(journal.why(QUESTION.hash_key))] == ["maker"]
    assert [one.agent for one in await collected(journal.why(Message("read").hash_key))] == ["reader", "maker"]


async def test_why_finds_a_message_of_a_call_that_failed_and_was_made_again(open_journal: OpenJournal) -> None:
    journal = await open_journal()
    run = await journal.begin_run("r")
    await run.call_started(call("flaky", agent="flaky"))
    await run.call_failed("flaky", ValueError("no"), [(QUESTION, None)], passes_on=True)
    await passed_on(run, "keeper", QUESTION)
    await passed_on(run, "flaky", ANSWER)

    assert [one.agent for one in await collected(journal.why(QUESTION.hash_key))] == ["keeper"]


async def test_a_failed_call_has_what_it_passed_on_before(journal: Journal) -> None:
    run = await journal.begin_run("r")
    await turn(run)
    await run.call_started(call("failed"))
    await run.call_failed("failed", ValueError("no"), [(QUESTION, None), (ANSWER, None)], passes_on=True)

    found = (await logged(journal))["failed"]

    assert (found.state, found.replies) == ("failed", hashes(QUESTION, ANSWER))


async def test_what_cannot_be_stored_is_named(journal: Journal) -> None:
    class Twice(Message):
        pass

    kept = Twice

    class Twice(Message):
        __qualname__ = "elsewhere.Twice"

    run = await journal.begin_run("r")
    await turn(run)
    await run.call_started(call("k"))

    with pytest.raises(UnstorableValueError, match="two classes are called `Twice`") as raised:
        await run.call_finished("k", [(QUESTION, None), (kept("x"), None)], passes_on=True)

    assert raised.value.field == "replies[1]"


async def test_a_message_that_holds_others_very_deep_is_passed_on(journal: Journal) -> None:
    deep = Message("the first")
    for _ in range(3000):
        deep = Message("more", before=deep)
    run = await journal.begin_run("r")
    await turn(run)

    await passed_on(run, "keeper", QUESTION, deep)

    assert (await logged(journal))["keeper"].replies == hashes(QUESTION, deep)


# --------------------------------------------------------------------------------------------------- answers, resume


async def test_leaves_are_answered_with_their_tokens_and_a_call_that_passed_on_is_made_again(
    shared_journal: OpenJournal,
) -> None:
    journal = await shared_journal()
    run = await journal.begin_run("r")
    await turn(run)
    await run.end()

    resumed = await (await shared_journal()).begin_run("r")

    found = await resumed.find_call("model")
    assert found is not None
    assert [(reply.message, reply.tokens) for reply in found.replies] == [(ANSWER, tuple(TOKENS))]
    assert await resumed.find_call("history") is None
    assert await resumed.find_equal_call(call("another", agent="history")) is None
    assert await journal.find_memoized(call("another", agent="history")) is None


async def test_a_call_that_is_made_again_keeps_its_replies_until_it_ends_whatever_it_is_by_then(
    journal: Journal,
) -> None:
    run = await journal.begin_run("r")
    await turn(run)
    await run.end()
    resumed = await journal.begin_run("r")

    await resumed.call_started(call("history", agent="history"), durability="step")
    going_on = (await logged(journal))["history"]
    await resumed.call_finished("history", [(Message("alone"), None)])
    ended = (await logged(journal))["history"]

    assert (going_on.state, going_on.replies) == ("started", hashes(QUESTION, ANSWER))
    assert (ended.state, ended.replies) == ("finished", hashes(Message("alone")))


async def test_a_resumed_run_stores_a_message_as_a_reply_no_more_often_than_the_first_time(journal: Journal) -> None:
    for _ in range(3):
        run = await journal.begin_run("r")
        await passed_on(run, "user", QUESTION)
        if await run.find_call("model") is None:
            await answered(run, "model", QUESTION)
        await passed_on(run, "history", QUESTION, ANSWER)
        await passed_on(run, "loop", QUESTION, ANSWER)
        await run.end()

    assert await rows_of(journal, "COUNT(*) FROM journal_replies") == [(2,)]
    assert [one.agent for one in await collected(journal.why(ANSWER.hash_key))] == ["model", "user"]


KILLED = """
import asyncio, os, sys
from miniagents import Message
from miniagents.journal import Journal, StartedCall

async def main():
    journal = await Journal.open(sys.argv[1])
    run = await journal.begin_run("r")
    dialog = []
    for number in range(20):
        dialog.append(Message(f"question {number}"))
        await run.call_started(StartedCall(f"k{number}", None, "history", inputs=tuple(dialog[:-1])))
        await run.call_finished(f"k{number}", [(one, ["question ", str(one)[9:]]) for one in dialog], passes_on=True)
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


@pytest.mark.parametrize("read_only", [True, False], ids=["only looks", "may write"])
async def test_what_a_killed_process_passed_on_and_has_not_filed_is_read_all_the_same(
    tmp_path: Path, sqlite_url: str, *, read_only: bool
) -> None:
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", KILLED, sqlite_url], timeout=20)
    with contextlib.closing(sqlite3.connect(tmp_path / "runs.db")) as connection:
        (longest,) = connection.execute("SELECT MAX(LENGTH(steps)) FROM journal_unfiled").fetchone()

    async with await Journal.open(sqlite_url, read_only=read_only) as journal:
        calls = await collected(journal.log("r"))

    dialog = [Message(f"question {number}").hash_key for number in range(20)]
    assert [one.replies for one in calls] == [tuple(dialog[: number + 1]) for number in range(20)]
    # What is known is not written with each step.
    assert 0 < longest < 2000


# ------------------------------------------------------------------------------------------- bad input, what is removed


async def test_replies_that_somebody_has_changed_are_refused_and_named(tmp_path: Path, sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url) as journal:
        await turn(await journal.begin_run("r"))
    connection = sqlite3.connect(tmp_path / "runs.db")
    (sequence,) = connection.execute("SELECT outputs FROM journal_calls WHERE key = 'history'").fetchone()
    connection.execute(f"UPDATE journal_sequences SET items = '{QUESTION.hash_key}' WHERE id = '{sequence}'")
    connection.commit()
    connection.close()

    async with await Journal.open(sqlite_url) as journal:
        with pytest.raises(JournalCorruptError) as raised:
            await collected(journal.log("r"))

    assert raised.value.row == f"sequence {sequence}"


async def test_pruning_keeps_what_was_passed_on_in_other_runs_and_removes_the_rest(journal: Journal) -> None:
    old = await journal.begin_run("old")
    await turn(old)
    await passed_on(old, "old", QUESTION, ANSWER, Message("only old"))
    await passed_on(old, "older", Message("only old"), QUESTION)
    await old.end()
    held = await journal.begin_run("held")
    await turn(held)
    await passed_on(held, "held", QUESTION, ANSWER, Message("only held"))

    pruned = await journal.prune(timedelta())

    assert (pruned.runs, pruned.calls, pruned.messages) == (1, 6, 1)
    replies = (await logged(journal, "held"))["held"].replies
    assert [str(await journal.show(one)) for one in replies] == ["question", "answer", "only held"]
    await held.end()
    await journal.prune(timedelta())
    for table in ("messages", "sequences", "replies", "calls"):
        assert await rows_of(journal, f"COUNT(*) FROM journal_{table}") == [(0,)]


async def test_what_was_passed_on_after_it_was_found_unneeded_stays(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = await journal.begin_run("old")
    await turn(old)
    await old.end()
    new = await journal.begin_run("new")
    needed = Pruning._needed

    async def needed_then(self: Pruning) -> object:
        found = await needed(self)
        await turn(new)
        return found

    monkeypatch.setattr(Pruning, "_needed", needed_then)
    pruned = await journal.prune(timedelta())

    assert (pruned.runs, pruned.messages) == (1, 0)
    kept = await logged(journal, "new")
    assert kept["loop"].replies == kept["history"].replies == hashes(QUESTION, ANSWER)
    assert [str(await journal.show(one)) for one in kept["loop"].replies] == ["question", "answer"]


async def test_after_a_write_has_failed_nothing_refers_to_it(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    run = await journal.begin_run("r", durability="lazy")
    submit = journal.store.submit

    def lost(*_: object, **__: object) -> "asyncio.Future[None]":
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        future.set_exception(OSError("gone"))
        return future

    await run.call_started(StartedCall("lost", None, "model", inputs=(QUESTION,)))
    monkeypatch.setattr(journal.store, "submit", lost)
    await run.call_finished("lost", [(QUESTION, None), (ANSWER, None)])
    monkeypatch.setattr(journal.store, "submit", submit)
    with pytest.raises(OSError, match="gone"):
        await run.flush()
    await passed_on(run, "keeper", QUESTION, ANSWER)
    await run.flush()

    assert (await logged(journal))["keeper"].replies == hashes(QUESTION, ANSWER)
    assert [one.agent for one in await collected(journal.why(ANSWER.hash_key))] == ["keeper"]
    assert await journal.show(ANSWER.hash_key) == ANSWER
