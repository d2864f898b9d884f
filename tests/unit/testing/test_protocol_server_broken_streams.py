"""What a provider can do wrong in the middle of an answer, in every protocol."""

import base64
import json
from collections.abc import Callable
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from miniagents.testing import (
    HTML_PAGE,
    Answer,
    BadJSON,
    Body,
    Cut,
    Drop,
    ErrorInside,
    Failure,
    KeepAlive,
    ProtocolServer,
    Reset,
    ToolCall,
    UnknownEvent,
)
from tests.unit.testing.wire_requests import (
    EVERY_PROTOCOL,
    IN_SERVER_SENT_EVENTS,
    MESSAGES,
    ask,
    talk_by_hand,
)

# ------------------------------------------------------------------------------------------------------ streams


@pytest.mark.parametrize("before", [[], ["Once"]], ids=["before the first token", "after it"])
@EVERY_PROTOCOL
def test_an_error_may_come_inside_of_the_stream(
    server: ProtocolServer, http: httpx2.Client, protocol: str, before: list[str]
):
    server.script(Answer([*before, ErrorInside(message="Oh dear"), "never said"]))

    response = ask(http, protocol)

    assert response.status_code == 200
    assert b"Oh dear" in response.content
    assert b"never" not in response.content


@EVERY_PROTOCOL
def test_a_stream_may_end_in_good_order_without_its_end_mark(
    server: ProtocolServer, http: httpx2.Client, protocol: str
):
    server.script(Answer(["Once", Cut(), " upon"]), Answer(["Once"]))

    cut, complete = ask(http, protocol).content, ask(http, protocol).content

    assert len(cut) < len(complete)
    assert server.requests[0].how_ended == "complete"


@EVERY_PROTOCOL
def test_an_event_may_be_no_json(server: ProtocolServer, http: httpx2.Client, protocol: str):
    server.script(Answer([BadJSON('{"unfinished": '), "Hello"]))

    content = ask(http, protocol).content

    bad = b'{"unfinished": '
    assert (base64.b64encode(bad) if protocol == "bedrock" else bad) in content


@EVERY_PROTOCOL
def test_one_json_body_may_come_instead_of_a_stream(server: ProtocolServer, http: httpx2.Client, protocol: str):
    server.script(Answer("Hello there", wire="json"))

    response = ask(http, protocol)

    assert response.headers["content-type"] == "application/json"
    assert "Hello there" in json.dumps(response.json())


@pytest.mark.parametrize(
    "body", [HTML_PAGE, Body(), Body(b"", "text/event-stream")], ids=["page", "nothing", "no events"]
)
@EVERY_PROTOCOL
def test_any_other_body_may_come_instead(server: ProtocolServer, http: httpx2.Client, protocol: str, body: Body):
    server.script(body)

    response = ask(http, protocol)

    assert (response.status_code, response.content) == (200, body.data)
    assert response.headers["content-type"] == body.content_type


@IN_SERVER_SENT_EVENTS
def test_lines_may_end_as_on_windows(server: ProtocolServer, http: httpx2.Client, protocol: str):
    server.script(Answer(["Hel", "lo"], crlf=True))

    content = ask(http, protocol).content

    assert b"\r\n\r\n" in content
    assert b"\n" not in content.replace(b"\r\n", b"")


@IN_SERVER_SENT_EVENTS
def test_comments_and_unknown_events_come_between_the_tokens(
    server: ProtocolServer, http: httpx2.Client, protocol: str
):
    server.script(Answer(["BEFORE", KeepAlive("still here"), UnknownEvent("novelty"), "AFTER"]))

    content = ask(http, protocol).content

    assert b"\n\n: still here\n\n" in content
    assert content.index(b"BEFORE") < content.index(b"novelty") < content.index(b"AFTER")


@pytest.mark.parametrize("size", [1, 3, 64])
@EVERY_PROTOCOL
def test_pieces_may_split_lines_and_characters(server: ProtocolServer, protocol: str, size: int):
    server.script(Answer(["Grüße", " 👋"], chunk_bytes=size), Answer(["Grüße", " 👋"]))

    in_odd_chunks, in_events = chunks_on_the_wire(server, protocol), chunks_on_the_wire(server, protocol)

    assert {len(chunk) for chunk in in_odd_chunks[:-1]} == {size}
    assert len(in_odd_chunks[-1]) <= size
    assert len(b"".join(in_odd_chunks)) == len(b"".join(in_events))


