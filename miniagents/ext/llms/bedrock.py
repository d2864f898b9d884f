"""`BedrockAgent`: any chat model on Amazon Bedrock, through Converse and boto3."""

import importlib
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final, Protocol

from pydantic import SecretStr, SkipValidation

from miniagents.ext.llms._adapters.clients import ClientPool, load_sdk
from miniagents.ext.llms._bedrock.answer import ConverseReader
from miniagents.ext.llms._bedrock.call import NotAnAnswerError, converse, make_tell
from miniagents.ext.llms._bedrock.models import check_model_options
from miniagents.ext.llms._bedrock.request import PROVIDER, converse_request
from miniagents.ext.llms._common.faults import fault_class, in_short, reported_fault, sdk_fault, told_as_faults
from miniagents.ext.llms._common.secrets import secret_of
from miniagents.ext.llms._common.setting_checks import sendable_key
from miniagents.ext.llms.errors import (
    AuthenticationError,
    BadRequestError,
    ConnectionLostError,
    LLMError,
    MissingSDKError,
    ProviderError,
    WrongClientError,
)
from miniagents.ext.llms.llm_common import AssistantMessage, LLMAgent
from miniagents.ext.llms.model_events import ModelEvent, ModelRequest
from miniagents.messages import Message
from miniagents.miniagents import miniagent

_VARIABLES: Final = (
    "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "AWS_DEFAULT_PROFILE", "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_BEARER_TOKEN_BEDROCK", "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_BEDROCK_RUNTIME", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE",
)  # fmt: skip
# A model may think for long before its first token; the SDK's 60 seconds are for databases.
_TIMEOUT_S: Final = 600.0
_CONNECT_TIMEOUT_S: Final = 20.0
# boto3 would keep ten, and complain about every further one.
_CONNECTIONS: Final = 1000
_OF_THE_CREDENTIALS: Final = frozenset(
    {
        "NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "ProfileNotFound", "SSOError",
        "TokenRetrievalError", "NoAuthTokenError", "LoginError",
    }
)  # fmt: skip
_OF_THE_KEY: Final = frozenset(
    {
        "expiredtokenexception", "invalidsignatureexception", "invalidclienttokenid", "unrecognizedclientexception",
        "incompletesignatureexception", "missingauthenticationtokenexception",
    }
)  # fmt: skip
_UNREADABLE: Final = frozenset({"ParserError", "ResponseParserError", "JSONDecodeError", "UnicodeDecodeError"})
_OF_THE_CONNECTION: Final = frozenset({"HTTPClientError", "ConnectionError", "HTTPError", "HTTPException"})


class BedrockClient(Protocol):
    """A client of "bedrock-runtime" made by boto3."""

    def converse(self, **arguments: Any) -> dict[str, Any]:
        """Ask, and wait for the whole answer."""
        ...

    def converse_stream(self, **arguments: Any) -> dict[str, Any]:
        """Ask, and give the answer as an iterable of events."""
        ...


class BedrockMessage(AssistantMessage):
    """An answer of `BedrockAgent`, with the fields of the response: `stopReason`, `metrics`, `trace`, ..."""


