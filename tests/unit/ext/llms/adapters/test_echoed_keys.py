"""Servers that repeat the key in their error, and keys that were copied with a line end."""

import asyncio
import traceback
from pathlib import Path

import pytest

from miniagents import Message, MiniAgent, MiniAgents
from miniagents.ext import markdown_llm_logger_agent
from miniagents.ext.llms import AnthropicAgent, OpenAIAgent
from miniagents.ext.llms.errors import AuthenticationError
from miniagents.ext.llms.openai_responses import OpenAIResponsesAgent
from miniagents.testing import Failure, ProtocolServer

KEY = "no-usual-key-12345"

pytestmark = pytest.mark.parametrize(
    "agent",
    [
        OpenAIAgent.fork(model="gpt-4o"),
        OpenAIResponsesAgent.fork(model="gpt-4o"),
        AnthropicAgent.fork(model="claude-sonnet-5-5", max_tokens=100),
    ],
    ids=["chat", "responses", "anthropic"],
)


async def test_a_key_that_the_server_repeats_is_neither_shown_nor_stored(
    agent: MiniAgent, server: ProtocolServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server.script(Failure(401, f"Incorrect API key provided: {KEY}"))
    seen: list[str] = []

    async with MiniAgents(llm_logger_agent=markdown_llm_logger_agent.fork(log_folder=str(tmp_path))) as mini_agents:

        @mini_agents.on_persist_message
        async def note(_: object, message: Message) -> None:
            seen.append(str(message.full_json))

        with pytest.raises(AuthenticationError, match="Incorrect API key provided: ") as raised:
            await agent.inquire("Hi", api_key=KEY)

    logged = await asyncio.to_thread(lambda: [path.read_text() for path in tmp_path.iterdir()])
    shown = "".join([*seen, *logged, *traceback.format_exception(raised.value), repr(raised.value), caplog.text])
    assert agent.alias in shown
    assert "Incorrect API key" in "".join(logged)
    assert KEY not in shown


async def test_the_line_end_of_a_key_is_not_sent(agent: MiniAgent, server: ProtocolServer) -> None:
    async with MiniAgents():
        await agent.inquire("Hi", api_key=f"{KEY}\n")

    (request,) = server.requests
    assert KEY in (request.headers.get("authorization", "").removeprefix("Bearer "), request.headers.get("x-api-key"))