def chunks_on_the_wire(server: ProtocolServer, protocol: str) -> list[bytes]:
    """The chunks of HTTP in which the body came."""
    _, _, rest = talk_by_hand(server, protocol).partition(b"\r\n\r\n")
    chunks: list[bytes] = []
    while True:
        size, _, rest = rest.partition(b"\r\n")
        if int(size, 16) == 0:
            return chunks
        chunks.append(rest[: int(size, 16)])
        rest = rest[int(size, 16) + 2 :]


def test_the_sdks_understand_a_stream_in_odd_pieces(server: ProtocolServer):
    server.script(*[Answer(["Grüße\u2028", " 👋"], crlf=True, chunk_bytes=3)] * 2)

    with openai.OpenAI(base_url=server.openai_base_url, api_key="any") as client:
        chunks = list(client.chat.completions.create(model="m", messages=MESSAGES, stream=True))
    with anthropic.Anthropic(base_url=server.anthropic_base_url, api_key="any") as client:
        with client.messages.stream(model="m", max_tokens=9, messages=MESSAGES) as stream:
            text = stream.get_final_text()

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text == "Grüße\u2028 👋"


@pytest.mark.parametrize("protocol", ["chat", "responses"])
def test_arguments_of_a_call_may_be_no_json(server: ProtocolServer, http: httpx2.Client, protocol: str):
    server.script(Answer([ToolCall("add", ['{"a": ', "oops"])]))

    assert b"oops" in ask(http, protocol).content


# ------------------------------------------------------------------------------------------------------ as the SDKs see it


def said_by_openai(server: ProtocolServer) -> tuple[str, Exception | None]:
    said = ""
    with openai.OpenAI(base_url=server.openai_base_url, api_key="any", max_retries=0) as client:
        try:
            for chunk in client.chat.completions.create(model="m", messages=MESSAGES, stream=True):
                said += chunk.choices[0].delta.content or ""
        except Exception as error:
            return said, error
    return said, None


def said_by_anthropic(server: ProtocolServer) -> tuple[str, Exception | None]:
    said = ""
    with anthropic.Anthropic(base_url=server.anthropic_base_url, api_key="any", max_retries=0) as client:
        try:
            for event in client.messages.create(model="m", max_tokens=9, messages=MESSAGES, stream=True):
                said += event.delta.text if event.type == "content_block_delta" else ""
        except Exception as error:
            return said, error
    return said, None


@pytest.mark.parametrize(
    ("fault", "read", "expected"),
    [
        (ErrorInside("server_error"), said_by_openai, openai.APIError),
        (ErrorInside("overloaded_error"), said_by_anthropic, anthropic.APIStatusError),
        (Drop(), said_by_openai, openai.APIConnectionError),
        (Drop(), said_by_anthropic, httpx2.TransportError),
        (Cut(), said_by_openai, None),
        (Cut(), said_by_anthropic, None),
        (BadJSON(), said_by_openai, json.JSONDecodeError),
        (BadJSON(), said_by_anthropic, json.JSONDecodeError),
    ],
)
def test_a_fault_in_the_middle_is_the_error_that_users_of_the_sdk_see(
    server: ProtocolServer,
    fault: Any,
    read: Callable[[ProtocolServer], tuple[str, Exception | None]],
    expected: type[Exception] | None,
):
    server.script(Answer(["Once", fault, " upon"]))

    said, error = read(server)

    assert said == "Once"
    assert isinstance(error, expected) if expected else error is None


@pytest.mark.parametrize("fault", [Reset(), Drop(), Failure(500), Failure(429, retry_after_s=0.001)], ids=repr)
def test_what_fails_before_the_first_byte_is_tried_again_by_the_sdk(server: ProtocolServer, fault: Any):
    server.script(fault, "Hello")

    with openai.OpenAI(base_url=server.openai_base_url, api_key="any", max_retries=1) as client:
        answer = client.chat.completions.create(model="m", messages=MESSAGES)

    assert answer.choices[0].message.content == "Hello"
    assert len(server.requests) == 2
