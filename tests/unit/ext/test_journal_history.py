"""`journal_history_agent` on SQLite; one test per thing that could go wrong elsewhere runs on Postgres, too."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgent, MiniAgents, miniagent
from miniagents.errors import NoJournalError
from miniagents.ext import AWAIT, agent_loop, dialog_loop, journal_history_agent, user_agent
from miniagents.ext.llms import AssistantMessage, UserMessage
from miniagents.journal import Journal, UnstorableValueError
from tests.unit.journal import conftest as journals
from tests.unit.journal.programs import texts

# These are fixtures.
postgres_url = journals.postgres_url
may_look_for_certificates = journals.a_new_connection_may_look_for_certificates
may_be_looked_up = journals.a_setting_may_be_looked_up_among_installed_packages


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path}/runs.db"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/runs.db"


@miniagent
async def silent_output(ctx: InteractionContext) -> None:
    ctx.reply(await ctx.message_promises)


def user_that_says(*lines: str, **settings: Any) -> MiniAgent:
    left = list(lines)

    @miniagent
    async def says_the_next_line(ctx: InteractionContext) -> None:
        if not left:
            raise EOFError
        ctx.reply(left.pop(0))

    history = journal_history_agent.fork(**settings) if settings else journal_history_agent
    return user_agent.fork(output_agent=silent_output, input_agent=says_the_next_line, history_agent=history)


def model(asked: list[str]) -> MiniAgent:
    """A durable agent that says how much it was told; takes note of having worked."""

    @miniagent(alias="MODEL", durable=True)
    async def answer(ctx: InteractionContext) -> None:
        told = await ctx.message_promises
        asked.append(str(told[-1]))
        ctx.reply(AssistantMessage(f"{len(told)} messages, then {told[-1]}"))

    return answer


async def kept_after(url: str, *says: Any, run_id: str = "r", **settings: Any) -> list[str]:
    async with MiniAgents(journal=url, run_id=run_id):
        for said in says:
            replies = await texts(journal_history_agent.inquire(said, **settings))
    return replies


# ----------------------------------------------------------------------------------------------------- going on


async def test_it_keeps_what_it_is_given_and_replies_with_everything(url: str) -> None:
    async with MiniAgents(journal=url, run_id="r"):
        assert await texts(journal_history_agent.inquire(["a", "b"])) == ["a", "b"]
        assert await texts(journal_history_agent.inquire("c")) == ["a", "b", "c"]
        assert await texts(journal_history_agent.inquire()) == ["a", "b", "c"]


async def test_the_same_run_goes_on_where_it_was_and_another_one_begins_anew(url: str) -> None:
    await kept_after(url, "a")

    assert await kept_after(url, "b") == ["a", "b"]
    assert await kept_after(url, "b", run_id="another") == ["b"]
    assert await kept_after(url, []) == ["a", "b"]


async def test_a_history_with_a_name_belongs_to_the_journal(url: str) -> None:
    await kept_after(url, "a", history="support")

    assert await kept_after(url, "a", run_id="another", history="support") == ["a", "a"]
    assert await kept_after(url, [], run_id="another") == []


async def test_runs_that_go_on_at_once_share_a_history_with_a_name(url: str) -> None:
    async with MiniAgents(journal=url, run_id="one"), asyncio.TaskGroup() as group:
        mine = journal_history_agent.inquire("a", history="h")
        assert await texts(mine) == ["a"]
        assert await group.create_task(kept_after(url, "b", "c", run_id="two", history="h")) == ["a", "b", "c"]
        assert await texts(journal_history_agent.inquire("d", history="h")) == ["a", "b", "c", "d"]


async def test_messages_come_back_as_what_they_were(sqlite_url: str) -> None:
    said = (UserMessage("hi", data=b"\x00\xff"), AssistantMessage("hello", agent_alias="A", about=Message("x")))
    async with MiniAgents(journal=sqlite_url, run_id="r"):
        await journal_history_agent.inquire(said)

    async with MiniAgents(journal=sqlite_url, run_id="r"):
        found = await journal_history_agent.inquire()

    assert found == said
    assert [type(message) for message in found] == [UserMessage, AssistantMessage]
    assert found[1].about == Message("x")


async def test_what_was_kept_survives_a_kill(sqlite_url: str) -> None:
    program = f"""
import asyncio, os, signal
from miniagents import MiniAgents
from miniagents.ext import journal_history_agent

async def main():
    async with MiniAgents(journal={sqlite_url!r}, run_id="r", durability="end"):
        await journal_history_agent.inquire(["a", "b"])
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    killed = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", program])

    assert killed.returncode == -9
    assert await kept_after(sqlite_url, "c") == ["a", "b", "c"]


# ------------------------------------------------------------------------------------------- being run once more


