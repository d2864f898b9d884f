"""Reading: runs, logs, messages, where they come from; and removing what is old."""

from datetime import timedelta
from decimal import Decimal

import pytest

from miniagents import Message
from miniagents.journal import Journal, JournalError
from miniagents.usage import UsageTotals
from tests.unit.journal.conftest import OpenJournal, call, collected, record


async def test_runs_are_told_with_their_calls_and_their_usage_the_latest_first(journal: Journal) -> None:
    usage = UsageTotals(requests=1, output_tokens=5, cost=Decimal("0.1"))
    for number in range(3):
        run = await journal.begin_run(f"r{number}")
        for key in range(number):
            await record(run, call(str(key)), "x", usage=usage)
        await run.end("failed" if number == 1 else "finished")

    runs = await collected(journal.runs())

    assert [(run.run_id, run.state, run.calls) for run in runs] == [
        ("r2", "finished", 2), ("r1", "failed", 1), ("r0", "finished", 0),
    ]  # fmt: skip
    assert runs[0].usage == UsageTotals(requests=2, output_tokens=10, cost=Decimal("0.2"))
    assert all(run.started_at <= run.ended_at for run in runs)


async def test_more_runs_and_questions_than_are_read_at_once_are_all_told(journal: Journal) -> None:
    names = [f"r{number:03}" for number in range(450)]
    for name in names:
        run = await journal.begin_run(name, durability="lazy")
        await run.ask(name, "?")

    assert sorted([run.run_id async for run in journal.runs()]) == names
    assert [one.key async for one in journal.questions()] == names
    assert [one.key async for one in journal.questions("r007")] == ["r007"]


async def test_the_log_of_a_run_that_is_not_there_names_those_that_are(journal: Journal) -> None:
    await journal.begin_run("tuesday")

    with pytest.raises(JournalError, match="There is no run 'monday'. The latest runs: 'tuesday'"):
        await collected(journal.log("monday"))


async def test_a_message_is_found_by_the_beginning_of_its_hash(journal: Journal) -> None:
    messages = [Message(f"message {number}") for number in range(40)]
    run = await journal.begin_run("r")
    await record(run, call("k"), *messages)
    wanted = messages[7]

    assert await journal.show(wanted.hash_key[:12]) == wanted
    assert await journal.show(wanted.hash_key.upper()) == wanted
    with pytest.raises(JournalError, match="no message whose hash begins with 'ffffffffffff'"):
        await journal.show("ffffffffffff")
    with pytest.raises(JournalError, match="Several messages begin so"):
        await journal.show("")


async def test_nested_messages_are_stored_once_and_restored_whole_or_looked_at_one_by_one(journal: Journal) -> None:
    inner = Message("inner")
    deep: Message = inner
    for level in range(12):
        deep = Message(f"level {level}", parts=(deep, "text between", deep), inside={"again": inner})
    run = await journal.begin_run("r")
    await record(run, call("k"), deep)

    shown = await journal.show(deep.hash_key)
    stored = await journal.stored(deep.hash_key)

    assert shown.hash_key == deep.hash_key
    assert shown.parts[1] == "text between"
    assert shown.inside.again == inner
    assert stored.references == (deep.parts[0].hash_key, inner.hash_key)
    assert stored.body["parts__hash_keys"] == [deep.parts[0].hash_key, "text between", deep.parts[0].hash_key]


async def test_why_tells_the_calls_that_a_message_comes_from_back_to_what_was_given(journal: Journal) -> None:
    run = await journal.begin_run("r")
    await run.call_started(call("main", "start", agent="main"))
    await record(run, call("a", "start", agent="drafter", parent="main"), "draft")
    await record(run, call("b", "draft", agent="editor", parent="main"), "edited")
    await record(run, call("x", "start", agent="bystander", parent="main"), "unrelated")
    await run.call_finished("main", [(Message("edited"), None)])

    told = await collected(journal.why(Message("edited").hash_key[:10]))

    assert [one.agent for one in told] == ["editor", "drafter"]
    assert await collected(journal.why(Message("start").hash_key)) == []


async def test_pruning_removes_old_runs_and_what_only_they_needed(journal: Journal) -> None:
    shared, only_old, inside = Message("shared"), Message("only old"), Message("inside")
    old = await journal.begin_run("old")
    await record(old, call("k1", shared, only_old), "old answer")
    await old.remember("once", Message("once, in the old one"))
    await old.end()
    held = await journal.begin_run("held")
    # Begins as that of the old run does, so that the old one's sequence is still needed.
    await record(held, call("k2", shared, only_old, "more"), Message("new answer", inside=inside))
    await held.remember("once", Message("once, in the new one"))

    pruned = await journal.prune(older_than=timedelta())

    assert (pruned.runs, pruned.calls, pruned.messages) == (1, 1, 2)
    assert [run.run_id async for run in journal.runs()] == ["held"]
    (kept,) = await collected(journal.log("held"))
    assert [str(await journal.show(one)) for one in kept.inputs] == ["shared", "only old", "more"]
    assert (await journal.show(kept.replies[0])).inside == inside
    assert await held.recall("once") == (Message("once, in the new one"),)
    for gone in ("old answer", "once, in the old one"):
        with pytest.raises(JournalError, match="no message"):
            await journal.show(Message(gone).hash_key)


async def test_pruning_leaves_what_is_young(shared_journal: OpenJournal) -> None:
    journal = await shared_journal()
    run = await journal.begin_run("young")
    await record(run, call("k"), "answer")
    await run.end()

    pruned = await journal.prune(older_than=timedelta(days=30))

    assert (pruned.runs, pruned.calls, pruned.messages) == (0, 0, 0)
    assert len(await collected(journal.log("young"))) == 1
