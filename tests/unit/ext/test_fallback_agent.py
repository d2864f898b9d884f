"""The next agent is asked where one fails."""

import asyncio
import re
from typing import Any

import pytest
from pydantic import BaseModel

from miniagents import InteractionContext, Message, MiniAgent, MiniAgents, miniagent
from miniagents.errors import PromiseCancelledError, UsageLimitExceededError
from miniagents.ext import fallback_agent, limited
from miniagents.ext.llms import AssistantMessage, Script, ScriptedAgent, ThinkingMessage
from miniagents.ext.llms.errors import (
    AuthenticationError,
    ConnectionLostError,
    OverloadedError,
    RateLimitedError,
)
from miniagents.messages import MessageTokenAppender
from tests.unit.ext.controlled_agents import Stubborn, model, next_token, texts


async def test_the_first_that_answers_is_the_only_one_asked(mini_agents: MiniAgents) -> None:
    unused = Script("no")
    fallback = fallback_agent.fork(agents=[model("A", "yes"), ScriptedAgent.fork(script=unused)])

    assert await texts(fallback.inquire("Hi")) == ["yes"]
    assert unused.prompts == []


async def test_where_one_fails_the_next_gets_the_same_messages(mini_agents: MiniAgents) -> None:
    last = Script("from C")

    @miniagent
    async def reads_and_fails(ctx: InteractionContext) -> None:
        async for promise in ctx.message_promises:
            assert await promise
        raise ConnectionLostError("gone")

    fallback = fallback_agent.fork(
        agents=[reads_and_fails, None, model("B", OverloadedError("busy")), ScriptedAgent.fork(script=last)]
    )
    call = fallback.initiate_inquiry()
    with MessageTokenAppender() as appender:
        call.send_message(Message.promise(message_token_streamer=appender))
        appender.append("live ").append("stream")

    assert await texts(call.reply_sequence()) == ["from C"]
    assert last.prompts[0].last_text == "live stream"


async def test_an_agent_that_failed_before_its_first_token_leaves_no_trace(mini_agents: MiniAgents) -> None:
    @miniagent
    async def fails_in_its_message(ctx: InteractionContext) -> None:
        with MessageTokenAppender() as appender:
            ctx.reply(AssistantMessage.promise(message_token_streamer=appender))
            appender.append("")
            appender.append(ConnectionLostError("gone"))

    fallback = fallback_agent.fork(agents=[fails_in_its_message, model("B", "B's")])

    assert await texts(fallback.inquire("Hi")) == ["B's"]


async def test_tokens_come_through_as_they_are_made(mini_agents: MiniAgents) -> None:
    more = asyncio.Event()
    fallback = fallback_agent.fork(agents=[model("A", OverloadedError("busy")), model("B", "one ", more, "two")])

    async for promise in fallback.inquire("Hi"):
        tokens = aiter(promise)
        assert await anext(tokens) == "one "
        assert promise.preliminary_metadata.agent_alias == "B"
        more.set()
        assert await anext(tokens) == "two"


async def test_replies_of_the_one_that_lives_are_its_own_promises(mini_agents: MiniAgents) -> None:
    promises = []

    @miniagent
    async def answers(ctx: InteractionContext) -> None:
        promises.append(AssistantMessage.promise(message_token_streamer=lambda _: tokens()))
        ctx.reply(promises)

    async def tokens() -> Any:
        yield "a"

    replies = fallback_agent.inquire("Hi", agents=[answers])

    assert [promise async for promise in replies] == promises


async def test_an_error_after_the_first_token_is_the_answers(mini_agents: MiniAgents) -> None:
    error = ConnectionLostError("cut")
    unused = Script("no")
    fallback = fallback_agent.fork(agents=[model("A", "Once ", error), ScriptedAgent.fork(script=unused)])

    async for promise in fallback.inquire("Hi"):
        assert await next_token(promise) == "Once "
        with pytest.raises(ConnectionLostError) as caught:
            await promise
    assert caught.value is error
    assert unused.prompts == []


