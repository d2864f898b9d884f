"""A resumed run reads its answers in few questions to the database, and nothing else changes by that."""

import asyncio
import gc
import sqlite3
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from miniagents import Message
from miniagents.journal import Journal, JournalCorruptError, RunJournal, _reading_ahead
from miniagents.journal._answer_steps import PlainAnswer
from tests.unit.journal.conftest import OpenJournal, call, record


async def recorded(journal: Journal, calls: int, **fields: Any) -> RunJournal:
    """Give a run that is resumed, of so many calls, each of which has replied with its own name."""
    run = await journal.begin_run("r", durability="lazy")
    for number in range(calls):
        await record(run, call(f"k{number}", f"question {number}", **fields), f"answer {number}")
    await run.end()
    return await journal.begin_run("r")


async def texts(run: RunJournal, *keys: str) -> list[str]:
    found = [await run.find_call(key) for key in keys]
    return ["nothing" if one is None else " ".join(str(reply.message) for reply in one.replies) for one in found]


class Questions:
    """Counts what a journal reads, and holds it up while it is told to."""

    def __init__(self, journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = 0
        self.may_go_on = asyncio.Event()
        self.may_go_on.set()
        self.arrived = asyncio.Event()
        self._read = journal.store.read
        monkeypatch.setattr(journal.store, "read", self.read)

    async def read(self, operation: Any) -> Any:
        self.asked += 1
        found = await self._read(operation)
        self.arrived.set()
        await self.may_go_on.wait()
        return found


async def test_calls_that_ask_one_after_another_are_answered_with_few_questions(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await recorded(journal, 600)
    questions = Questions(journal, monkeypatch)

    found = await texts(run, *[f"k{number}" for number in range(600)])

    assert found == [f"answer {number}" for number in range(600)]
    assert questions.asked <= 10


async def test_a_call_that_asks_out_of_turn_changes_nothing_for_the_others(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await recorded(journal, 300)
    questions = Questions(journal, monkeypatch)
    order = [299, *range(150), 290, *range(150, 290)]

    found = await texts(run, *[f"k{number}" for number in order])

    assert found == [f"answer {number}" for number in order]
    assert questions.asked <= 15


async def test_calls_that_ask_at_the_same_moment_are_answered_with_few_questions(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await recorded(journal, 600)
    questions = Questions(journal, monkeypatch)

    found = await asyncio.gather(*[texts(run, f"k{number}") for number in reversed(range(600))])

    assert found == [[f"answer {number}"] for number in reversed(range(600))]
    assert questions.asked <= 5


async def test_what_is_read_beforehand_is_little_where_it_is_of_no_use(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await recorded(journal, 200)
    questions = Questions(journal, monkeypatch)

    found = await texts(run, *[f"k{number}" for number in reversed(range(200))])

    assert found == [f"answer {number}" for number in reversed(range(200))]
    assert questions.asked <= 200


async def test_what_is_kept_beforehand_is_bounded(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reading_ahead, "MOST_AHEAD", 20)
    run = await recorded(journal, 400)

    # Much of what comes along is used, and most is not.
    found = await texts(run, *[f"k{number}" for number in range(0, 400, 3)])

    assert found == [f"answer {number}" for number in range(0, 400, 3)]
    assert sum(isinstance(one, PlainAnswer) for one in gc.get_objects()) <= 20
    assert await texts(run, "k1", "k398") == ["answer 1", "answer 398"]


async def test_how_long_it_is_all_together_is_bounded_too(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_reading_ahead, "MOST_CHARACTERS_AHEAD", 50)
    run = await recorded(journal, 100)

    found = await texts(run, *[f"k{number}" for number in range(100)])

    assert found == [f"answer {number}" for number in range(100)]
    assert not any(isinstance(one, PlainAnswer) for one in gc.get_objects())


async def test_answers_of_every_shape_come_back_whole(journal: Journal) -> None:
    inner = Message("inside")
    shapes: list[list[tuple[Message, Sequence[str] | None]]] = [
        [],
        [(Message("one"), None), (Message("two"), ["t", "w", "o"])],
        [(Message("x" * 100_000), None)],
        [(Message("y" * 9_000), ["y"] * 9_000)],
        [(Message("outside", inner=inner), None)],
        [(Message("with fields", number=1, name=b"bytes"), None)],
        [(Message(str(number)), None) for number in range(700)],
        [(Message("last"), None)],
    ]
    run = await journal.begin_run("r")
    for number, replies in enumerate(shapes):
        await run.call_started(call(f"k{number}"))
        await run.call_finished(f"k{number}", replies)
    await run.end()

    for order in (range(len(shapes)), reversed(range(len(shapes)))):
        run = await journal.begin_run("r")
        for number in order:
            found = await run.find_call(f"k{number}")
            assert found is not None
            expected = [(message, tuple(tokens or [str(message)])) for message, tokens in shapes[number]]
            assert [(reply.message, reply.tokens) for reply in found.replies] == expected
            assert [type(reply.message) for reply in found.replies] == [Message] * len(expected)
        await run.end()


async def test_a_call_that_is_written_once_more_is_not_answered_with_what_was_read_before(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await recorded(journal, 10)
    questions = Questions(journal, monkeypatch)
    assert await texts(run, "k0") == ["answer 0"]
    before = questions.asked

    # What the other answers were, is known by now: nothing is asked.
    assert await texts(run, "k1") == ["answer 1"]
    assert questions.asked == before
    await run.call_started(call("k2", "question 2"), durability="step")

    assert await run.find_equal_call(call("another", "question 2")) is None


async def test_a_call_that_is_written_once_more_while_its_answer_is_read_has_none(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await recorded(journal, 10)
    questions = Questions(journal, monkeypatch)
    questions.may_go_on.clear()
    first = asyncio.create_task(texts(run, "k0"))
    await questions.arrived.wait()

    await run.call_started(call("k2", "question 2"), durability="step")
    questions.may_go_on.set()

    assert await first == ["answer 0"]
    assert await run.find_equal_call(call("another", "question 2")) is None


@pytest.mark.parametrize("cancelled", [0, 1], ids=["the one that reads", "one that waits"])
async def test_who_is_cancelled_while_answers_are_read_takes_them_from_nobody(
    journal: Journal, monkeypatch: pytest.MonkeyPatch, cancelled: int
) -> None:
    run = await recorded(journal, 300)
    questions = Questions(journal, monkeypatch)
    questions.may_go_on.clear()
    tasks = [asyncio.create_task(texts(run, f"k{number}")) for number in (290, *range(280))]
    await questions.arrived.wait()

    tasks.pop(cancelled).cancel()
    questions.may_go_on.set()

    async with asyncio.timeout(30):
        found = [await task for task in tasks]
    assert found[-1] == ["answer 279"]
    assert len({text for (text,) in found}) == 280


async def test_who_is_cancelled_when_it_is_his_turn_to_read_passes_it_on(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await recorded(journal, 10)
    questions = Questions(journal, monkeypatch)
    questions.may_go_on.clear()
    first, second, third = [asyncio.create_task(texts(run, f"k{number}")) for number in (7, 8, 9)]
    await questions.arrived.wait()
    questions.may_go_on.set()

    # In the very turn of the loop in which the first one is told, it passes its turn on to the second.
    first.cancel()
    asyncio.get_running_loop().call_soon(second.cancel)

    async with asyncio.timeout(10):
        assert await third == ["answer 9"]
    assert first.cancelled()
    assert second.cancelled()


async def test_a_question_that_fails_fails_for_all_who_wait_for_it_and_not_for_later_ones(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = await recorded(journal, 100)
    read, fails = journal.store.read, True

    async def failing(operation: Any) -> Any:
        found = await read(operation)
        if fails:
            raise JournalCorruptError("the disk is gone", place="here")
        return found

    monkeypatch.setattr(journal.store, "read", failing)
    results = await asyncio.gather(*[texts(run, f"k{number}") for number in range(50)], return_exceptions=True)
    fails = False

    assert all(isinstance(result, JournalCorruptError) for result in results)
    assert await texts(run, *[f"k{number}" for number in range(50, 100)]) == [f"answer {n}" for n in range(50, 100)]


async def test_what_is_pruned_while_a_run_is_resumed_is_not_what_it_needs(shared_journal: OpenJournal) -> None:
    journal, other = await shared_journal(), await shared_journal()
    run = await recorded(journal, 400)
    assert await texts(run, *[f"k{number}" for number in range(200)]) == [f"answer {n}" for n in range(200)]

    await other.prune(timedelta(0))

    assert await texts(run, *[f"k{number}" for number in range(200, 400)]) == [f"answer {n}" for n in range(200, 400)]


@asynccontextmanager
async def doctored(url: str, path: Path, sql: str) -> AsyncGenerator[RunJournal]:
    async with await Journal.open(url) as journal:
        await (await recorded(journal, 20)).end()
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(sql).rowcount
    async with await Journal.open(url) as journal:
        yield await journal.begin_run("r")


async def test_a_message_that_does_not_match_its_hash_is_refused_for_its_call_alone(
    sqlite_url: str, tmp_path: Path
) -> None:
    sql = "UPDATE journal_messages SET body = replace(body, 'answer 3', 'answer X') WHERE body LIKE '%\"answer 3\"%'"
    async with doctored(sqlite_url, tmp_path / "runs.db", sql) as run:
        assert await texts(run, "k0", "k1", "k2") == ["answer 0", "answer 1", "answer 2"]

        with pytest.raises(JournalCorruptError, match="The message .*, a reply of the call 'k3', .* match its hash"):
            await run.find_call("k3")

        assert await texts(run, "k4") == ["answer 4"]


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("DELETE FROM journal_messages WHERE body LIKE '%\"answer 3\"%'", "The message .* call 'k3', .* it is missing"),
        ("UPDATE journal_calls SET usage = '[]' WHERE key = 'k3'", "The call 'k3' .* cannot be read"),
        ("UPDATE journal_calls SET ended_at = 'x' WHERE key = 'k3'", "The call 'k3' .* cannot be read"),
        (
            "UPDATE journal_replies SET tokens = x'0101' WHERE hash IN "
            "(SELECT hash FROM journal_messages WHERE body LIKE '%\"answer 3\"%')",
            "The message .* call 'k3', .* the tokens have 1 characters",
        ),
    ],
    ids=["missing message", "usage", "time", "tokens"],
)
async def test_whatever_cannot_be_read_names_its_call(sqlite_url: str, tmp_path: Path, sql: str, message: str) -> None:
    async with doctored(sqlite_url, tmp_path / "runs.db", sql) as run:
        assert await texts(run, "k2") == ["answer 2"]

        with pytest.raises(JournalCorruptError, match=message):
            await run.find_call("k3")

        assert await texts(run, "k4") == ["answer 4"]
