"""What a provider can do wrong before it answers, or with the connection, in every protocol."""

import json
from typing import Any

import anthropic
import httpx2
import openai
import pytest

from miniagents.testing import (
    Answer,
    Drop,
    Endless,
    Failure,
    Gate,
    ProtocolServer,
    Reset,
    Silence,
)
from tests.unit.testing.wire_requests import (
    EVERY_PROTOCOL,
    HEADERS,
    MESSAGES,
    STREAMED,
    ask,
    read_until_broken,
    talk_by_hand,
)

# ------------------------------------------------------------------------------------------------------ statuses

STATUSES = [400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 503, 504, 529]
OPENAI_ERRORS = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    404: openai.NotFoundError,
    409: openai.ConflictError,
    422: openai.UnprocessableEntityError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
    503: openai.InternalServerError,
    504: openai.InternalServerError,
    529: openai.InternalServerError,
}
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_is_the_error_that_the_sdk_of_openai_has_for_it(server: ProtocolServer, status: int):
    server.script(Failure(status, "Oh dear"), Failure(status, "Oh dear"))
    with openai.OpenAI(base_url=server.openai_base_url, api_key="any", max_retries=0) as client:
        for ask_for in (
            lambda: client.chat.completions.create(model="m", messages=MESSAGES, stream=True),
            lambda: client.responses.create(model="m", input="Hi"),
        ):
            with pytest.raises(OPENAI_ERRORS.get(status, openai.APIStatusError), match="Oh dear") as raised:
                ask_for()

            assert raised.value.status_code == status
            assert raised.value.request_id == "req_loopback"
            assert raised.value.type


@pytest.mark.parametrize("status", STATUSES)
def test_a_status_has_the_type_that_anthropic_gives_it(server: ProtocolServer, status: int):
    server.script(Failure(status, "Oh dear"))
    with (
        anthropic.Anthropic(base_url=server.anthropic_base_url, api_key="any", max_retries=0) as client,
        pytest.raises(anthropic.APIStatusError, match="Oh dear") as raised,
    ):
        client.messages.create(model="m", max_tokens=9, messages=MESSAGES)

    assert raised.value.status_code == status
    if status in ANTHROPIC_TYPES:
        assert raised.value.type == ANTHROPIC_TYPES[status]


def test_openais_codes_are_those_that_programs_look_at(server: ProtocolServer, http: httpx2.Client):
    server.script(Failure(401), Failure(429), Failure(429, type="insufficient_quota", code="insufficient_quota"))

    codes = [ask(http, "chat").json()["error"]["code"] for _ in range(3)]

    assert codes == ["invalid_api_key", "rate_limit_exceeded", "insufficient_quota"]


@pytest.mark.parametrize(("seconds", "header"), [(3.0, ("retry-after", "3")), (0.25, ("retry-after-ms", "250"))])
@pytest.mark.parametrize("protocol", ["chat", "responses", "anthropic", "converse"])
def test_a_limit_may_say_when_to_come_again(
    server: ProtocolServer, http: httpx2.Client, protocol: str, seconds: float, header: tuple[str, str]
):
    server.script(Failure(429, retry_after_s=seconds))

    response = ask(http, protocol)

    assert response.status_code == 429
    assert response.headers[header[0]] == header[1]


@EVERY_PROTOCOL
def test_a_wrong_key_is_refused_in_the_words_of_the_protocol(
    server: ProtocolServer, http: httpx2.Client, protocol: str
):
    server.script(Answer("is not taken", wire="json"))

    refused = ask(http, protocol, headers={"authorization": "Bearer wrong-key"})

    assert refused.status_code == 401
    assert "Incorrect API key" in json.dumps(refused.json())
    assert "is not taken" in json.dumps(ask(http, protocol).json())


# ------------------------------------------------------------------------------------------------------ connections


@EVERY_PROTOCOL
def test_nobody_may_listen_for_a_while(server: ProtocolServer, http: httpx2.Client, protocol: str):
    assert ask(http, protocol).status_code == 200

    with server.refusing_connections(), pytest.raises(httpx2.ConnectError):
        ask(http, protocol)

    assert ask(http, protocol).status_code == 200


@pytest.mark.parametrize("fault", [Reset(), Drop()], ids=["reset", "closed"])
@EVERY_PROTOCOL
def test_the_connection_may_break_before_the_first_byte(
    server: ProtocolServer, http: httpx2.Client, protocol: str, fault: Any
):
    server.script(fault)

    with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
        ask(http, protocol)

    assert (server.requests[0].how_ended, server.requests[0].bytes_sent) == ("dropped", 0)


def test_a_reset_is_a_reset_and_a_close_is_a_close(server: ProtocolServer):
    server.script(Reset(), Drop())

    with pytest.raises(ConnectionResetError):
        talk_by_hand(server, "chat")

    assert talk_by_hand(server, "chat") == b""


@pytest.mark.parametrize("fault", [Reset(), Drop()], ids=["reset", "closed"])
@EVERY_PROTOCOL
def test_the_connection_may_break_in_the_middle(server: ProtocolServer, http: httpx2.Client, protocol: str, fault: Any):
    server.script(Answer(["Once", fault, " upon"]))

    arrived, error = read_until_broken(http, protocol)

    assert isinstance(error, httpx2.ReadError | httpx2.RemoteProtocolError)
    assert b"upon" not in arrived
    assert server.requests[0].how_ended == "dropped"


@pytest.mark.parametrize(
    "reply", [Silence(), Answer([Silence()]), Answer(["Once", Silence()])], ids=["head", "body", "middle"]
)
@EVERY_PROTOCOL
def test_the_server_may_fall_silent_until_the_client_gives_up(
    server: ProtocolServer, http: httpx2.Client, protocol: str, reply: Any
):
    server.script(reply)
    path, body = STREAMED[protocol]

    with pytest.raises(httpx2.ReadTimeout), http.stream("POST", path, json=body, timeout=0.05) as response:
        response.read()

    assert len(server.requests) == 1


async def test_how_and_when_a_request_ended_is_recorded(server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["Once", gate]), "Hello")
    async with httpx2.AsyncClient(base_url=server.url, headers=HEADERS) as http:
        path, body = STREAMED["chat"]
        async with http.stream("POST", path, json=body):
            await gate.reached()
        ended = await server.requests[0].ended()
        await http.post(path, json=body)

    left, done = server.requests
    assert ended == "closed by the client"
    assert await done.ended() == "complete"
    assert left.began_at < left.ended_at < done.ended_at
    assert left.client_port != done.client_port
    assert left.bytes_sent > 0


@EVERY_PROTOCOL
def test_a_stream_may_never_end(server: ProtocolServer, http: httpx2.Client, protocol: str):
    server.script(Answer([Endless(" and")]))
    path, body = STREAMED[protocol]

    with http.stream("POST", path, json=body) as response:
        sizes = [len(piece) for piece, _ in zip(response.iter_raw(), range(20), strict=False)]

    assert len(sizes) == 20
