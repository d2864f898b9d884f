"""Runs: held by one process at a time, with questions and things that happen once."""

import asyncio
import subprocess
import sys

import pytest

from miniagents import Message
from miniagents.journal import Journal, JournalError, RunBusyError, UnstorableValueError
from tests.unit.journal.conftest import OpenJournal, call, collected, record


async def test_a_second_process_with_the_same_run_id_is_refused(shared_journal: OpenJournal) -> None:
    one, other = await shared_journal(), await shared_journal()
    await one.begin_run("r")

    with pytest.raises(RunBusyError, match="'r' is being worked on by process") as raised:
        await other.begin_run("r")

    assert raised.value.run_id == "r"


async def test_the_same_run_cannot_be_begun_twice_in_one_journal(journal: Journal) -> None:
    run = await journal.begin_run("r")

    with pytest.raises(RunBusyError):
        await journal.begin_run("r")

    await run.end()
    assert (await journal.begin_run("r")).token > run.token


async def test_a_process_that_is_fenced_off_writes_nothing_more(shared_journal: OpenJournal) -> None:
    one, other = await shared_journal(), await shared_journal()
    fenced_off = await one.begin_run("r")
    await fenced_off.call_started(call("k"), durability="step")

    taken_over = await other.begin_run("r", on_busy="fence")
    with pytest.raises(RunBusyError, match="taken over"):
        await fenced_off.call_finished("k", [(Message("too late"), None)])
    await record(taken_over, call("k"), "in time")

    (recorded,) = await collected(other.log("r"))
    assert recorded.replies == (Message("in time").hash_key,)
    with pytest.raises(JournalError):
        await other.show(Message("too late").hash_key)


async def test_a_run_without_a_sign_of_life_is_free(shared_journal: OpenJournal) -> None:
    silent = await shared_journal(lease_s=-1)
    await silent.begin_run("r")

    assert (await (await shared_journal()).begin_run("r")).is_resumed


async def test_a_run_of_a_process_that_is_gone_is_free_at_once(shared_journal: OpenJournal, url: str) -> None:
    program = (
        "import asyncio, os, sys\n"
        "from miniagents.journal import Journal\n"
        "async def main():\n"
        "    journal = await Journal.open(sys.argv[1], lease_s=1000)\n"
        "    await journal.begin_run('r')\n"
        "    os.kill(os.getpid(), 9)\n"
        "asyncio.run(main())\n"
    )
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program, url], timeout=20)
    assert killed.returncode == -9

    run = await (await shared_journal()).begin_run("r")

    assert run.is_resumed


async def test_a_journal_that_is_closed_lets_go_of_its_runs(shared_journal: OpenJournal) -> None:
    first = await shared_journal()
    await first.begin_run("r")
    await first.close()

    second = await shared_journal()

    assert [run.state async for run in second.runs()] == ["interrupted"]
    await second.begin_run("r")


@pytest.mark.parametrize("run_id", ["", "a\x00b", "\ud800"], ids=["empty", "NUL", "surrogate"])
async def test_a_run_id_that_is_no_name_is_refused(journal: Journal, run_id: str) -> None:
    with pytest.raises(UnstorableValueError, match="`run_id` cannot be stored"):
        await journal.begin_run(run_id)


# ------------------------------------------------------------------------------------------------------- durability


