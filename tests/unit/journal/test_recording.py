"""What `MiniAgents(journal=...)` records of the calls of a program."""

import asyncio
from typing import Any

import pytest

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.errors import DeadlockError
from miniagents.ext.llms import Script, ScriptedAgent, tool_call
from miniagents.messages import MessageTokenAppender
from tests.unit.journal.conftest import Kept
from tests.unit.journal.programs import asking, leaf, streamed, texts, tokens


class CustomFailure(Exception):
    pass


async def test_every_call_is_there_with_its_parent_settings_inputs_and_replies(kept: Kept) -> None:
    @miniagent
    async def helper(ctx: InteractionContext, mood: str = "") -> None:
        ctx.reply(streamed("all ", "is ", mood))

    @miniagent
    async def boss(ctx: InteractionContext) -> None:
        ctx.reply(helper.inquire(["a", await ctx.message_promises.as_single_promise()], mood="well"))

    async with kept.mini_agents():
        assert await texts(boss.inquire("how?")) == ["all is well"]

    above, below = await kept.call("BOSS"), await kept.call("HELPER")
    assert above.parent is None
    assert below.parent == above.key
    assert await kept.texts(above.inputs) == ["how?"]
    assert await kept.texts(below.inputs) == ["a", "how?"]
    assert await kept.texts(above.replies) == await kept.texts(below.replies) == ["all is well"]
    assert (await kept.journal.show(below.settings or "")).as_kwargs() == {"mood": "well"}
    assert above.state == below.state == "finished"
    assert above.attempts == below.attempts == 1
    run = await kept.run()
    assert run.started_at <= above.started_at <= below.started_at <= below.ended_at <= run.ended_at
    assert (run.state, run.calls) == ("finished", 2)


@pytest.mark.parametrize("is_leaf", [True, False], ids=["leaf", "no leaf"])
async def test_a_failed_call_is_there_with_its_error_and_what_it_said_before(kept: Kept, is_leaf: bool) -> None:
    @miniagent(durable=is_leaf)
    async def failing(ctx: InteractionContext) -> None:
        ctx.reply("before")
        raise CustomFailure("it broke")

    async with kept.mini_agents():
        with pytest.raises(CustomFailure):
            await failing.inquire("x")

    found = await kept.call("FAILING")
    assert found.state == "failed"
    assert found.error is not None
    assert found.error.type.endswith(".CustomFailure")
    assert found.error.text == "it broke"
    assert "in failing" in found.error.traceback
    assert await kept.texts(found.replies) == ["before"]
    assert (await kept.run()).state == "finished", "somebody has received the error"


@pytest.mark.parametrize("is_leaf", [True, False], ids=["leaf", "no leaf"])
@pytest.mark.parametrize("durability", ["step", "lazy", "end"])
async def test_the_caller_gets_errors_where_he_gets_them_without_a_journal(
    sqlite_url: str, is_leaf: bool, durability: str
) -> None:
    errors = [CustomFailure("first"), CustomFailure("second")]

    def broken(tell: str, error: Exception) -> Any:
        async def stream(_: Any) -> Any:
            yield tell
            raise error

        return Message.promise(message_token_streamer=stream)

    @miniagent(durable=is_leaf)
    async def failing(ctx: InteractionContext) -> None:
        ctx.reply("a")
        ctx.reply(errors[0])
        ctx.reply([streamed("b", "c"), broken("half", errors[1])])
        ctx.reply("d")

    async def seen() -> list[Any]:
        pieces: list[Any] = []
        replies = failing.inquire("x")
        iterator = aiter(replies)
        while True:
            try:
                promise = await anext(iterator)
            except StopAsyncIteration:
                break
            except CustomFailure as error:
                pieces.append(error)
                continue
            try:
                async for token in promise:
                    pieces.append(token)
                pieces.append(str(await promise))
            except CustomFailure as error:
                pieces.append(error)
        with pytest.raises(CustomFailure) as raised:
            await replies
        return [*pieces, raised.value]

    async with MiniAgents():
        expected = await seen()
    async with MiniAgents(journal=sqlite_url, durability=durability):
        found = await seen()

    assert expected == ["a", "a", errors[0], "b", "c", "bc", "half", errors[1], "d", "d", errors[0]]
    assert found == expected


