"""`memoize=`: an equal call of any run is answered from the journal, and equal calls that go on are one."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgent, miniagent
from miniagents.messages import MessageTokenAppender
from tests.unit.journal.conftest import Kept
from tests.unit.journal.programs import asking, leaf, texts, tokens


class Gated:
    """A memoised agent that says one token, waits to be let on, and then ends as it is told to."""

    def __init__(self, error: Exception | None = None, **marks: Any) -> None:
        self.did = 0
        self.may_end = asyncio.Event()

        @miniagent(alias="GATED", memoize=True, **marks)
        async def gated(ctx: InteractionContext) -> None:
            self.did += 1
            with MessageTokenAppender() as appender:
                ctx.reply(Message.promise(message_token_streamer=appender))
                appender.append("first ")
                await self.may_end.wait()
                appender.append("second")
            if error is not None:
                raise error

        self.agent = gated


async def first_token(replies: Any) -> str:
    return await anext(aiter(await anext(aiter(replies))))


async def test_an_equal_call_of_any_run_is_answered(kept: Kept) -> None:
    did: list[str] = []
    agent = leaf(did, memoize=True, durable=None)

    for run_id in ["one", "two"]:
        async with kept.mini_agents(run_id):
            assert await tokens(asking(agent).inquire("x")) == [["re", ": ", "x"]]
            assert await texts(agent.inquire("y")) == ["re: y"]
            assert await texts(agent.inquire("y")) == ["re: y"]

    assert did == ["x", "y"]
    assert [one.state for one in await kept.calls("two")] == ["finished"] * 4


async def test_a_fork_may_be_memoised_and_one_that_is_not_is_not_answered(kept: Kept) -> None:
    did: list[str] = []
    agent = leaf(did)

    for run_id in ["one", "two"]:
        async with kept.mini_agents(run_id):
            await agent.inquire("plain")
            await agent.fork(memoize=True).inquire("memoised")

    assert did == ["plain", "memoised", "plain"]


async def test_an_answer_that_is_too_old_does_not_answer(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[str] = []
    agent = leaf(did, memoize=timedelta(hours=1))
    from miniagents.journal import Journal

    async with kept.mini_agents("one"):
        await agent.inquire("x")
    true_now = Journal.now
    for hours, times in [(0.9, 1), (1.1, 2)]:
        monkeypatch.setattr(Journal, "now", lambda self, hours=hours: true_now(self) + hours * 3600)
        async with kept.mini_agents(f"after {hours}"):
            await agent.inquire("x")
        assert did == ["x"] * times


async def test_another_version_or_key_is_another_question(kept: Kept) -> None:
    did: list[str] = []
    agent = leaf(did, memoize=True)

    async with kept.mini_agents("one"):
        await agent.inquire("x")
        await agent.fork(version="2").inquire("x")
        await agent.inquire("x", journal_key="ann")
    async with kept.mini_agents("two"):
        await agent.fork(version="2").inquire("x")
        await agent.inquire("x", journal_key="ann")

    assert did == ["x", "x", "x"]


async def test_a_failed_call_does_not_answer(kept: Kept) -> None:
    fails = [True]
    did: list[str] = []

    @miniagent(memoize=True)
    async def fragile(ctx: InteractionContext) -> None:
        did.append("x")
        if fails.pop() if fails else False:
            raise ConnectionError("first")
        ctx.reply("worked")

    async with kept.mini_agents("one"):
        with pytest.raises(ConnectionError):
            await fragile.inquire()
        assert await texts(fragile.inquire()) == ["worked"]
        assert await texts(fragile.inquire()) == ["worked"]

    assert len(did) == 2


async def test_equal_calls_that_go_on_share_one_execution_and_its_tokens(kept: Kept) -> None:
    gated = Gated()

    async with kept.mini_agents():
        both = [gated.agent.inquire("x"), gated.agent.inquire("x")]
        assert await asyncio.gather(*map(first_token, both)) == ["first ", "first "]
        gated.may_end.set()
        assert await asyncio.gather(*map(tokens, both)) == [[["first ", "second"]]] * 2

    assert gated.did == 1
    assert [one.state for one in await kept.calls()] == ["finished", "finished"]
    assert [await kept.texts(one.replies) for one in await kept.calls()] == [["first second"]] * 2


async def test_an_error_of_a_shared_call_reaches_all_who_share_it(kept: Kept) -> None:
    error = ConnectionError("broke")
    gated = Gated(error)

    async with kept.mini_agents():
        both = [gated.agent.inquire("x"), gated.agent.inquire("x")]
        await asyncio.gather(*map(first_token, both))
        gated.may_end.set()
        found = await asyncio.gather(*both, return_exceptions=True)

    assert found == [error, error]
    assert gated.did == 1


@pytest.mark.parametrize("is_leader", [True, False], ids=["the first", "the second"])
async def test_one_of_those_who_share_a_call_may_be_cancelled(kept: Kept, is_leader: bool) -> None:
    gated = Gated()

    async with kept.mini_agents():
        both = [gated.agent.inquire("x"), gated.agent.inquire("x")]
        await asyncio.gather(*map(first_token, both))
        leaving, staying = both if is_leader else reversed(both)
        reader = asyncio.ensure_future(texts(staying))
        await asyncio.sleep(0)
        leaving.cancel()
        gated.may_end.set()
        assert await reader == ["first second"]
        assert await texts(gated.agent.inquire("x")) == ["first second"]

    assert gated.did == 1


async def test_a_call_that_nobody_waits_for_any_more_is_made_anew(kept: Kept) -> None:
    gated = Gated()

    async with kept.mini_agents():
        cancelled = gated.agent.inquire("x")
        await first_token(cancelled)
        cancelled.cancel()
        gated.may_end.set()
        assert await texts(gated.agent.inquire("x")) == ["first second"]

    assert gated.did == 2


async def test_what_a_shared_call_has_used_is_counted_where_it_was_made(kept: Kept) -> None:
    from miniagents.ext.llms import Script, ScriptedAgent

    release = asyncio.Event()
    model: MiniAgent = ScriptedAgent.fork(script=Script(["a ", release, "b"]), memoize=True)

    async with kept.mini_agents() as context:
        both = [asking(model, alias="ONE").inquire("q"), asking(model, alias="TWO").inquire("q")]
        await asyncio.gather(*map(first_token, both))
        release.set()
        assert [await texts(replies) for replies in both] == [["a b"], ["a b"]]
        assert context.usage.total.requests == 1

    assert (await kept.run()).usage.requests == 1
