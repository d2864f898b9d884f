"""What a message says reaches every provider, however the message was made."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.ext.llms import (
    AssistantMessage,
    ImageMessage,
    Script,
    ScriptedAgent,
    ToolCallMessage,
    ToolResultMessage,
    UserMessage,
)
from miniagents.ext.llms._anthropic.request import body_of
from miniagents.ext.llms._bedrock.request import converse_request
from miniagents.ext.llms._gemini.request import gemini_request
from miniagents.ext.llms._openai.chat_request import chat_messages
from miniagents.ext.llms._openai.responses_request import response_input
from miniagents.ext.llms.model_events import ModelRequest, RequestTurn
from miniagents.messages import Message

REQUESTS: dict[str, Callable[[ModelRequest], Any]] = {
    "openai": lambda request: chat_messages(request, "openai", "AGENT"),
    "openai-responses": lambda request: list(response_input(request, "openai")),
    "anthropic": lambda request: body_of(request, agent_alias="AGENT", max_tokens=9, enforceable=dict)["messages"],
    "bedrock": lambda request: converse_request(request, agent_alias="AGENT")["messages"],
    "gemini": lambda request: gemini_request(request, agent_alias="AGENT", known_options={})["contents"],
}
of_every_provider = pytest.mark.parametrize("name", REQUESTS)


def sent(name: str, *turns: tuple[Message, ...]) -> str:
    roles = ("user", "assistant", "user")
    request = ModelRequest(
        "claude-sonnet-4-5",
        tuple(RequestTurn(role, turn) for role, turn in zip(roles, turns, strict=False)),  # type: ignore[arg-type]
    )
    return json.dumps(REQUESTS[name](request), default=str)


@of_every_provider
def test_the_text_of_a_picture_goes_along(name: str) -> None:
    picture = ImageMessage("What is this?", data="Li4u", media_type="image/png")

    assert sent(name, (picture, UserMessage("Tell me."))).count("What is this?") == 1


@of_every_provider
@pytest.mark.parametrize(
    "fields", [{"content": '{"city": "Ulm"}'}, {"arguments": {"city": "Ulm"}}], ids=["text", "field"]
)
def test_the_arguments_of_a_call_may_be_in_its_text_or_in_its_field(name: str, fields: dict[str, Any]) -> None:
    call = ToolCallMessage(tool_name="weather", tool_call_id="1", **fields)

    request = sent(name, (UserMessage("?"),), (call,), (ToolResultMessage("Sunny", tool_call_id="1"),))

    assert "Ulm" in request


@of_every_provider
def test_a_result_without_a_text_is_not_sent_as_its_fields(name: str) -> None:
    call = ToolCallMessage("{}", tool_name="weather", tool_call_id="1")

    request = sent(name, (UserMessage("?"),), (call,), (ToolResultMessage(tool_call_id="1", tool_name="weather"),))

    assert "ToolResultMessage" not in request


async def test_the_prompt_of_a_text_only_model_has_results_and_alternates() -> None:
    script = Script("So it is sunny.")

    async with MiniAgents():
        await ScriptedAgent.inquire(
            [
                UserMessage("Weather?"),
                AssistantMessage("Let me see."),
                ToolCallMessage("{}", tool_name="weather", tool_call_id="1"),
                ToolResultMessage("Sunny", tool_call_id="1", tool_name="weather"),
            ],
            script=script,
        )

    assert [(turn.role, turn.text) for turn in script.prompts[0].turns] == [
        ("user", "Weather?"),
        ("assistant", "Let me see."),
        ("user", "Sunny"),
    ]


async def test_results_are_matched_in_order_where_a_server_gives_its_calls_the_same_ids_in_every_turn() -> None:
    script = Script("Both are known.")

    async with MiniAgents():
        await ScriptedAgent.inquire(
            [
                UserMessage("Weather?"),
                ToolCallMessage("{}", tool_name="weather", tool_call_id="0"),
                ToolResultMessage("Sunny", tool_call_id="0", tool_name="weather"),
                ToolCallMessage("{}", tool_name="weather", tool_call_id="0"),
                ToolResultMessage("Rain", tool_call_id="0", tool_name="weather"),
            ],
            script=script,
        )

    assert script.prompts[0].turns[-1].text.split() == ["Weather?", "Sunny", "Rain"]
