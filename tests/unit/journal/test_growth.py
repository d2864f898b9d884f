"""Space and time: what is stored grows with what is new, and is opened quickly."""

import contextlib
import itertools
import sqlite3
import time
from datetime import timedelta
from pathlib import Path

import pytest

from miniagents import InteractionContext, Message, MiniAgent, MiniAgents, miniagent
from miniagents.ext import dialog_loop, user_agent
from miniagents.ext.llms import AssistantMessage, Script, ScriptedAgent, UserMessage
from miniagents.journal import Journal, _sequences
from tests.unit.journal.conftest import call, collected, record


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


async def test_ten_thousand_messages_of_a_kilobyte_take_25_megabytes_and_are_listed_in_a_second(
    tmp_path: Path, sqlite_url: str
) -> None:
    async with await Journal.open(sqlite_url) as journal:
        run = await journal.begin_run("r", durability="lazy")
        await run.call_started(call("main", "Go", agent="main"))
        for number in range(10_000):
            text = f"{number:05}" + "x" * 995
            await record(run, call(f"{number:064}", "Go", parent="main"), AssistantMessage(text))
        await run.call_finished("main", [])
        await run.end()

    assert size_of(tmp_path) <= 25_000_000
    # The clock of the processor, of all threads, as other programs may have the machine.
    began = time.process_time()
    async with await Journal.open(sqlite_url) as journal:
        assert len(await collected(journal.log("r"))) == 10_001
    assert time.process_time() - began < 1


async def test_a_dialog_takes_space_for_what_is_new_in_each_turn(tmp_path: Path) -> None:
    async def bytes_of_dialog(turns: int) -> int:
        folder = tmp_path / str(turns)
        folder.mkdir()
        async with await Journal.open(f"sqlite:///{folder}/runs.db") as journal:
            run = await journal.begin_run("r", durability="end")
            dialog: list[Message] = []
            for turn in range(turns):
                dialog.append(UserMessage(f"question {turn}"))
                await run.call_started(call(str(turn), *dialog))
                dialog.append(AssistantMessage(f"answer {turn}"))
                await run.call_finished(str(turn), [(dialog[-1], None)])
            await run.end()
        return size_of(folder)

    assert await bytes_of_dialog(600) < 2.5 * await bytes_of_dialog(300)


async def test_calls_that_pass_on_a_dialog_take_space_for_what_is_new_in_each_turn(tmp_path: Path) -> None:
    async def rows_and_bytes(turns: int) -> tuple[dict[str, int], int]:
        folder = new_folder(tmp_path / str(turns))
        async with await Journal.open(f"sqlite:///{folder}/runs.db") as journal:
            run = await journal.begin_run("r", durability="end")
            dialogs: list[list[Message]] = [[], [], []]
            for turn, which in itertools.product(range(turns), range(3)):
                dialog = dialogs[which]
                for agent, kind in (("user", UserMessage), ("model", AssistantMessage), ("history", None)):
                    key = f"{agent} {which} {turn}"
                    await run.call_started(call(key, *dialog, agent=agent))
                    if kind is not None:
                        dialog.append(kind(f"{key} says this"))
                    replies = dialog[-1:] if agent == "model" else dialog
                    await run.call_finished(key, [(one, None) for one in replies], passes_on=agent != "model")
            await run.end()
        return rows_in(folder), size_of(folder)

    (rows, _), small, large = [await rows_and_bytes(turns) for turns in (1, 50, 100)]

    assert {table: count - rows[table] for table, count in small[0].items()} == {
        table: 49 * 3 * each for table, each in (("messages", 2), ("sequences", 2), ("calls", 3), ("replies", 2))
    }
    assert large[1] < 2.2 * small[1]


async def test_a_dialog_is_hashed_once_and_not_with_each_call(monkeypatch: pytest.MonkeyPatch) -> None:
    hashed: list[str] = []
    next_id = _sequences._next_id
    monkeypatch.setattr(_sequences, "_next_id", lambda *parts: hashed.append(parts[1]) or next_id(*parts))
    async with await Journal.open("memory://") as journal:
        run = await journal.begin_run("r", durability="end")
        dialogs: list[list[Message]] = [[], []]
        for turn, dialog in itertools.product(range(100), dialogs):
            key = f"{turn} {id(dialog)}"
            await run.call_started(call(key, *dialog))
            dialog.append(UserMessage(f"turn {key}"))
            await run.call_finished(key, [(one, None) for one in dialog], inputs=dialog[:-1], passes_on=True)

    # The first few of them are not worth being remembered.
    assert 200 <= len(hashed) < 400


async def test_pruning_gives_room_back_to_the_disk(tmp_path: Path, sqlite_url: str) -> None:
    async with await Journal.open(sqlite_url) as journal:
        run = await journal.begin_run("r")
        await record(run, call("k"), *[f"{number} " + "x" * 10_000 for number in range(200)])
        await run.end()
        await journal.prune(older_than=timedelta())

    assert size_of(tmp_path) < 500_000


def new_folder(path: Path) -> Path:
    path.mkdir()
    return path


async def rows_and_bytes_of_dialog(folder: Path, turns: int, talk: str) -> tuple[dict[str, int], int]:
    """Rows of each table, and bytes of the file, of a dialog that is recorded by a context."""
    async with MiniAgents(journal=f"sqlite:///{folder}/runs.db", run_id="r", durability="end"):
        answers = Script(*[f"answer {turn}" for turn in range(turns)])
        assistant = ScriptedAgent.fork(script=answers)
        if talk == "model":
            dialog: list[Message] = []
            for turn in range(turns):
                dialog.append(UserMessage(f"question {turn}"))
                dialog += await assistant.inquire(dialog)
        else:
            await dialog_loop.inquire(user_agent=user_of(turns), assistant_agent=assistant)
    with contextlib.closing(sqlite3.connect(folder / "runs.db")) as connection:
        # How full the pages are depends on what was committed together, and so on the machine.
        connection.execute("VACUUM")
    return rows_in(folder), size_of(folder)


def rows_in(folder: Path) -> dict[str, int]:
    with contextlib.closing(sqlite3.connect(folder / "runs.db")) as connection:
        return {
            table: connection.execute(f"SELECT COUNT(*) FROM journal_{table}").fetchone()[0]
            for table in ("messages", "sequences", "calls", "replies")
        }


def user_of(turns: int) -> MiniAgent:
    left = [f"question {turn}" for turn in range(turns)]

    @miniagent
    async def says_the_next_line(ctx: InteractionContext) -> None:
        if not left:
            raise EOFError
        ctx.reply(left.pop(0))

    @miniagent
    async def silent(ctx: InteractionContext) -> None:
        await ctx.message_promises

    return user_agent.fork(output_agent=silent, input_agent=says_the_next_line)


@pytest.mark.parametrize("talk", ["model", "dialog_loop"])
async def test_a_dialog_that_a_context_records_takes_space_for_what_is_new_in_each_turn(
    tmp_path: Path, talk: str
) -> None:
    small, middle, large = [
        await rows_and_bytes_of_dialog(new_folder(tmp_path / str(turns)), turns, talk) for turns in (50, 100, 200)
    ]

    for table, count in large[0].items():
        assert count - middle[0][table] == 2 * (middle[0][table] - small[0][table])
    assert large[1] - middle[1] < 2.5 * (middle[1] - small[1])
