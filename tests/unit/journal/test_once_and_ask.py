"""What an agent asks its journal for: `ctx.call_key()`, `ctx.once(...)` and `ctx.ask(...)`."""

import asyncio
import subprocess
import sys
import threading
from datetime import timedelta
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.errors import NoJournalError
from miniagents.journal import Journal, JournalError, UnstorableValueError
from tests.unit.journal.conftest import Kept, OpenJournal, collected
from tests.unit.journal.programs import texts


class CutOff(Exception):
    """Stands for whatever ended the program."""


@pytest.mark.parametrize("is_leaf", [True, False], ids=["leaf", "no leaf"])
async def test_the_key_of_a_call_is_the_same_in_each_attempt_and_another_one_for_each_call(
    kept: Kept, is_leaf: bool
) -> None:
    keys: list[str] = []

    @miniagent(durable=is_leaf)
    async def worker(ctx: InteractionContext) -> None:
        keys.append(await ctx.call_key())
        if len(keys) <= 2:
            raise CutOff

    for _ in range(2):
        async with kept.mini_agents():
            await asyncio.gather(worker.inquire("a"), worker.inquire("b"), return_exceptions=True)

    assert keys[:2] == keys[2:]
    assert len(set(keys)) == 2
    assert {one.key for one in await kept.calls()} == set(keys)


async def test_a_side_effect_happens_once_however_often_the_call_is_resumed(kept: Kept) -> None:
    happened: list[str] = []

    def plain(what: str, *, times: int) -> list[Any]:
        assert threading.current_thread() is not threading.main_thread(), "it may block"
        happened.append(what)
        return [what, times, {"message": Message("kept")}]

    async def with_await(what: str) -> Message:
        happened.append(what)
        return Message(what)

    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        first = await ctx.once("mail", plain, "mail", times=2)
        second = await ctx.once("order", with_await, "order")
        assert first == ["mail", 2, {"message": Message("kept")}]
        assert second == Message("order")
        ctx.reply(second)

    for _ in range(2):
        async with kept.mini_agents():
            assert await texts(worker.inquire()) == ["order"]

    assert happened == ["mail", "order"]


async def test_an_error_of_a_side_effect_is_not_kept(kept: Kept) -> None:
    errors = [ConnectionError("first")]

    async def fragile() -> str:
        if errors:
            raise errors.pop()
        return "worked"

    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        with pytest.raises(ConnectionError, match="first"):
            await ctx.once("try", fragile)
        ctx.reply(await ctx.once("try", fragile))

    async with kept.mini_agents():
        assert await texts(worker.inquire()) == ["worked"]


async def test_whoever_asks_for_a_side_effect_meanwhile_gets_what_the_first_one_got(kept: Kept) -> None:
    happened: list[int] = []

    async def count() -> int:
        happened.append(len(happened))
        await asyncio.sleep(0)
        return happened[-1]

    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        found = await asyncio.gather(*(ctx.once("same", count) for _ in range(5)))
        ctx.reply([str(one) for one in found])

    async with kept.mini_agents():
        assert await texts(worker.inquire()) == ["0"] * 5


async def test_a_result_that_cannot_be_stored_is_named(kept: Kept) -> None:
    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        await ctx.once("price", lambda: {"net": [1, {2, 3}]})

    async with kept.mini_agents():
        with pytest.raises(UnstorableValueError, match=r"`once 'price'\.net\[1\]`"):
            await worker.inquire()


@pytest.mark.parametrize("what", ["call_key", "once", "ask"])
async def test_without_a_journal_the_error_says_what_to_add(what: str) -> None:
    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        arguments: dict[str, Any] = {"call_key": (), "once": ("name", str), "ask": ("Well?",)}
        await getattr(ctx, what)(*arguments[what])

    async with MiniAgents():
        with pytest.raises(NoJournalError, match='journal="sqlite:///') as raised:
            await worker.inquire()

    assert what in str(raised.value)


@miniagent
async def surveyor(ctx: InteractionContext) -> None:
    """Asks three questions at the same time."""
    keys = ["one", "two", "three"]
    answers = await asyncio.gather(*(ctx.ask(f"{key}?", key=key) for key in keys))
    ctx.reply(" ".join(answers))


