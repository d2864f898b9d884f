"""Cassettes: calls that failed, what happens once, and questions to people."""

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from miniagents import Message
from miniagents.errors import LLMError, MiniAgentsError
from miniagents.journal import JournalCorruptError, JournalError, UnstorableValueError
from miniagents.journal.cassette import Cassette, CassetteMissError, RecordedCallError
from miniagents.journal.records import FailedCall
from miniagents.promising.errors import PromiseCancelledError
from miniagents.promising.ext.frozen import Frozen
from tests.unit.journal.conftest import call
from tests.unit.journal.test_cassette import content


class ForeignError(Exception):
    pass


class OwnError(MiniAgentsError):
    is_made = 0

    def __init__(self, *, needs: str, also: object) -> None:
        type(self).is_made += 1
        super().__init__(f"{needs} is missing")
        self.needs = needs
        self.also = also


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cassette.jsonl"


async def failed_again(path: Path, error: BaseException, *replies: str) -> FailedCall:
    """Record a call that fails, and give what a replay gets."""
    run = await Cassette(path, "record").begin_run()
    await run.find_equal_call(call("k"))
    await run.call_started(call("k"))
    await run.call_failed("k", error, [(Message(reply), None) for reply in replies])
    await run.end()
    return await (await Cassette(path, "replay").begin_run()).find_equal_call(call("k"))


