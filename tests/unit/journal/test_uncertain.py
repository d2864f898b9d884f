"""`on_uncertain=`: what becomes of a durable call that had started when its process was killed."""

import signal
from pathlib import Path
from typing import Any

import pytest

from miniagents import InteractionContext, miniagent
from miniagents.ext.llms import ScriptedAgent
from miniagents.journal import Journal
from tests.unit.journal.conftest import Kept, OpenJournal, StartProgram, collected
from tests.unit.journal.programs import until

PROGRAM = """
import asyncio, sys
from miniagents import MiniAgents, miniagent

@miniagent(durable=True)
async def first(ctx):
    print("first works", flush=True)
    ctx.reply("one")

@miniagent(durable=True, on_uncertain=sys.argv[2])
async def pay(ctx):
    print("paying", flush=True)
    if sys.argv[3] == "hang":
        await asyncio.Event().wait()
    ctx.reply("paid")

@miniagent
async def boss(ctx):
    ctx.reply(await first.inquire("a"))
    ctx.reply(pay.inquire("b"))

async def main():
    print(*[str(message) for message in await boss.inquire("go")], flush=True)

MiniAgents(journal=sys.argv[1], run_id="r").run(main())
"""


async def run_and_kill(start_program: StartProgram, url: str, on_uncertain: str) -> None:
    process = await start_program(PROGRAM, url, on_uncertain, "hang")
    assert process.stdout is not None
    assert await process.stdout.readline() == b"first works\n"
    assert await process.stdout.readline() == b"paying\n"
    process.kill()
    assert await process.wait() == -signal.SIGKILL
    process.stdout.feed_eof()


@pytest.fixture(params=["sqlite", "postgres"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Those that another process can see."""
    return request.getfixturevalue(f"{request.param}_url")


async def test_after_a_kill_what_was_in_flight_runs_again_and_what_had_finished_does_not(
    start_program: StartProgram, url: str
) -> None:
    await run_and_kill(start_program, url, "retry")
    process = await start_program(PROGRAM, url, "retry", "go on")
    told, errors = await process.communicate()

    assert told.decode().split("\n") == ["paying", "one paid", ""], errors.decode()


async def test_one_that_must_not_be_made_again_fails_after_a_kill(start_program: StartProgram, url: str) -> None:
    await run_and_kill(start_program, url, "fail")
    process = await start_program(PROGRAM, url, "fail", "go on")
    told, errors = await process.communicate()

    assert told == b""
    assert process.returncode == 1
    assert "UncertainCallError: A call of `PAY` was cut off" in errors.decode()


@pytest.mark.parametrize(("answer", "outcome"), [("yes", "one paid"), ("no", "UncertainCallError")])
async def test_a_person_says_whether_it_is_made_again(
    start_program: StartProgram, sqlite_url: str, answer: str, outcome: str
) -> None:
    await run_and_kill(start_program, sqlite_url, "ask")
    process = await start_program(PROGRAM, sqlite_url, "ask", "go on")
    async with await Journal.open(sqlite_url) as journal:

        async def has_asked() -> bool:
            return len(await collected(journal.questions("r"))) == 1

        await until(has_asked)
        (question,) = await collected(journal.questions("r"))
        assert "`PAY` was cut off" in question.text
        await journal.answer("r", question.key, answer)
    told, errors = await process.communicate()

    assert outcome in told.decode() + errors.decode()
    assert ("paying" in told.decode()) is (answer == "yes")


async def test_a_no_ends_one_start_of_the_program_and_the_next_one_asks_again(
    start_program: StartProgram, sqlite_url: str
) -> None:
    async def answered(answer: str, *, number: int) -> str:
        process = await start_program(PROGRAM, sqlite_url, "ask", "go on")

        async def has_asked() -> bool:
            return len(await collected(journal.questions("r"))) == number

        await until(has_asked)
        await journal.answer("r", (await collected(journal.questions("r")))[-1].key, answer)
        told, errors = await process.communicate()
        return told.decode() + errors.decode()

    await run_and_kill(start_program, sqlite_url, "ask")
    async with await Journal.open(sqlite_url) as journal:
        first = await answered("no", number=1)
        second = await answered("No!", number=2)
        third = await answered("yes", number=3)

    for told, answer in ((first, "'no'"), (second, "'No!'")):
        assert f"is not made again, as the answer was {answer}. If that was a mistake, start the program again" in told
        assert "paying" not in told
    assert third.startswith("paying\none paid\n")


@pytest.mark.parametrize("durability", ["step", "lazy", "end"])
@pytest.mark.parametrize("on_uncertain", ["ask", "fail"])
async def test_its_start_is_committed_before_it_acts(
    shared_journal: OpenJournal, kept: Kept, on_uncertain: str, durability: str
) -> None:
    other = await shared_journal()
    seen: list[str] = []

    @miniagent(durable=True, on_uncertain=on_uncertain)
    async def pay(ctx: InteractionContext) -> None:
        seen.extend([one.state for one in await collected(other.log("r"))])

    async with kept.mini_agents(durability=durability):
        await pay.inquire("x")

    assert seen == ["started"]


@pytest.mark.parametrize("on_uncertain", ["ask", "fail"])
def test_for_an_agent_that_is_no_leaf_it_says_what_to_add(on_uncertain: Any) -> None:
    async def agent(ctx: InteractionContext) -> None: ...

    told = rf"`on_uncertain='{on_uncertain}'` is for agents .* Add `durable=True`"
    with pytest.raises(ValueError, match=told):
        miniagent(agent, on_uncertain=on_uncertain)
    with pytest.raises(ValueError, match=told):
        miniagent(agent).fork(on_uncertain=on_uncertain)
    with pytest.raises(ValueError, match=told):
        miniagent(agent, durable=True).fork(durable=False, on_uncertain=on_uncertain)

    miniagent(agent, on_uncertain="retry")
    miniagent(agent, memoize=True, on_uncertain=on_uncertain)
    miniagent(agent).fork(durable=True, on_uncertain=on_uncertain).fork(durable=False).fork(durable=True)
    ScriptedAgent.fork(on_uncertain=on_uncertain)
