"""The settings of a context with a journal, and how its runs begin and end."""

import asyncio
import os
import signal
from datetime import timedelta
from typing import Any

import pytest

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.errors import UnknownSettingError
from miniagents.journal import Journal, RunRecord
from tests.unit.journal.conftest import Kept, OpenJournal, StartProgram, collected
from tests.unit.journal.programs import leaf, texts


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("run_id", "", "a name, such as 'monday', not ''"),
        ("run_id", 7, "a name, such as 'monday', not 7"),
        ("durability", "always", "'step', 'lazy' or 'end', not 'always'"),
        ("durability", ["step"], "'step', 'lazy' or 'end'"),
        ("fsync", "yes", "True or False, not 'yes'"),
        ("on_store_error", "ignore", "'report' or 'raise', not 'ignore'"),
        ("on_busy_run", True, "'refuse' or 'fence', not True"),
        ("journal", 7, "a URL such as 'sqlite:///runs.db'"),
    ],
)
def test_a_wrong_setting_is_answered_with_what_it_takes(name: str, value: object, told: str) -> None:
    with pytest.raises((TypeError, ValueError)) as raised:
        MiniAgents(**{"journal": "memory://", name: value})

    assert f"`{name}` is" in str(raised.value)
    assert told in str(raised.value)


@pytest.mark.parametrize("name", ["run_id", "durability", "fsync", "on_store_error", "on_busy_run", "mode"])
def test_a_setting_without_a_journal_says_what_to_add(name: str) -> None:
    with pytest.raises(UnknownSettingError, match=f'`{name}` says .* add `journal="sqlite:///runs.db"`'):
        MiniAgents(**{name: "step"})


def test_no_journal_is_none() -> None:
    assert MiniAgents(journal=None).interceptors == []


@pytest.mark.parametrize(
    ("marks", "told"),
    [
        ({"durable": "yes"}, "`durable` is True or False, not 'yes'"),
        ({"version": 2}, "`version` is a text, such as '2', not 2"),
        ({"memoize": "1h"}, "`memoize` is True, False or a `timedelta`, not '1h'"),
        ({"memoize": timedelta(0)}, "`memoize` is how old an answer may be"),
        ({"on_uncertain": "panic"}, "`on_uncertain` is 'retry', 'ask' or 'fail', not 'panic'"),
    ],
)
def test_a_wrong_mark_is_answered_with_what_it_takes(marks: dict[str, Any], told: str) -> None:
    with pytest.raises((TypeError, ValueError), match="^" + told.replace("(", r"\(")):
        leaf([]).fork(**marks)


@pytest.mark.parametrize("key", ["", 7])
async def test_a_journal_key_is_a_text(key: Any) -> None:
    async with MiniAgents(journal="memory://"):
        with pytest.raises(TypeError, match="`journal_key` is a text"):
            await leaf([]).inquire("x", journal_key=key)


def runs_of(url: str) -> list[RunRecord]:
    async def main() -> list[RunRecord]:
        async with await Journal.open(url) as journal:
            return await collected(journal.runs())

    return asyncio.run(main())


def test_one_object_runs_again_and_again(sqlite_url: str) -> None:
    did: list[str] = []
    context = MiniAgents(journal=sqlite_url, run_id="r")

    async def main() -> list[str]:
        return await texts(leaf(did).inquire("x"))

    assert [context.run(main()) for _ in range(3)] == [["re: x"]] * 3
    assert did == ["x"]
    assert [(run.run_id, run.state, run.calls) for run in runs_of(sqlite_url)] == [("r", "finished", 1)]


async def test_a_context_that_is_activated_opens_its_journal_with_its_first_call(kept: Kept) -> None:
    did: list[str] = []
    for _ in range(2):
        context = kept.mini_agents()
        context.activate()
        assert await asyncio.gather(texts(leaf(did).inquire("x")), texts(leaf(did).inquire("y"))) == [
            ["re: x"], ["re: y"],
        ]  # fmt: skip
        await context.afinalize()

    assert sorted(did) == ["x", "y"]
    assert (await kept.run()).state == "finished"


