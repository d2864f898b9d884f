"""Fault x provider x streamed or whole: whatever goes wrong, and wherever, it is the same error of one tree."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.ext.llms.errors import (
    AuthenticationError,
    BadRequestError,
    ConnectionLostError,
    IncompleteStreamError,
    LLMError,
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
    KeepAlive,
    ProtocolServer,
    Reset,
    Silence,
)
from tests.spec.providers import NAMES, OF_EVERY_PROVIDER, STREAMED_AND_WHOLE, agent_of, tokens_and_fault

pytestmark = pytest.mark.allow_blocking("SDKs of clouds read files when they sign; servers are told to stop from here")

ERROR_OF_STATUS: dict[int, type[LLMError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PermissionDeniedError,
    403: PermissionDeniedError,
    404: ModelNotFoundError,
    408: ModelTimeoutError,
    413: BadRequestError,
    422: BadRequestError,
    429: RateLimitedError,
    500: ProviderError,
    503: OverloadedError,
    504: ModelTimeoutError,
    529: OverloadedError,
}


@OF_EVERY_PROVIDER
@STREAMED_AND_WHOLE
async def test_a_status_is_the_same_error_everywhere_and_tells_all_that_is_known(
    model_server: ProtocolServer, mini_agents: MiniAgents, provider: str, stream: bool
) -> None:
    agent = agent_of(provider, model_server.url, stream=stream, max_retries=0)
    cells: dict[int, Any] = {}
    for status in ERROR_OF_STATUS:
        model_server.script(Failure(status, f"What a pity {status}", retry_after_s=2.0))

        tokens, fault = await tokens_and_fault(agent)

        cells[status] = type(fault)
        assert (fault.status_code, fault.provider, fault.model) == (status, *NAMES[provider])
        assert (fault.request_id, fault.retry_after_s) == ("req_loopback", 2.0)
        assert (tokens, fault.partial_text) == ([], "")
        assert isinstance(fault.code, str)
        assert fault.code
        assert isinstance(fault.__cause__, Exception)
        assert f"What a pity {status}" in str(fault)
        assert f"({NAMES[provider][1]})" in str(fault)
    assert cells == ERROR_OF_STATUS
    assert len(model_server.requests) == len(ERROR_OF_STATUS)


def _open_after(gate: Gate, text: str, read: str) -> None:
    if read == text:
        gate.open()


def is_id(request_id: str | None) -> bool:
    """Whether this is the server's name of a request; Google's stands in the answer, that of others in a header."""
    return request_id is not None and request_id.startswith(("req_loopback", "gemini-"))


@dataclass(frozen=True)
class Fault:
    """What a server does instead of answering well, and what that is for whoever reads the answer.

    `streamed` and `whole` are the text that comes before the error; None where there is no such fault.
    """

    reply: Any
    error: type[LLMError]
    streamed: str | None = ""
    whole: str | None = ""
    is_of_the_sdk: bool = True


FAULTS = {
    "closed before the first byte": Fault(Drop(), ConnectionLostError),
    "reset before the first byte": Fault(Reset(), ConnectionLostError),
    "closed in the middle": Fault(Answer(["Once", " upon", Drop()]), ConnectionLostError, streamed="Once upon"),
    "reset in the middle": Fault(Answer(["Once", " upon", Reset()]), ConnectionLostError, streamed="Once upon"),
    "cut off": Fault(Answer(["Once", Cut()]), IncompleteStreamError, "Once", whole=None, is_of_the_sdk=False),
    "cut off at once": Fault(Answer([Cut()]), IncompleteStreamError, whole=None, is_of_the_sdk=False),
    "no end mark": Fault(
        Answer(["Once", KeepAlive()], end_mark=False, finish=None), IncompleteStreamError, "Once", whole=None, is_of_the_sdk=False
    ),
    "bad JSON at once": Fault(Answer([BadJSON()]), ProviderError),
    "bad JSON in the middle": Fault(Answer(["Once", BadJSON()]), ProviderError, streamed="Once"),
    "a web page": Fault(HTML_PAGE, ProviderError, is_of_the_sdk=False),
    "JSON of something else": Fault(Body(b'{"neither": "nor"}', "application/json"), ProviderError, is_of_the_sdk=False),
    "nothing at all": Fault(Body(b"", "application/json"), ProviderError, streamed=None, is_of_the_sdk=False),
    "a page of a gateway": Fault(Body(b"<html>Bad gateway</html>", status=502), ProviderError),
}  # fmt: skip


@OF_EVERY_PROVIDER
@STREAMED_AND_WHOLE
async def test_a_fault_is_the_same_error_everywhere_at_its_place(
    model_server: ProtocolServer, mini_agents: MiniAgents, provider: str, stream: bool
) -> None:
    agent = agent_of(provider, model_server.url, stream=stream, max_retries=0)
    expected: dict[str, Any] = {}
    cells: dict[str, Any] = {}
    for name, fault in FAULTS.items():
        text = fault.streamed if stream else fault.whole
        if text is None:
            continue
        reply, gate = fault.reply, Gate()
        if stream and text:
            # It happens when what comes before it has been read: a reset takes along what is still on its way.
            reply = replace(reply, parts=[*reply.parts[:-1], gate, *reply.parts[-1:]])
        model_server.script(reply)

        tokens, error = await tokens_and_fault(agent, partial(_open_after, gate, text))

        # Whoever got a response that began knows its id.
        expected[name] = (fault.error, text, text, bool(text))
        cells[name] = (type(error), "".join(tokens), error.partial_text, bool(text) and is_id(error.request_id))
        assert (error.provider, error.model) == NAMES[provider]
        assert f"({NAMES[provider][1]})" in str(error)
        assert isinstance(error.__cause__, Exception) or not fault.is_of_the_sdk
    assert cells == expected
    assert len(model_server.requests) == len(cells)


@OF_EVERY_PROVIDER
async def test_nobody_there_is_the_same_error_everywhere(
    model_server: ProtocolServer, mini_agents: MiniAgents, provider: str
) -> None:
    agent = agent_of(provider, model_server.url, max_retries=0)
    with model_server.refusing_connections():
        for stream in (True, False):
            tokens, error = await tokens_and_fault(agent, stream=stream)

            assert type(error) is ConnectionLostError
            assert (tokens, error.status_code, error.request_id) == ([], None, None)
            assert (error.provider, error.model) == NAMES[provider]
            assert isinstance(error.__cause__, Exception)


@OF_EVERY_PROVIDER
@pytest.mark.parametrize(
    ("reply", "stream", "text"),
    [
        pytest.param(Silence(), True, "", id="streamed"),
        pytest.param(Silence(), False, "", id="whole"),
        pytest.param(Answer(["Once", Silence()]), True, "Once", id="in the middle"),
    ],
)
async def test_silence_is_the_same_error_everywhere(
    model_server: ProtocolServer, mini_agents: MiniAgents, provider: str, reply: Any, stream: bool, text: str
) -> None:
    model_server.script(reply)
    agent = agent_of(provider, model_server.url)

    tokens, error = await tokens_and_fault(agent, stream=stream, max_retries=0, timeout=0.3)

    assert type(error) is ModelTimeoutError
    assert ("".join(tokens), error.partial_text) == (text, text)
    assert isinstance(error.__cause__, Exception)
    assert "`timeout=`" in str(error)


_OF_OPENAI = {429: "rate_limit_exceeded", 500: "server_error", 400: "context_length_exceeded"}
_OF_ANTHROPIC = {429: "rate_limit_error", 529: "overloaded_error", 500: "api_error", 400: "invalid_request_error"}
_OF_AMAZON = {
    429: "throttlingException", 503: "serviceUnavailableException", 500: "internalServerException", 400: "validationException"
}  # fmt: skip
_OF_GOOGLE = {429: "RESOURCE_EXHAUSTED", 503: "UNAVAILABLE", 500: "INTERNAL", 400: "INVALID_ARGUMENT"}
NAMES_OF_ERRORS = {
    "openai": _OF_OPENAI,
    "openai-responses": _OF_OPENAI,
    "openai-azure": _OF_OPENAI,
    "openai-compatible": _OF_OPENAI,
    "anthropic": _OF_ANTHROPIC,
    "anthropic-bedrock": _OF_AMAZON,
    "anthropic-vertex": _OF_ANTHROPIC,
    "gemini": _OF_GOOGLE,
    "gemini-vertex": _OF_GOOGLE,
    "bedrock": _OF_AMAZON,
}
"""What each provider calls, inside of a stream, what it has these statuses for."""


@OF_EVERY_PROVIDER
@pytest.mark.parametrize("text", ["", "Once"], ids=["at once", "in the middle"])
async def test_an_error_inside_of_a_stream_has_the_type_that_it_has_as_a_status(
    model_server: ProtocolServer, mini_agents: MiniAgents, provider: str, text: str
) -> None:
    agent = agent_of(provider, model_server.url, max_retries=0)
    cells: dict[int, Any] = {}
    for status, name in NAMES_OF_ERRORS[provider].items():
        model_server.script(Answer([*([text] if text else []), ErrorInside(name, "What a pity")]))

        tokens, error = await tokens_and_fault(agent)

        cells[status] = type(error)
        assert ("".join(tokens), error.partial_text) == (text, text)
        assert str(error.code).lower() == name.lower()
        assert (error.provider, error.model) == NAMES[provider]
        # Google tells it with the answer, not before.
        assert is_id(error.request_id) or (provider in ("gemini", "gemini-vertex") and not text)
        assert "What a pity" in str(error)
    assert cells == {status: ERROR_OF_STATUS[status] for status in NAMES_OF_ERRORS[provider]}


@OF_EVERY_PROVIDER
async def test_one_json_body_in_place_of_a_stream_is_an_answer(
    model_server: ProtocolServer, mini_agents: MiniAgents, provider: str
) -> None:
    model_server.script(Answer("Hello there", wire="json"))

    [message] = await agent_of(provider, model_server.url).inquire("Hi", max_retries=0)

    assert (str(message), message.finish_reason) == ("Hello there", "stop")
    assert message.usage.output_tokens > 0
