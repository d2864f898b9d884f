"""A value of a wrong kind is refused in words that tell what it takes, before anything is done with it."""

import re
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.journal import Journal, JournalError, UnstorableValueError


async def work() -> int:
    return 1


CALLS: dict[str, tuple[Callable[[Any], Awaitable[Any]], str]] = {
    "text of a question": (lambda ctx: ctx.ask(5), "`text` is a text, not 5."),
    "key of a question": (lambda ctx: ctx.ask("Go on?", key=5), "`key` is a text, not 5."),
    "name of once": (lambda ctx: ctx.once(5, work), "`name` is a text, not 5."),
    "no function": (lambda ctx: ctx.once("pay", 5), "`once('pay', ...)` takes a function, and its arguments behind it"),
    "coroutine": (
        lambda ctx: ctx.once("pay", work()),
        "Give the function itself, and its arguments behind it: `once('pay', work, ...)`.",
    ),
}


@pytest.mark.parametrize(("use", "words"), CALLS.values(), ids=CALLS)
async def test_what_an_agent_asks_the_journal_for(use: Callable[[Any], Awaitable[Any]], words: str) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        await use(ctx)

    async with MiniAgents(journal="memory://"):
        with warnings.catch_warnings():
            # A coroutine that nobody awaits.
            warnings.simplefilter("error")
            with pytest.raises(TypeError, match=re.escape(words)):
                await agent.inquire("x")


async def first(records: AsyncIterator[Any]) -> Any:
    return await anext(records)


LOOKS: dict[str, tuple[Callable[[Any], Awaitable[Any]], str]] = {
    "show": (lambda journal: journal.show(5), "`hash_prefix` is a text, not 5."),
    "stored": (lambda journal: journal.stored(None), "`hash_prefix` is a text, not None."),
    "why": (lambda journal: first(journal.why(5)), "`hash_prefix` is a text, not 5."),
    "log": (lambda journal: first(journal.log(None)), "`run_id` is a text, not None."),
    "questions": (lambda journal: first(journal.questions(5)), "`run_id` is a text, not 5."),
    "answer": (lambda journal: journal.answer("r", 5, "yes"), "`key` is a text, not 5."),
    "prune": (
        lambda journal: journal.prune(30),
        "`older_than` is a `timedelta`, such as `timedelta(days=30)`, not 30.",
    ),
}


@pytest.mark.parametrize(("look", "words"), LOOKS.values(), ids=LOOKS)
async def test_what_a_journal_is_asked_for(look: Callable[[Any], Awaitable[Any]], words: str) -> None:
    async with await Journal.open("memory://") as journal:
        with pytest.raises(TypeError, match=re.escape(words)):
            await look(journal)


async def test_runs_of_the_future_are_not_removed(tmp_path: Path) -> None:
    async with await Journal.open(f"sqlite:///{tmp_path}/runs.db") as journal:
        await (await journal.begin_run("r")).end()
        with pytest.raises(ValueError, match="it is not less than nothing"):
            await journal.prune(older_than=timedelta(days=-1))

        assert [run.run_id async for run in journal.runs()] == ["r"]


async def test_a_path_is_answered_with_its_url(tmp_path: Path) -> None:
    path = tmp_path / "my runs.db"
    url = f"sqlite:///{tmp_path}/my%20runs.db"

    with pytest.raises(TypeError, match=re.escape(f"`url` is a URL, such as {url!r}, not {path!r}")):
        await Journal.open(path)  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=re.escape(f"`journal` is a URL, such as {url!r}, not {path!r}")):
        MiniAgents(journal=path)

    async with await Journal.open(url):
        assert path.exists()


async def test_a_run_that_there_is_not_has_no_questions_and_takes_no_answer() -> None:
    async with await Journal.open("memory://") as journal:
        await journal.begin_run("monday")
        with pytest.raises(JournalError, match=r"There is no run 'sunday'\. The latest runs: 'monday'"):
            await first(journal.questions("sunday"))
        with pytest.raises(JournalError, match=r"There is no run 'sunday'\. The latest runs: 'monday'"):
            await journal.answer("sunday", "k", "yes")

        assert [one async for one in journal.questions("monday")] == []


async def test_a_number_of_too_many_digits_is_named_where_it_stands() -> None:
    large = 10**5000

    @miniagent(durable=True)
    async def counts(ctx: InteractionContext) -> None:
        ctx.reply(Message("many", counts={"atoms": [1, large]}))

    @miniagent
    async def pays(ctx: InteractionContext) -> None:
        await ctx.once("pay", lambda: {"cents": large})

    async with MiniAgents(journal="memory://"):
        with pytest.raises(UnstorableValueError, match=r"`replies\[0\]` cannot be stored: `counts\.atoms\[1\]` is a"):
            await counts.inquire("x")
        with pytest.raises(UnstorableValueError, match=r"`once 'pay'\.cents` cannot be stored: it is a number of more"):
            await pays.inquire("x")
