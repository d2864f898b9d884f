"""Cassettes: values of `once` in several calls, several contexts with one path, files that were merged."""

import asyncio
from pathlib import Path

import pytest

from miniagents import InteractionContext, MiniAgents, miniagent
from miniagents.journal import JournalError
from miniagents.journal.cassette import CassetteMissError
from tests.unit.journal.programs import leaf, texts


async def test_each_call_gets_its_own_value_whichever_asks_first(tmp_path: Path) -> None:
    path = str(tmp_path / "names.jsonl")
    may_go_on: dict[str, asyncio.Event] = {}

    @miniagent
    async def customer(ctx: InteractionContext, name: str) -> None:
        await may_go_on[name].wait()
        ctx.reply(f"{name}: {await ctx.once('account', lambda: f'account of {name}')}")
        for event in may_go_on.values():
            event.set()

    async def run(mode: str, first: str) -> list[str]:
        may_go_on.update({name: asyncio.Event() for name in ("ann", "bob")})
        may_go_on[first].set()
        async with MiniAgents(journal=path, mode=mode):
            both = [customer.inquire("x", name=name) for name in ("ann", "bob")]
            return [text for replies in both for text in await texts(replies)]

    recorded = await run("record", "ann")

    assert recorded == ["ann: account of ann", "bob: account of bob"]
    assert await run("replay", "bob") == recorded


async def test_a_value_that_failed_when_it_was_recorded_is_not_that_of_another_call(tmp_path: Path) -> None:
    path = str(tmp_path / "failed.jsonl")

    @miniagent
    async def step(ctx: InteractionContext, number: int) -> None:
        def flaky() -> str:
            if number == 1:
                raise ConnectionError
            return f"value {number}"

        ctx.reply(await ctx.once("v", flaky))

    async def run(mode: str, error: type[Exception]) -> list[str]:
        async with MiniAgents(journal=path, mode=mode):
            first = await texts(step.inquire(number=0))
            with pytest.raises(error):
                await step.inquire(number=1)
            return first + await texts(step.inquire(number=2))

    assert await run("record", ConnectionError) == ["value 0", "value 2"]
    assert await run("replay", CassetteMissError) == ["value 0", "value 2"]


async def test_a_value_without_its_call_is_for_the_next_one_that_asks(tmp_path: Path) -> None:
    path = tmp_path / "by_hand.jsonl"
    path.write_text('{"format": "miniagents cassette", "version": 1}\n{"once": "v", "value": "by hand"}\n')

    @miniagent
    async def step(ctx: InteractionContext) -> None:
        ctx.reply(await ctx.once("v", lambda: "executed"))

    async with MiniAgents(journal=str(path), mode="replay"):
        assert await texts(step.inquire()) == ["by hand"]


async def test_two_contexts_with_one_path_add_to_one_file(tmp_path: Path) -> None:
    path = tmp_path / "both.jsonl"
    did: list[str] = []
    both_run = asyncio.Barrier(2)

    async def run(text: str, *, more: str) -> None:
        async with MiniAgents(journal=str(path)):
            await leaf(did).inquire(text)
            await both_run.wait()
        async with MiniAgents(journal=str(path)):
            await leaf(did).inquire(text)
            await leaf(did).inquire(more)

    await asyncio.gather(run("a", more="c"), run("b", more="d"))

    assert sorted(did) == ["a", "b", "c", "d"]
    async with MiniAgents(journal=str(path), mode="replay"):
        assert [await texts(leaf(did).inquire(text)) for text in "abcd"] == [[f"re: {text}"] for text in "abcd"]


async def test_what_two_contexts_record_over_each_other_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "both.jsonl"
    both_run = asyncio.Barrier(2)

    async def run(text: str) -> None:
        async with MiniAgents(journal=str(path), mode="record", on_store_error="raise"):
            await leaf([]).inquire(text)
            await both_run.wait()

    with pytest.raises(JournalError, match="changed while this run was recorded.*a cassette of its own"):
        await asyncio.gather(run("a"), run("b"))


async def test_the_marks_of_a_merge_are_named_as_such(tmp_path: Path) -> None:
    path = tmp_path / "merged.jsonl"
    head = '{"format": "miniagents cassette", "version": 1}'
    path.write_text(f'{head}\n<<<<<<< HEAD\n{{"once": "v", "value": 1}}\n=======\n>>>>>>> other\n')

    with pytest.raises(JournalError, match="Line 2 .*mark of a merge .*Keep the lines of one side"):
        async with MiniAgents(journal=str(path), mode="replay"):
            pass