@pytest.mark.parametrize("mid_stream", [False, True])
async def test_if_all_fail_the_last_error_tells_of_the_others(mini_agents: MiniAgents, mid_stream: bool) -> None:
    last = RateLimitedError("slow down")
    fallback = fallback_agent.fork(
        agents=[model("A", OverloadedError("busy")), model("B", AuthenticationError("no key")), model("C", last)],
        mid_stream=mid_stream,
    )

    with pytest.raises(RateLimitedError) as caught:
        await fallback.inquire("Hi")

    assert caught.value is last
    assert last.__notes__ == [
        "`A` failed too: OverloadedError: busy",
        "`B` failed too: AuthenticationError: no key",
        "The error above is that of `C`.",
    ]


async def test_on_says_which_errors_are_a_reason_to_go_on(mini_agents: MiniAgents) -> None:
    def members(error: Exception) -> list[MiniAgent]:
        return [model("A", error), model("B", "B's")]

    with pytest.raises(AuthenticationError):
        await fallback_agent.inquire("Hi", agents=members(AuthenticationError("no")), on=OverloadedError)
    with pytest.raises(ZeroDivisionError):
        await fallback_agent.inquire("Hi", agents=members(ZeroDivisionError()))
    assert await texts(fallback_agent.inquire("Hi", agents=members(ZeroDivisionError()), on=(Exception,))) == ["B's"]


@pytest.mark.parametrize(
    "error",
    [
        UsageLimitExceededError("requests", 1, 1, whose="the context", raised_with="MiniAgents({})"),
        PromiseCancelledError("stop"),
    ],
    ids=["usage limit", "cancellation"],
)
@pytest.mark.parametrize("mid_stream", [False, True])
async def test_a_usage_limit_and_a_cancellation_are_never_a_reason(
    mini_agents: MiniAgents, error: Exception, mid_stream: bool
) -> None:
    @miniagent
    async def fails(ctx: InteractionContext) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        await fallback_agent.inquire("Hi", agents=[fails, model("B", "no")], on=Exception, mid_stream=mid_stream)
    assert caught.value is error


@pytest.mark.virtual_clock
async def test_an_agent_that_takes_too_long_is_a_reason_too(mini_agents: MiniAgents) -> None:
    slow = limited(model("SLOW", 3600.0, "late"), timeout_s=5)

    assert await texts(fallback_agent.inquire("Hi", agents=[slow, model("B", "B's")])) == ["B's"]
    assert asyncio.get_running_loop().time() == 5


async def test_mid_stream_the_torn_message_ends_and_the_next_agents_follow(mini_agents: MiniAgents) -> None:
    fallback = fallback_agent.fork(
        agents=[model("A", "Once ", "upon", ConnectionLostError("cut")), model("B", "Long ", "ago")], mid_stream=True
    )

    torn, whole = await fallback.inquire("Tell me")

    assert (str(torn), torn.interrupted, torn.agent_alias) == ("Once upon", True, "A")
    assert (str(whole), whole.interrupted, whole.agent_alias) == ("Long ago", None, "B")
    assert isinstance(torn, AssistantMessage)


async def test_mid_stream_tokens_come_through_as_they_are_made_too(mini_agents: MiniAgents) -> None:
    more = asyncio.Event()
    fallback = fallback_agent.fork(
        agents=[model("A", "one ", ConnectionLostError("cut")), model("B", "two ", more, "three")], mid_stream=True
    )

    replies = aiter(fallback.inquire("Hi"))
    assert [token async for token in await anext(replies)] == ["one "]
    tokens = aiter(await anext(replies))
    assert await anext(tokens) == "two "
    more.set()
    assert await anext(tokens) == "three"