async def test_a_resumed_run_keeps_nothing_twice_and_sees_the_history_as_it_was(url: str) -> None:
    seen: list[list[str]] = []

    async def program(*says: str) -> None:
        async with MiniAgents(journal=url, run_id="r"):
            seen[:] = [await texts(journal_history_agent.inquire(said)) for said in says]

    await program("a", "b")
    await program("a", "b", "b", "c")

    assert seen == [["a"], ["a", "b"], ["a", "b", "b"], ["a", "b", "b", "c"]]
    await program("a", "b", "b", "c")
    assert seen[-1] == ["a", "b", "b", "c"]


async def test_calls_at_once_that_come_in_another_order_are_known_again(sqlite_url: str) -> None:
    async def program(*order: int) -> list[str]:
        doors = [asyncio.Event(), asyncio.Event()]

        async def waits(number: int) -> AsyncIterator[str]:
            await doors[number].wait()
            yield f"text {number}"

        async with MiniAgents(journal=sqlite_url, run_id="r"):
            both = [journal_history_agent.inquire(_of(waits(number))) for number in (0, 1)]
            for number in order:
                doors[number].set()
                await both[number]
            return await texts(journal_history_agent.inquire())

    assert await program(1, 0) == ["text 1", "text 0"]
    assert await program(0, 1) == ["text 1", "text 0"]


