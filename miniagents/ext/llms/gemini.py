"""`GeminiAgent`: Google's Gemini, with a key or on Vertex AI, through google-genai."""

import importlib
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Protocol, cast

from pydantic import SkipValidation, ValidationError

from miniagents.ext.llms._common.faults import in_short, reported_fault, sdk_fault, told_as_faults
from miniagents.ext.llms._common.setting_checks import sendable_key
from miniagents.ext.llms._gemini.answer import GeminiReader
from miniagents.ext.llms._gemini.call import (
    KEY_VARIABLES,
    ErrorInsideError,
    GeminiAccess,
    clients,
    responses_of,
)
from miniagents.ext.llms._gemini.models import check_parameters, thinking_config
from miniagents.ext.llms._gemini.request import PROVIDER, gemini_request
from miniagents.ext.llms.errors import (
    AuthenticationError,
    BadRequestError,
    LLMError,
    MissingAPIKeyError,
    MissingSDKError,
    ProviderError,
    WrongClientError,
)
from miniagents.ext.llms.llm_common import AssistantMessage, LLMAgent
from miniagents.ext.llms.model_events import ModelEvent, ModelRequest
from miniagents.messages import Message
from miniagents.miniagents import miniagent


class GoogleClient(Protocol):
    """A `google.genai.Client`."""

    @property
    def aio(self) -> Any:
        """Its asynchronous side."""
        ...


class GoogleCredentials(Protocol):
    """A `google.auth.credentials.Credentials`."""

    def refresh(self, request: Any) -> None:
        """Fetch a new token."""
        ...


class GeminiMessage(AssistantMessage):
    """An answer of `GeminiAgent`, with fields of the response: `id`, `model_version`, `candidates[0].finish_reason`."""


