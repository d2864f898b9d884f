"""`AnthropicAgent`: models behind Anthropic's messages API. For Claude on Bedrock and Vertex see `anthropic_clouds`."""

import logging
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any, ClassVar, Final, Protocol

from pydantic import SkipValidation

from miniagents.ext.llms._adapters.answers import RawResponse, read_answer
from miniagents.ext.llms._adapters.claude_models import SAMPLING_PARAMETERS, check_options
from miniagents.ext.llms._adapters.clients import ClientPool, load_sdk
from miniagents.ext.llms._anthropic.answer import MessageReader
from miniagents.ext.llms._anthropic.frames import readable
from miniagents.ext.llms._anthropic.request import body_of
from miniagents.ext.llms._common.faults import LONGEST_TOLD_WAIT_S, retry_after_s
from miniagents.ext.llms._common.parameters import for_sdk
from miniagents.ext.llms._common.setting_checks import sendable_key
from miniagents.ext.llms._turns.model_turn import observing_contexts
from miniagents.ext.llms.errors import MissingAPIKeyError, WrongClientError
from miniagents.ext.llms.llm_common import AssistantMessage, LLMAgent
from miniagents.ext.llms.model_events import ModelEvent, ModelRequest
from miniagents.messages import Message
from miniagents.miniagents import miniagent

_logger = logging.getLogger(__name__)

_KEY_VARIABLE: Final = "ANTHROPIC_API_KEY"
_VARIABLES: Final = (_KEY_VARIABLE, "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE", "ANTHROPIC_BASE_URL")
# The version that takes `temperature` and its kin: in a header, or in the body with the clients of these names.
_VERSION_WITH_SAMPLING: Final = {"anthropic-version": "2023-06-01"}
_BEDROCK: Final = "AsyncAnthropicBedrock"
_VERSION_IN_BODY: Final = {_BEDROCK: "bedrock-2023-05-31", "AsyncAnthropicVertex": "vertex-2023-10-16"}


