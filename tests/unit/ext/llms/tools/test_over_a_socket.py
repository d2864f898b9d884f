"""Tools of real providers' agents: what goes over the wire, with the real SDKs."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest

from miniagents import MiniAgent, MiniAgents
from miniagents.ext.llms import AnthropicAgent, ImageMessage, OpenAIAgent, ToolResultMessage
from miniagents.testing.server import Answer, ProtocolServer, ToolCall

AGENTS = pytest.mark.parametrize(
    "agent",
    [OpenAIAgent.fork(model="gpt-x"), AnthropicAgent.fork(model="claude-sonnet-5-5")],
    ids=["openai", "anthropic"],
)


def weather(city: str, unit: Literal["C", "F"]) -> str:
    """Tell the weather.

    Args:
        city: Which city.
    """
    return f"sunny in {city}, 20 {unit}"


def tools_of(body: dict[str, Any]) -> list[dict[str, Any]]:
    """The tools of a request, as OpenAI's or Anthropic's protocol has them."""
    return [
        {
            "name": (found := tool.get("function", tool))["name"],
            "description": found["description"],
            "schema": found.get("parameters") or found.get("input_schema"),
        }
        for tool in body["tools"]
    ]


@AGENTS
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_a_tool_is_offered_called_and_answered(
    agent: MiniAgent, stream: bool, server: ProtocolServer, mini_agents: MiniAgents
) -> None:
    server.script(Answer([ToolCall("weather", {"city": "Ulm", "unit": "C"})]), "Nice.")

    replies = await agent.inquire("How is it?", tools=[weather], stream=stream)

    assert [str(reply) for reply in replies][1:] == ["sunny in Ulm, 20 C", "Nice."]
    first, second = server.requests
    assert tools_of(first.body) == [
        {
            "name": "weather",
            "description": "Tell the weather.",
            "schema": {
                "type": "object",
                "properties": {
                    "city": {"type": "string", "description": "Which city."},
                    "unit": {"enum": ["C", "F"], "type": "string"},
                },
                "required": ["city", "unit"],
                "additionalProperties": False,
            },
        }
    ]
    (call_id,) = {reply.tool_call_id for reply in replies if isinstance(reply, ToolResultMessage)}
    assert json.dumps(second.body).count(call_id) == 2
    assert "sunny in Ulm, 20 C" in json.dumps(second.body)


@AGENTS
async def test_arguments_that_are_no_json_come_back_to_the_model(
    agent: MiniAgent, server: ProtocolServer, mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    server.script(Answer([ToolCall("weather", ['{"city": ', '"Ulm'])]), "Sorry.")

    replies = await agent.inquire("How is it?", tools=[weather])

    (result,) = [reply for reply in replies if isinstance(reply, ToolResultMessage)]
    assert result.is_error
    assert "Invalid JSON" in str(result)
    assert "Invalid JSON" in json.dumps(server.requests[1].body)
    assert str(replies[-1]) == "Sorry."


@AGENTS
async def test_two_calls_of_a_turn_run_at_once_and_go_back_together(
    agent: MiniAgent, server: ProtocolServer, mini_agents: MiniAgents
) -> None:
    meeting = asyncio.Barrier(2)

    async def meet(name: str) -> AsyncIterator[str]:
        await meeting.wait()
        yield name

    server.script(Answer([ToolCall("meet", {"name": "Ann"}), ToolCall("meet", {"name": "Bob"})]), "They met.")

    async with asyncio.timeout(10):
        replies = await agent.inquire("Meet!", tools=[meet])

    assert [str(reply) for reply in replies if isinstance(reply, ToolResultMessage)] == ["Ann", "Bob"]
    assert len(server.requests) == 2
    sent = json.dumps(server.requests[1].body)
    assert sent.index("Ann") < sent.index("Bob")


@AGENTS
async def test_pictures_of_a_result_are_shown_to_the_model_after_all_results(
    agent: MiniAgent, server: ProtocolServer, mini_agents: MiniAgents
) -> None:
    def draw() -> list[Any]:
        return ["Here it is.", ImageMessage(data=b"png", media_type="image/png")]

    server.script(Answer([ToolCall("draw"), ToolCall("draw")]), "Nice.")

    await agent.inquire("Draw!", tools=[draw])

    sent = json.dumps(server.requests[1].body["messages"])
    assert sent.count("Here it is.") == sent.count("cG5n") == 2
    assert sent.rindex("Here it is.") < sent.index("cG5n")
