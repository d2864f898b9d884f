"""`AnthropicAgent`: models behind Anthropic's messages API."""

import logging
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any, ClassVar, Final, Protocol

from pydantic import SkipValidation
from pydantic_core import from_json

from miniagents.ext.llms._answers import RawResponse, read_answer
from miniagents.ext.llms._clients import ClientPool, load_sdk
from miniagents.ext.llms._parameters import for_sdk
from miniagents.ext.llms._sse import ServerSentEvent
from miniagents.ext.llms.errors import EmptyPromptError, MissingAPIKeyError, ReportedError, WrongClientError
from miniagents.ext.llms.llm_common import AssistantMessage, LLMAgent, TokenUsage
from miniagents.ext.llms.prompt import Prompt
from miniagents.messages import Message
from miniagents.miniagents import miniagent

_logger = logging.getLogger(__name__)

_KEY_VARIABLE: Final = "ANTHROPIC_API_KEY"
# What every Claude model accepts; the API has no default of its own.
DEFAULT_MAX_TOKENS: Final = 4096
# Gone from the API's version of October 2026, refused there with status 400, and accepted by the version before it.
_SAMPLING_PARAMETERS: Final = frozenset({"temperature", "top_p", "top_k"})
_VERSION_WITH_SAMPLING: Final = {"anthropic-version": "2023-06-01"}
# Of a response: put together apart from the rest.
_FIELDS_APART: Final = frozenset({"content", "usage"})


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
    """An answer of `AnthropicAgent`, with the fields of the response: `id`, `stop_reason`, `stop_sequence`, ...

    `content` is the text of all text blocks. If the model sent blocks of other kinds as well (thinking, calls of tools,
    citations), all of them are, in order and as they would be sent back, in `content_blocks`.
    """


@miniagent(alias="ANTHROPIC_AGENT")
class AnthropicAgent(LLMAgent):
    """Ask a model through Anthropic's messages API.

    The key is taken from the environment variable ANTHROPIC_API_KEY (or from whatever else the SDK takes it), the
    server from ANTHROPIC_BASE_URL if that is set. `LLMAgent` tells what happens to the messages and which settings
    there are. Any parameter of the API passes through, those that the SDK does not know as well.

    `temperature`, `top_p` and `top_k` were removed from the API's current version. A call that gives one of them is
    sent as one of the version before (header `anthropic-version: 2023-06-01`), which takes them for the models that
    know them; give that header in `extra_headers` yourself to decide otherwise.

    Attributes:
        max_tokens: the longest answer; without it 4096, which all models accept, and on top of that the budget, if
            `thinking` has one. An answer that this default cuts off has `stop_reason="max_tokens"`, and a warning goes
            to the log.
        async_client: an `anthropic.AsyncAnthropic` (or one of the SDK's clients for the clouds) to use in place of our
            own; yours to close.
    """

    answer_class: ClassVar[type[Message]] = AnthropicMessage

    max_tokens: int | None = None
    async_client: Annotated[AnthropicClient | None, SkipValidation] = None

    def stream_answer(self, prompt: Prompt, answer_fields: dict[str, Any]) -> AsyncIterator[str]:
        """Send the prompt and yield the tokens of the answer."""
        who = f"`{self.agent_alias}` ({self.model})"
        reader = _MessageReader(who)
        return read_answer(self._response(prompt, reader), reader, answer_fields, who=who)

    @asynccontextmanager
    async def _response(self, prompt: Prompt, reader: "_MessageReader") -> AsyncGenerator[RawResponse]:
        if not prompt.turns:
            # With `fake_first_user_message=None`: this API takes no system prompt alone.
            raise EmptyPromptError(self.agent_alias)
        client = await anthropic_client(self.async_client, self.agent_alias)
        parameters = self._parameters(prompt)
        async with AsyncExitStack() as closing_the_response:
            messages: Any = client.messages
            open_response = messages.with_streaming_response.create
            try:
                opening = open_response(**for_sdk(messages.create, parameters))
                response: RawResponse = await closing_the_response.enter_async_context(opening)
            except ValueError:
                # The SDK refuses to wait in silence for an answer that may be this long. Streamed, it is not silent.
                if self.stream:
                    raise
                opening = open_response(**for_sdk(messages.create, {**parameters, "stream": True}))
                response = await closing_the_response.enter_async_context(opening)
            yield response
        if self.max_tokens is None and reader.was_cut_off:
            _logger.warning(
                "The answer of `%s` was cut off at the default `max_tokens=%d`: pass a larger `max_tokens=`.",
                self.agent_alias,
                parameters["max_tokens"],
            )

    def _parameters(self, prompt: Prompt) -> dict[str, Any]:
        own = self.api_parameters
        headers: dict[str, str] = own.pop("extra_headers", None) or {}
        if any(own.get(name) is not None for name in _SAMPLING_PARAMETERS) and not any(
            name.lower() == "anthropic-version" for name in headers
        ):
            headers = {**headers, **_VERSION_WITH_SAMPLING}
        turns = prompt.turn_dicts
        if turns[-1]["role"] == "assistant":
            # The beginning of the answer, put into the model's mouth: refused if white space is at its end.
            turns[-1]["content"] = turns[-1]["content"].rstrip()
        return {
            "model": self.model,
            "messages": turns,
            "system": prompt.system_content or None,
            "max_tokens": self.max_tokens or _default_max_tokens(own.get("thinking")),
            "stream": self.stream,
            "extra_headers": headers or None,
            **own,
        }


