"""How often a model is asked again, and what a request that breaks off has cost."""

import asyncio
import time
from collections.abc import AsyncIterator
from email.utils import formatdate
from typing import Any

import pytest
from anthropic import AsyncAnthropic
from openai import AsyncOpenAI

from miniagents import MiniAgent, MiniAgents, miniagent
from miniagents.ext.llms import (
    AnthropicAgent,
    AssistantMessage,
    LLMAgent,
    OpenAIAgent,
    OpenAIResponsesAgent,
    ThinkingMessage,
)
from miniagents.ext.llms._common.faults import retry_after_s
from miniagents.ext.llms.errors import ConnectionLostError, OverloadedError
from miniagents.ext.llms.model_events import BlockEnded, BlockStarted, ModelEvent, ModelRequest, TurnEnded, UsageKnown
from miniagents.ext.llms.scripted import Script, ScriptedAgent
from miniagents.testing.server import Answer, Drop, Failure, Gate, ProtocolServer, Thinking
from miniagents.usage import TokenUsage

AGENTS: dict[str, MiniAgent] = {
    "openai": OpenAIAgent.fork(model="gpt-4o"),
    "openai-responses": OpenAIResponsesAgent.fork(model="gpt-4o"),
    "anthropic": AnthropicAgent.fork(model="claude-opus-5-5"),
}
of_every_sdk = pytest.mark.parametrize("name", AGENTS)


@of_every_sdk
async def test_a_connection_that_cannot_be_made_is_tried_as_often_as_max_retries_says(
    server: ProtocolServer, name: str
) -> None:
    server.script(*[Drop()] * 9)

    async with MiniAgents():
        with pytest.raises(ConnectionLostError):
            await AGENTS[name].inquire("Hi", max_retries=1)

    assert len(server.requests) == 2


@of_every_sdk
async def test_a_client_of_the_user_s_own_knows_how_often_to_try(server: ProtocolServer, name: str) -> None:
    kind: Any = AsyncAnthropic if name == "anthropic" else AsyncOpenAI

    async with kind(max_retries=0) as client, MiniAgents():
        agent = AGENTS[name].fork(async_client=client)
        cases: list[tuple[dict[str, Any], int]] = [({}, 1), ({"max_retries": 1}, 2)]
        for settings, sent in cases:
            server.reset()
            server.script(*[Failure(503, retry_after_s=0.001)] * 9)
            with pytest.raises(OverloadedError):
                await agent.inquire("Hi", **settings)
            assert len(server.requests) == sent


@of_every_sdk
@pytest.mark.parametrize("beginning", [Thinking(""), ""], ids=["a thought", "a text"])
async def test_what_has_begun_without_a_token_is_not_visible_yet(
    server: ProtocolServer, name: str, beginning: Thinking | str
) -> None:
    server.script(Answer([beginning, Drop()]), "Hello!")

    async with MiniAgents():
        replies = await AGENTS[name].inquire("Hi", max_retries=1)

    assert [str(reply) for reply in replies] == ["Hello!"]


async def test_a_thought_without_words_stands_before_what_follows_it() -> None:
    @miniagent
    class Silent(LLMAgent):
        async def stream_turn(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
            yield BlockStarted("t", "thinking")
            yield BlockEnded("t", {"signature": "signed"})
            yield "Hello!"
            yield TurnEnded("stop")

    async with MiniAgents():
        thought, answer = await Silent.inquire("Hi", model="m")

    assert isinstance(thought, ThinkingMessage)
    assert (thought.content, thought.signature, str(answer)) == ("", "signed", "Hello!")


async def test_a_stream_that_is_cancelled_counts_what_it_told_and_is_flagged_as_unknown(server: ProtocolServer) -> None:
    gate = Gate()
    server.script(Answer(["One", gate, " two"]))

    async with MiniAgents() as context:
        async with AGENTS["anthropic"].inquire("Hi") as replies:
            await gate.reached()
            # Its input tokens came with the first event, what it has written by now did not.
            async for message in replies:
                async for _ in message:
                    break
                break

    assert (replies.usage.input_tokens, replies.usage.unknown) == (1, 1)
    assert context.usage.total.unknown == 1


async def test_usage_that_was_told_on_the_way_stands_if_the_end_does_not_tell_it() -> None:
    @miniagent
    class Telling(LLMAgent):
        async def stream_turn(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
            yield "Hello!"
            yield UsageKnown(TokenUsage(input_tokens=3, output_tokens=1))
            yield TurnEnded("stop")

    async with MiniAgents():
        replies = Telling.inquire("Hi", model="m")
        [message] = await replies

        assert isinstance(message, AssistantMessage)
        assert message.usage == TokenUsage(input_tokens=3, output_tokens=1)
        assert replies.usage.unknown == 0


async def test_nobody_is_kept_waiting_for_longer_than_a_minute() -> None:
    script = Script(OverloadedError("come back tomorrow", retry_after_s=86_400), "Hello!")

    async with MiniAgents():
        with pytest.raises(OverloadedError) as raised:
            async with asyncio.timeout(5):
                await ScriptedAgent.inquire("Hi", script=script)

    assert raised.value.retry_after_s == 86_400
    assert len(script.prompts) == 1


def test_retry_after_may_be_a_date() -> None:
    in_a_minute = formatdate(time.time() + 60, usegmt=True)

    assert 50 < (retry_after_s({"retry-after": in_a_minute}) or 0) <= 60
    assert retry_after_s({"retry-after": formatdate(0, usegmt=True)}) == 0
    assert retry_after_s({"retry-after": "soon"}) is None
