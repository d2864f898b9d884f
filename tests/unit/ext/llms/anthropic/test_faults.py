"""Every fault of the API, as a status and inside of a stream, is the same error with all that is known of it."""

import asyncio
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.ext.llms import AnthropicAgent, LLMError
from miniagents.ext.llms.errors import (
    AuthenticationError,
    BadRequestError,
    ConnectionLostError,
    IncompleteStreamError,
    ModelNotFoundError,
    ModelTimeoutError,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    RateLimitedError,
)
from miniagents.testing.server import (
    HTML_PAGE,
    Answer,
    BadJSON,
    Body,
    Cut,
    Drop,
    ErrorInside,
    Failure,
    Gate,
    ProtocolServer,
    Raw,
    Reset,
    Silence,
)

claude_agent = AnthropicAgent.fork(model="claude-sonnet-5-5", max_retries=0)
STREAMED_AND_WHOLE = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])

FAULTS = [
    (400, "invalid_request_error", BadRequestError),
    (401, "authentication_error", AuthenticationError),
    (402, "billing_error", PermissionDeniedError),
    (403, "permission_error", PermissionDeniedError),
    (404, "not_found_error", ModelNotFoundError),
    (408, "timeout_error", ModelTimeoutError),
    (409, "conflict_error", ProviderError),
    (413, "request_too_large", BadRequestError),
    (429, "rate_limit_error", RateLimitedError),
    (500, "api_error", ProviderError),
    (503, "api_error", OverloadedError),
    (504, "timeout_error", ModelTimeoutError),
    (529, "overloaded_error", OverloadedError),
]


async def failure(**settings: Any) -> LLMError:
    async with MiniAgents():
        with pytest.raises(LLMError) as raised:
            await claude_agent.inquire("Hi", **settings)
    return raised.value


@STREAMED_AND_WHOLE
@pytest.mark.parametrize(("status", "name", "kind"), FAULTS, ids=[str(status) for status, _, _ in FAULTS])
async def test_a_status_is_an_error_of_our_tree(
    server: ProtocolServer, status: int, name: str, kind: type[LLMError], stream: bool
):
    server.script(Failure(status, "No, sorry.", retry_after_s=2.5))

    error = await failure(stream=stream)

    assert type(error) is kind
    assert (error.status_code, error.code, error.request_id) == (status, name, "req_loopback")
    assert (error.provider, error.model, error.retry_after_s) == ("anthropic", "claude-sonnet-5-5", 2.5)
    assert "`ANTHROPIC_AGENT` (claude-sonnet-5-5)" in str(error)
    assert "No, sorry." in str(error)
    assert type(error.__cause__).__module__.startswith("anthropic")


