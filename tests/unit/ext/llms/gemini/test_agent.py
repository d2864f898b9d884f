import base64

import pytest
from pydantic import BaseModel

from miniagents import MiniAgents
from miniagents.ext.llms import SystemMessage, TokenUsage, UserMessage
from miniagents.ext.llms.gemini import GeminiAgent, GeminiMessage
from miniagents.ext.llms.llm_messages import FileMessage, ImageMessage, ThinkingMessage, ToolCallMessage
from miniagents.testing.server import Answer, Gate, ProtocolServer, Raw, Thinking, ToolCall, Usage
from tests.unit.ext.llms.cloud_support import add

gemini_agent = GeminiAgent.fork(model="gemini-3.8-flash")
SIGNATURE = base64.b64encode(b"signed by Gemini").decode()


@pytest.fixture(autouse=True)
def _of_clouds(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment_of_clouds.items():
        monkeypatch.setenv(name, value)


def chunk(*parts: str, finish: str = "") -> Raw:
    reason = f', "finishReason": "{finish}"' if finish else ""
    json = f'{{"candidates": [{{"content": {{"role": "model", "parts": [{", ".join(parts)}]}}{reason}}}]}}'
    return Raw(f"data: {json}\r\n\r\n".encode())


async def test_the_answer_is_one_message_that_streams_token_by_token(server: ProtocolServer):
    server.script("Hello there, friend!")

    async with MiniAgents():
        tokens = [[token async for token in message] async for message in gemini_agent.inquire("Hi")]

    assert tokens == [["Hello", " there,", " friend!"]]
    [request] = server.requests
    assert request.path == "/v1/models/gemini-3.8-flash:streamGenerateContent"
    assert request.headers["x-goog-api-key"] == "loopback-key"
    assert request.body == {"contents": [{"role": "user", "parts": [{"text": "Hi"}]}], "generationConfig": {}}


async def test_without_streaming_the_answer_is_one_token(server: ProtocolServer):
    server.script("Hello there, friend!")

    async with MiniAgents():
        tokens = [[token async for token in message] async for message in gemini_agent.inquire("Hi", stream=False)]

    assert tokens == [["Hello there, friend!"]]
    assert server.requests[0].path.endswith(":generateContent")


async def test_the_first_token_is_there_before_the_second_is_sent(server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["Hel", gate, "lo"]))

    async with MiniAgents():
        async for message in gemini_agent.inquire("Hi"):
            tokens = aiter(message)
            first = await anext(tokens)
            gate.open()
            assert [first, await anext(tokens)] == ["Hel", "lo"]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_usage_counts_alike_for_all_providers(server: ProtocolServer, stream: bool):
    usage = Usage(input_tokens=160, output_tokens=20, cache_read_tokens=50, reasoning_tokens=12)
    server.script(Answer("Hello", usage=usage, finish="length"))

    async with MiniAgents():
        [message] = await gemini_agent.inquire("Hi", stream=stream)

    assert isinstance(message, GeminiMessage)
    assert message.usage == TokenUsage(input_tokens=160, output_tokens=20, cache_read_tokens=50, reasoning_tokens=12)
    assert message.raw_usage.candidates_token_count == 8
    assert (message.finish_reason, message.candidates[0].finish_reason) == ("length", "MAX_TOKENS")
    assert (message.model, message.request_id, message.provider) == ("gemini-3.8-flash", "gemini-1", "gemini")


async def test_the_system_prompt_and_the_roles_reach_the_server(server: ProtocolServer):
    async with MiniAgents():
        hello = (await gemini_agent.inquire("Hi"))[-1]
        await gemini_agent.inquire(
            [SystemMessage("Be kind."), "Hi", hello, "How are", UserMessage("you?")], system="Be brief."
        )

    body = server.requests[-1].body
    assert body["systemInstruction"]["parts"] == [{"text": "Be brief.\n\nBe kind."}]
    assert [(content["role"], [part["text"] for part in content["parts"]]) for content in body["contents"]] == [
        ("user", ["Hi"]),
        ("model", [str(hello)]),
        ("user", ["How are\n\nyou?"]),
    ]


