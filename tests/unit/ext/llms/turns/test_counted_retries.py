"""Where requests are limited, each one that is sent counts, also those that are sent again after a failure."""

from typing import Any

import openai
import pytest

from miniagents import MiniAgent, MiniAgents, RateLimit, UsageLimits
from miniagents.ext.llms import AnthropicAgent, OpenAIAgent, OpenAICompatibleAgent
from miniagents.ext.llms.errors import OverloadedError, UsageLimitExceededError
from miniagents.ext.llms.openai_responses import OpenAIResponsesAgent
from miniagents.testing.server import Failure, ProtocolServer

AGENTS = {
    "chat": OpenAIAgent.fork(model="gpt-4o"),
    "responses": OpenAIResponsesAgent.fork(model="gpt-4o"),
    "anthropic": AnthropicAgent.fork(model="claude-sonnet-5-5"),
}

each_agent = pytest.mark.parametrize("agent", AGENTS.values(), ids=list(AGENTS))


def busy(times: int) -> list[Failure]:
    return [Failure(503, "busy", retry_after_s=0.01)] * times


@each_agent
async def test_no_more_requests_are_sent_than_the_limit_allows(agent: MiniAgent, server: ProtocolServer):
    server.script(*busy(3))

    async with MiniAgents(usage_limits=UsageLimits(requests=2)) as context:
        with pytest.raises(UsageLimitExceededError, match="`requests=2`") as raised:
            await agent.inquire("Hi")

        assert context.usage.total.requests == 2
    assert len(server.requests) == 2
    assert isinstance(raised.value.__cause__, OverloadedError)


@each_agent
@pytest.mark.parametrize(
    "limits",
    [{"usage_limits": UsageLimits(requests=10)}, {"rate_limit": RateLimit(requests_per_minute=600)}],
    ids=["request limit", "rate limit"],
)
async def test_a_request_that_is_sent_again_counts_again_and_may_still_succeed(
    agent: MiniAgent, limits: dict[str, Any], server: ProtocolServer
):
    server.script(*busy(2), "Hello")

    async with MiniAgents() as context:
        assert str(await agent.inquire("Hi", **limits).as_single_promise()) == "Hello"

        assert context.usage.total.requests == len(server.requests) == 3


@each_agent
async def test_it_is_sent_as_often_as_max_retries_says(agent: MiniAgent, server: ProtocolServer):
    server.script(*busy(5))

    async with MiniAgents(usage_limits=UsageLimits(requests=10)):
        with pytest.raises(OverloadedError):
            await agent.inquire("Hi", max_retries=1)

    assert len(server.requests) == 2


async def test_a_client_of_the_users_says_how_often_under_limits_as_well(server: ProtocolServer):
    server.script(*busy(5))

    async with (
        openai.AsyncOpenAI(max_retries=1) as client,
        MiniAgents(usage_limits=UsageLimits(requests=10)) as context,
    ):
        with pytest.raises(OverloadedError):
            await OpenAICompatibleAgent.inquire("Hi", model="m", async_client=client)

        assert context.usage.total.requests == len(server.requests) == 2


@each_agent
async def test_without_such_a_limit_the_sdk_sends_again_by_itself(agent: MiniAgent, server: ProtocolServer):
    server.script(*busy(2), "Hello")

    async with MiniAgents(usage_limits=UsageLimits(tool_calls=5)) as context:
        await agent.inquire("Hi")

        assert (context.usage.total.requests, len(server.requests)) == (1, 3)