@pytest.mark.parametrize(
    ("name", "kind"),
    [(name, kind) for status, name, kind in FAULTS if status not in (409, 503)],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_the_same_error_inside_a_stream_has_the_same_type(
    server: ProtocolServer, name: str, kind: type[LLMError]
):
    server.script(Answer(["Once", " upon", ErrorInside(name, "No, sorry.")]))

    async with MiniAgents():
        [message] = [message async for message in claude_agent.inquire("Hi")]
        tokens: list[str] = []
        with pytest.raises(LLMError) as raised:
            async for token in message:
                tokens += [token]

    error = raised.value
    assert tokens == ["Once", " upon"]
    assert type(error) is kind
    assert (error.status_code, error.code, error.request_id) == (None, name, "req_loopback")
    assert (error.provider, error.model, error.partial_text) == ("anthropic", "claude-sonnet-5-5", "Once upon")


@pytest.mark.parametrize(
    ("reply", "kind", "sentence"),
    [
        pytest.param(Answer(["Once", Cut()]), IncompleteStreamError, "without the event `message_stop`", id="cut"),
        pytest.param(
            Answer("Once", end_mark=False), IncompleteStreamError, "a part of it may be missing", id="no stop"
        ),
        pytest.param(Answer(["Once", Drop()]), ConnectionLostError, "broke", id="dropped"),
        pytest.param(Answer(["Once", Reset()]), ConnectionLostError, "broke", id="reset"),
        pytest.param(Answer(["Once", BadJSON()]), ProviderError, "makes no sense", id="bad JSON"),
        pytest.param(Answer(["Once", Raw(b"data: 7\n\n")]), ProviderError, "makes no sense", id="no event"),
        pytest.param(
            Answer(["Once", Raw(b'data: {"type": "content_block_delta"}\n\n')]),
            ProviderError,
            "no sense",
            id="no delta",
        ),
    ],
)
async def test_a_broken_stream_is_an_error_behind_what_came(
    server: ProtocolServer, reply: Answer, kind: type[LLMError], sentence: str
):
    server.script(reply)

    error = await failure()

    assert type(error) is kind
    assert sentence in str(error)
    assert (error.partial_text, error.request_id) == ("Once", "req_loopback")


@STREAMED_AND_WHOLE
@pytest.mark.parametrize(
    "reply",
    [HTML_PAGE, Body(b"not json", "application/json"), Body(b'{"neither": "nor"}', "application/json")],
    ids=["a web page", "no JSON", "no message"],
)
async def test_what_is_no_answer_at_all_is_shown(server: ProtocolServer, reply: Body, stream: bool):
    server.script(reply)

    error = await failure(stream=stream)

    assert type(error) is ProviderError
    assert error.raw_text == reply.data.decode()
    assert "Is `base_url` right" in str(error)


async def test_a_whole_message_in_place_of_a_stream_is_an_answer(server: ProtocolServer):
    server.script(Answer("Hello there", wire="json"), Answer("Hello there", wire="sse"))

    async with MiniAgents():
        [streamed] = await claude_agent.inquire("Hi", stream=True)
        [whole] = await claude_agent.inquire("Hi", stream=False)

    assert (str(streamed), str(whole)) == ("Hello there", "Hello there")


async def test_a_server_that_is_silent_is_a_timeout(server: ProtocolServer):
    server.script(Silence(), Answer(["Once", Silence()]))

    before, within = await failure(timeout=0.2), await failure(timeout=0.2)

    assert (type(before), type(within)) == (ModelTimeoutError, ModelTimeoutError)
    assert "`timeout=` sets how many seconds it may take" in str(before)
    assert within.partial_text == "Once"


async def test_nobody_there_is_a_lost_connection(server: ProtocolServer):
    error = await failure(base_url="http://127.0.0.1:1")

    assert type(error) is ConnectionLostError
    assert isinstance(error, ConnectionError)


@pytest.mark.parametrize("reply", [Failure(429, retry_after_s=0.001), Failure(529, retry_after_s=0.001), Drop()])
async def test_what_fails_before_the_first_byte_is_asked_again(server: ProtocolServer, reply: Any):
    server.script(reply, "Hello!")

    async with MiniAgents():
        [message] = await claude_agent.inquire("Hi", max_retries=1)

    assert str(message) == "Hello!"
    assert len(server.requests) == 2


async def test_retries_are_not_multiplied_by_those_of_the_sdk(server: ProtocolServer):
    server.script(*[Failure(429, retry_after_s=0.001)] * 9)

    error = await failure(max_retries=2)

    assert type(error) is RateLimitedError
    assert len(server.requests) == 3


async def test_an_error_before_the_first_token_of_a_stream_is_asked_again(server: ProtocolServer):
    server.script(Answer([ErrorInside("overloaded_error")]), "Hello!")

    async with MiniAgents():
        [message] = await claude_agent.inquire("Hi", max_retries=1)

    assert str(message) == "Hello!"


async def test_a_torn_answer_can_begin_anew(server: ProtocolServer):
    server.script(Answer(["Once", Drop()]), "Once upon a time")

    async with MiniAgents():
        torn, whole = await claude_agent.inquire("Hi", max_retries=1, on_midstream_failure="restart")

    assert (str(torn), torn.interrupted) == ("Once", True)
    assert (str(whole), whole.interrupted) == ("Once upon a time", None)


async def test_leaving_a_stream_closes_its_connection(server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["Once", gate, " upon"]))

    async with MiniAgents():
        async with claude_agent.inquire("Hi") as replies:
            async for message in replies:
                async for _ in message:
                    break
                break

        async with asyncio.timeout(5):
            assert await server.requests[0].ended() == "closed by the client"