@miniagent(alias="GEMINI_AGENT")
class GeminiAgent(LLMAgent):
    """Ask one of Google's Gemini models.

    The key is taken from the environment variable GEMINI_API_KEY or GOOGLE_API_KEY. With `vertexai=True` (or
    GOOGLE_GENAI_USE_VERTEXAI=true) the request goes to Vertex AI, with the account that `gcloud auth
    application-default login` or GOOGLE_APPLICATION_CREDENTIALS names, and the project and location below.

    `LLMAgent` tells what happens to the messages and which settings there are. Any option of `GenerateContentConfig`
    passes through: `temperature=`, `max_output_tokens=` (or `max_tokens=`), `stop_sequences=` (or `stop=`),
    `safety_settings=`, `tool_config=`, ... and `extra_headers=`, `extra_body=`, `timeout=` (seconds). Tools that Google
    runs are given as JSON, `tools=[{"google_search": {}}]`; what Gemini did by itself, such as code that it ran, is a
    `ThinkingMessage` with the part in `provider_data.part`.

    Attributes:
        vertexai: whether to go to Vertex AI; None for what the environment says.
        project: of Google Cloud, for Vertex AI; by default GOOGLE_CLOUD_PROJECT or that of the account.
        location: the region, for Vertex AI; by default GOOGLE_CLOUD_LOCATION or "global".
        credentials: a `google.auth` credentials object, in place of the environment's.
        async_client: a `google.genai.Client` to use in place of our own; yours to close.
    """

    provider: ClassVar[str] = PROVIDER
    answer_class: ClassVar[type[Message]] = GeminiMessage

    vertexai: bool | None = None
    project: str | None = None
    location: str | None = None
    credentials: Annotated[GoogleCredentials | None, SkipValidation] = None
    async_client: Annotated[GoogleClient | None, SkipValidation] = None

    def check_options(self) -> None:
        """Refuse what this model refuses; see `LLMAgent`."""
        check_parameters(self.agent_alias, self.model, self.api_parameters)
        thinking_config(self.agent_alias, self.model, self.thinking_level)

    async def stream_turn(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Send the request and yield the events of the answer."""
        client = await self._client()
        types = importlib.import_module("google.genai.types")
        arguments = gemini_request(request, agent_alias=self.agent_alias, known_options=_options_of(types))
        arguments["config"] = self._checked(types.GenerateContentConfig, arguments["config"])
        reader = GeminiReader(
            who=self.who, model=request.model, provider=self.provider, call_ids=f"{len(request.turns)}_"
        )
        with told_as_faults(self.fault_of, lambda: reader.request_id):
            async with aclosing(responses_of(client.aio.models, arguments, stream=request.stream)) as responses:
                async for response in responses:
                    for event in reader.take(response):
                        yield event
        for event in reader.rest():
            yield event
        yield reader.ended()

    async def _client(self) -> Any:
        if self.async_client is not None:
            if not hasattr(getattr(self.async_client, "aio", None), "models"):
                raise WrongClientError(self.agent_alias, self.async_client, "google.genai.Client")
            return self.async_client
        access = GeminiAccess(
            api_key=None if self.api_key is None else sendable_key(self.api_key.get_secret_value(), self.who),
            base_url=self.base_url,
            vertexai=self.vertexai,
            project=self.project,
            location=self.location,
            credentials=self.credentials,
        )
        if not access.goes_to_vertex and access.api_key is None and not any(map(os.environ.get, KEY_VARIABLES)):
            raise MissingAPIKeyError(self.agent_alias, "GEMINI_API_KEY", "google.genai.Client")
        try:
            owned = await clients.client(access)
        except ModuleNotFoundError as error:
            if error.name not in ("google", "google.genai"):
                raise
            raise MissingSDKError(self.agent_alias, "google-genai", "gemini") from error
        return owned.client

    def _checked(self, config_class: Any, config: Mapping[str, Any]) -> Any:
        try:
            return config_class(**config)
        except ValidationError as error:
            wrong = "; ".join(f"`{'.'.join(map(str, one['loc']))}`: {one['msg']}" for one in error.errors())
            raise BadRequestError(
                f"{self.who} cannot be asked like this: {in_short(wrong)}", provider=self.provider, model=self.model
            ) from error

    def fault_of(self, error: Exception) -> LLMError | None:
        """The error of our tree for what google-genai, google-auth or httpx2 threw."""
        kinds = {base.__name__ for base in type(error).__mro__}
        if isinstance(error, ErrorInsideError):
            return self._reported(error.body, None, {})
        if "APIError" in kinds:
            told: Any = error
            headers = dict(getattr(told.response, "headers", None) or {})
            return self._reported(told.details, told.code if isinstance(told.code, int) else None, headers)
        if kinds & {"NotGeminiError", "UnknownApiResponseError", "JSONDecodeError", "ValidationError"}:
            raw = getattr(error, "doc", None) or str(error)
            return ProviderError(
                f"{self.who} answered with something else than an answer: {in_short(raw)}. Is `base_url` right?",
                provider=self.provider,
                model=self.model,
                raw_text=str(raw),
            )
        if kinds & {"DefaultCredentialsError", "RefreshError", "GoogleAuthError"} and "TransportError" not in kinds:
            return AuthenticationError(
                f"{self.who} has no access to Vertex AI ({in_short(error)}): run `gcloud auth application-default "
                "login`, or give `project=` and `credentials=`, or set GEMINI_API_KEY and `vertexai=False`.",
                provider=self.provider,
                model=self.model,
            )
        if isinstance(error, ValueError):
            # What the SDK itself finds wrong, before anything is sent.
            return BadRequestError(
                f"{self.who} cannot be asked like this: {in_short(error)}", provider=self.provider, model=self.model
            )
        return sdk_fault(self.who, error, provider=self.provider, model=self.model)

    def _reported(self, body: Any, status: int | None, headers: Mapping[str, str]) -> LLMError:
        fault = reported_fault(
            self.who,
            body,
            provider=self.provider,
            model=self.model,
            status=status,
            headers={name.lower(): value for name, value in headers.items()},
        )
        details: list[dict[str, Any]] = []
        if isinstance(body, dict) and isinstance(cast("dict[str, Any]", body).get("error"), dict):
            details = cast("dict[str, Any]", body)["error"].get("details") or []
        if any(detail.get("reason") == "API_KEY_INVALID" for detail in details):
            # Google answers 400 to a key that is none.
            fault = AuthenticationError(
                str(fault), provider=fault.provider, model=fault.model, status_code=fault.status_code, code=fault.code
            )
        for detail in details:
            delay = str(detail.get("retryDelay") or "").removesuffix("s")
            if delay.replace(".", "", 1).isdigit():
                fault.retry_after_s = float(delay)
        return fault


@lru_cache(maxsize=1)
def _options_of(types: Any) -> Mapping[str, str]:
    fields = types.GenerateContentConfig.model_fields
    return {**{field.alias: name for name, field in fields.items() if field.alias}, **{name: name for name in fields}}
