"""What was said is on the spans only if that is asked for, in the form of the conventions."""

import json

import pytest

from miniagents.ext.llms import (
    FileMessage,
    ImageMessage,
    Script,
    ScriptedAgent,
    SystemMessage,
    ThinkingMessage,
    UserMessage,
    tool_call,
)
from miniagents.ext.llms.errors import ProviderError
from tests.unit.tracing.conftest import Recorder

SECRET = "sk-not-for-anybodys-eyes"


def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


async def converse(recorder: Recorder, **settings: object) -> None:
    script = Script([ThinkingMessage("Hm."), "Let me see.", tool_call("add", {"a": 1, "b": 2})], "It is 3.")
    messages = [
        SystemMessage("Be brief."),
        UserMessage("1 + 2?"),
        ImageMessage(url="https://user:pw@example.com/a.png?signature=secret", media_type="image/png"),
        FileMessage(data=b"12", media_type="application/pdf"),
    ]
    await ScriptedAgent.inquire(messages, script=script, tools=[add], system="You add.", api_key=SECRET, **settings)


async def test_nothing_that_was_said_is_there_unless_it_is_asked_for(recorder: Recorder) -> None:
    async with recorder.mini_agents():
        await converse(recorder)

    told = "".join(span.to_json() for span in recorder.spans)
    for said in ("1 + 2", "Be brief", "You add", "Let me see", "Hm.", "It is 3", SECRET, "signature"):
        assert said not in told


async def test_prompts_answers_and_tools_are_there_if_it_is(recorder: Recorder) -> None:
    async with recorder.mini_agents(capture_content=True):
        await converse(recorder)

    first, second = [span.attributes for span in recorder.spans if span.name == "chat scripted"]
    assert json.loads(first["gen_ai.system_instructions"]) == [{"type": "text", "content": "You add.\n\nBe brief."}]
    assert json.loads(first["gen_ai.input.messages"]) == [
        {
            "role": "user",
            "parts": [
                {"type": "text", "content": "1 + 2?"},
                {"type": "uri", "modality": "image", "mime_type": "image/png", "uri": "https://example.com/a.png"},
                {
                    "type": "blob",
                    "modality": "document",
                    "mime_type": "application/pdf",
                    "content": "",
                    "base64_length": 4,
                },
            ],
        }
    ]
    (definition,) = json.loads(first["gen_ai.tool.definitions"])
    assert (definition["type"], definition["name"], definition["description"]) == ("function", "add", "Adds.")
    assert definition["parameters"]["required"] == ["a", "b"]
    (answer,) = json.loads(first["gen_ai.output.messages"])
    call_id = answer["parts"][2]["id"]
    assert answer == {
        "role": "assistant",
        "parts": [
            {"type": "reasoning", "content": "Hm."},
            {"type": "text", "content": "Let me see."},
            {"type": "tool_call", "id": call_id, "name": "add", "arguments": {"a": 1, "b": 2}},
        ],
    }
    assert json.loads(second["gen_ai.input.messages"])[-1] == {
        "role": "tool",
        "parts": [{"type": "tool_call_response", "id": call_id, "name": "add", "response": "3"}],
    }
    tool = recorder.span("execute_tool add").attributes
    assert json.loads(tool["gen_ai.tool.call.arguments"]) == {"a": 1, "b": 2}
    assert tool["gen_ai.tool.call.result"] == "3"


async def test_secrets_of_the_settings_are_never_there(recorder: Recorder) -> None:
    async with recorder.mini_agents(capture_content=True):
        await converse(recorder, base_url="https://user:" + SECRET + "@proxy.example.com:8443/v1")

    assert SECRET not in "".join(span.to_json() for span in recorder.spans)
    attributes = recorder.spans[1].attributes
    assert (attributes["server.address"], attributes["server.port"]) == ("proxy.example.com", 8443)


async def test_of_an_answer_that_failed_there_is_what_had_come(recorder: Recorder) -> None:
    async with recorder.mini_agents(capture_content=True):
        with pytest.raises(ProviderError):
            await ScriptedAgent.inquire("Hi", script=Script(["Hel", "lo", ProviderError("the wire broke")]))

    span = recorder.span("chat scripted")
    assert json.loads(span.attributes["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "Hello"}]}
    ]
    assert span.status.description == "ProviderError: the wire broke"
