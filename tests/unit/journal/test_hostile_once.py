"""`ctx.once(...)` where its function, or whoever waits for it, does what one does not expect."""

import asyncio
import threading

import pytest

from miniagents import InteractionContext, miniagent
from miniagents.journal import JournalError
from tests.unit.journal.conftest import Kept
from tests.unit.journal.programs import texts


async def test_a_side_effect_inside_one_of_the_same_name_is_an_error(kept: Kept) -> None:
    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        async def inner() -> int:
            return await ctx.once("same", lambda: 1)

        await ctx.once("same", inner)

    async with kept.mini_agents():
        with pytest.raises(JournalError, match="Give one of the two another name"):
            await worker.inquire()


async def test_a_function_that_raises_stop_iteration_holds_nobody_up(kept: Kept) -> None:
    def stop() -> None:
        raise StopIteration("end")

    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        await ctx.once("stop", stop)

    async with kept.mini_agents():
        with pytest.raises(RuntimeError, match="'stop'.* raised StopIteration"):
            await worker.inquire()


@pytest.mark.parametrize("blocks", [True, False], ids=["thread", "coroutine"])
async def test_a_side_effect_that_nobody_waits_for_any_more_happens_once_all_the_same(kept: Kept, blocks: bool) -> None:
    happened: list[str] = []
    may_end = threading.Event()
    may_end_soon = asyncio.Event()

    def blocking() -> str:
        happened.append("began")
        may_end.wait(20)
        return "paid"

    async def waiting() -> str:
        happened.append("began")
        await may_end_soon.wait()
        return "paid"

    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        first = asyncio.ensure_future(ctx.once("pay", blocking if blocks else waiting))
        while not happened:  # noqa: ASYNC110 - a thread sets it
            await asyncio.sleep(0)
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        second = asyncio.ensure_future(ctx.once("pay", blocking if blocks else waiting))
        await asyncio.sleep(0)
        may_end.set()
        may_end_soon.set()
        ctx.reply(await second)

    async with kept.mini_agents():
        assert await texts(worker.inquire()) == ["paid"]

    assert happened == ["began"]


async def test_what_a_thread_has_done_is_recorded_though_the_program_is_cancelled(kept: Kept) -> None:
    happened: list[str] = []
    may_end = threading.Event()

    def pay() -> str:
        happened.append("paid")
        may_end.wait(20)
        return "receipt"

    @miniagent
    async def worker(ctx: InteractionContext) -> None:
        ctx.reply(await ctx.once("pay", pay))

    async def program() -> None:
        async with kept.mini_agents():
            await worker.inquire()

    cut_off = asyncio.ensure_future(program())
    while not happened:  # noqa: ASYNC110 - a thread sets it
        await asyncio.sleep(0)
    cut_off.cancel()
    await asyncio.sleep(0)
    may_end.set()
    await asyncio.wait([cut_off])

    async with kept.mini_agents():
        assert await texts(worker.inquire()) == ["receipt"]
    assert happened == ["paid"]
