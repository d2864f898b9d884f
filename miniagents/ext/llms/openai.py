"""`OpenAIAgent`: models behind OpenAI's chat completions, also those of other servers that speak its protocol."""

import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Annotated, Any, ClassVar, Final, Literal, Protocol

from pydantic import SkipValidation
from pydantic_core import from_json

from miniagents.ext.llms._answers import RawResponse, read_answer
from miniagents.ext.llms._clients import ClientPool, load_sdk
from miniagents.ext.llms._deltas import finished, merge_delta
from miniagents.ext.llms._parameters import for_sdk
from miniagents.ext.llms._sse import ServerSentEvent
from miniagents.ext.llms.errors import MissingAPIKeyError, ReportedError, WrongClientError
from miniagents.ext.llms.llm_common import AssistantMessage, LLMAgent, TokenUsage
from miniagents.ext.llms.prompt import Prompt
from miniagents.messages import Message
from miniagents.miniagents import miniagent

_KEY_VARIABLE: Final = "OPENAI_API_KEY"
# Of a response: put together apart from the rest, or padding.
_FIELDS_APART: Final = frozenset({"choices", "usage", "object", "obfuscation"})


class OpenAIClient(Protocol):
    """An `openai.AsyncOpenAI`, or a client of a subclass."""

    @property
    def chat(self) -> Any:
        """Where `chat.completions` is."""
        ...

    @property
    def embeddings(self) -> Any:
        """Where `embeddings.create` is."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


class OpenAIMessage(AssistantMessage):
    """An answer of `OpenAIAgent`, with the fields of the response: `id`, `created`, `choices[0].finish_reason`, ...

    `content` is the text of the first choice, which is therefore not repeated in `choices[0].message`; whatever else
    the model sent (`tool_calls`, `refusal`, `reasoning_content`, the texts of further choices) is there.
    """


@miniagent(alias="OPENAI_AGENT")
class OpenAIAgent(LLMAgent):
    """Ask a model through OpenAI's chat completions.

    The key is taken from the environment variable OPENAI_API_KEY, the server from OPENAI_BASE_URL if that is set.
    `LLMAgent` tells what happens to the messages and which settings there are. Any parameter of the API passes through,
    those that the SDK does not know as well: `temperature=`, `max_tokens=`, `tools=`, `extra_headers=`, `timeout=`, ...

    Two things are mended when a server refuses them, by asking once more: `max_tokens` is sent as
    `max_completion_tokens` to models that only take that, and the request for the usage of a stream is left out for
    servers that do not know it.

    Attributes:
        async_client: an `openai.AsyncOpenAI` to use in place of our own, for other keys, servers and clouds; yours to
            close.
        end_mark: what tells that a stream is complete. The protocol says `data: [DONE]`; for a server that never sends
            it, `"finish_reason"` takes the `finish_reason` of the answer in its place.
    """

    answer_class: ClassVar[type[Message]] = OpenAIMessage

    async_client: Annotated[OpenAIClient | None, SkipValidation] = None
    end_mark: Literal["[DONE]", "finish_reason"] = "[DONE]"

    def stream_answer(self, prompt: Prompt, answer_fields: dict[str, Any]) -> AsyncIterator[str]:
        """Send the prompt and yield the tokens of the answer."""
        who = f"`{self.agent_alias}` ({self.model})"
        reader = _ChatReader(who, done_is_needed=self.end_mark == "[DONE]")
        return read_answer(self._response(prompt), reader, answer_fields, who=who)

    @asynccontextmanager
    async def _response(self, prompt: Prompt) -> AsyncGenerator[RawResponse]:
        client = await openai_client(self.async_client, self.agent_alias)
        parameters: dict[str, Any] = {
            "model": self.model,
            "messages": prompt.dicts,
            "stream": self.stream,
            "stream_options": {"include_usage": True} if self.stream else None,
            **self.api_parameters,
        }
        completions: Any = client.chat.completions
        open_response = completions.with_streaming_response.create
        async with AsyncExitStack() as closing_the_response:
            try:
                opening = open_response(**for_sdk(completions.create, parameters))
                response: RawResponse = await closing_the_response.enter_async_context(opening)
            except load_sdk("openai", self.agent_alias).BadRequestError as error:
                mended = self._mended(parameters, str(error))
                if mended is None:
                    raise
                opening = open_response(**for_sdk(completions.create, mended))
                response = await closing_the_response.enter_async_context(opening)
            yield response

    def _mended(self, parameters: dict[str, Any], refusal: str) -> dict[str, Any] | None:
        if "stream_options" in refusal and parameters["stream_options"] and "stream_options" not in self.api_parameters:
            return {**parameters, "stream_options": None}
        if "max_completion_tokens" in refusal and parameters.get("max_tokens") is not None:
            return {**parameters, "max_tokens": None, "max_completion_tokens": parameters["max_tokens"]}
        return None


class _ChatReader:
    """Reads `chat.completion.chunk` events, or one `chat.completion`."""

    end_mark = "`data: [DONE]`"

    def __init__(self, who: str, *, done_is_needed: bool) -> None:
        self._who = who
        self._done_is_needed = done_is_needed
        self._is_done = False
        self._fields: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._usage: dict[str, Any] | None = None

    @property
    def is_complete(self) -> bool:
        return self._is_done

    @property
    def may_end_here(self) -> bool:
        return self._is_done or (self._is_finished and not self._done_is_needed)

    @property
    def hint(self) -> str:
        return "If this server never sends it: `fork(end_mark='finish_reason')`." if self._is_finished else ""

    @property
    def _is_finished(self) -> bool:
        return bool(self._choices.get(0, {}).get("finish_reason"))

    def event(self, event: ServerSentEvent) -> str | None:
        if event.data == b"[DONE]":
            self._is_done = True
            return None
        chunk: dict[str, Any] = from_json(event.data)
        self._raise_error_in(chunk)
        self._take_fields(chunk)
        token: str | None = None
        # Empty in the chunk with the usage, and in the first one of some clouds.
        for choice in chunk.get("choices") or ():
            text = self._take_choice(choice)
            if text and not choice.get("index"):
                token = text if token is None else token + text
        return token

    def body(self, body: Any) -> str:
        self._raise_error_in(body)
        self._take_fields(body)
        text = ""
        for choice in body["choices"]:
            index = choice.get("index") or 0
            message: dict[str, Any] = choice.get("message") or {}
            if index == 0:
                text = _text_of(message.pop("content", None))
            self._choices[index] = choice
        self._is_done = True
        return text

    def fields(self) -> dict[str, Any]:
        return {
            **self._fields,
            "object": "chat.completion",
            "choices": [finished(self._choices[index]) for index in sorted(self._choices)],
            "raw_usage": self._usage,
            "usage": _usage_of(self._usage or {}),
        }

    def _raise_error_in(self, body: dict[str, Any]) -> None:
        if body.get("error"):
            raise ReportedError(self._who, body["error"])

    def _take_fields(self, chunk: dict[str, Any]) -> None:
        for name, value in chunk.items():
            if value is not None and name not in _FIELDS_APART:
                self._fields[name] = value
        if usage := chunk.get("usage"):
            self._usage = usage

    def _take_choice(self, choice: dict[str, Any]) -> str:
        index: int = choice.get("index") or 0
        whole = self._choices.get(index)
        if whole is None:
            whole = self._choices[index] = {"index": index, "message": {}}
        text = ""
        for name, value in choice.items():
            if name == "delta":
                # The promise keeps the tokens of the first choice; here they would be kept a second time.
                if index == 0 and value and "content" in value:
                    text = _text_of(value.pop("content"))
                merge_delta(whole["message"], value or {})
            elif value is None:
                whole.setdefault(name, None)
            elif name != "index":
                merge_delta(whole, {name: value})
        return text


def _text_of(content: Any) -> str:
    """The text of `content`, which a few servers send as a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or ())


