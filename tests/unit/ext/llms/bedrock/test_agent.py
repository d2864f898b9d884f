import base64

import pytest
from pydantic import BaseModel

from miniagents import MiniAgents
from miniagents.ext.llms import SystemMessage, TokenUsage, UserMessage
from miniagents.ext.llms.bedrock import BedrockAgent, BedrockMessage
from miniagents.ext.llms.errors import (
    AuthenticationError,
    BadRequestError,
    PromptError,
    ProviderError,
    RateLimitedError,
    UnsupportedOptionError,
)
from miniagents.ext.llms.llm_messages import FileMessage, ImageMessage, ToolCallMessage, ToolResultMessage
from miniagents.testing.server import (
    Answer,
    Failure,
    Gate,
    ProtocolServer,
    RedactedThinking,
    Thinking,
    ToolCall,
    Usage,
)
from tests.unit.ext.llms.cloud_support import add

NOVA, LLAMA, CLAUDE = "amazon.nova-pro-v1:0", "meta.llama4-scout-v1:0", "us.anthropic.claude-sonnet-5-v1:0"
bedrock_agent = BedrockAgent.fork(model=NOVA)


@pytest.fixture(autouse=True)
def _of_clouds(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment_of_clouds.items():
        monkeypatch.setenv(name, value)


async def test_the_answer_is_one_message_that_streams_token_by_token(server: ProtocolServer):
    server.script("Hello there, friend!")

    async with MiniAgents():
        tokens = [[token async for token in message] async for message in bedrock_agent.inquire("Hi", cache=False)]

    assert tokens == [["Hello", " there,", " friend!"]]
    [request] = server.requests
    assert request.path.endswith("/converse-stream")
    assert request.model == NOVA
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=loopback-key/")
    assert "/us-east-1/bedrock/" in request.headers["authorization"]
    assert request.body == {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}


async def test_without_streaming_the_answer_is_one_token(server: ProtocolServer):
    server.script("Hello there, friend!")

    async with MiniAgents():
        tokens = [[token async for token in message] async for message in bedrock_agent.inquire("Hi", stream=False)]

    assert tokens == [["Hello there, friend!"]]
    assert server.requests[0].path.endswith("/converse")


async def test_the_first_token_is_there_before_the_second_is_sent(server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["Hel", gate, "lo"]))

    async with MiniAgents():
        async for message in bedrock_agent.inquire("Hi"):
            tokens = aiter(message)
            first = await anext(tokens)
            gate.open()
            assert [first, await anext(tokens)] == ["Hel", "lo"]


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_usage_counts_alike_for_all_providers(server: ProtocolServer, stream: bool):
    usage = Usage(input_tokens=160, output_tokens=20, cache_read_tokens=50, cache_write_tokens=100)
    server.script(Answer("Hello", usage=usage, finish="length"))

    async with MiniAgents():
        [message] = await bedrock_agent.inquire("Hi", stream=stream)

    assert isinstance(message, BedrockMessage)
    # Amazon counts the three kinds of input tokens apart.
    assert message.raw_usage.inputTokens == 10
    assert message.usage == TokenUsage(input_tokens=160, output_tokens=20, cache_read_tokens=50, cache_write_tokens=100)
    assert (message.finish_reason, message.stopReason) == ("length", "max_tokens")
    assert (message.model, message.provider, message.metrics.latencyMs) == (NOVA, "bedrock", 1)


async def test_the_system_prompt_and_the_roles_reach_the_server(server: ProtocolServer):
    async with MiniAgents():
        hello = (await bedrock_agent.inquire("Hi"))[-1]
        await bedrock_agent.inquire(
            [SystemMessage("Be kind."), "Hi", hello, "How are", UserMessage("you?")], system="Be brief.", cache=False
        )

    body = server.requests[-1].body
    assert body["system"] == [{"text": "Be brief.\n\nBe kind."}]
    assert [(message["role"], message["content"]) for message in body["messages"]] == [
        ("user", [{"text": "Hi"}]),
        ("assistant", [{"text": str(hello)}]),
        ("user", [{"text": "How are\n\nyou?"}]),
    ]


