"""`CallInterceptor`: acts around every agent call."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

from miniagents import (
    CallInterceptor,
    InteractionContext,
    InterceptedCall,
    Message,
    MiniAgents,
    miniagent,
)
from tests.unit.interceptors import PassingOn, Proceed, echo


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


class Answering:
    """Answers every call by itself."""

    async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[Any]:
        yield f"answer to {await call.message_promises.as_single_promise()}"


def test_a_class_with_the_method_is_an_interceptor() -> None:
    assert isinstance(PassingOn(), CallInterceptor)
    assert not isinstance(object(), CallInterceptor)


async def test_it_sees_the_agent_the_settings_the_input_and_the_replies() -> None:
    interceptor = PassingOn()
    async with MiniAgents(interceptors=[interceptor]):
        assert await texts(echo.fork(k=1).inquire(["a", "b"])) == ["Echo: a", "Echo: b"]

        (call,) = interceptor.calls
        assert call.agent.alias == "ECHO"
        assert call.settings.as_kwargs() == {"k": 1}
        assert await texts(call.message_promises) == ["a", "b"]
    assert interceptor.replies == ["Echo: a", "Echo: b"]


async def test_every_kind_of_call_goes_through_it() -> None:
    interceptor = PassingOn()

    @miniagent
    async def outer(ctx: InteractionContext) -> None:
        ctx.reply(echo.inquire("inner"))

    async with MiniAgents(interceptors=[interceptor]):
        assert await texts(outer.inquire()) == ["Echo: inner"]
        assert await texts(echo.initiate_inquiry().send_message("sent").reply_sequence()) == ["Echo: sent"]
        echo.kick_off("fired")

    assert [call.agent.alias for call in interceptor.calls] == ["OUTER", "ECHO", "ECHO", "ECHO"]


async def test_it_may_answer_the_call_itself_so_that_the_agent_never_runs() -> None:
    ran: list[str] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ran.append("agent")

    async with MiniAgents(interceptors=[Answering()]):
        assert await texts(agent.inquire("a")) == ["answer to a"]

    assert ran == []


async def test_it_sees_replies_before_they_are_visible_to_readers() -> None:
    release = asyncio.Event()
    seen: list[str] = []

    class HoldingBack:
        async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[Any]:
            async for reply in proceed():
                seen.append(str(await reply))
                await release.wait()
                yield reply

    async with MiniAgents(interceptors=[HoldingBack()]):
        replies = echo.inquire("a")
        for _ in range(20):
            await asyncio.sleep(0)
        assert seen == ["Echo: a"]
        assert not replies.done()
        release.set()
        assert await texts(replies) == ["Echo: a"]


async def test_it_may_change_leave_out_and_add_replies() -> None:
    class Changing:
        async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[Any]:
            yield "begin"
            async for reply in proceed():
                if str(message := await reply) != "Echo: b":
                    yield Message(f"{message}!", original=message)
            yield ["end", None]

    async with MiniAgents(interceptors=[Changing()]):
        assert await texts(echo.inquire(["a", "b", "c"])) == ["begin", "Echo: a!", "Echo: c!", "end"]


async def test_tokens_stream_through_it() -> None:
    release = asyncio.Event()

    async def tokens(_: dict[str, Any]) -> AsyncIterator[str]:
        yield "early"
        await release.wait()
        yield " late"

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply(Message.promise(message_token_streamer=tokens))

    async with MiniAgents(interceptors=[PassingOn()]):
        replies = agent.inquire()
        first = await anext(aiter(replies))
        assert await anext(aiter(first)) == "early"
        release.set()
        assert await texts(replies) == ["early late"]


async def test_the_first_of_several_is_outermost() -> None:
    events: list[str] = []
    async with MiniAgents(interceptors=[PassingOn("first", events), PassingOn("second", events)]):
        await echo.inquire("a")

    assert events == ["first in", "second in", "second out", "first out"]


async def test_it_may_ask_twice() -> None:
    class Retrying:
        async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[Any]:
            try:
                replies = await proceed()
            except ValueError:
                replies = await proceed()
            yield replies

    attempts: list[str] = []

    @miniagent
    async def flaky(ctx: InteractionContext) -> None:
        attempts.append("attempt")
        if len(attempts) == 1:
            raise ValueError("broken")
        ctx.reply([str(await ctx.message_promises.as_single_promise()), "fine"])

    async with MiniAgents(interceptors=[Retrying()]):
        assert await texts(flaky.inquire("a")) == ["a", "fine"]
