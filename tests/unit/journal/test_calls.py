"""Calls and their answers: what is recorded is found again, on every database."""

import asyncio
import traceback
from datetime import timedelta
from decimal import Decimal

import pytest

from miniagents import Message
from miniagents.ext.llms import AssistantMessage, UserMessage
from miniagents.journal import Journal, JournalError, StartedCall, UnstorableValueError
from miniagents.promising.ext.frozen import Frozen
from miniagents.usage import UsageTotals
from tests.unit.journal.conftest import OpenJournal, call, collected, record


async def test_a_finished_call_is_found_by_a_later_process_with_its_tokens(shared_journal: OpenJournal) -> None:
    first = await shared_journal()
    run = await first.begin_run("r")
    await run.call_started(call("k", "Hi"))
    answer = AssistantMessage("Hello, wörld!", mood="good")
    await run.call_finished("k", [(answer, ["Hel", "", "lo, ", "wörld!"]), (Message("And?"), None)])
    await first.close()

    resumed = await (await shared_journal()).begin_run("r")
    found = await resumed.find_call("k")

    assert resumed.is_resumed
    assert [reply.message for reply in found.replies] == [answer, Message("And?")]
    assert type(found.replies[0].message) is AssistantMessage
    assert [reply.tokens for reply in found.replies] == [("Hel", "", "lo, ", "wörld!"), ("And?",)]


async def test_an_answer_is_given_once(shared_journal: OpenJournal) -> None:
    first = await shared_journal()
    await record(await first.begin_run("r"), call("k"), "yes")
    await first.close()
    resumed = await (await shared_journal()).begin_run("r")

    answers = await asyncio.gather(resumed.find_call("k"), resumed.find_call("k"))

    assert [found is not None for found in answers] == [True, False]


async def test_a_call_without_a_result_is_known_as_started_and_one_that_failed_as_failed(
    shared_journal: OpenJournal,
) -> None:
    first = await shared_journal()
    run = await first.begin_run("r")
    await run.call_started(call("cut off"))
    await run.call_started(call("failed"))
    await run.call_failed("failed", ConnectionError("no route"))
    await first.close()

    resumed = await (await shared_journal()).begin_run("r")

    assert [resumed.state_of(key) for key in ("cut off", "failed", "new")] == ["started", "failed", None]
    assert await resumed.find_call("cut off") is await resumed.find_call("failed") is None


async def test_a_failed_call_keeps_type_text_traceback_and_what_it_had_replied(journal: Journal) -> None:
    run = await journal.begin_run("r")
    await run.call_started(call("k"))
    try:
        raise ConnectionError("no \x00 route \ud800")
    except ConnectionError as error:
        await run.call_failed("k", error, [(Message("so far"), None)])
        expected = "".join(traceback.format_exception(error)).splitlines()[1]

    (recorded,) = await collected(journal.log("r"))

    assert (recorded.state, recorded.error.type) == ("failed", "builtins.ConnectionError")
    assert recorded.error.text == "no \\x00 route \\ud800"
    assert expected in recorded.error.traceback
    assert recorded.replies == (Message("so far").hash_key,)


async def test_a_call_that_is_made_again_counts_its_attempts_and_keeps_the_last_answer(journal: Journal) -> None:
    run = await journal.begin_run("r")
    await run.call_started(call("k"))
    await run.call_failed("k", ValueError("bad"), [(Message("half"), None), (Message("way"), None)])
    await record(run, call("k"), "done")

    (recorded,) = await collected(journal.log("r"))

    assert (recorded.attempts, recorded.state, recorded.error) == (2, "finished", None)
    assert recorded.replies == (Message("done").hash_key,)


async def test_an_equal_call_of_an_edited_program_gets_an_answer_that_nobody_has_claimed(
    shared_journal: OpenJournal,
) -> None:
    first = await shared_journal()
    run = await first.begin_run("r")
    settings = Frozen(temperature=1)
    await record(run, call("old 1", "Roll", settings=settings), "1")
    await record(run, call("old 2", "Roll", settings=settings), "2")
    await first.close()
    second = await shared_journal()
    resumed = await second.begin_run("r")

    other_version = await resumed.find_equal_call(call("new 0", "Roll", settings=settings, version="2"))
    answers = [await resumed.find_equal_call(call(f"new {n}", "Roll", settings=settings)) for n in (1, 2, 3)]

    assert other_version is None
    assert [found and str(found.replies[0].message) for found in answers] == ["1", "2", None]
    # The next run finds them by their new keys.
    await second.close()
    again = await (await shared_journal()).begin_run("r")
    assert str((await again.find_call("new 2")).replies[0].message) == "2"