async def test_options_pass_through_by_googles_names_and_by_those_of_others(server: ProtocolServer):
    async with MiniAgents():
        await gemini_agent.inquire(
            "Hi",
            temperature=0.5,
            max_tokens=50,
            stop="END",
            topK=3,
            safety_settings=[{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}],
            extra_headers={"x-trace": "1"},
            newer_than_the_sdk=True,
            seed=None,
        )

    [request] = server.requests
    assert request.body["generationConfig"] == {
        "temperature": 0.5,
        "maxOutputTokens": 50,
        "stopSequences": ["END"],
        "topK": 3,
        "newer_than_the_sdk": True,
    }
    assert request.body["safetySettings"] == [{"category": "HARM_CATEGORY_HARASSMENT", "threshold": "BLOCK_NONE"}]
    assert request.headers["x-trace"] == "1"


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_thoughts_texts_and_calls_are_messages_in_the_order_in_which_they_were_made(
    server: ProtocolServer, stream: bool
):
    calls = [ToolCall("add", {"a": 1, "b": 2}, "call_1"), ToolCall("add", {"a": 3, "b": 4}, "call_2")]
    server.script(Answer([Thinking("Hm"), Thinking("m."), "Let me", " see.", *calls]), "3 and 7")

    async with MiniAgents():
        messages = await gemini_agent.inquire("What is 1 + 2 and 3 + 4?", tools=[add], thinking="high", stream=stream)

    assert [(type(message).__name__, str(message)) for message in messages] == [
        ("ThinkingMessage", "Hmm."),
        ("GeminiMessage", "Let me see."),
        ("ToolCallMessage", '{"a": 1, "b": 2}'),
        ("ToolCallMessage", '{"a": 3, "b": 4}'),
        ("ToolResultMessage", "3"),
        ("ToolResultMessage", "7"),
        ("GeminiMessage", "3 and 7"),
    ]
    assert [message.get("finish_reason") for message in messages] == [
        None,
        None,
        None,
        "tool_calls",
        None,
        None,
        "stop",
    ]
    declared = server.requests[0].body["tools"][0]["functionDeclarations"][0]
    assert (declared["name"], declared["description"]) == ("add", "Add two numbers.")
    results = server.requests[1].body["contents"][-1]
    assert results["role"] == "user"
    assert [part["functionResponse"] for part in results["parts"]] == [
        {"id": "call_1", "name": "add", "response": {"output": "3"}},
        {"id": "call_2", "name": "add", "response": {"output": "7"}},
    ]


async def test_signatures_of_thoughts_and_calls_go_back_word_for_word(server: ProtocolServer):
    first = chunk(
        f'{{"text": "Hmm.", "thought": true, "thoughtSignature": "{SIGNATURE}"}}',
        f'{{"functionCall": {{"name": "add", "args": {{"a": 1, "b": 2}}}}, "thoughtSignature": "{SIGNATURE}"}}',
        '{"functionCall": {"name": "add", "args": {"a": 3, "b": 4}}}',
        finish="STOP",
    )
    second = (chunk('{"text": "It is"}'), chunk(f'{{"text": "", "thoughtSignature": "{SIGNATURE}"}}', finish="STOP"))
    server.script(Answer([first], finish=None), Answer([*second], finish=None), "You are welcome")

    async with MiniAgents():
        messages = await gemini_agent.inquire("What is 1 + 2?", tools=[add])
        await gemini_agent.inquire(["What is 1 + 2?", *messages, "Thanks"], tools=[add])

    assert messages[0].signature == SIGNATURE
    history = server.requests[-1].body["contents"]
    assert history[1]["parts"] == [
        {"text": "Hmm.", "thought": True, "thoughtSignature": SIGNATURE},
        {"functionCall": {"name": "add", "args": {"a": 1, "b": 2}}, "thoughtSignature": SIGNATURE},
        {"functionCall": {"name": "add", "args": {"a": 3, "b": 4}}},
    ]
    assert history[3]["parts"] == [{"text": "It is"}, {"text": "", "thoughtSignature": SIGNATURE}]


async def test_calls_without_ids_get_stable_ones_that_are_not_sent_back(server: ProtocolServer):
    calls = [ToolCall("add", {"a": 1, "b": 2}), ToolCall("add", {"a": 3, "b": 4})]
    server.script(Answer(calls), Answer(calls), "Done", Answer(calls), "Done")

    async with MiniAgents():
        messages = await gemini_agent.inquire("Add", tools=[add])
        again = await gemini_agent.inquire("Add", tools=[add], stream=False)

    ids = [message.tool_call_id for message in messages if isinstance(message, ToolCallMessage)]
    assert len(set(ids)) == 4
    assert [message.tool_call_id for message in again if isinstance(message, ToolCallMessage)] == ids[:2]
    history = server.requests[1].body["contents"]
    assert all("id" not in part["functionCall"] for part in history[1]["parts"])
    assert [part["functionResponse"]["response"] for part in history[2]["parts"]] == [{"output": "3"}, {"output": "7"}]


