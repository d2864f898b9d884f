"""The protocol server as Anthropic's SDK sees it: messages, and Claude on Vertex and on Bedrock."""

from typing import Any

import pytest
from anthropic import Anthropic, AnthropicBedrock, AnthropicVertex, APIStatusError, RateLimitError
from pydantic import BaseModel

from miniagents.testing import (
    Answer,
    Cited,
    ErrorInside,
    Failure,
    KeepAlive,
    Ping,
    ProtocolServer,
    RedactedThinking,
    Refusal,
    Thinking,
    ToolCall,
    UnknownEvent,
    Usage,
)

HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def claude(server: ProtocolServer):
    with Anthropic(base_url=server.anthropic_base_url, api_key="any", max_retries=0) as client:
        yield client


@pytest.fixture
def vertex(server: ProtocolServer):
    with AnthropicVertex(
        base_url=server.vertex_base_url, region="r", project_id="p", access_token="any", max_retries=0
    ) as client:
        yield client


@pytest.fixture
def bedrock(server: ProtocolServer):
    with AnthropicBedrock(
        base_url=server.bedrock_base_url,
        aws_region="r",
        aws_access_key="any",
        aws_secret_key="any",
        max_retries=0,
    ) as client:
        yield client


@pytest.fixture(params=["claude", "vertex", "bedrock"])
def client(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def whole(client: Any, **options: Any) -> Any:
    return client.messages.create(model="claude-x", max_tokens=9, messages=HI, **options)


def events(client: Any, **options: Any) -> list[Any]:
    return list(whole(client, stream=True, **options))


def test_text_arrives_in_a_block_that_is_opened_and_closed(server: ProtocolServer, client: Any):
    server.script(Answer(["Hel", "lo"]))

    seen = events(client)

    assert [event.type for event in seen] == [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    assert [event.delta.text for event in seen[2:4]] == ["Hel", "lo"]
    assert seen[5].delta.stop_reason == "end_turn"
    assert server.requests[0].model == "claude-x"
    assert server.requests[0].streamed


def test_thinking_is_signed_and_may_be_redacted(server: ProtocolServer, client: Any):
    server.script(*[Answer([Thinking("Hm"), Thinking("m.", "signed"), RedactedThinking("sealed"), "Hello"])] * 2)

    with client.messages.stream(model="claude-x", max_tokens=9, messages=HI) as stream:
        streamed = stream.get_final_message().content
    asked_whole = whole(client).content

    for thinking, redacted, text in (streamed, asked_whole):
        assert (thinking.thinking, thinking.signature) == ("Hmm.", "signed")
        assert redacted.data == "sealed"
        assert text.text == "Hello"


def test_the_input_of_a_tool_comes_in_pieces_the_first_of_them_empty(server: ProtocolServer, client: Any):
    server.script(Answer([ToolCall("add", {"a": 1, "b": 2}, id="one"), ToolCall("now")]))

    with client.messages.stream(model="claude-x", max_tokens=9, messages=HI) as stream:
        pieces = [event.partial_json for event in stream if event.type == "input_json"]
        message = stream.get_final_message()

    assert pieces[:2] == ["", '{"a": 1,']
    assert [(block.name, block.input) for block in message.content] == [("add", {"a": 1, "b": 2}), ("now", {})]
    assert message.content[0].id == "one"
    assert message.stop_reason == "tool_use"


def test_citations_belong_to_their_text(server: ProtocolServer, client: Any):
    server.script(*[Answer(["As ", Cited("they say", {"document_title": "A book"})])] * 2)

    with client.messages.stream(model="claude-x", max_tokens=9, messages=HI) as stream:
        (block,) = stream.get_final_message().content

    assert block.text == "As they say"
    assert block.citations[0].document_title == "A book"
    assert whole(client).content[1].citations[0].cited_text == "they say"


def test_pings_comments_and_unknown_events_change_nothing(server: ProtocolServer, client: Any):
    server.script(Answer([Ping(), KeepAlive(), "Hel", UnknownEvent(), Ping(), "lo"]))

    with client.messages.stream(model="claude-x", max_tokens=9, messages=HI) as stream:
        assert stream.get_final_text() == "Hello"


@pytest.mark.parametrize(
    ("scripted", "told"),
    [
        ("length", "max_tokens"),
        ("stop_sequence", "stop_sequence"),
        ("pause", "pause_turn"),
        ("refusal", "refusal"),
        ("context_window", "model_context_window_exceeded"),
    ],
)
def test_the_reason_for_the_end_is_in_the_words_of_the_protocol(
    server: ProtocolServer, claude: Anthropic, scripted: str, told: str
):
    server.script(Answer("Once upon", finish=scripted), Answer("Once upon", finish=scripted))

    assert whole(claude).stop_reason == told
    assert events(claude)[-2].delta.stop_reason == told


def test_a_refusal_is_a_text_and_a_reason(server: ProtocolServer, claude: Anthropic):
    server.script(Answer([Refusal("No.")]))

    answer = whole(claude)

    assert (answer.content[0].text, answer.stop_reason) == ("No.", "refusal")


def test_the_usage_is_cumulative_and_counts_the_cache_apart(server: ProtocolServer, client: Any):
    usage = Usage(input_tokens=160, output_tokens=7, cache_read_tokens=50, cache_write_tokens=100)
    server.script(Answer("Hi", usage=usage), Answer("Hi", usage=usage))

    seen = events(client)

    start, end = seen[0].message.usage, seen[-2].usage
    assert (start.input_tokens, start.cache_read_input_tokens, start.output_tokens) == (10, 50, 1)
    assert (end.input_tokens, end.cache_creation_input_tokens, end.output_tokens) == (10, 100, 7)
    assert whole(client).usage.input_tokens == 10


def test_tokens_of_a_prompt_are_counted(server: ProtocolServer, claude: Anthropic, vertex: AnthropicVertex):
    messages = [{"role": "user", "content": "one two three"}]
    server.script("not taken by a count")

    counts = [one.messages.count_tokens(model="claude-x", messages=messages) for one in (claude, vertex)]

    assert [count.input_tokens for count in counts] == [3, 3]
    assert whole(claude).content[0].text == "not taken by a count"


def test_both_ways_to_show_a_key_are_accepted(server: ProtocolServer):
    with Anthropic(base_url=server.anthropic_base_url, auth_token="any") as client:
        assert whole(client).content

    assert server.requests[0].headers["authorization"] == "Bearer any"


def test_the_clouds_have_their_own_urls(server: ProtocolServer, vertex: Any, bedrock: Any):
    for one in (vertex, bedrock):
        events(one)
        whole(one)

    below = "/v1/projects/p/locations/r/publishers/anthropic/models/claude-x"
    assert [request.path for request in server.requests] == [
        f"{below}:streamRawPredict",
        f"{below}:rawPredict",
        "/model/claude-x/invoke-with-response-stream",
        "/model/claude-x/invoke",
    ]


def test_the_models_are_listed(claude: Anthropic):
    assert [model.id for model in claude.models.list()] == ["loopback-large", "loopback-small"]


def test_a_structured_answer_is_parsed_by_the_sdk(server: ProtocolServer, claude: Anthropic):
    class Point(BaseModel):
        x: int

    server.script('{"x": 1}')

    answer = claude.messages.parse(model="claude-x", max_tokens=9, messages=HI, output_format=Point)

    assert answer.parsed_output == Point(x=1)
    assert server.requests[0].body["output_config"]["format"]["type"] == "json_schema"


def test_an_error_is_in_the_words_of_the_cloud(server: ProtocolServer, claude: Any, vertex: Any, bedrock: Any):
    bodies: list[Any] = []
    for one in (claude, vertex, bedrock):
        server.script(Failure(429, "Slow down"))
        with pytest.raises(RateLimitError, match="Slow down") as raised:
            whole(one)
        bodies.append(raised.value.body)

    assert bodies[0]["error"]["type"] == "rate_limit_error"
    assert bodies[1]["error"]["status"] == "RESOURCE_EXHAUSTED"
    assert bodies[2] == {"message": "Slow down"}
    assert raised.value.response.headers["x-amzn-errortype"] == "ThrottlingException"


def test_an_error_may_come_in_the_middle_of_the_stream(server: ProtocolServer, client: Any):
    server.script(Answer(["Once", ErrorInside(message="Oh dear")]))
    said: list[Any] = []

    with pytest.raises(APIStatusError, match="Oh dear") as raised:
        said.extend(whole(client, stream=True))

    assert raised.value.status_code == 200
