"""`OpenAIResponsesAgent`: models behind OpenAI's Responses API."""

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any, ClassVar

from pydantic import SkipValidation

from miniagents.ext.llms._adapters.answers import RawResponse, read_answer
from miniagents.ext.llms._common.secrets import secret_of
from miniagents.ext.llms._openai.clients import OpenAIClient, openai_client
from miniagents.ext.llms._openai.mends import RESPONSES_MENDS
from miniagents.ext.llms._openai.models import traits_of
from miniagents.ext.llms._openai.opening import opened, retries_of
from miniagents.ext.llms._openai.responses_reader import ResponseReader
from miniagents.ext.llms._openai.responses_request import check_response_options, response_parameters
from miniagents.ext.llms.llm_common import AssistantMessage, LLMAgent
from miniagents.ext.llms.model_events import ModelEvent, ModelRequest
from miniagents.messages import Message
from miniagents.miniagents import miniagent


class OpenAIResponseMessage(AssistantMessage):
    """A text of a model behind the Responses API. The last one of a turn has the fields of the response.

    Items of the response's `output` that are no text, thought or function call (a web search, for example) stay there.
    """


@miniagent(alias="OPENAI_RESPONSES_AGENT")
class OpenAIResponsesAgent(LLMAgent):
    """Ask a model through OpenAI's Responses API, where it can think between calls of tools.

    Key, server, client and options are as with `OpenAIAgent`; `max_tokens` is sent as `max_output_tokens`. Nothing is
    kept at the server (`store=False`): what the model thought comes back encrypted, in the `provider_data` of its
    `ThinkingMessage`s, and is sent again with them. With `previous_response_id=` or `conversation=` the server keeps
    it. Tools of OpenAI's own are given as JSON: `tools=[{"type": "web_search"}]`.

    Attributes:
        async_client: an `openai.AsyncOpenAI` to use in place of our own (or an `openai.AsyncAzureOpenAI`); yours to
            close. Its own `max_retries` counts, unless the agent is given one.
    """

    provider: ClassVar[str] = "openai"
    answer_class: ClassVar[type[Message]] = OpenAIResponseMessage
    retries_by_itself: ClassVar[bool] = True

    async_client: Annotated[OpenAIClient | None, SkipValidation] = None

    def stream_turn(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Send the request and yield the events of the answer."""
        parameters = response_parameters(
            request, provider=self.provider, agent_alias=self.agent_alias, traits=traits_of(self.model)
        )
        reader = ResponseReader(self.who, provider=self.provider, model=self.model)
        opening = self._response(parameters, request)
        return read_answer(opening, reader, who=self.who, provider=self.provider, model=self.model)

    def check_options(self) -> None:
        """Refuse what the API, or the model, is known to refuse."""
        check_response_options(
            self.api_parameters,
            self.thinking_level,
            agent_alias=self.agent_alias,
            model=self.model,
            traits=traits_of(self.model),
        )

    @asynccontextmanager
    async def _response(self, parameters: dict[str, Any], request: ModelRequest) -> AsyncGenerator[RawResponse]:
        client = await openai_client(
            self.async_client, self.agent_alias, api_key=secret_of(self.api_key), base_url=self.base_url
        )
        async with opened(
            client,
            "responses",
            parameters,
            given=request.parameters,
            mends=RESPONSES_MENDS,
            max_retries=retries_of(self, request),
        ) as response:
            yield response