def _usage_of(raw: dict[str, Any]) -> TokenUsage:
    prompt: dict[str, Any] = raw.get("prompt_tokens_details") or {}
    completion: dict[str, Any] = raw.get("completion_tokens_details") or {}
    return TokenUsage(
        input_tokens=raw.get("prompt_tokens"),
        output_tokens=raw.get("completion_tokens"),
        cache_read_tokens=prompt.get("cached_tokens"),
        cache_write_tokens=prompt.get("cache_write_tokens"),
        reasoning_tokens=completion.get("reasoning_tokens"),
    )


def _build_client() -> OpenAIClient:
    return load_sdk("openai", "OPENAI_AGENT").AsyncOpenAI()


_clients = ClientPool(
    _build_client, (_KEY_VARIABLE, "OPENAI_ADMIN_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
)


async def openai_client(async_client: OpenAIClient | None, agent_alias: str) -> OpenAIClient:
    """`async_client` if there is one, else the running loop's.

    Raises:
        MissingSDKError: the package `openai` is not installed.
        MissingAPIKeyError: the environment has no key.
        WrongClientError: `async_client` is something else.
    """
    if async_client is not None:
        sdk = load_sdk("openai", agent_alias)
        if not isinstance(async_client, sdk.AsyncOpenAI):
            raise WrongClientError(agent_alias, async_client, "openai.AsyncOpenAI")
        return async_client
    if not os.environ.get(_KEY_VARIABLE) and not os.environ.get("OPENAI_ADMIN_KEY"):
        raise MissingAPIKeyError(agent_alias, _KEY_VARIABLE, "openai.AsyncOpenAI")
    return await _clients.client()
