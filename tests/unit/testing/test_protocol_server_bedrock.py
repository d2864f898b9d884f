"""The protocol server as Amazon's SDK sees it: Bedrock's Converse."""

from contextlib import closing
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, EventStreamError

from miniagents.testing import (
    Answer,
    Drop,
    ErrorInside,
    Failure,
    ProtocolServer,
    RedactedThinking,
    Thinking,
    ToolCall,
    UnknownEvent,
    Usage,
)

HI = [{"role": "user", "content": [{"text": "Hi"}]}]
MODEL = "vendor.model-x-v1:0"


@pytest.fixture(scope="module")
def session() -> Any:
    return boto3.Session(aws_access_key_id="any", aws_secret_access_key="any", region_name="us-east-1")


@pytest.fixture
def client(server: ProtocolServer, session: Any):
    config = Config(retries={"total_max_attempts": 1}, proxies={})
    client = session.client("bedrock-runtime", endpoint_url=server.bedrock_base_url, config=config)
    yield client
    client.close()


def whole(client: Any) -> Any:
    return client.converse(modelId=MODEL, messages=HI, system=[{"text": "Be brief"}])


def events(client: Any) -> list[Any]:
    # Closed also after an error: the SDK leaves that to whoever reads.
    with closing(client.converse_stream(modelId=MODEL, messages=HI)["stream"]) as stream:
        return list(stream)


def test_text_arrives_in_a_block_that_is_closed(server: ProtocolServer, client: Any):
    server.script(Answer(["Hel", "lo"]))

    seen = events(client)

    assert [next(iter(event)) for event in seen] == [
        "messageStart",
        "contentBlockDelta",
        "contentBlockDelta",
        "contentBlockStop",
        "messageStop",
        "metadata",
    ]
    assert [event["contentBlockDelta"]["delta"]["text"] for event in seen[1:3]] == ["Hel", "lo"]
    assert seen[4]["messageStop"]["stopReason"] == "end_turn"
    assert (server.requests[0].model, server.requests[0].protocol) == (MODEL, "bedrock-converse")


def test_the_same_answer_may_be_asked_for_whole(server: ProtocolServer, client: Any):
    parts = [
        Thinking("Hm"),
        Thinking("m.", "signed"),
        RedactedThinking("sealed"),
        "Hel",
        "lo",
        ToolCall("add", {"a": 1}),
    ]
    server.script(Answer(parts))

    answer = whole(client)

    thinking, redacted, text, call = answer["output"]["message"]["content"]
    assert thinking["reasoningContent"]["reasoningText"] == {"text": "Hmm.", "signature": "signed"}
    assert redacted["reasoningContent"]["redactedContent"] == b"sealed"
    assert text["text"] == "Hello"
    assert (call["toolUse"]["name"], call["toolUse"]["input"]) == ("add", {"a": 1})
    assert answer["stopReason"] == "tool_use"
    assert server.requests[0].dialog == [("system", "Be brief"), ("user", "Hi")]


def test_reasoning_and_the_input_of_tools_arrive_in_pieces(server: ProtocolServer, client: Any):
    server.script(Answer([Thinking("Hm", "signed"), ToolCall("add", ['{"a":', "1}"], id="one")]))

    seen = events(client)

    deltas = [event["contentBlockDelta"]["delta"] for event in seen if "contentBlockDelta" in event]
    assert deltas == [
        {"reasoningContent": {"text": "Hm"}},
        {"reasoningContent": {"signature": "signed"}},
        {"toolUse": {"input": ""}},
        {"toolUse": {"input": '{"a":'}},
        {"toolUse": {"input": "1}"}},
    ]
    (start,) = [event["contentBlockStart"] for event in seen if "contentBlockStart" in event]
    assert start == {"start": {"toolUse": {"toolUseId": "one", "name": "add"}}, "contentBlockIndex": 1}


def test_the_usage_is_an_event_after_the_end(server: ProtocolServer, client: Any):
    usage = Usage(input_tokens=160, output_tokens=7, cache_read_tokens=50, cache_write_tokens=100)
    server.script(Answer("Hi", usage=usage), Answer("Hi", usage=usage))
    told = {
        "inputTokens": 10,
        "outputTokens": 7,
        "totalTokens": 167,
        "cacheReadInputTokens": 50,
        "cacheWriteInputTokens": 100,
    }

    assert events(client)[-1]["metadata"]["usage"] == told
    assert whole(client)["usage"] == told


@pytest.mark.parametrize(
    ("scripted", "told"),
    [("length", "max_tokens"), ("refusal", "content_filtered"), ("context_window", "model_context_window_exceeded")],
)
def test_the_reason_for_the_end_is_in_the_words_of_the_protocol(
    server: ProtocolServer, client: Any, scripted: str, told: str
):
    server.script(Answer("Once upon", finish=scripted))

    assert whole(client)["stopReason"] == told


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, "ValidationException"),
        (403, "AccessDeniedException"),
        (404, "ResourceNotFoundException"),
        (429, "ThrottlingException"),
        (503, "ServiceUnavailableException"),
    ],
)
def test_an_error_has_amazons_name(server: ProtocolServer, client: Any, status: int, code: str):
    server.script(Failure(status, "Oh dear"))

    with pytest.raises(ClientError, match="Oh dear") as raised:
        whole(client)

    assert raised.value.response["Error"]["Code"] == code
    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


@pytest.mark.parametrize("error", ["throttlingException", "modelStreamErrorException"])
def test_an_exception_may_come_in_the_middle_of_the_stream(server: ProtocolServer, client: Any, error: str):
    server.script(Answer(["Once", ErrorInside(error, "Oh dear")]))
    said = []

    with (
        closing(client.converse_stream(modelId=MODEL, messages=HI)["stream"]) as stream,
        pytest.raises(EventStreamError, match="Oh dear") as raised,
    ):
        said.extend(stream)

    assert said[-1]["contentBlockDelta"]["delta"]["text"] == "Once"
    assert raised.value.response["Error"]["Code"] == error


def test_an_unknown_event_does_not_disturb(server: ProtocolServer, client: Any):
    server.script(Answer(["Hel", UnknownEvent(), "lo"]))

    texts = [event["contentBlockDelta"]["delta"]["text"] for event in events(client) if "contentBlockDelta" in event]

    assert texts == ["Hel", "lo"]


def test_frames_arrive_in_whatever_pieces(server: ProtocolServer, client: Any):
    server.script(Answer(["Grüße", " 👋"], chunk_bytes=7))

    assert events(client)[2]["contentBlockDelta"]["delta"]["text"] == " 👋"


def test_the_stream_may_break_off(server: ProtocolServer, client: Any):
    server.script(Answer(["Once", Drop()]))

    with pytest.raises(Exception, match="Connection broken|IncompleteRead|closed|prematurely"):
        events(client)

    assert server.requests[0].how_ended == "dropped"
