"""Names and texts that a database cannot hold are refused where they come in."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.journal import Journal, UnstorableValueError
from tests.unit.journal.conftest import Kept, collected
from tests.unit.journal.programs import leaf

BAD = {"surrogate": "a\ud800b", "NUL": "a\x00b"}


@pytest.fixture(params=list(BAD))
def bad(request: pytest.FixtureRequest) -> str:
    return BAD[request.param]


@pytest.mark.parametrize(
    ("ask", "field"),
    [
        (lambda ctx, bad: ctx.ask(bad), "text"),
        (lambda ctx, bad: ctx.ask(bad, key="k"), "text"),
        (lambda ctx, bad: ctx.ask("Well?", key=bad), "key"),
        (lambda ctx, bad: ctx.once(bad, lambda: pytest.fail("it was executed")), "name"),
        (lambda ctx, bad: leaf([]).inquire("x", journal_key=bad), "journal_key"),
    ],
    ids=["question", "question with a key", "key", "once", "journal_key"],
)
async def test_what_an_agent_asks_for_by_a_name_that_cannot_be_stored_fails_with_the_name_of_the_field(
    kept: Kept, bad: str, ask: Callable[[InteractionContext, str], Awaitable[Any]], field: str
) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        with pytest.raises(UnstorableValueError, match=f"^`{field}` cannot be stored: .*(surrogate|NUL)") as raised:
            await ask(ctx, bad)
        ctx.reply(raised.value.field)

    async with kept.mini_agents():
        assert str(await agent.inquire().as_single_promise()) == field

    assert await collected(kept.journal.questions()) == []
    assert (await kept.run()).state == "finished"


async def test_a_run_id_that_cannot_be_stored_is_refused_before_anything_runs(kept: Kept, bad: str) -> None:
    with pytest.raises(UnstorableValueError, match="`run_id` cannot be stored"):
        async with kept.mini_agents(bad):
            pytest.fail("it has begun")


async def test_looking_for_a_name_that_cannot_be_stored_says_so(journal: Journal, bad: str) -> None:
    run = await journal.begin_run("r")
    await run.ask("k", "Well?")

    for asked, field in (
        (journal.answer(bad, "k", 1), "run_id"),
        (journal.answer("r", bad, 1), "key"),
        (collected(journal.log(bad)), "run_id"),
        (collected(journal.questions(bad)), "run_id"),
        (journal.wait_for_answer("r", bad), "key"),
        (run.recall(bad), "name"),
        (run.remember(bad, 1), "name"),
    ):
        with pytest.raises(UnstorableValueError) as raised:
            await asked
        assert raised.value.field == field


async def test_an_answer_with_a_lone_surrogate_is_refused_and_one_with_a_nul_is_kept(journal: Journal) -> None:
    run = await journal.begin_run("r")
    await run.ask("k", "Well?")

    with pytest.raises(UnstorableValueError, match="`answer` cannot be stored: it has a lone surrogate"):
        await journal.answer("r", "k", {"note": "a\ud800b"})
    await journal.answer("r", "k", {"note": "a\x00b"})

    assert (await run.wait_for_answer("k")).answer == {"note": "a\x00b"}


async def test_a_cassette_refuses_them_as_well(tmp_path: Any, bad: str) -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        for asked in (ctx.ask(bad, key="k"), ctx.ask("Well?", key=bad), ctx.once(bad, lambda: 1)):
            with pytest.raises(UnstorableValueError):
                await asked

    async with MiniAgents(journal=str(tmp_path / "c.jsonl"), mode="record"):
        await agent.inquire()