@pytest.mark.parametrize("is_leaf", [True, False], ids=["leaf", "no leaf"])
async def test_an_error_that_nobody_receives_is_told_and_raised_once(
    kept: Kept, is_leaf: bool, caplog: pytest.LogCaptureFixture
) -> None:
    @miniagent(durable=is_leaf)
    async def failing(ctx: InteractionContext) -> None:
        raise CustomFailure("unheard")

    with pytest.raises(ExceptionGroup) as raised:
        async with kept.mini_agents():
            failing.kick_off("x")

    assert [str(error) for error in raised.value.exceptions] == ["unheard"]
    assert caplog.text.count("failed and nobody received its error") == 1
    assert (await kept.run()).state == "failed"
    assert (await kept.call("FAILING")).state == "failed"


async def test_a_call_that_was_kicked_off_and_one_in_parts_are_recorded(kept: Kept) -> None:
    did: list[str] = []
    agent = leaf(did)

    async with kept.mini_agents():
        agent.kick_off("thrown")
        call = agent.initiate_inquiry()
        call.send_message("one")
        call.send_message("two")
        assert await texts(call.reply_sequence()) == ["re: one two"]

    inputs = sorted([await kept.texts(one.inputs) for one in await kept.calls()])
    assert inputs == [["one", "two"], ["thrown"]]
    assert sorted(did) == ["one two", "thrown"]


async def test_inputs_that_come_later_are_recorded_for_one_that_reads_them_as_they_come(kept: Kept) -> None:
    @miniagent
    async def echo(ctx: InteractionContext) -> None:
        async for promise in ctx.message_promises:
            ctx.reply(promise)

    async with kept.mini_agents():
        call = echo.initiate_inquiry()
        call.send_message("one")
        await asyncio.sleep(0)
        call.send_message("two")
        assert await texts(call.reply_sequence()) == ["one", "two"]

    found = await kept.call("ECHO")
    assert await kept.texts(found.inputs) == await kept.texts(found.replies) == ["one", "two"]


async def test_replies_sent_out_of_order_are_recorded_as_readers_got_them(kept: Kept) -> None:
    release = asyncio.Event()

    @miniagent
    async def slow(ctx: InteractionContext) -> None:
        await release.wait()
        ctx.reply("slow")

    @miniagent(durable=True)
    async def unordered(ctx: InteractionContext) -> None:
        ctx.reply_out_of_order(slow.inquire())
        ctx.reply_out_of_order("quick")

    async with kept.mini_agents():
        replies = unordered.inquire("x")
        assert str(await (await anext(aiter(replies)))) == "quick"
        release.set()
        assert await texts(replies) == ["quick", "slow"]

    assert await kept.texts((await kept.call("UNORDERED")).replies) == ["quick", "slow"]


async def test_errors_as_messages_look_as_they_do_without_a_journal(kept: Kept) -> None:
    @miniagent(durable=True)
    async def failing(ctx: InteractionContext) -> None:
        ctx.reply("before")
        raise CustomFailure("it broke")

    async with MiniAgents():
        expected = await texts(failing.inquire("x", errors_to_messages=True))
    async with kept.mini_agents():
        assert await texts(failing.inquire("x", errors_to_messages=True)) == expected

    assert (await kept.call("FAILING")).state == "failed"


async def test_a_message_that_nobody_reads_is_not_made_for_the_journal(kept: Kept) -> None:
    made: list[str] = []

    async def stream(_: Any) -> Any:
        made.append("token")
        yield "token"

    @miniagent
    async def lazy(ctx: InteractionContext) -> None:
        ctx.reply(Message.promise(start_asap=False, message_token_streamer=stream))

    async with kept.mini_agents():
        lazy.inquire("x")
        await anext(aiter(lazy.inquire("y")))

    assert made == []
    assert await kept.states() == {"LAZY": "finished"}