def _default_max_tokens(thinking: Any) -> int:
    budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    return DEFAULT_MAX_TOKENS + (budget if isinstance(budget, int) else 0)


class _MessageReader:
    """Reads the events of one message, or one message as a whole."""

    end_mark = "the event `message_stop`"
    hint = ""

    def __init__(self, who: str) -> None:
        self._who = who
        self._is_done = False
        self._fields: dict[str, Any] = {}
        self._blocks: dict[int, _Block] = {}
        self._usage: dict[str, Any] | None = None

    @property
    def is_complete(self) -> bool:
        return self._is_done

    @property
    def may_end_here(self) -> bool:
        return self._is_done

    @property
    def was_cut_off(self) -> bool:
        return self._fields.get("stop_reason") == "max_tokens"

    def event(self, event: ServerSentEvent) -> str | None:
        data: dict[str, Any] = from_json(event.data)
        match data.get("type"):
            case "content_block_delta":
                block = self._blocks.get(data["index"])
                if block is None:
                    block = self._blocks[data["index"]] = _Block({})
                return block.add(data["delta"])
            case "message_start":
                self._take_message(data["message"])
            case "content_block_start":
                block = self._blocks[data["index"]] = _Block(data["content_block"])
                return block.first_text
            case "message_delta":
                self._take_fields(data.get("delta") or {})
                # Counts are totals, not differences, and only those that changed are sent.
                self._take_usage(data.get("usage"))
            case "message_stop":
                self._is_done = True
            case "error":
                raise ReportedError(self._who, data["error"])
            case _:
                # "ping", "content_block_stop", and what may be added to the protocol: it promises to stay readable.
                pass
        return None

    def body(self, body: Any) -> str:
        if body.get("type") == "error" or "error" in body:
            raise ReportedError(self._who, body["error"])
        self._take_message(body)
        for index, block in enumerate(body["content"]):
            self._blocks[index] = _Block(block)
        self._is_done = True
        return "".join(block.first_text or "" for block in self._blocks.values())

    def fields(self) -> dict[str, Any]:
        fields = {**self._fields, "raw_usage": self._usage, "usage": _usage_of(self._usage or {})}
        if any(not block.is_plain_text for block in self._blocks.values()):
            fields["content_blocks"] = [self._blocks[index].finished() for index in sorted(self._blocks)]
        return fields

    def _take_message(self, message: dict[str, Any]) -> None:
        self._take_fields(message)
        self._take_usage(message.get("usage"))

    def _take_fields(self, fields: dict[str, Any]) -> None:
        self._fields.update((name, value) for name, value in fields.items() if name not in _FIELDS_APART)

    def _take_usage(self, usage: dict[str, Any] | None) -> None:
        if usage:
            self._usage = {**(self._usage or {}), **{name: count for name, count in usage.items() if count is not None}}