async def test_an_equal_call_in_any_run_is_found_if_it_is_not_too_old(journal: Journal) -> None:
    run = await journal.begin_run("one")
    await record(run, call("k", "What is 2+2?"), "4")
    await run.end()

    found = await journal.find_memoized(call("other", "What is 2+2?"))
    too_old = await journal.find_memoized(call("other", "What is 2+2?"), max_age=timedelta(seconds=-1))
    other_input = await journal.find_memoized(call("other", "What is 2+3?"))

    assert (found.run_id, str(found.replies[0].message)) == ("one", "4")
    assert too_old is other_input is None


async def test_the_log_has_everything_that_was_said_of_a_call(journal: Journal) -> None:
    run = await journal.begin_run("r")
    settings = Frozen(model="m", nested={"a": [1, 2]})
    usage = UsageTotals(requests=1, input_tokens=10, cost=Decimal("0.0015"))
    await run.call_started(call("parent", agent="main"))
    await record(run, call("k", "one", "two", parent="parent", version="3", settings=settings), "three", usage=usage)

    _, recorded = await collected(journal.log("r"))

    assert (recorded.run_id, recorded.key, recorded.parent, recorded.agent, recorded.version) == (
        "r", "k", "parent", "model", "3",
    )  # fmt: skip
    assert recorded.settings == settings.hash_key
    assert await journal.show(recorded.settings) == settings
    assert recorded.inputs == (Message("one").hash_key, Message("two").hash_key)
    assert recorded.replies == (Message("three").hash_key,)
    assert recorded.usage == usage
    assert recorded.started_at <= recorded.ended_at


async def test_inputs_that_were_not_known_at_the_start_are_recorded_at_the_end(journal: Journal) -> None:
    run = await journal.begin_run("r")
    await run.call_started(StartedCall("k", None, "main"))
    await run.call_finished("k", [], inputs=[Message("late")])

    (recorded,) = await collected(journal.log("r"))

    assert recorded.inputs == (Message("late").hash_key,)
    assert await journal.find_memoized(call("other", "late", agent="main")) is not None


async def test_a_dialog_has_its_inputs_whole_however_its_parts_are_stored(journal: Journal) -> None:
    run = await journal.begin_run("r")
    dialog: list[Message] = []
    expected = []
    for turn in range(300):
        dialog.append(UserMessage(f"question {turn}"))
        expected.append(tuple(message.hash_key for message in dialog))
        await run.call_started(call(f"k{turn}", *dialog))
        dialog.append(AssistantMessage(f"answer {turn}"))
        await run.call_finished(f"k{turn}", [(dialog[-1], None)])

    assert [recorded.inputs for recorded in await collected(journal.log("r"))] == expected


async def test_what_cannot_be_stored_is_named(journal: Journal) -> None:
    class Twice(Message):
        pass

    kept = Twice

    class Twice(Message):
        __qualname__ = "elsewhere.Twice"

    run = await journal.begin_run("r")
    await run.call_started(call("k"))

    with pytest.raises(UnstorableValueError, match="two classes are called `Twice`") as raised:
        await run.call_finished("k", [(Message("fine"), None), (kept("x"), None)])

    assert raised.value.field == "replies[1]"
    assert await run.flush() is None
    (recorded,) = await collected(journal.log("r"))
    assert (recorded.state, recorded.replies) == ("started", ())


async def test_the_end_of_a_call_that_never_began_is_refused_and_harms_no_other(journal: Journal) -> None:
    run = await journal.begin_run("r")
    await run.call_started(call("good"))

    outcomes = await asyncio.gather(
        run.call_finished("never", [(Message("lost"), None)]),
        run.call_finished("good", [(Message("kept"), None)]),
        return_exceptions=True,
    )

    assert isinstance(outcomes[0], JournalError)
    assert outcomes[1] is None
    (recorded,) = await collected(journal.log("r"))
    assert recorded.replies == (Message("kept").hash_key,)