async def open_keys(journal: Journal, count: int) -> list[str]:
    while True:
        found = [one.key for one in await collected(journal.questions("r")) if one.answered_at is None]
        if len(found) == count:
            return found
        await asyncio.sleep(0)


@pytest.mark.allow_errors_in_log("a question is told at the level of a warning")
async def test_questions_survive_a_restart_and_are_answered_in_reverse(kept: Kept) -> None:
    with pytest.raises(CutOff):
        async with kept.mini_agents():
            surveyor.kick_off()
            await open_keys(kept.journal, 3)
            raise CutOff
    assert {one.answer for one in await collected(kept.journal.questions("r"))} == {None}

    async with kept.mini_agents():
        replies = surveyor.inquire()
        for key in ["three", "two", "one"]:
            await kept.journal.answer("r", key, f"{key}!")
        assert await texts(replies) == ["one! two! three!"]


async def test_answers_that_were_given_while_nothing_ran_are_there_at_once(kept: Kept) -> None:
    with pytest.raises(CutOff):
        async with kept.mini_agents():
            surveyor.kick_off()
            for key in await open_keys(kept.journal, 3):
                await kept.journal.answer("r", key, key.upper())
            raise CutOff

    async with kept.mini_agents():
        assert await texts(surveyor.inquire()) == ["ONE TWO THREE"]


async def test_the_command_line_answers_a_running_program(sqlite_url: str) -> None:
    kept_journal = await Journal.open(sqlite_url)
    async with kept_journal, MiniAgents(journal=sqlite_url, run_id="r"):
        replies = surveyor.inquire()
        await open_keys(kept_journal, 3)
        for key in ["three", "one", "two"]:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "miniagents", "ask", "--journal", sqlite_url, "r", key, f"from outside: {key}",
                stdout=subprocess.DEVNULL,
            )  # fmt: skip
            assert await process.wait() == 0
        (reply,) = await texts(replies)

    assert reply == "from outside: one from outside: two from outside: three"


async def test_who_asks_the_same_under_one_key_shares_the_answer_and_another_text_is_an_error(kept: Kept) -> None:
    @miniagent
    async def asking(ctx: InteractionContext) -> None:
        ctx.reply(await ctx.ask(str(await ctx.message_promises.as_single_promise()), key="k"))

    async with kept.mini_agents():
        both = [asking.inquire("Well?"), asking.inquire("Well?")]
        await open_keys(kept.journal, 1)
        with pytest.raises(JournalError, match=r"'Well\?'.*'Really\?' needs a key of its own"):
            await asking.inquire("Really?")
        await kept.journal.answer("r", "k", "yes")
        assert [await texts(replies) for replies in both] == [["yes"], ["yes"]]


@pytest.mark.virtual_clock
async def test_waiting_for_a_person_holds_nothing_up_and_is_no_stall(caplog: pytest.LogCaptureFixture) -> None:
    @miniagent
    async def asking(ctx: InteractionContext) -> None:
        ctx.reply(await ctx.ask("Well?", key="k"))

    @miniagent
    async def working(ctx: InteractionContext) -> None:
        ctx.reply("done meanwhile")

    async with await Journal.open("memory://", lease_s=1e9) as journal:
        async with MiniAgents(journal=journal, run_id="r", stall_report_s=1.0):
            replies = asking.inquire()
            assert await texts(working.inquire()) == ["done meanwhile"]
            reader = asyncio.ensure_future(texts(replies))
            await asyncio.sleep(timedelta(days=1).total_seconds())
            assert not reader.done()
            await journal.answer("r", "k", "after a day")
            assert await reader == ["after a day"]

    assert "without progress" not in caplog.text
    assert "Deadlock" not in caplog.text
    assert "answer with `journal.answer('r', 'k', ...)`" in caplog.text


async def test_an_open_question_holds_no_place_in_the_store(shared_journal: OpenJournal, kept: Kept) -> None:
    other = await shared_journal()

    async with kept.mini_agents():
        replies = surveyor.inquire()
        await open_keys(other, 3)
        run = await other.begin_run("another")
        await run.end()
        for key in ["two", "one", "three"]:
            await other.answer("r", key, key)
        assert await texts(replies) == ["one two three"]
