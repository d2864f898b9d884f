"""What a user is told, and whether it helps."""

import asyncio
import shlex

import pytest
from click.testing import CliRunner

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.cli import main
from miniagents.journal import Journal, JournalError
from tests.unit.journal.conftest import StartProgram

_JUDGE = """
import sys
from miniagents import Message, MiniAgents, miniagent

class JuryVerdict(Message):
    if sys.argv[2] == "new":
        why: str

@miniagent(durable=True)
async def judge(ctx):
    ctx.reply(JuryVerdict("v", **({"why": "x"} if sys.argv[2] == "new" else {})))

async def main():
    await judge.inquire()

MiniAgents(journal=sys.argv[1], run_id="r").run(main())
"""


async def test_a_class_with_a_new_required_field_tells_the_fix(sqlite_url: str, start_program: StartProgram) -> None:
    await (await start_program(_JUDGE, sqlite_url, "old")).communicate()
    _, told = await (await start_program(_JUDGE, sqlite_url, "new")).communicate()

    assert (
        "cannot be used: `JuryVerdict` has the field `why` now, which is not stored. Give it a default" in told.decode()
    )


@pytest.mark.parametrize(
    "url",
    [
        "sqlite:///:memory:",
        "sqlite:////:memory:",
        "sqlite:///:memory:?x=1",
        "sqlite:///:memory:?time_to_live=3d",
        "sqlite:///%3Amemory%3A",
    ],
)
async def test_the_memory_of_sqlite_is_called_by_its_own_url(url: str) -> None:
    with pytest.raises(JournalError, match="memory://"):
        await Journal.open(url)


async def ask_and_leave(url: str, caplog: pytest.LogCaptureFixture, *, key: str) -> str:
    """Ask something, and give what the log says once it is asked."""

    @miniagent
    async def asking(ctx: InteractionContext) -> None:
        await ctx.ask("How many?", key=key)

    async with MiniAgents(journal=url, run_id="my run"):
        replies = asyncio.ensure_future(asking.inquire().outcome())
        while "How many?" not in caplog.text:  # noqa: ASYNC110 - the log sets no event
            await asyncio.sleep(0)
        replies.cancel()
        raise asyncio.CancelledError


@pytest.mark.allow_errors_in_log("a question is told at the level of a warning")
async def test_the_hint_of_a_question_is_a_command_that_works(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(asyncio.CancelledError):
        await ask_and_leave(sqlite_url, caplog, key="k$HOME -5")
    command = caplog.text.partition("answer with `")[2].partition("`")[0]
    arguments = shlex.split(command)
    assert arguments == ["miniagents", "ask", "--journal", sqlite_url, "my run", "k$HOME -5", "ANSWER"]

    answered = await asyncio.to_thread(CliRunner().invoke, main, [*arguments[1:-1], "-5"])

    assert answered.exit_code == 0, answered.output
    async with await Journal.open(sqlite_url) as journal:
        assert [one.answer async for one in journal.questions("my run")] == ["-5"]


@pytest.mark.allow_errors_in_log("a question is told at the level of a warning")
async def test_the_hint_names_no_command_where_none_could_answer(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(asyncio.CancelledError):
        await ask_and_leave("memory://", caplog, key="k")

    assert "answer with `journal.answer('my run', 'k', ...)`" in caplog.text
