"""What is found again after the program was changed between two runs."""

from typing import Any

from miniagents import InteractionContext, miniagent
from tests.unit.journal.conftest import Kept
from tests.unit.journal.programs import asking, leaf, texts


def numbered(numbers: list[int], **marks: Any) -> Any:
    """A leaf that says another number each time that it works."""

    @miniagent(alias="DICE", **{"durable": True, **marks})
    async def dice(ctx: InteractionContext) -> None:
        numbers.append(len(numbers))
        ctx.reply(f"rolled {numbers[-1]}")

    return dice


async def test_code_and_calls_that_are_put_in_before_change_nothing(kept: Kept) -> None:
    did: list[str] = []
    old, new = leaf(did), leaf(did, "NEW")

    async with kept.mini_agents():
        await asking(old).inquire("x")
    key = (await kept.call("LEAF")).key
    async with kept.mini_agents():
        await new.inquire("first")
        assert await texts(asking(new, old).inquire("x")) == ["re: x", "re: x"]

    assert did == ["x", "first", "x"]
    assert (await kept.call("LEAF")).key == key


async def test_a_leaf_below_an_agent_that_was_renamed_is_found(kept: Kept) -> None:
    did: list[str] = []

    async with kept.mini_agents():
        await asking(leaf(did), alias="OLD_NAME").inquire("x")
    for _ in range(2):
        async with kept.mini_agents():
            assert await texts(asking(leaf(did), alias="NEW_NAME").inquire("x")) == ["re: x"]

    assert did == ["x"]


async def test_a_leaf_below_an_agent_that_is_called_with_something_else_is_found(kept: Kept) -> None:
    did: list[str] = []

    @miniagent
    async def boss(ctx: InteractionContext) -> None:
        ctx.reply(leaf(did).inquire("always the same"))

    async with kept.mini_agents():
        await boss.inquire("before")
    async with kept.mini_agents():
        assert await texts(boss.inquire("after")) == ["re: always the same"]

    assert did == ["always the same"]


async def test_an_answer_is_given_to_one_call_only(kept: Kept) -> None:
    numbers: list[int] = []

    async with kept.mini_agents():
        await asking(numbered(numbers), alias="OLD_NAME").inquire("x")
    async with kept.mini_agents():
        dice = numbered(numbers)
        replies = await texts(asking(dice, dice, alias="NEW_NAME").inquire("x"))

    assert replies == ["rolled 0", "rolled 1"]


async def test_a_journal_key_tells_equal_calls_apart_where_the_program_was_changed(kept: Kept) -> None:
    numbers: list[int] = []
    dice = numbered(numbers)

    def boss(alias: str, *names: str) -> Any:
        @miniagent(alias=alias)
        async def ask(ctx: InteractionContext) -> None:
            for name in names:
                ctx.reply(await dice.inquire("roll", journal_key=name))

        return ask

    async with kept.mini_agents():
        assert await texts(boss("OLD", "ann", "bob").inquire()) == ["rolled 0", "rolled 1"]
    async with kept.mini_agents():
        assert await texts(boss("NEW", "bob", "ann").inquire()) == ["rolled 1", "rolled 0"]

    assert numbers == [0, 1]


async def test_a_journal_key_tells_equal_calls_apart_in_an_unchanged_program(kept: Kept) -> None:
    numbers: list[int] = []
    dice = numbered(numbers)

    async with kept.mini_agents():
        assert await texts(dice.inquire("roll", journal_key="ann")) == ["rolled 0"]
    async with kept.mini_agents():
        assert await texts(dice.inquire("roll", journal_key="bob")) == ["rolled 1"]
        assert await texts(dice.inquire("roll", journal_key="ann")) == ["rolled 0"]


async def test_another_version_or_other_settings_are_another_question(kept: Kept) -> None:
    numbers: list[int] = []
    dice = numbered(numbers)

    async with kept.mini_agents():
        await asking(dice).inquire("x")
    async with kept.mini_agents():
        assert await texts(asking(dice.fork(version="2")).inquire("x")) == ["rolled 1"]
        assert await texts(asking(dice.fork(version="2"), alias="OTHER").inquire("x")) == ["rolled 2"]
        assert await texts(asking(dice, alias="THIRD").inquire("x")) == ["rolled 0"]


async def test_a_call_that_was_not_there_before_below_one_that_was_is_new(kept: Kept) -> None:
    numbers: list[int] = []
    dice = numbered(numbers)

    async with kept.mini_agents():
        await asking(dice).inquire("x")
    async with kept.mini_agents():
        assert await texts(asking(dice, dice).inquire("x")) == ["rolled 0", "rolled 1"]
