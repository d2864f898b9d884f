"""Models behind OpenAI's chat completions: at OpenAI, on Azure, and on any other server that speaks this protocol."""

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, SecretStr, SkipValidation

from miniagents.ext.llms._adapters.answers import RawResponse, read_answer
from miniagents.ext.llms._common.secrets import secret_of
from miniagents.ext.llms._openai.chat_reader import ChatReader
from miniagents.ext.llms._openai.chat_request import chat_effort, chat_parameters
from miniagents.ext.llms._openai.clients import (
    OpenAIClient,
    azure_client,
    compatible_client,
    openai_client,
)
from miniagents.ext.llms._openai.mends import CHAT_MENDS
from miniagents.ext.llms._openai.models import ModelTraits, traits_of
from miniagents.ext.llms._openai.opening import opened, retries_of
from miniagents.ext.llms.llm_common import AssistantMessage, LLMAgent
from miniagents.ext.llms.model_events import ModelEvent, ModelRequest
from miniagents.messages import Message
from miniagents.miniagents import miniagent

__all__ = [
    "AzureOpenAIAgent",
    "ChatCompletionsAgent",
    "OpenAIAgent",
    "OpenAIClient",
    "OpenAICompatibleAgent",
    "OpenAIMessage",
    "openai_client",
]


class OpenAIMessage(AssistantMessage):
    """A text of a model behind chat completions. The last one of a turn has the fields of the response.

    These are `id`, `created`, `choices` and whatever else came. The text, the thoughts and the tool calls of the first
    choice are messages, and therefore not repeated in `choices[0].message`; whatever else the model sent (`refusal`,
    `annotations`, the texts of further choices) is there.
    """


class ChatCompletionsAgent(LLMAgent):
    """The base class of agents that talk in OpenAI's chat completions; decorate a subclass with `@miniagent`.

    `LLMAgent` tells what happens to the messages and which settings there are. Any parameter of the API passes through,
    those that the SDK does not know as well: `temperature=`, `max_tokens=`, `extra_headers=`, `timeout=`, ...

    What some servers do not know is left out, or called otherwise, when they refuse it; the request is sent again, and
    the server's way is remembered: the request for the usage of a stream, `max_tokens` or `max_completion_tokens`,
    strict schemas of tools, an effort of thinking that means none.

    Attributes:
        async_client: an `openai.AsyncOpenAI` to use in place of our own; yours to close. Its own `max_retries` counts,
            unless the agent is given one.
        end_mark: what tells that a stream is complete. The protocol says `data: [DONE]`; for a server that never sends
            it, `"finish_reason"` takes the `finish_reason` of the answer in its place.
    """

    provider: ClassVar[str] = "openai"
    answer_class: ClassVar[type[Message]] = OpenAIMessage
    retries_by_itself: ClassVar[bool] = True

    async_client: Annotated[OpenAIClient | None, SkipValidation] = None
    end_mark: Literal["[DONE]", "finish_reason"] = "[DONE]"

    def stream_turn(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Send the request and yield the events of the answer."""
        parameters = chat_parameters(
            request, provider=self.provider, agent_alias=self.agent_alias, traits=self.model_traits()
        )
        reader = ChatReader(
            self.who, provider=self.provider, model=self.model, done_is_needed=self.end_mark == "[DONE]"
        )
        opening = self._response(parameters, request)
        return read_answer(opening, reader, who=self.who, provider=self.provider, model=self.model)

    def check_options(self) -> None:
        """Refuse what the model is known to refuse."""
        chat_effort(
            self.api_parameters,
            self.thinking_level,
            has_tools=bool(self.tools),
            agent_alias=self.agent_alias,
            model=self.model,
            traits=self.model_traits(),
        )

    def model_traits(self) -> ModelTraits | None:
        """What is known of the model; None leaves it to the server to judge the options."""
        return traits_of(self.model)

    async def sdk_client(self) -> Any:
        """The client through which the request goes."""
        return await openai_client(
            self.async_client, self.agent_alias, api_key=secret_of(self.api_key), base_url=self.base_url
        )

    @asynccontextmanager
    async def _response(self, parameters: dict[str, Any], request: ModelRequest) -> AsyncGenerator[RawResponse]:
        async with opened(
            await self.sdk_client(),
            "chat.completions",
            parameters,
            given=request.parameters,
            mends=CHAT_MENDS,
            max_retries=retries_of(self, request),
        ) as response:
            yield response


@miniagent(alias="OPENAI_AGENT")
class OpenAIAgent(ChatCompletionsAgent):
    """Ask a model through OpenAI's chat completions.

    The key is taken from `api_key=`, else from the environment variable OPENAI_API_KEY; the server from `base_url=`,
    else from OPENAI_BASE_URL if that is set. Options that a model is known to refuse are errors before anything is
    sent. `ChatCompletionsAgent` and `LLMAgent` tell the rest.
    """


@miniagent(alias="AZURE_OPENAI_AGENT")
class AzureOpenAIAgent(ChatCompletionsAgent):
    """Ask a model of OpenAI's on Azure.

    Attributes:
        model: the name of the model, or of its deployment.
        azure_endpoint: such as `"https://my-resource.openai.azure.com"`; else from AZURE_OPENAI_ENDPOINT.
        azure_deployment: the name of the deployment, if it is not that of the model.
        api_version: such as `"2025-04-01-preview"`; else from OPENAI_API_VERSION.
        api_key: the key; else from AZURE_OPENAI_API_KEY.
        azure_ad_token: a token of Entra ID in place of the key; else from AZURE_OPENAI_AD_TOKEN.
        azure_ad_token_provider: a function, async or not, that gives such a token for each request.
    """

    provider: ClassVar[str] = "azure-openai"

    azure_endpoint: str | None = None
    azure_deployment: str | None = None
    api_version: str | None = None
    azure_ad_token: SecretStr | None = None
    azure_ad_token_provider: Annotated[Callable[[], str | Awaitable[str]] | None, SkipValidation] = Field(
        default=None, repr=False
    )

    async def sdk_client(self) -> Any:
        """The client through which the request goes."""
        return await azure_client(
            self.async_client,
            self.agent_alias,
            azure_endpoint=self.azure_endpoint,
            azure_deployment=self.azure_deployment,
            api_version=self.api_version,
            api_key=secret_of(self.api_key),
            azure_ad_token=secret_of(self.azure_ad_token),
            azure_ad_token_provider=self.azure_ad_token_provider,
            base_url=self.base_url,
        )


@miniagent(alias="OPENAI_COMPATIBLE_AGENT")
class OpenAICompatibleAgent(ChatCompletionsAgent):
    """Ask a model on a server that speaks OpenAI's chat completions: Ollama, vLLM, llama.cpp, LM Studio, a gateway.

    The server is `base_url=`, else OPENAI_BASE_URL (with the key in OPENAI_API_KEY), else Ollama on this machine (or
    where OLLAMA_HOST says). A key is needed only if the server wants one. Nothing is taken for granted about the model:
    options are sent as they are, and the server judges them. A stream is complete with the `finish_reason`, since not
    all of these servers send `data: [DONE]`.
    """

    provider: ClassVar[str] = "openai-compatible"
    end_mark: Literal["[DONE]", "finish_reason"] = "finish_reason"

    def model_traits(self) -> ModelTraits | None:
        """Nothing: the name may be that of any model."""
        return None

    async def sdk_client(self) -> Any:
        """The client through which the request goes."""
        return await compatible_client(
            self.async_client, self.agent_alias, api_key=secret_of(self.api_key), base_url=self.base_url
        )