class AnthropicClient(Protocol):
    """An `anthropic.AsyncAnthropic`, or one of the SDK's asynchronous clients for the clouds."""

    @property
    def messages(self) -> Any:
        """Where `messages.create` is."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


class AnthropicMessage(AssistantMessage):
    """A text of Claude's. The last message of a turn has the fields of the response: `id`, `stop_reason`, ...

    Citations, and what the tools that run at Anthropic's were asked and answered, are in `provider_data`: the content
    blocks that the text is made of, as they go back. A text that is one plain block has None there.

    Attributes:
        stop_reason: (last message) the provider's own word for `finish_reason`.
        stop_sequence: (last message) which of the `stop_sequences` it was.
    """

    stop_reason: str | None = None
    stop_sequence: str | None = None


class AnthropicBaseAgent(LLMAgent):
    """What the agents for Claude have in common, wherever it runs."""

    answer_class: ClassVar[type[Message]] = AnthropicMessage
    retries_by_itself: ClassVar[bool] = True
    client_class: ClassVar[str] = "AsyncAnthropic"
    """The name of the SDK's class that is built where there is no `async_client`."""

    max_tokens: int | None = None
    async_client: Annotated[AnthropicClient | None, SkipValidation] = None

    def check_options(self) -> None:
        """Refuse the options that the model refuses, before anything is sent.

        Raises:
            UnsupportedOptionError: names the option, and what to do in its place.
        """
        check_options(self.agent_alias, self.model, self.thinking_level, self.api_parameters)

    def stream_turn(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Send the request and yield the events of the answer."""
        reader = MessageReader(self.who, provider=self.provider, model=self.model)
        return read_answer(
            self._response(request, reader), reader, who=self.who, provider=self.provider, model=self.model
        )

    async def own_client(self) -> AnthropicClient:
        """Give the running loop's client; an LLMError if there is no key or the like."""
        raise NotImplementedError

    @asynccontextmanager
    async def _response(self, request: ModelRequest, reader: MessageReader) -> AsyncGenerator[RawResponse]:
        client = await self._client(request)
        sdk = load_sdk("anthropic", self.agent_alias)
        body = body_of(
            request, agent_alias=self.agent_alias, max_tokens=self.max_tokens, enforceable=sdk.transform_schema
        )
        if any(body.get(name) is not None for name in SAMPLING_PARAMETERS):
            body = _with_sampling(client, body)
        async with AsyncExitStack() as closing_the_response:
            messages: Any = client.messages
            open_response = messages.with_streaming_response.create
            try:
                opening = open_response(**for_sdk(messages.create, body))
                response: RawResponse = await closing_the_response.enter_async_context(opening)
            except ValueError:
                # The SDK refuses to wait in silence for an answer that may be this long. Streamed, it is not silent.
                if request.stream:
                    raise
                opening = open_response(**for_sdk(messages.create, {**body, "stream": True}))
                response = await closing_the_response.enter_async_context(opening)
            # The same object, but for a client of Bedrock's.
            yield (
                response
                if _BEDROCK not in _kinds(client)
                else readable(response, who=self.who, provider=self.provider, model=self.model)
            )
        if self.max_tokens is None and reader.was_cut_off:
            _logger.warning(
                "The answer of `%s` was cut off at the default `max_tokens=%d`: pass a larger `max_tokens=`.",
                self.agent_alias,
                body["max_tokens"],
            )

    async def _client(self, request: ModelRequest) -> Any:
        given: Any = self.async_client
        if given is None:
            client: Any = await self.own_client()
        else:
            sdk = load_sdk("anthropic", self.agent_alias)
            if isinstance(given, sdk.Anthropic) or not hasattr(given, "messages"):
                raise WrongClientError(self.agent_alias, given, f"anthropic.{self.client_class}")
            client = given
            if observing_contexts() and hasattr(given, "open_telemetry"):
                # Ours is the span of this request; the SDK's own would be a second one.
                client = given.with_options(open_telemetry={**given.open_telemetry, "traces": False})
            if "max_retries" not in self.model_fields_set and not request.is_sent_once:
                # Whoever hands over a client has told it how often to try.
                return client
        has_other = getattr(client, "max_retries", request.max_retries) != request.max_retries
        return client.with_options(max_retries=request.max_retries) if has_other else client

    def key(self) -> str | None:
        """Give `api_key`, without the line end that it has where it was read from a file.

        Raises:
            AuthenticationError: it cannot be sent. The SDK's own error would show it.
        """
        return None if self.api_key is None else sendable_key(self.api_key.get_secret_value(), self.who)


def _kinds(client: object) -> list[str]:
    return [kind.__name__ for kind in type(client).__mro__]


def _with_sampling(client: object, body: dict[str, Any]) -> dict[str, Any]:
    for kind in _kinds(client):
        if kind in _VERSION_IN_BODY:
            return {"anthropic_version": _VERSION_IN_BODY[kind], **body}
    headers: dict[str, str] = body.get("extra_headers") or {}
    if any(name.lower() == "anthropic-version" for name in headers):
        return body
    return {**body, "extra_headers": {**headers, **_VERSION_WITH_SAMPLING}}


@miniagent(alias="ANTHROPIC_AGENT")
class AnthropicAgent(AnthropicBaseAgent):
    """Ask a model through Anthropic's messages API.

    The key is taken from `api_key`, the environment variable ANTHROPIC_API_KEY, or whatever else the SDK takes it from,
    the server from `base_url` or ANTHROPIC_BASE_URL. `LLMAgent` tells what happens to the messages and which settings
    there are. Any parameter of the API passes through, those that the SDK does not know as well. Tools that run at
    Anthropic's are given as they are: `tools=[my_function, {"type": "web_search_20260318", "name": "web_search"}]`.

    A turn that such tools keep busy for long ends with `stop_reason="pause_turn"` (and `finish_reason="stop"`): asked
    again with its own messages at the end, the model goes on where it paused.

    `thinking` becomes adaptive thinking with an effort for models from 4.6 on, a budget of 2048, 8192 or 16384 tokens
    for older ones. Thoughts are sent back to the model that had them, word for word.

    `cache=True` marks the tools and the system prompt, and the dialog up to the model's last turn, unless a mark of
    yours (`cache_control`) is there already.

    `temperature`, `top_p` and `top_k` were removed from the API's current version. For models up to 4.6, a call that
    gives one of them is sent as one of the version before (header `anthropic-version: 2023-06-01`); give that header in
    `extra_headers` yourself to decide otherwise. Newer models refuse them, and so does this agent.

    Attributes:
        max_tokens: the longest answer, thoughts included. Without it 4096, which all models accept, and the budget of
            `thinking` on top. An answer that this default cuts off has `finish_reason="length"`, and a warning goes to
            the log.
        async_client: an `anthropic.AsyncAnthropic` (or one of the SDK's clients for the clouds) to use in place of our
            own; yours to close. Its own `max_retries` counts, unless the agent is given one.
    """

    provider: ClassVar[str] = "anthropic"

    async def own_client(self) -> AnthropicClient:
        """Give the running loop's client for the key and server of this agent.

        Raises:
            MissingSDKError: the package `anthropic` is not installed.
            MissingAPIKeyError: neither this agent, the environment, nor the SDK's own configuration has a key.
        """
        key = self.key()
        if key is None and os.environ.get(_KEY_VARIABLE):
            key = sendable_key(os.environ[_KEY_VARIABLE], self.who)
        client: Any = await _clients.client(key, self.base_url)
        if client.api_key is None and client.auth_token is None and client.credentials is None:
            raise MissingAPIKeyError(self.agent_alias, _KEY_VARIABLE, "anthropic.AsyncAnthropic")
        return client


def _build_client(api_key: str | None, base_url: str | None) -> AnthropicClient:
    sdk = load_sdk("anthropic", "ANTHROPIC_AGENT")
    return sdk.AsyncAnthropic(api_key=api_key, base_url=base_url, **client_options(sdk))


def client_options(sdk: Any) -> dict[str, Any]:
    """Give what the SDK's clients of ours have in common."""
    return {
        # Its own tracing would report no usage, since it does not see the answers that are read here.
        "open_telemetry": {"traces": False},
        "http_client": sdk.DefaultAsyncHttpxClient(event_hooks={"response": [_forbid_long_waits]}),
    }


async def _forbid_long_waits(response: Any) -> None:
    # The SDK would wait for an hour, or for weeks, if it is told so.
    if (retry_after_s(response.headers) or 0.0) > LONGEST_TOLD_WAIT_S:
        response.headers["x-should-retry"] = "false"


_clients = ClientPool(_build_client, _VARIABLES)