@miniagent(alias="BEDROCK_AGENT")
class BedrockAgent(LLMAgent):
    """Ask any chat model on Amazon Bedrock, by its id, that of an inference profile, or an ARN.

    Region and credentials are found as boto3 finds them: AWS_REGION or AWS_DEFAULT_REGION, AWS_ACCESS_KEY_ID and
    AWS_SECRET_ACCESS_KEY, AWS_PROFILE, a role, or AWS_BEARER_TOKEN_BEDROCK (which `api_key=` stands for).

    `LLMAgent` tells what happens to the messages and which settings there are. Options pass through by the names that
    Converse has for them (`inferenceConfig=`, `guardrailConfig=`, `toolChoice=`, `requestMetadata=`, ...); also
    `max_tokens=`, `temperature=`, `top_p=`, `stop_sequences=`, and `timeout=` (seconds of silence). What Converse does
    not know goes to the model itself, as `additionalModelRequestFields`.

    boto3 blocks: each request runs in a thread of its own.

    Attributes:
        aws_region: such as "us-east-1", in place of the environment's.
        aws_profile: of the shared configuration of AWS, in place of the environment's.
        aws_access_key_id: with the next one or two, in place of the environment's credentials.
        aws_secret_access_key: see there; never stored or shown.
        aws_session_token: see there; never stored or shown.
        async_client: a `boto3` client of "bedrock-runtime" to use in place of our own; yours to close. It is not
            asynchronous, in spite of the setting's name.
    """

    provider: ClassVar[str] = PROVIDER
    answer_class: ClassVar[type[Message]] = BedrockMessage

    aws_region: str | None = None
    aws_profile: str | None = None
    aws_access_key_id: str | None = None
    aws_secret_access_key: SecretStr | None = None
    aws_session_token: SecretStr | None = None
    async_client: Annotated[BedrockClient | None, SkipValidation] = None

    def check_options(self) -> None:
        """Refuse what this model refuses; see `LLMAgent`."""
        check_model_options(self.agent_alias, self.model, self.thinking_level, self.api_parameters)

    async def stream_turn(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Send the request and yield the events of the answer."""
        arguments = converse_request(request, agent_alias=self.agent_alias)
        client = await self._client(request.parameters.get("timeout"))
        reader = ConverseReader(who=self.who, model=request.model, provider=self.provider)
        with told_as_faults(self.fault_of, lambda: reader.request_id):
            async with aclosing(converse(client, arguments, stream=request.stream)) as received:
                async for piece in received:
                    for event in self._read(reader, piece):
                        yield event
        yield reader.ended()

    def _read(self, reader: ConverseReader, piece: dict[str, Any]) -> Iterator[ModelEvent]:
        try:
            yield from reader.take(piece)
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            # boto3 gives an event that it cannot decode as an empty one.
            raise self._unreadable(repr(piece), reader.request_id) from error

    async def _client(self, timeout_s: float | None) -> Any:
        if self.async_client is not None:
            if not hasattr(self.async_client, "converse_stream"):
                raise WrongClientError(self.agent_alias, self.async_client, "boto3.client('bedrock-runtime')")
            return self.async_client
        access = _Access(
            region=self.aws_region or os.environ.get("AWS_REGION"),
            profile=self.aws_profile,
            access_key_id=self.aws_access_key_id,
            secret_access_key=secret_of(self.aws_secret_access_key),
            session_token=secret_of(self.aws_session_token),
            bearer_token=None if self.api_key is None else sendable_key(self.api_key.get_secret_value(), self.who),
            base_url=self.base_url,
            timeout_s=timeout_s or _TIMEOUT_S,
        )
        try:
            owned = await _clients.client(access)
        except MissingSDKError as error:
            raise MissingSDKError(self.agent_alias, "boto3", "bedrock") from error
        return owned.client

    def fault_of(self, error: Exception) -> LLMError | None:
        """The error of our tree for what boto3, or urllib3 below it, threw."""
        if isinstance(error, NotAnAnswerError):
            return self._unreadable(error.data.decode(errors="replace"), None)
        kinds = {base.__name__ for base in type(error).__mro__}
        if "ClientError" in kinds:
            return self._reported(error)
        if kinds & _OF_THE_CREDENTIALS:
            return self._fault(
                AuthenticationError,
                f"{self.who} has no AWS credentials ({in_short(error)}): set AWS_ACCESS_KEY_ID and "
                "AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or a key of Bedrock in AWS_BEARER_TOKEN_BEDROCK, or give "
                "`api_key=`.",
            )
        if "NoRegionError" in kinds:
            return self._fault(
                BadRequestError,
                f"{self.who} needs a region: set AWS_REGION, or give `aws_region=`, such as 'us-east-1'.",
            )
        if kinds & _UNREADABLE:
            return self._unreadable(str(error), None)
        if isinstance(error, ValueError) or "ParamValidationError" in kinds:
            # What the SDK itself finds wrong, before anything is sent.
            return self._fault(BadRequestError, f"{self.who} cannot be asked like this: {in_short(error)}")
        known = sdk_fault(self.who, error, provider=self.provider, model=self.model)
        if known is None and kinds & _OF_THE_CONNECTION:
            return self._fault(
                ConnectionLostError,
                f"The connection to {self.who} could not be made, or broke "
                f"({type(error).__name__}: {in_short(error)}).",
            )
        return known

    def _fault(self, kind: type[LLMError], text: str) -> LLMError:
        return kind(text, provider=self.provider, model=self.model)

    def _unreadable(self, data: str, request_id: str | None) -> ProviderError:
        return ProviderError(
            f"{self.who} answered with something else than an answer: {in_short(data)!r}. Is `base_url` right?",
            provider=self.provider,
            model=self.model,
            request_id=request_id,
            raw_text=data,
        )

    def _reported(self, error: Any) -> LLMError:
        told: dict[str, Any] = error.response.get("Error") or {}
        metadata: dict[str, Any] = error.response.get("ResponseMetadata") or {}
        status: int | None = metadata.get("HTTPStatusCode")
        code = str(told.get("Code") or "")
        # Amazon has two statuses for much that is not the request's fault; there the name tells.
        by_name = fault_class(None, code) is not ProviderError if status == 400 else status == 424
        fault = reported_fault(
            self.who,
            {"message": told.get("Message"), "code": code or None},
            provider=self.provider,
            model=self.model,
            status=None if by_name else status,
            headers=metadata.get("HTTPHeaders"),
            request_id=metadata.get("RequestId"),
        )
        fault.status_code = status
        if code.lower() in _OF_THE_KEY and not isinstance(fault, AuthenticationError):
            return AuthenticationError(
                str(fault), provider=self.provider, model=self.model, status_code=status, code=code,
                request_id=fault.request_id,
            )  # fmt: skip
        return fault


@dataclass(frozen=True)
class _Access:
    """How to get at the models; None for what the environment says."""

    region: str | None
    profile: str | None
    access_key_id: str | None
    secret_access_key: str | None = field(repr=False)
    session_token: str | None = field(repr=False)
    bearer_token: str | None = field(repr=False)
    base_url: str | None
    timeout_s: float

    def build(self) -> "_OwnedClient":
        """Make a client; blocks, as the SDK and its description of the service are read."""
        boto3 = load_sdk("boto3", "BEDROCK_AGENT")
        botocore = importlib.import_module("botocore")
        config: dict[str, Any] = {
            "read_timeout": self.timeout_s,
            "connect_timeout": _CONNECT_TIMEOUT_S,
            "max_pool_connections": _CONNECTIONS,
            # `LLMAgent` sends again, without blocking a thread while it waits.
            "retries": {"total_max_attempts": 1, "mode": "standard"},
        }
        if self.bearer_token is not None:
            config["signature_version"] = botocore.UNSIGNED
        session = boto3.session.Session(
            aws_access_key_id=self.access_key_id,
            aws_secret_access_key=self.secret_access_key,
            aws_session_token=self.session_token,
            region_name=self.region,
            profile_name=self.profile,
        )
        client = session.client(
            "bedrock-runtime",
            endpoint_url=self.base_url,
            config=importlib.import_module("botocore.config").Config(**config),
        )
        if self.bearer_token is not None:
            client.meta.events.register("before-send.bedrock-runtime", self._authorize)
        make_tell(client)
        return _OwnedClient(client)

    def _authorize(self, request: Any, **_: Any) -> None:
        request.headers["Authorization"] = f"Bearer {self.bearer_token}"


class _OwnedClient:
    """A client of ours."""

    def __init__(self, client: Any) -> None:
        self.client = client

    async def close(self) -> None:
        """Close its idle connections."""
        self.client.close()


def _build_client(access: _Access) -> _OwnedClient:
    return access.build()


_clients = ClientPool(_build_client, _VARIABLES)