async def _of(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    async for piece in pieces:
        yield piece


async def test_a_dialog_goes_on_and_the_same_words_said_later_are_kept_again(sqlite_url: str) -> None:
    async def talk(*lines: str) -> list[str]:
        asked: list[str] = []
        async with MiniAgents(journal=sqlite_url, run_id="r"):
            await dialog_loop.inquire(user_agent=user_that_says(*lines), assistant_agent=model(asked))
        return asked

    assert await talk("hi", "yes") == ["hi", "yes"]
    assert await talk("go on", "yes") == ["go on", "yes"]

    assert await kept_in_dialogs(sqlite_url) == [
        [
            "hi",
            "1 messages, then hi",
            "yes",
            "3 messages, then yes",
            "go on",
            "5 messages, then go on",
            "yes",
            "7 messages, then yes",
        ]
    ]


async def test_a_dialog_that_is_repeated_finds_its_model_answered_and_then_goes_on(sqlite_url: str) -> None:
    async def talk(*lines: str) -> list[str]:
        asked: list[str] = []
        async with MiniAgents(journal=sqlite_url, run_id="r"):
            await dialog_loop.inquire(user_agent=user_that_says(*lines), assistant_agent=model(asked))
        return asked

    await talk("hi", "yes")

    assert await talk("hi", "yes", "bye") == ["bye"]
    assert await kept_in_dialogs(sqlite_url) == [
        ["hi", "1 messages, then hi", "yes", "3 messages, then yes", "bye", "5 messages, then bye"]
    ]


async def test_several_dialogs_of_one_program_do_not_mix(sqlite_url: str) -> None:
    async def talk(*talks: tuple[str, ...]) -> None:
        async with MiniAgents(journal=sqlite_url, run_id="r"):
            await asyncio.gather(
                *(dialog_loop.inquire(user_agent=user_that_says(*lines), assistant_agent=model([])) for lines in talks)
            )

    await talk(("one", "uno"), ("two", "due"))
    await talk(("later",), ("four",))

    assert [dialog[::2] for dialog in await kept_in_dialogs(sqlite_url)] == [
        ["one", "uno", "later"],
        ["two", "due", "four"],
    ]


async def kept_in_dialogs(url: str) -> list[list[str]]:
    """The texts of all histories of dialogs, by what is said first."""
    path = url.removeprefix("sqlite:///")
    async with await Journal.open(url) as journal:
        connection = sqlite3.connect(path)
        rows = connection.execute(
            "SELECT k.history, k.hash FROM journal_kept k WHERE hash IS NOT NULL ORDER BY k.history, k.position"
        ).fetchall()
        connection.close()
        found: dict[int, list[str]] = {}
        for history, one in rows:
            found.setdefault(history, []).append(str(await journal.show(one)))
    return sorted(found.values(), key=lambda said: (len(said), said) if said[0] != "one" else (0, said))


async def test_it_works_in_an_agent_loop(sqlite_url: str) -> None:
    async def talk(*lines: str) -> list[str]:
        left, told = list(lines), list[str]()

        @miniagent
        async def user(ctx: InteractionContext) -> None:
            ctx.reply(ctx.message_promises)
            await ctx.message_promises
            if not left:
                raise EOFError
            ctx.reply(left.pop(0))

        @miniagent
        async def assistant(ctx: InteractionContext) -> None:
            told[:] = [str(message) for message in await ctx.message_promises]
            ctx.reply(f"re: {told[-1]}")

        async with MiniAgents(journal=sqlite_url, run_id="r"):
            await agent_loop.inquire(agents=[user, AWAIT, journal_history_agent, assistant])
        return told

    assert await talk("a", "b") == ["a", "re: a", "b"]
    assert await talk("c") == ["a", "re: a", "b", "c"]


# --------------------------------------------------------------------------------------------- what is not kept


async def test_the_reply_can_be_what_came_in_and_some_messages_are_not_kept(sqlite_url: str) -> None:
    async with MiniAgents(journal=sqlite_url, run_id="r"):
        quiet = journal_history_agent.fork(return_full_history=False)
        assert await texts(quiet.inquire(["a", Message("secret", no_history=True)])) == ["a", "secret"]
        assert await texts(journal_history_agent.inquire([Message("secret", no_history=True)])) == ["a"]
        assert await texts(quiet.inquire("b")) == ["b"]
    async with MiniAgents(journal=sqlite_url, run_id="r"):
        assert await texts(journal_history_agent.inquire()) == ["a", "b"]


async def test_what_came_before_and_after_an_error_is_kept_before_the_error_is_raised(sqlite_url: str) -> None:
    async def half(_: dict[str, object]) -> AsyncIterator[str]:
        yield "half"
        raise ConnectionError("the line is dead")

    async with MiniAgents(journal=sqlite_url, run_id="r"):
        with pytest.raises(ConnectionError, match="the line is dead"):
            await journal_history_agent.inquire(["a", Message.promise(message_token_streamer=half), "b"])
        kept = await journal_history_agent.inquire()

    assert kept == (Message("a"), Message("half", interrupted=True), Message("b"))


async def test_without_a_journal_it_says_what_is_missing() -> None:
    async with MiniAgents():
        with pytest.raises(NoJournalError, match=r"^`journal_history_agent` needs a journal.*MiniAgents\(journal="):
            await journal_history_agent.inquire("a")


async def test_a_history_without_a_name_is_refused(sqlite_url: str) -> None:
    async with MiniAgents(journal=sqlite_url):
        with pytest.raises(TypeError, match=r"`history` is a name, such as 'support', not ''"):
            await journal_history_agent.inquire("a", history="")


def _one_class() -> type[Message]:
    class OfOneName(Message):
        pass

    return OfOneName


def _another_class() -> type[Message]:
    class OfOneName(Message):
        pass

    return OfOneName


async def test_a_message_that_cannot_be_stored_is_refused_by_its_place(sqlite_url: str) -> None:
    async with MiniAgents(journal=sqlite_url, run_id="r", on_store_error="report"):
        other = _another_class()
        with pytest.raises(UnstorableValueError, match=rf"two classes are called `{other.__name__}`"):
            await journal_history_agent.inquire(["a", _one_class()("b")])
        assert await texts(journal_history_agent.inquire()) == []


# ------------------------------------------------------------------------------------------------------- growth


async def test_each_turn_takes_the_same_space(tmp_path: Path) -> None:
    async def size_of(turns: int) -> tuple[int, int]:
        """Rows, and bytes, of what the history itself stores."""
        folder = tmp_path / str(turns)
        folder.mkdir()
        says = [f"question {turn:04}" for turn in range(turns)]
        async with MiniAgents(journal=f"sqlite:///{folder}/runs.db", run_id="r"):
            await dialog_loop.inquire(user_agent=user_that_says(*says), assistant_agent=model([]))
        connection = sqlite3.connect(folder / "runs.db")
        found = connection.execute(
            "SELECT COUNT(*), SUM(LENGTH(hash) + COALESCE(LENGTH(origin), 0)) FROM journal_kept"
        ).fetchone()
        connection.close()
        return found

    (rows, bytes_), (more_rows, more_bytes) = await size_of(20), await size_of(80)

    assert (rows, more_rows) == (40, 160)
    assert more_bytes / more_rows < 1.02 * bytes_ / rows


async def test_a_run_that_is_pruned_takes_its_history_with_it(url: str) -> None:
    await kept_after(url, "a")
    async with await Journal.open(url) as journal:
        await journal.prune(older_than=timedelta())

    assert await kept_after(url, "a") == ["a"]
    assert await kept_after(url, []) == ["a"]


async def test_what_a_history_holds_is_not_pruned_with_the_run_that_has_made_it(url: str) -> None:
    await kept_after(url, "a", run_id="old", history="h")
    async with MiniAgents(journal=url, run_id="new"):
        assert await texts(journal_history_agent.inquire("b", history="h")) == ["a", "b"]
        async with await Journal.open(url) as journal:
            assert (await journal.prune(older_than=timedelta())).runs == 1

    assert await kept_after(url, [], run_id="third", history="h") == ["a", "b"]
