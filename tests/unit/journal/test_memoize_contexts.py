"""Equal memoised calls of several contexts that use one journal at the same time are one."""

import asyncio

from miniagents import InteractionContext, MiniAgent, MiniAgents, miniagent
from miniagents.journal import Journal
from tests.unit.journal.conftest import collected
from tests.unit.journal.programs import texts


class Slow:
    """A memoised agent that takes as long as it is told to."""

    def __init__(self) -> None:
        self.executions = 0
        self.began = asyncio.Event()
        self.may_end = asyncio.Event()
        self.agent: MiniAgent = self._made()

    def _made(self) -> MiniAgent:
        @miniagent(memoize=True)
        async def slow(ctx: InteractionContext) -> None:
            await ctx.message_promises
            self.executions += 1
            self.began.set()
            await self.may_end.wait()
            ctx.reply(f"answer {self.executions}")

        return slow


async def asked(journal: Journal, run_id: str, slow: Slow) -> list[str]:
    async with MiniAgents(journal=journal, run_id=run_id):
        return await texts(slow.agent.inquire("same"))


async def until_all_wait() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


async def test_the_contexts_share_one_execution_and_each_run_has_its_record(journal: Journal) -> None:
    slow = Slow()
    programs = [asyncio.ensure_future(asked(journal, run_id, slow)) for run_id in ("a", "b", "c")]
    await slow.began.wait()
    await until_all_wait()
    slow.may_end.set()

    assert await asyncio.gather(*programs) == [["answer 1"]] * 3
    assert slow.executions == 1
    for run_id in ("a", "b", "c"):
        assert [one.state async for one in journal.log(run_id)] == ["finished"]


async def test_a_context_that_is_cancelled_leaves_the_call_to_the_others(journal: Journal) -> None:
    slow = Slow()
    first = asyncio.ensure_future(asked(journal, "first", slow))
    await slow.began.wait()
    second = asyncio.ensure_future(asked(journal, "second", slow))
    await until_all_wait()

    first.cancel()
    await asyncio.wait([first])
    slow.may_end.set()

    assert await second == ["answer 2"]
    (recorded,) = await collected(journal.log("second"))
    assert recorded.state == "finished"