@pytest.mark.parametrize(
    "error",
    [
        ConnectionError("no route"),
        KeyError("x"),
        FileNotFoundError(2, "No such file", "a.txt"),
        TimeoutError(),
        LLMError("too many", provider="openai", status_code=429, retry_after_s=0.5),
        PromiseCancelledError("gone"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_failed_call_fails_again_with_the_same_error_behind_the_same_replies(
    path: Path, error: Exception
) -> None:
    found = await failed_again(path, error, "so far")

    assert [str(reply.message) for reply in found.replies] == ["so far"]
    assert type(found.error) is type(error)
    assert (str(found.error), found.error.args) == (str(error), error.args)
    assert {name: getattr(found.error, name) for name in vars(error)} == vars(error)


async def test_an_error_of_a_class_with_a_constructor_of_its_own_is_made_without_it(path: Path) -> None:
    found = await failed_again(path, OwnError(needs="bread", also=object()))

    assert (type(found.error), str(found.error), found.error.needs) == (OwnError, "bread is missing", "bread")
    assert not hasattr(found.error, "also")
    assert OwnError.is_made == 1


async def test_an_error_of_another_class_is_told_by_its_name(path: Path) -> None:
    found = await failed_again(path, ForeignError("no bread"))

    assert isinstance(found.error, RecordedCallError)
    assert (found.error.type, found.error.text) == (f"{__name__}.ForeignError", "no bread")
    assert f"`model` failed with {__name__}.ForeignError when this was recorded: no bread" in str(found.error)


async def test_a_call_that_was_cancelled_ends_as_a_cancelled_promise_does(path: Path) -> None:
    found = await failed_again(path, asyncio.CancelledError("late"))

    assert isinstance(found.error, PromiseCancelledError)
    assert str(found.error) == "The call was cancelled when it was recorded. late"


async def test_the_end_of_the_program_is_nothing_that_a_call_has_answered(path: Path) -> None:
    with pytest.raises(CassetteMissError):
        await failed_again(path, KeyboardInterrupt())


@pytest.mark.parametrize(
    "name", ["antigravity.Boom", "builtins.eval", "builtins.SystemExit", "os.system", "builtins.int"]
)
async def test_a_name_in_the_file_makes_no_error_of_what_is_none(path: Path, name: str) -> None:
    await failed_again(path, ValueError("x"))
    put_text(path, content(path).replace("builtins.ValueError", name))

    found = await (await Cassette(path, "replay").begin_run()).find_equal_call(call("k"))

    assert isinstance(found.error, RecordedCallError)


def put_text(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


# ------------------------------------------------------------------------------------------------------------ once


async def test_what_happens_once_is_recorded_by_its_name_whatever_the_call_is_known_by(path: Path) -> None:
    run = await Cassette(path, "record").begin_run()
    for key, value in (("a" * 40, {"at": [1, Message("m")]}), ("b" * 40, Frozen(x=2))):
        assert await run.recall(f"{key}/buy") is None
        await run.remember(f"{key}/buy", value)
        assert await run.recall(f"{key}/buy") == (value,)
    await run.end()

    replayed = await Cassette(path, "replay").begin_run()
    first = await replayed.recall("c" * 40 + "/buy")

    assert [first, await replayed.recall("d" * 40 + "/buy")] == [({"at": [1, Message("m")]},), (Frozen(x=2),)]
    assert await replayed.recall("c" * 40 + "/buy") == first
    assert "aaaa" not in content(path)
    with pytest.raises(
        CassetteMissError, match="What happens once as 'buy' happens more often than when it was recorded"
    ):
        await replayed.recall("/buy")
    with pytest.raises(
        CassetteMissError, match="Nothing that happens once was recorded as 'sell'. Recorded are: 'buy'"
    ):
        await replayed.recall("/sell")


async def test_a_value_that_cannot_be_stored_is_named(path: Path) -> None:
    run = await Cassette(path).begin_run()

    with pytest.raises(UnstorableValueError, match=r"`buy.price\[0\]` cannot be stored"):
        await run.remember("buy", {"price": [object()]})
    await run.end()

    assert len(content(path).splitlines()) == 1


async def test_a_value_that_was_damaged_by_hand_is_named(path: Path) -> None:
    lines = [
        {"format": "miniagents cassette", "version": 1},
        {"once": "x", "value": {"$frozen": {"a": {"$uuid": "?"}}}},
    ]
    put_text(path, "".join(f"{json.dumps(line)}\n" for line in lines))

    with pytest.raises(JournalCorruptError, match="value x of the cassette cannot be used"):
        await (await Cassette(path).begin_run()).recall("x")


# ------------------------------------------------------------------------------------------------------- questions


async def started(coroutine: Coroutine[Any, Any, Any]) -> "asyncio.Task[Any]":
    task = asyncio.create_task(coroutine)
    for _ in range(3):
        await asyncio.sleep(0)
    return task


async def test_a_question_is_answered_once_and_in_replay_from_the_file(path: Path) -> None:
    cassette = Cassette(path, "record")
    run = await cassette.begin_run("monday")
    assert (await run.ask("approve", "Approve?")).answered_at is None
    readers = [await started(run.wait_for_answer("approve")) for _ in range(2)]
    assert [(question.key, question.answer) for question in cassette.questions()] == [("approve", None)]

    await cassette.answer("monday", "approve", {"yes": 1})
    await cassette.answer("monday", "approve", {"yes": 1})

    assert [(await reader).answer for reader in readers] == [{"yes": 1}] * 2
    with pytest.raises(JournalError, match="has another answer already"):
        await run.answer("approve", "no")
    await run.end()
    replayed = await Cassette(path, "replay").begin_run()
    question = await replayed.ask("approve", "Approve?")
    assert (question.answer, question.answered_at is not None) == ({"yes": 1}, True)
    assert await replayed.wait_for_answer("approve") == question


async def test_a_question_that_was_not_asked_then_is_a_miss(path: Path) -> None:
    run = await Cassette(path, "record").begin_run()
    await run.ask("approve", "Approve?")
    await run.answer("approve", "yes")
    await run.ask("open", "Well?")
    await run.end()

    replayed = await Cassette(path, "replay").begin_run()

    with pytest.raises(CassetteMissError, match="was not asked when this was recorded. It was 'Approve\\?' then"):
        await replayed.ask("approve", "Really approve?")
    with pytest.raises(CassetteMissError, match="Recorded are: 'approve'"):
        await replayed.ask("open", "Well?")


async def test_what_is_wrong_with_a_question_is_said(path: Path) -> None:
    cassette = Cassette(path)
    run = await cassette.begin_run("monday")
    await run.ask("a", "Approve?")

    with pytest.raises(JournalError, match="The question 'a' was asked with another text: 'Approve\\?', and now 'Deny"):
        await run.ask("a", "Deny?")
    with pytest.raises(JournalError, match="Nothing was asked under the key 'b'. Open questions: 'a'"):
        await run.wait_for_answer("b")
    with pytest.raises(UnstorableValueError, match="None is no answer"):
        await run.answer("a", None)
    with pytest.raises(JournalError, match="There is no run 'tuesday'; runs with this cassette: 'monday'"):
        await cassette.answer("tuesday", "a", "yes")