async def test_options_go_where_converse_has_them_and_the_rest_to_the_model(server: ProtocolServer):
    async with MiniAgents():
        await bedrock_agent.inquire(
            "Hi",
            max_tokens=50,
            temperature=0.5,
            stop="END",
            inferenceConfig={"topP": 0.9},
            requestMetadata={"team": "a"},
            top_k=3,
            additionalModelRequestFields={"deep": {"er": 1}},
            seed=None,
        )

    body = server.requests[0].body
    assert body["inferenceConfig"] == {"maxTokens": 50, "temperature": 0.5, "stopSequences": ["END"], "topP": 0.9}
    assert body["requestMetadata"] == {"team": "a"}
    assert body["additionalModelRequestFields"] == {"top_k": 3, "deep": {"er": 1}}


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_thoughts_texts_and_calls_are_messages_in_the_order_in_which_they_were_made(
    server: ProtocolServer, stream: bool
):
    steps = [
        Thinking("Hm"),
        Thinking("m.", signature="sig"),
        RedactedThinking("secret"),
        "Let me",
        " see.",
        ToolCall("add", {"a": 1, "b": 2}, "call_1"),
        ToolCall("add", {"a": 3, "b": 4}, "call_2"),
    ]
    server.script(Answer(steps), "3 and 7")

    async with MiniAgents():
        messages = await bedrock_agent.inquire(
            "1 + 2 and 3 + 4?", model=CLAUDE, tools=[add], thinking="medium", stream=stream, cache=False
        )

    assert [(type(message).__name__, str(message)) for message in messages if str(message)] == [
        ("ThinkingMessage", "Hmm."),
        ("BedrockMessage", "Let me see."),
        ("ToolCallMessage", '{"a": 1, "b": 2}'),
        ("ToolCallMessage", '{"a": 3, "b": 4}'),
        ("ToolResultMessage", "3"),
        ("ToolResultMessage", "7"),
        ("BedrockMessage", "3 and 7"),
    ]
    assert messages[1].redacted is True
    first, second = server.requests
    spec = first.body["toolConfig"]["tools"][0]["toolSpec"]
    assert (spec["name"], spec["description"]) == ("add", "Add two numbers.")
    assert first.body["additionalModelRequestFields"]["thinking"]["type"] == "adaptive"
    # Word for word as they came.
    assert second.body["messages"][1]["content"] == [
        {"reasoningContent": {"reasoningText": {"text": "Hmm.", "signature": "sig"}}},
        {"reasoningContent": {"redactedContent": base64.b64encode(b"secret").decode()}},
        {"text": "Let me see."},
        {"toolUse": {"toolUseId": "call_1", "name": "add", "input": {"a": 1, "b": 2}}},
        {"toolUse": {"toolUseId": "call_2", "name": "add", "input": {"a": 3, "b": 4}}},
    ]
    assert second.body["messages"][2]["content"] == [
        {"toolResult": {"toolUseId": "call_1", "content": [{"text": "3"}], "status": "success"}},
        {"toolResult": {"toolUseId": "call_2", "content": [{"text": "7"}], "status": "success"}},
    ]


async def test_the_arguments_of_a_call_stream_as_they_arrive(server: ProtocolServer):
    gate = Gate()
    server.script(Answer([ToolCall("add", ['{"a": 1,', ' "b": 2}']), gate]), "3")

    async with MiniAgents():
        async for message in bedrock_agent.inquire("1 + 2?", tools=[add]):
            assert message.preliminary_metadata.tool_name == "add"
            tokens = aiter(message)
            assert [await anext(tokens), await anext(tokens)] == ['{"a": 1,', ' "b": 2}']
            gate.open()
            break


async def test_a_conversation_with_calls_declares_their_tools_also_where_none_are_given(server: ProtocolServer):
    call = ToolCallMessage("{}", tool_name="search", tool_call_id="a/b", arguments={}, provider="openai")
    result = ToolResultMessage("", tool_call_id="a/b", is_error=True)

    async with MiniAgents():
        await bedrock_agent.inquire(["Find it", call, result, "And?"], cache=False)

    body = server.requests[0].body
    assert [tool["toolSpec"]["name"] for tool in body["toolConfig"]["tools"]] == ["search"]
    assert body["messages"][2]["content"][0]["toolResult"] == {
        "toolUseId": "a_b",
        "content": [{"text": "(no output)"}],
        "status": "error",
    }


async def test_pictures_and_documents_go_as_bytes_or_from_s3(server: ProtocolServer):
    async with MiniAgents():
        await bedrock_agent.inquire(
            [
                "What is this?",
                ImageMessage(data=b"\x89PNG", media_type="image/png"),
                FileMessage(data=b"a,b", media_type="text/csv", name="my_data.v2.csv"),
                FileMessage(data=b"c,d", media_type="text/csv", name="my_data.v2.csv"),
                FileMessage(url="s3://bucket/paper.pdf", media_type="application/pdf"),
            ],
            cache=False,
        )

    assert server.requests[0].body["messages"][0]["content"] == [
        {"text": "What is this?"},
        {"image": {"format": "png", "source": {"bytes": base64.b64encode(b"\x89PNG").decode()}}},
        {"document": {"format": "csv", "name": "my-data-v2", "source": {"bytes": base64.b64encode(b"a,b").decode()}}},
        {
            "document": {
                "format": "csv",
                "name": "my-data-v2 (2)",
                "source": {"bytes": base64.b64encode(b"c,d").decode()},
            }
        },
        {"document": {"format": "pdf", "name": "document", "source": {"s3Location": {"uri": "s3://bucket/paper.pdf"}}}},
    ]


@pytest.mark.parametrize(
    ("message", "sentence"),
    [
        (ImageMessage(url="https://example.org/a.png", media_type="image/png"), "fetches nothing from the web"),
        (ImageMessage(data=b"II*", media_type="image/tiff"), "Bedrock takes image/png"),
    ],
    ids=["from the web", "unknown kind"],
)
async def test_media_that_bedrock_does_not_take_fails_before_anything_is_sent(
    server: ProtocolServer, message, sentence
):
    async with MiniAgents():
        with pytest.raises(PromptError, match=sentence):
            await bedrock_agent.inquire(["What is this?", message])

    assert server.requests == []