async def test_a_cancelled_call_is_no_finished_one(kept: Kept) -> None:
    began = asyncio.Event()

    @miniagent(durable=True)
    async def endless(ctx: InteractionContext) -> None:
        began.set()
        ctx.reply("so far")
        await asyncio.Event().wait()

    async with kept.mini_agents():
        async with endless.inquire("x"):
            await began.wait()

    assert (await kept.call("ENDLESS")).state in ("started", "failed")
    assert (await kept.run()).state == "finished"


async def test_what_a_run_has_used_is_counted_once_with_models_in_tools_of_models(kept: Kept) -> None:
    inner = ScriptedAgent.fork(alias="INNER", script=Script("a b c"))

    async def look_up(what: str) -> str:
        """Look something up."""
        return str(await inner.inquire(what).as_single_promise())

    outer = ScriptedAgent.fork(
        alias="OUTER", script=Script([tool_call("look_up", {"what": "x"})], "d e"), tools=[look_up]
    )

    async with kept.mini_agents() as context:
        await asking(outer).inquire("q")
        total = context.usage.total

    run = await kept.run()
    assert total.requests == 3
    assert (run.usage.requests, run.usage.input_tokens, run.usage.output_tokens) == (
        total.requests,
        total.input_tokens,
        total.output_tokens,
    )
    own = {one.agent: one.usage.requests if one.usage else 0 for one in await kept.calls()}
    assert own == {"BOSS": 0, "OUTER": 2, "LOOK_UP": 0, "INNER": 1}


async def test_what_is_shared_and_may_change_is_no_part_of_what_a_call_is_known_by(kept: Kept) -> None:
    keys: list[str] = []

    @miniagent
    async def worker(ctx: InteractionContext, state: Any = None) -> None:
        keys.append(await ctx.call_key())

    async with kept.mini_agents():
        await worker.fork(mutable_state={"state": {"a": 1}}).inquire("x")
    async with kept.mini_agents():
        await worker.fork(mutable_state={"state": {"b": 2}}).inquire("x")

    assert len(keys) == 2
    assert keys[0] == keys[1]


async def test_no_secret_gets_into_the_file(tmp_path: Any, sqlite_url: str) -> None:
    model = ScriptedAgent.fork(script=Script("ok"), api_key="sk-hidden-1", extra_headers={"x": "hidden-2"})

    async with MiniAgents(journal=sqlite_url):
        await model.inquire("q")

    for file in tmp_path.iterdir():
        assert b"hidden" not in file.read_bytes()
    assert (tmp_path / "runs.db").stat().st_size


async def test_replays_stream_the_very_tokens(kept: Kept) -> None:
    agent = leaf([])

    for _ in range(2):
        async with kept.mini_agents():
            assert await tokens(agent.inquire("a")) == [["re", ": ", "a"]]


@pytest.mark.parametrize("durability", ["step", "lazy"])
async def test_a_wait_that_cannot_end_is_found_as_it_is_without_a_journal(kept: Kept, durability: str) -> None:
    held: list[Any] = []

    @miniagent(durable=True)
    async def selfish(ctx: InteractionContext) -> None:
        with MessageTokenAppender() as appender:
            ctx.reply(Message.promise(message_token_streamer=appender))
            await (await anext(aiter(held[0])))

    async with kept.mini_agents(durability=durability):
        held.append(selfish.inquire("x"))
        with pytest.raises(DeadlockError, match="`SELFISH` waits"):
            await held[0]


async def test_an_agent_that_is_to_start_when_it_is_read_does(kept: Kept) -> None:
    did: list[str] = []

    async with kept.mini_agents(start_everything_asap_by_default=False):
        unread, read = leaf(did).inquire("unread"), leaf(did).inquire("read")
        assert await texts(read) == ["re: read"]
        assert did == ["read"]
        del unread

    assert [await kept.texts(one.inputs) for one in await kept.calls()] == [["read"]]