class _Block:
    """One content block, growing."""

    def __init__(self, start: dict[str, Any]) -> None:
        self._start = start
        # By field; joined at the end.
        self._pieces: dict[str, list[str]] = {}
        self._citations: list[Any] = []

    @property
    def first_text(self) -> str | None:
        """The text that the block began with; all of it in an answer that is not streamed."""
        return self._start.get("text") if self._start.get("type") == "text" else None

    @property
    def is_plain_text(self) -> bool:
        return self._start.get("type", "text") == "text" and not self._citations and not self._start.get("citations")

    def add(self, delta: dict[str, Any]) -> str | None:
        match delta.get("type"):
            case "text_delta":
                text: str = delta["text"]
                self._pieces.setdefault("text", []).append(text)
                return text
            case "thinking_delta":
                self._pieces.setdefault("thinking", []).append(delta["thinking"])
            case "signature_delta":
                self._pieces.setdefault("signature", []).append(delta["signature"])
            case "input_json_delta":
                self._pieces.setdefault("partial_json", []).append(delta["partial_json"])
            case "citations_delta":
                self._citations.append(delta["citation"])
            case _:
                # Kinds of blocks may be added to the protocol.
                pass
        return None

    def finished(self) -> dict[str, Any]:
        block: dict[str, Any] = {"type": "text", **self._start}
        for name, pieces in self._pieces.items():
            whole = "".join(pieces)
            if name == "partial_json":
                block["input"] = _tool_input(whole) if whole else block.get("input") or {}
            else:
                block[name] = (block.get(name) or "") + whole
        if self._citations:
            block["citations"] = [*(block.get("citations") or ()), *self._citations]
        return block


def _tool_input(text: str) -> Any:
    try:
        return from_json(text)
    except ValueError:
        # Cut off, by `max_tokens` for example: what was received is kept as it is.
        return text


def _usage_of(raw: dict[str, Any]) -> TokenUsage:
    read: int | None = raw.get("cache_read_input_tokens")
    written: int | None = raw.get("cache_creation_input_tokens")
    uncached: int | None = raw.get("input_tokens")
    details: dict[str, Any] = raw.get("output_tokens_details") or {}
    return TokenUsage(
        # The provider counts apart what it read from and wrote to its cache.
        input_tokens=None if uncached is None else uncached + (read or 0) + (written or 0),
        output_tokens=raw.get("output_tokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=details.get("thinking_tokens"),
    )


def _build_client() -> AnthropicClient:
    # Its own tracing would report no usage, since it does not see the answers that are read here.
    return load_sdk("anthropic", "ANTHROPIC_AGENT").AsyncAnthropic(open_telemetry={"traces": False})


_clients = ClientPool(_build_client, (_KEY_VARIABLE, "ANTHROPIC_AUTH_TOKEN", "ANTHROPIC_PROFILE", "ANTHROPIC_BASE_URL"))


async def anthropic_client(async_client: AnthropicClient | None, agent_alias: str) -> AnthropicClient:
    """`async_client` if there is one, else the running loop's.

    Raises:
        MissingSDKError: the package `anthropic` is not installed.
        MissingAPIKeyError: neither the environment nor the SDK's own configuration has a key.
        WrongClientError: `async_client` is something else.
    """
    if async_client is None:
        client: Any = await _clients.client()
        if client.api_key is None and client.auth_token is None and client.credentials is None:
            raise MissingAPIKeyError(agent_alias, _KEY_VARIABLE, "anthropic.AsyncAnthropic")
        return client
    sdk = load_sdk("anthropic", agent_alias)
    if isinstance(async_client, sdk.Anthropic) or not hasattr(async_client, "messages"):
        raise WrongClientError(agent_alias, async_client, "anthropic.AsyncAnthropic")
    return async_client
