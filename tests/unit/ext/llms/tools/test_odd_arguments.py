"""Arguments of tools that JSON does not know, or that cannot be stored: the model is told, and the answer goes on."""

import json
import logging
from typing import Any

import pytest

from miniagents import MiniAgent, MiniAgents
from miniagents.ext.llms import AnthropicAgent, OpenAIAgent, ToolCallMessage, ToolResultMessage
from miniagents.ext.llms._common.message_parts import arguments_of
from miniagents.ext.llms.tools import tool
from miniagents.testing import Answer, ProtocolServer, ToolCall
from tests.unit.ext.llms.tools.tool_calls import result_of, toolbox

AGENTS = pytest.mark.parametrize(
    "agent",
    [OpenAIAgent.fork(model="gpt-4o"), AnthropicAgent.fork(model="claude-sonnet-5-5", max_tokens=100)],
    ids=["openai", "anthropic"],
)
ODD = {
    "NaN": '{"q": NaN}',
    "infinity": '{"q": [-Infinity]}',
    "too large": '{"q": 1e999}',
    "class_": '{"class_": "x"}',
    "class_ inside": '{"q": {"class_": "x"}}',
    "hash key": '{"q__hash_key": 1}',
    "hash keys inside": '{"q": [{"a__hash_keys": 1}]}',
    "lone surrogate": '{"q": "\\ud800"}',
    "too deep": '{"q": ' * 300 + "1" + "}" * 300,
    "no object": "[1]",
}


def look(q: float = 0) -> str:
    return f"looked at {q}"


@AGENTS
@pytest.mark.parametrize("arguments", ODD.values(), ids=ODD)
async def test_odd_arguments_come_back_to_the_model_which_goes_on(
    agent: MiniAgent, arguments: str, server: ProtocolServer, mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    server.script(Answer([ToolCall("look", [arguments])]), "Sorry.")

    replies = await agent.inquire("Look!", tools=[look])

    call, result, answer = replies
    assert isinstance(call, ToolCallMessage)
    assert (str(call), call.arguments) == (arguments, None)
    assert isinstance(result, ToolResultMessage)
    assert result.is_error
    assert "The arguments are not valid" in str(result)
    assert str(answer) == "Sorry."
    assert json.dumps(str(result), ensure_ascii=False)[1:50] in json.dumps(server.requests[1].body, ensure_ascii=False)
    assert not [record for record in caplog.records if record.levelno > logging.WARNING]


async def test_a_tool_may_have_an_argument_whose_name_a_message_cannot_store(
    server: ProtocolServer, mini_agents: MiniAgents
) -> None:
    @tool
    async def students(class_: str) -> str:
        """Name the students of a class."""
        return f"Ann and Bob are in {class_}"

    server.script(Answer([ToolCall("students", {"class_": "4b"})]), "Two.")

    call, result, _ = await OpenAIAgent.inquire("Who?", model="gpt-4o", tools=[students])

    assert (str(call), call.arguments) == ('{"class_": "4b"}', None)
    assert str(result) == "Ann and Bob are in 4b"


@pytest.mark.parametrize("number", ["NaN", "-Infinity", "1e999"])
async def test_a_tool_never_gets_a_number_that_is_none_in_json(
    number: str, mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    def anything(q: object) -> str:
        return f"got {q}"

    for name in ("look", "anything"):
        result = await result_of(toolbox(look, anything), name, f'{{"q": {number}}}')

        assert result.is_error
        assert str(result).startswith("The arguments are not valid: ")


@pytest.mark.parametrize(
    ("text", "arguments"),
    [('{"q": NaN}', {}), ('{"q": [{"a": 1e999}]}', {}), ('{"q": 1e300}', {"q": 1e300}), ('{"q": "NaN"}', {"q": "NaN"})],
)
def test_no_provider_gets_a_number_that_is_none_in_json(text: str, arguments: dict[str, Any]) -> None:
    assert arguments_of(ToolCallMessage(text, tool_name="look", tool_call_id="c1")) == arguments