async def test_lazy_writes_are_committed_in_the_background(shared_journal: OpenJournal) -> None:
    run = await (await shared_journal()).begin_run("r", durability="lazy")
    reader = await shared_journal()

    await record(run, call("k"), "soon")
    async with asyncio.timeout(10):
        # Nothing tells another process that something was committed.
        while not [one async for one in reader.log("r") if one.state == "finished"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_with_durability_end_everything_is_committed_at_the_end(shared_journal: OpenJournal) -> None:
    run = await (await shared_journal()).begin_run("r", durability="end")
    reader = await shared_journal()

    await record(run, call("k"), "late")
    before = await collected(reader.log("r"))
    await run.end()

    assert before == []
    assert [one.state async for one in reader.log("r")] == ["finished"]


async def test_a_write_that_failed_in_the_background_is_raised_by_the_next_one(shared_journal: OpenJournal) -> None:
    run = await (await shared_journal()).begin_run("r", durability="lazy")
    await (await shared_journal()).begin_run("r", on_busy="fence")
    await run.call_started(call("k"))

    with pytest.raises(RunBusyError):
        await run.flush()


async def test_a_caller_that_is_cancelled_does_not_take_the_write_with_it(journal: Journal) -> None:
    run = await journal.begin_run("r")
    await run.call_started(call("k"))
    writing = asyncio.ensure_future(run.call_finished("k", [(Message("kept"), None)]))
    await asyncio.sleep(0)

    writing.cancel()
    await asyncio.wait([writing])
    await run.flush()

    assert [one.state async for one in journal.log("r")] == ["finished"]


# -------------------------------------------------------------------------------------------------------- questions


async def test_questions_survive_their_process_and_are_answered_by_others_in_any_order(
    shared_journal: OpenJournal,
) -> None:
    asking = await shared_journal()
    run = await asking.begin_run("r")
    for key in ("a", "b"):
        await run.ask(key, f"May I {key}?")
    await asking.close()

    person = await shared_journal()
    asked = await collected(person.questions())
    await person.answer("r", "b", {"ok": [True, 1.5, None]})
    await person.answer("r", "a", Message("yes", by="me"))

    resumed = await (await shared_journal()).begin_run("r")
    assert [(one.key, one.text, one.answer, one.answered_at) for one in asked] == [
        ("a", "May I a?", None, None),
        ("b", "May I b?", None, None),
    ]
    assert (await resumed.ask("a", "May I a?")).answer == Message("yes", by="me")
    assert (await resumed.wait_for_answer("b")).answer == {"ok": [True, 1.5, None]}


async def test_an_answer_of_another_process_wakes_all_who_wait(shared_journal: OpenJournal) -> None:
    run = await (await shared_journal()).begin_run("r")
    await run.ask("k", "Well?")
    waiting = [asyncio.ensure_future(run.wait_for_answer("k")) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()

    await (await shared_journal()).answer("r", "k", "fine")

    assert [(await one).answer for one in waiting[1:]] == ["fine", "fine"]


async def test_an_answer_of_the_same_journal_wakes_who_waits(journal: Journal) -> None:
    run = await journal.begin_run("r")
    await run.ask("k", "Well?")
    waiting = asyncio.ensure_future(run.wait_for_answer("k"))
    await asyncio.sleep(0)

    await journal.answer("r", "k", "fine")

    assert (await waiting).answer == "fine"


async def test_a_key_stands_for_one_question_and_a_question_has_one_answer(journal: Journal) -> None:
    run = await journal.begin_run("r")
    await run.ask("k", "Well?")
    await run.ask("k", "Well?")

    with pytest.raises(JournalError, match="has asked 'Well\\?' under the key 'k'"):
        await run.ask("k", "What?")
    with pytest.raises(JournalError, match="Open questions of it: 'k'"):
        await journal.answer("r", "other", "x")
    await journal.answer("r", "k", "x")
    await journal.answer("r", "k", "x")
    with pytest.raises(JournalError, match="was answered already"):
        await journal.answer("r", "k", "y")
    with pytest.raises(JournalError, match="has not asked anything"):
        await run.wait_for_answer("other")


# ------------------------------------------------------------------------------------------------------------- once


async def test_what_happened_once_is_recalled_and_not_replaced(shared_journal: OpenJournal) -> None:
    first = await shared_journal()
    run = await first.begin_run("r", durability="end")
    before = await run.recall("charge")
    given = await run.remember("charge", {"receipt": ("a", 1), "note": Message("paid")})
    await first.close()

    resumed = await (await shared_journal()).begin_run("r")
    again = await resumed.remember("charge", "something else")

    assert before is None
    assert given == again == {"receipt": ["a", 1], "note": Message("paid")}
    assert await resumed.recall("charge") == (given,)


@pytest.mark.parametrize(
    ("value", "field"),
    [
        ({"price": {"net": object()}}, "charge.price.net"),
        ([1, float("nan")], "charge[1]"),
        ({1: "one"}, "charge"),
        ("\ud800", "charge"),
    ],
    ids=["object", "nan", "key", "surrogate"],
)
async def test_a_value_that_json_cannot_hold_is_refused_by_the_name_of_its_field(
    journal: Journal, value: object, field: str
) -> None:
    run = await journal.begin_run("r")

    with pytest.raises(UnstorableValueError) as raised:
        await run.remember("charge", value)

    assert raised.value.field == field
    assert await run.recall("charge") is None