@pytest.mark.parametrize(
    ("model", "marked"), [(CLAUDE, True), (NOVA, True), (LLAMA, False), ("anthropic.claude-v2:1", False)]
)
async def test_the_stable_prefix_is_marked_for_models_that_take_marks(server: ProtocolServer, model: str, marked: bool):
    mark = [{"cachePoint": {"type": "default"}}] if marked else []

    async with MiniAgents():
        await bedrock_agent.inquire("Hi", model=model, system="Be brief.")
        await bedrock_agent.inquire("Hi", model=model, system="Be brief.", cache=False)

    with_cache, without = [request.body for request in server.requests]
    assert with_cache["system"] == [{"text": "Be brief."}, *mark]
    assert with_cache["messages"][-1]["content"] == [{"text": "Hi"}, *mark]
    assert without["system"] == [{"text": "Be brief."}]
    assert without["messages"][-1]["content"] == [{"text": "Hi"}]


class Sum(BaseModel):
    total: int


async def test_structured_output_is_prescribed_to_models_that_can_and_asked_of_others(server: ProtocolServer):
    server.script('{"total": 3}', '{"total": 3}')

    async with MiniAgents():
        [prescribed] = await bedrock_agent.inquire("1 + 2?", model=CLAUDE, response_model=Sum, cache=False)
        [asked] = await bedrock_agent.inquire("1 + 2?", model=NOVA, response_model=Sum, cache=False)

    assert prescribed.parsed == asked.parsed == Sum(total=3)
    first, second = [request.body for request in server.requests]
    text_format = first["outputConfig"]["textFormat"]
    assert text_format["type"] == "json_schema"
    assert '"total"' in text_format["structure"]["jsonSchema"]["schema"]
    assert '"total"' in second["system"][0]["text"]


@pytest.mark.parametrize(
    ("model", "level", "fields"),
    [
        ("amazon.nova-2-lite-v1:0", "low", {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}),
        ("amazon.nova-2-lite-v1:0", "off", {"reasoningConfig": {"type": "disabled"}}),
        ("openai.gpt-oss-120b-1:0", "high", {"reasoning_effort": "high"}),
        (
            "anthropic.claude-opus-4-7-v1",
            "high",
            {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}},
        ),
        ("anthropic.claude-sonnet-4-v1:0", "low", {"thinking": {"type": "enabled", "budget_tokens": 2048}}),
        (LLAMA, "off", None),
        (LLAMA, None, None),
    ],
)
async def test_thinking_is_asked_for_as_the_model_wants_it(server: ProtocolServer, model, level, fields):
    async with MiniAgents():
        await bedrock_agent.inquire("Hi", model=model, thinking=level)

    body = server.requests[0].body
    assert body.get("additionalModelRequestFields") == fields
    if fields and "budget_tokens" in fields.get("thinking", {}):
        assert body["inferenceConfig"]["maxTokens"] > 2048


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        (LLAMA, {"thinking": "high"}, "additionalModelRequestFields"),
        ("openai.gpt-oss-120b-1:0", {"thinking": "off"}, "it always thinks"),
        (CLAUDE, {"temperature": 0.5}, "does not take it any more"),
        (CLAUDE, {"inferenceConfig": {"topP": 0.5}}, "does not take it any more"),
    ],
)
async def test_what_a_model_refuses_fails_before_anything_is_sent(server: ProtocolServer, model, options, sentence):
    async with MiniAgents():
        with pytest.raises(UnsupportedOptionError, match=sentence):
            await bedrock_agent.inquire("Hi", model=model, **options)

    assert server.requests == []


async def test_what_boto3_refuses_is_told_in_a_sentence(server: ProtocolServer):
    async with MiniAgents():
        with pytest.raises(
            BadRequestError, match=r"`BEDROCK_AGENT` \(amazon.nova-pro-v1:0\) cannot be asked like this"
        ):
            await bedrock_agent.inquire("Hi", guardrailConfig={"guardrailVersion": 1})

    assert server.requests == []


@pytest.mark.parametrize(
    ("failure", "error_class"),
    [
        (Failure(403, "expired", "ExpiredTokenException"), AuthenticationError),
        (Failure(400, "quota", "ServiceQuotaExceededException"), RateLimitedError),
        (Failure(424, "the model failed", "ModelErrorException"), ProviderError),
    ],
    ids=["an expired token", "a quota", "a model that failed"],
)
async def test_where_amazons_status_says_little_the_name_decides(server: ProtocolServer, failure, error_class):
    server.script(failure)

    async with MiniAgents():
        with pytest.raises(error_class) as raised:
            await bedrock_agent.inquire("Hi", max_retries=0)

    assert (raised.value.status_code, raised.value.code) == (failure.status, failure.type)