async def test_mid_stream_whole_messages_before_the_fault_stay_as_they_are(mini_agents: MiniAgents) -> None:
    thought = ThinkingMessage("Hm.")
    fallback = fallback_agent.fork(
        agents=[model("A", thought, "Once", ConnectionLostError("cut")), model("B", "Long ago")], mid_stream=True
    )

    replies = await fallback.inquire("Tell me")

    assert [type(message).__name__ for message in replies] == [
        "ThinkingMessage",
        "AssistantMessage",
        "AssistantMessage",
    ]
    assert [message.interrupted for message in replies] == [None, True, None]


async def test_mid_stream_a_whole_message_is_the_one_that_the_agent_made(mini_agents: MiniAgents) -> None:
    class Answer(BaseModel):
        number: int

    fallback = fallback_agent.fork(
        agents=[model("A", OverloadedError("busy")), model("B", '{"number": ', "7}", response_model=Answer)],
        mid_stream=True,
    )

    (message,) = await fallback.inquire("Which?")

    assert message.parsed == Answer(number=7)


async def test_mid_stream_the_last_error_stands_at_its_place_and_tells_of_the_others(mini_agents: MiniAgents) -> None:
    last = ConnectionLostError("cut too")
    fallback = fallback_agent.fork(
        agents=[model("A", "one", ConnectionLostError("cut")), model("B", "two", last)], mid_stream=True
    )

    replies = aiter(fallback.inquire("Hi"))
    assert str(await anext(replies)) is not None
    torn = await anext(replies)
    tokens = aiter(torn)
    assert await anext(tokens) == "two"
    with pytest.raises(ConnectionLostError) as caught:
        await anext(tokens)
    assert caught.value is last
    assert last.__notes__ == ["`A` failed too: ConnectionLostError: cut", "The error above is that of `B`."]
    with pytest.raises(StopAsyncIteration):
        await anext(replies)


async def test_what_failed_is_cancelled_before_the_next_is_asked(mini_agents: MiniAgents) -> None:
    was_cancelled = asyncio.Event()

    @miniagent
    async def fails_and_goes_on(ctx: InteractionContext) -> None:
        ctx.reply(OverloadedError("busy"))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            was_cancelled.set()
            raise

    assert await texts(fallback_agent.inquire("Hi", agents=[fails_and_goes_on, model("B", "B's")])) == ["B's"]
    await was_cancelled.wait()


@pytest.mark.parametrize("mid_stream", [False, True])
async def test_cancelling_the_fallback_cancels_whoever_answers(mini_agents: MiniAgents, mid_stream: bool) -> None:
    stubborn = Stubborn("a token")

    async with fallback_agent.inquire("Hi", agents=[stubborn.agent], mid_stream=mid_stream) as replies:
        assert await next_token(await anext(aiter(replies))) == "a token"
    await stubborn.was_cancelled.wait()


async def test_an_agent_that_has_nothing_to_say_has_answered(mini_agents: MiniAgents) -> None:
    @miniagent
    async def says_nothing(ctx: InteractionContext) -> None: ...

    assert await fallback_agent.inquire("Hi", agents=[says_nothing, model("B", "no")]) == ()


@pytest.mark.parametrize(
    ("on", "sentence"),
    [
        (
            [ValueError],
            "`fallback_agent` takes as `on` a class of errors, or a tuple of them, not [<class 'ValueError'>]",
        ),
        ("ValueError", "not 'ValueError': write `on=ValueError`."),
        (None, "not None: write `on=ValueError`."),
    ],
    ids=["list", "name", "None"],
)
def test_what_is_no_class_of_errors_is_refused_where_it_is_given(on: Any, sentence: str) -> None:
    with pytest.raises(TypeError, match=re.escape(sentence)):
        fallback_agent.fork(on=on)


async def test_errors_may_be_named_by_a_class_a_tuple_or_a_union(mini_agents: MiniAgents) -> None:
    for on in (ValueError, (ValueError, KeyError), ValueError | KeyError):
        fallback = fallback_agent.fork(agents=[model("A", ValueError("no")), model("B", "b")], on=on)

        assert await texts(fallback.inquire("Hi")) == ["b"]