async def test_calls_that_another_model_made_are_marked_as_unsigned(server: ProtocolServer):
    call = ToolCallMessage(
        "{}", tool_name="add", tool_call_id="toolu:1", arguments={"a": 1, "b": 2}, provider="anthropic"
    )
    thought = ThinkingMessage("Hm", provider="anthropic", signature="sig")

    async with MiniAgents():
        await gemini_agent.inquire(["Add", thought, call, "And?"])
        await gemini_agent.inquire(["Add", thought, call, "And?"], model="gemini-2.5-flash")

    marked, older = [request.body["contents"] for request in server.requests]
    [part] = marked[1]["parts"]
    assert part["thoughtSignature"] == "skip_thought_signature_validator"
    assert "error" in marked[2]["parts"][0]["functionResponse"]["response"]
    assert "thoughtSignature" not in older[1]["parts"][0]


async def test_a_signature_is_not_sent_to_another_model(server: ProtocolServer):
    signed = chunk(
        f'{{"functionCall": {{"name": "add", "args": {{}}}}, "thoughtSignature": "{SIGNATURE}"}}', finish="STOP"
    )
    server.script(Answer([signed], finish=None), "Done")

    async with MiniAgents():
        [call] = await gemini_agent.inquire("Add")
        await gemini_agent.inquire(["Add", call, "And?"], model="gemini-4-argon")

    assert server.requests[1].body["contents"][1]["parts"][0]["thoughtSignature"] == "skip_thought_signature_validator"


async def test_what_gemini_did_by_itself_is_kept_and_given_back(server: ProtocolServer):
    ran = chunk(
        '{"executableCode": {"language": "PYTHON", "code": "print(1 + 2)"}}',
        '{"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "3"}}',
        '{"text": "It is 3."}',
        finish="STOP",
    )
    server.script(Answer([ran], finish=None), "You are welcome")

    async with MiniAgents():
        messages = await gemini_agent.inquire("What is 1 + 2?", tools=[{"code_execution": {}}])
        await gemini_agent.inquire(["What is 1 + 2?", *messages, "Thanks"])

    assert [str(message) for message in messages] == ["print(1 + 2)", "3", "It is 3."]
    assert server.requests[0].body["tools"] == [{"codeExecution": {}}]
    sent = server.requests[1].body["contents"][1]["parts"]
    assert sent[0]["executableCode"] == {"language": "PYTHON", "code": "print(1 + 2)"}
    assert sent[1]["codeExecutionResult"] == {"outcome": "OUTCOME_OK", "output": "3"}


async def test_pictures_and_files_go_inline_or_by_address(server: ProtocolServer):
    async with MiniAgents():
        await gemini_agent.inquire(
            [
                "What is this?",
                ImageMessage(data=b"\x89PNG", media_type="image/png"),
                FileMessage(url="gs://bucket/paper.pdf", media_type="application/pdf"),
            ]
        )

    text, picture, paper = server.requests[0].body["contents"][0]["parts"]
    assert text == {"text": "What is this?"}
    # The SDK writes some names in one way and some in the other; Google reads both.
    assert set(picture["inlineData"].values()) == {base64.b64encode(b"\x89PNG").decode(), "image/png"}
    assert set(paper["fileData"].values()) == {"gs://bucket/paper.pdf", "application/pdf"}


class Sum(BaseModel):
    total: int


async def test_structured_output_is_prescribed_by_its_schema(server: ProtocolServer):
    server.script('{"total": 3}')

    async with MiniAgents():
        [message] = await gemini_agent.inquire("What is 1 + 2?", response_model=Sum)

    assert message.parsed == Sum(total=3)
    config = server.requests[0].body["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"]["properties"]["total"]["type"] == "integer"


async def test_an_older_model_with_tools_is_asked_for_the_form_in_words(server: ProtocolServer):
    server.script(Answer([ToolCall("add", {"a": 1, "b": 2})]), '{"total": 3}')

    async with MiniAgents():
        messages = await GeminiAgent.inquire("1 + 2?", model="gemini-2.5-flash", response_model=Sum, tools=[add])

    assert messages[-1].parsed == Sum(total=3)
    body = server.requests[0].body
    assert "responseMimeType" not in body["generationConfig"]
    assert '"total"' in body["systemInstruction"]["parts"][0]["text"]
