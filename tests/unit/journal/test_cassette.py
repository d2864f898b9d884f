"""Cassettes: what was recorded is found again by what is asked, and nothing else is executed."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

from miniagents import Message, MiniAgent
from miniagents.ext.llms import AssistantMessage, UserMessage
from miniagents.journal import JournalError, StartedCall, UnstorableValueError
from miniagents.journal.cassette import Cassette, CassetteMissError, CassetteRun
from miniagents.promising.ext.frozen import Frozen
from miniagents.usage import UsageTotals
from tests.unit.journal.conftest import call


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "cassettes" / "greeting.jsonl"


def content(path: Path) -> str:
    return path.read_text(encoding="utf-8")


async def made(run: CassetteRun, started: StartedCall, answer: Callable[[], Message] | None = None) -> str:
    """Make a call as a context does: ask for an answer, else execute it and record what came."""
    found = await run.find_call(started.key) or await run.find_equal_call(started)
    if found is not None:
        return " ".join(str(reply.message) for reply in found.replies)
    assert answer is not None, f"{started.key} was to be answered from the file"
    await run.call_started(started)
    message = answer()
    await run.call_finished(started.key, [(message, None)])
    return str(message)


async def recorded(path: Path, *calls: tuple[StartedCall, str]) -> None:
    run = await Cassette(path, "record").begin_run()
    for started, answer in calls:
        await made(run, started, lambda answer=answer: Message(answer))
    await run.end()


async def test_what_was_recorded_replays_with_its_classes_tokens_and_usage(path: Path) -> None:
    run = await Cassette(path, "record").begin_run()
    asked = call("k", UserMessage("Hi"), settings=Frozen(model="m", temperature=0.5))
    answer = AssistantMessage("Hello, wörld!", mood="good", scores=(1, 2.5), cost=Decimal("0.1"))
    nested = Message("And?", why=Message("because", raw=b"\x00\xff"), more=(Message("x"), 1), box={"in": Message("y")})
    assert await run.find_equal_call(asked) is None
    await run.call_started(asked)
    usage = UsageTotals(requests=1, output_tokens=3, cost=Decimal("0.0015"))
    await run.call_finished("k", [(answer, ["Hel", "", "lo, ", "wörld!"]), (nested, None)], usage=usage)
    await run.end()

    replayed = await Cassette(path, "replay").begin_run()
    found = await replayed.find_equal_call(
        call("other", UserMessage("Hi"), settings=Frozen(temperature=0.5, model="m"))
    )

    assert [reply.message for reply in found.replies] == [answer, nested]
    assert [reply.message.hash_key for reply in found.replies] == [answer.hash_key, nested.hash_key]
    assert [reply.tokens for reply in found.replies] == [("Hel", "", "lo, ", "wörld!"), ("And?",)]
    assert type(found.replies[0].message) is AssistantMessage
    assert (found.usage, found.key) == (usage, "other")


async def test_the_nth_of_equal_calls_gets_the_nth_answer_in_the_order_of_asking(path: Path) -> None:
    run = await Cassette(path, "record").begin_run()
    rolls = [call(f"k{number}", "Roll") for number in range(3)]
    for roll in rolls:
        assert await run.find_equal_call(roll) is None
    # They end in another order than they began.
    for number in (2, 0, 1):
        await run.call_started(rolls[number])
        await run.call_finished(f"k{number}", [(Message(f"rolled {number}"), None)])
    await run.end()

    replayed = await Cassette(path, "replay").begin_run()
    answers = await asyncio.gather(*[made(replayed, call(key, "Roll")) for key in ("z", "a", "m")])

    assert answers == ["rolled 0", "rolled 1", "rolled 2"]
    with pytest.raises(
        CassetteMissError, match="`model` was asked this 3 times when it was recorded, and now once more"
    ):
        await made(replayed, call("more", "Roll"))


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(call("k", "Hello", settings=Frozen(t=1)), id="input"),
        pytest.param(call("k", "Hi", "Hi", settings=Frozen(t=1)), id="one input more"),
        pytest.param(call("k", Message("Hi", role="user"), settings=Frozen(t=1)), id="field of an input"),
        pytest.param(call("k", UserMessage("Hi"), settings=Frozen(t=1)), id="class of an input"),
        pytest.param(call("k", "Hi", settings=Frozen(t=2)), id="setting"),
        pytest.param(call("k", "Hi"), id="no settings"),
        pytest.param(call("k", "Hi", settings=Frozen(t=1), version="2"), id="version"),
        pytest.param(call("k", "Hi", settings=Frozen(t=1), agent="other"), id="agent"),
    ],
)
async def test_another_call_is_not_answered(path: Path, other: StartedCall) -> None:
    await recorded(path, (call("k", "Hi", settings=Frozen(t=1)), "yes"))

    replayed = await Cassette(path, "replay").begin_run()

    with pytest.raises(CassetteMissError):
        await replayed.find_equal_call(other)
    assert await made(replayed, call("elsewhere", "Hi", settings=Frozen(t=1), parent="edited")) == "yes"


async def test_where_a_server_is_makes_no_difference_however_deep_the_agent_is(path: Path) -> None:
    def settings(port: int) -> Frozen:
        inner = MiniAgent(alias="INNER", settings={"base_url": f"http://h:{port}", "model": "m"})
        return Frozen(
            base_url=f"http://h:{port}", azure_endpoint=f"https://{port}", tools=({"base_url": "kept"},), inner=inner
        )

    await recorded(path, (call("k", "Hi", settings=settings(1)), "yes"))

    assert await made(await Cassette(path, "replay").begin_run(), call("k", "Hi", settings=settings(2))) == "yes"
    assert "h:1" not in content(path)
    assert "kept" in content(path)


async def test_a_miss_shows_the_nearest_recorded_call_and_how_to_record_again(path: Path) -> None:
    settings = Frozen(model="m", system="Be brief.\nBe kind.")
    await recorded(
        path,
        (call("1", "Something else entirely", settings=settings), "1"),
        (call("2", "What is 2 + 2?", settings=settings), "4"),
        (call("3", "What is 2 + 2?", agent="calculator"), "4"),
    )

    replayed = await Cassette(path, "replay").begin_run()
    with pytest.raises(CassetteMissError) as missed:
        await replayed.find_equal_call(
            call("k", "What is 2 + 3?", settings=Frozen(model="m", system="Be brief.\nBe rude."))
        )

    lines = str(missed.value).splitlines()
    assert lines[0].startswith("`model` is asked something that is not in the cassette. The nearest recorded call")
    assert f"--- recorded ({path}, line 5)" in lines
    assert [line for line in lines if line.startswith(("+ ", "- "))] == [
        "-    Be kind.",
        "+    Be rude.",
        '-    content: "What is 2 + 2?"',
        '+    content: "What is 2 + 3?"',
    ]
    assert '`mode="record"`' in lines[-1]
    assert "--cassette-mode=record" in lines[-1]
    assert missed.value.place == str(path)


async def test_a_miss_of_long_texts_shows_the_words_that_differ_and_no_book(path: Path) -> None:
    words = [f"word{number}" for number in range(3000)]
    await recorded(path, (call("1", " ".join(words)), "1"))
    words[1500] = "changed"

    replayed = await Cassette(path, "replay").begin_run()
    with pytest.raises(CassetteMissError, match=r"\+ .*changed") as missed:
        await replayed.find_equal_call(call("1", " ".join(words)))

    assert len(str(missed.value)) < 10_000


async def test_auto_answers_what_is_there_and_adds_what_is_new(path: Path) -> None:
    await recorded(path, (call("1", "one"), "1"))
    before = content(path)
    run = await Cassette(path).begin_run()

    assert await made(run, call("1", "one")) == "1"
    assert await made(run, call("2", "two"), lambda: Message("2")) == "2"
    await run.end()

    assert content(path).startswith(before)
    replayed = await Cassette(path, "replay").begin_run()
    assert [await made(replayed, call(text, text)) for text in ("two", "one")] == ["2", "1"]


async def test_record_answers_nothing_and_replaces_what_was_there(path: Path) -> None:
    await recorded(path, (call("1", "one"), "old"), (call("2", "two"), "old"))

    await recorded(path, (call("1", "one"), "new"))

    replayed = await Cassette(path, "replay").begin_run()
    assert await made(replayed, call("1", "one")) == "new"
    with pytest.raises(CassetteMissError):
        await made(replayed, call("2", "two"))


async def test_contexts_that_share_a_cassette_go_on_where_the_others_are(path: Path) -> None:
    shared = Cassette(path, "record")
    for number in (1, 2):
        run = await shared.begin_run()
        await made(run, call("same key", "Roll"), lambda number=number: Message(f"{number}"))
        await run.end()

    shared = Cassette(path, "replay")
    assert [await made(await shared.begin_run(), call("k", "Roll")) for _ in range(2)] == ["1", "2"]


async def test_a_call_that_has_not_ended_is_left_out_and_one_that_was_made_again_has_its_last_outcome(
    path: Path,
) -> None:
    run = await Cassette(path, "record").begin_run()
    for key in ("cut off", "again"):
        await run.find_equal_call(call(key, key))
        await run.call_started(call(key, key))
    await run.call_failed("again", ConnectionError("no route"))
    await run.call_started(call("again", "again"))
    await run.call_finished("again", [(Message("at last"), None)])
    await run.end("interrupted")

    replayed = await Cassette(path, "replay").begin_run()
    assert await made(replayed, call("k", "again")) == "at last"
    with pytest.raises(CassetteMissError):
        await replayed.find_equal_call(call("cut off", "cut off"))


async def test_calls_that_nobody_asks_answers_for_are_not_recorded(path: Path) -> None:
    run = await Cassette(path, "record").begin_run()
    await run.call_started(StartedCall("main", None, "main"))
    await run.call_finished("main", [(Message("x"), None)], inputs=[Message("late")])
    assert await run.find_equal_call(StartedCall("k", None, "model")) is None
    await run.end()

    assert len(content(path).splitlines()) == 1


async def test_there_is_no_replay_without_a_file(path: Path) -> None:
    with pytest.raises(JournalError, match="There is no cassette .*greeting.jsonl to replay. Record it with"):
        await Cassette(path, "replay").begin_run()


async def test_a_message_that_cannot_be_shown_is_named(path: Path) -> None:
    class Twice(Message):
        pass

    kept = Twice

    class Twice(Message):
        __qualname__ = "elsewhere.Twice"

    run = await Cassette(path).begin_run()
    with pytest.raises(UnstorableValueError, match="two classes are called `Twice`") as refused:
        await run.find_equal_call(call("k", "fine", kept("x")))

    assert refused.value.field == "inputs[1]"
