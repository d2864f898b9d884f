"""A journal that is closed, and its runs with it, while contexts that use it are still on their way out."""

import asyncio

import pytest

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.journal import Journal
from tests.unit.journal.programs import leaf


async def test_nobody_hears_that_a_run_has_ended_where_the_program_is_interrupted(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    began, may_leave = asyncio.Event(), asyncio.Event()

    @miniagent
    async def slow_to_leave(ctx: InteractionContext) -> None:
        await leaf([]).inquire("first")
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await may_leave.wait()
            ctx.reply(await leaf([]).inquire("last"))

    async def begin(run_id: str, journal: Journal) -> None:
        async with MiniAgents(journal=journal, run_id=run_id):
            await (slow_to_leave.inquire("x") if run_id == "slow" else asyncio.Event().wait())

    contexts: list[asyncio.Task[None]] = []

    async def program() -> None:
        async with await Journal.open(sqlite_url) as journal:
            contexts.extend(asyncio.create_task(begin(run_id, journal)) for run_id in ("quick", "slow"))
            # It goes on with the first one that was cancelled.
            await asyncio.gather(*contexts)

    task = asyncio.create_task(program())
    await began.wait()
    task.cancel()
    await asyncio.wait([task])
    may_leave.set()
    await asyncio.wait(contexts)

    assert task.cancelled()
    assert [context.cancelled() for context in contexts] == [True, True]
    assert caplog.text == ""
    async with await Journal.open(sqlite_url) as journal:
        assert {run.run_id: run.state async for run in journal.runs()} == {
            "quick": "interrupted",
            "slow": "interrupted",
        }


async def test_who_closes_the_journal_while_a_context_is_well_hears_of_it(
    sqlite_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    journal = await Journal.open(sqlite_url)
    async with MiniAgents(journal=journal, run_id="r"):
        await journal.close()
        await leaf([]).inquire("x")

    assert caplog.text.count("It is closed") == 1
