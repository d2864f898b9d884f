"""Every HTTP error, as the error of our tree, for both of OpenAI's APIs, streamed and whole."""

import openai
import pytest

from miniagents import MiniAgent, MiniAgents
from miniagents.ext.llms import LLMError, OpenAIAgent
from miniagents.ext.llms.errors import (
    AuthenticationError,
    BadRequestError,
    ModelNotFoundError,
    ModelTimeoutError,
    OverloadedError,
    PermissionDeniedError,
    ProviderError,
    RateLimitedError,
)
from miniagents.ext.llms.openai_responses import OpenAIResponsesAgent
from miniagents.testing.server import Body, Failure, ProtocolServer

ERROR_OF_STATUS: dict[int, type[LLMError]] = {
    400: BadRequestError,
    401: AuthenticationError,
    402: PermissionDeniedError,
    403: PermissionDeniedError,
    404: ModelNotFoundError,
    408: ModelTimeoutError,
    409: ProviderError,
    413: BadRequestError,
    422: BadRequestError,
    429: RateLimitedError,
    500: ProviderError,
    503: OverloadedError,
    504: ModelTimeoutError,
    529: OverloadedError,
}

pytestmark = pytest.mark.parametrize(
    "agent", [OpenAIAgent.fork(model="gpt-4o"), OpenAIResponsesAgent.fork(model="gpt-4o")], ids=["chat", "responses"]
)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize(("status", "expected"), ERROR_OF_STATUS.items())
async def test_a_status_is_an_error_that_tells_all_that_is_known(
    agent: MiniAgent, server: ProtocolServer, status: int, expected: type[LLMError], stream: bool
):
    server.script(Failure(status, "What a pity", retry_after_s=2.0))

    async with MiniAgents():
        with pytest.raises(LLMError, match="What a pity") as raised:
            await agent.inquire("Hi", stream=stream, max_retries=0)

    error = raised.value
    assert type(error) is expected
    assert (error.provider, error.model, error.status_code) == ("openai", "gpt-4o", status)
    assert error.request_id == "req_loopback"
    assert error.retry_after_s == 2.0
    assert isinstance(error.__cause__, openai.APIStatusError)
    assert error.code == (error.__cause__.code or error.__cause__.type)


async def test_an_error_page_of_a_proxy_is_an_error_by_its_status(agent: MiniAgent, server: ProtocolServer):
    server.script(Body(b"<html>Bad gateway</html>", "text/html", status=502))

    async with MiniAgents():
        with pytest.raises(ProviderError, match="Bad gateway") as raised:
            await agent.inquire("Hi", max_retries=0)

    assert raised.value.status_code == 502