async def test_a_program_that_fails_leaves_a_run_that_has_failed(kept: Kept) -> None:
    with pytest.raises(ZeroDivisionError):
        async with kept.mini_agents():
            await leaf([]).inquire("x")
            raise ZeroDivisionError

    assert (await kept.run()).state == "failed"
    assert (await kept.call("LEAF")).state == "finished"


async def test_a_program_that_is_cancelled_leaves_a_run_that_was_interrupted(kept: Kept) -> None:
    began = asyncio.Event()

    async def main() -> None:
        await leaf([]).inquire("x")
        began.set()
        await asyncio.Event().wait()

    task = asyncio.ensure_future(kept.mini_agents().arun(main()))
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert (await kept.run()).state == "interrupted"


PROGRAM = """
import asyncio, sys
from miniagents import MiniAgents, miniagent

@miniagent(durable=True)
async def leaf(ctx):
    ctx.reply("done")

async def main():
    await leaf.inquire("x")
    print("ready", flush=True)
    if sys.argv[2] == "wait":
        await asyncio.Event().wait()
    raise ValueError("it broke")

MiniAgents(journal=sys.argv[1], run_id="r").run(main())
"""


@pytest.fixture(params=["sqlite", "postgres"])
def url_for_all(request: pytest.FixtureRequest) -> str:
    """One that other processes see, too."""
    return request.getfixturevalue(f"{request.param}_url")


@pytest.mark.parametrize(("what", "state"), [("wait", "interrupted"), ("fail", "failed")])
async def test_ctrl_c_and_an_error_end_the_run_and_the_process(
    start_program: StartProgram, url_for_all: str, what: str, state: str
) -> None:
    url = url_for_all
    process = await start_program(PROGRAM, url, what)
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    if what == "wait":
        os.kill(process.pid, signal.SIGINT)
    _, errors = await process.communicate()

    assert (b"KeyboardInterrupt" if what == "wait" else b"it broke") in errors
    async with await Journal.open(url) as journal:
        assert [(run.state, run.calls) for run in await collected(journal.runs())] == [(state, 1)]


async def test_a_context_inside_another_one_records_for_itself(kept: Kept, open_journal: OpenJournal) -> None:
    did: list[str] = []
    inner_journal = await open_journal() if isinstance(kept.setting, Journal) else kept.setting

    async with kept.mini_agents("outer"):
        await leaf(did, "OUTER").inquire("x")
        async with MiniAgents(journal=inner_journal, run_id="inner"):
            await leaf(did, "INNER").inquire("x")
        async with MiniAgents():
            await leaf(did, "UNRECORDED").inquire("x")

    assert await kept.states("outer") == {"OUTER": "finished"}
    assert len(did) == 3


async def test_a_journal_that_was_given_open_stays_open_and_may_be_shared(kept: Kept) -> None:
    did: list[str] = []

    async def program(name: str) -> None:
        async with MiniAgents(journal=kept.journal, run_id=name):
            await leaf(did, name.upper()).inquire("x")

    await asyncio.gather(program("a"), program("b"))

    assert await kept.states("a") == {"A": "finished"}
    assert await kept.states("b") == {"B": "finished"}


async def test_agents_that_call_each_other_deeply_keep_their_parents(kept: Kept) -> None:
    @miniagent
    async def deep(ctx: InteractionContext, depth: int = 0) -> None:
        ctx.reply(deep.inquire("x", depth=depth - 1) if depth else "bottom")

    async with kept.mini_agents():
        assert await texts(deep.inquire("x", depth=20)) == ["bottom"]

    calls = await kept.calls()
    assert [one.parent for one in calls] == [None, *[one.key for one in calls[:-1]]]
