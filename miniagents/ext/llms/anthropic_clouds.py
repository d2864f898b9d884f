"""Claude on the clouds: `AnthropicBedrockAgent` on Amazon Bedrock, `AnthropicVertexAgent` on Google Vertex.

They are `AnthropicAgent` with another client of the same SDK. For Claude on Microsoft Foundry, on Anthropic's platform
at AWS, or on Bedrock's newer endpoint, hand the SDK's client over: `AnthropicAgent.fork(async_client=
anthropic.AsyncAnthropicFoundry(...))`.
"""

import importlib
import os
from collections.abc import Mapping
from contextlib import suppress
from typing import ClassVar, Final, cast

from miniagents.ext.llms._adapters.clients import ClientPool, load_sdk
from miniagents.ext.llms._common.setting_checks import sendable_key
from miniagents.ext.llms.anthropic import AnthropicBaseAgent, AnthropicClient, client_options
from miniagents.ext.llms.errors import (
    AuthenticationError,
    BadRequestError,
    LLMError,
    MissingSDKError,
)
from miniagents.miniagents import miniagent

_BEDROCK_KEY: Final = "AWS_BEARER_TOKEN_BEDROCK"
_BEDROCK_REGIONS: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
_VERTEX_REGIONS: Final = ("CLOUD_ML_REGION",)
_VERTEX_PROJECTS: Final = ("ANTHROPIC_VERTEX_PROJECT_ID", "GOOGLE_CLOUD_PROJECT")


class _CloudAgent(AnthropicBaseAgent):
    """Claude behind the authentication of a cloud."""

    extra: ClassVar[str]
    package: ClassVar[str]
    credentials: ClassVar[str]
    """What to do where there is nothing to authenticate with."""

    def fault_of(self, error: Exception) -> LLMError | None:
        """Give the error for what the SDK threw; the clouds' own packages below it throw theirs."""
        fault = super().fault_of(error)
        if fault is not None:
            return fault
        if isinstance(error, ImportError):
            return MissingSDKError(self.agent_alias, self.package, self.extra)
        # Neither SDK has a class of its own for this; whatever reads files and asks metadata servers may fail.
        if isinstance(error, RuntimeError) or type(error).__module__.startswith(("botocore.", "google.auth.")):
            return AuthenticationError(
                f"{self.who} has nothing to authenticate with ({type(error).__name__}: {error}). {self.credentials}",
                provider=self.provider,
                model=self.model,
            )
        return None

    def missing(self, what: str, setting: str, variables: tuple[str, ...]) -> BadRequestError:
        """Give the error for a setting that is not there."""
        return BadRequestError(
            f"{self.who} needs a {what}: give `{setting}=`, or set the environment variable {' or '.join(variables)}.",
            provider=self.provider,
            model=self.model,
        )


@miniagent(alias="ANTHROPIC_BEDROCK_AGENT")
class AnthropicBedrockAgent(_CloudAgent):
    """Ask a Claude model on Amazon Bedrock, by a model id or inference profile: `us.anthropic.claude-sonnet-5-5`.

    Authentication is by `api_key` (a Bedrock API key) or AWS_BEARER_TOKEN_BEDROCK, else by the credentials that AWS's
    own tools find. For all else see `AnthropicAgent`. Needs `pip install "miniagents[bedrock]"`.

    Attributes:
        aws_region: where; else AWS_REGION, AWS_DEFAULT_REGION, or what the AWS profile says.
        aws_profile: a profile of AWS's configuration files.
        async_client: an `anthropic.AsyncAnthropicBedrock` or `AsyncAnthropicBedrockMantle` of your own.
    """

    provider: ClassVar[str] = "bedrock-anthropic"
    client_class: ClassVar[str] = "AsyncAnthropicBedrock"
    extra: ClassVar[str] = "bedrock"
    package: ClassVar[str] = "boto3"
    credentials: ClassVar[str] = f"Set {_BEDROCK_KEY}, give `api_key=`, or sign in with AWS's tools."

    aws_region: str | None = None
    aws_profile: str | None = None

    async def own_client(self) -> AnthropicClient:
        """Give the running loop's client.

        Raises:
            MissingSDKError: `anthropic` or `boto3` is not installed.
            BadRequestError: no region is known.
        """
        key = self.key()
        if key is None and self.aws_profile is None and os.environ.get(_BEDROCK_KEY):
            key = sendable_key(os.environ[_BEDROCK_KEY], self.who)
        try:
            return await _bedrock_clients.client(key, self.base_url, self.aws_region, self.aws_profile)
        except ValueError as error:
            if "region" not in str(error):
                raise
            raise self.missing("region", "aws_region", _BEDROCK_REGIONS) from error

    def fault_of(self, error: Exception) -> LLMError | None:
        """Give the error for what the SDK threw; Amazon's own name of it is in a header."""
        fault = super().fault_of(error)
        headers: Mapping[str, str] = getattr(getattr(error, "response", None), "headers", None) or {}
        kind = headers.get("x-amzn-errortype")
        if fault is not None and kind:
            # May be followed by the address of a namespace.
            fault.code = kind.partition(":")[0]
            fault.request_id = fault.request_id or headers.get("x-amzn-requestid")
        return fault


def _build_bedrock_client(
    api_key: str | None, base_url: str | None, aws_region: str | None, aws_profile: str | None
) -> AnthropicClient:
    sdk = load_sdk("anthropic", "ANTHROPIC_BEDROCK_AGENT")
    try:
        # For the signature of a request and the frames of an answer; the SDK misses it in their midst only.
        load_sdk("boto3", "ANTHROPIC_BEDROCK_AGENT")
    except MissingSDKError as error:
        raise MissingSDKError("ANTHROPIC_BEDROCK_AGENT", "boto3", "bedrock") from error
    # The SDK reads the shape of the frames from a file, when the first one comes: in the midst of the event loop.
    with suppress(ImportError, AttributeError):
        importlib.import_module("anthropic.lib.bedrock._stream_decoder").get_response_stream_shape()
    return sdk.AsyncAnthropicBedrock(
        api_key=api_key,
        base_url=base_url,
        aws_region=aws_region,
        aws_profile=aws_profile,
        **client_options(sdk),
    )


_bedrock_clients = ClientPool(
    _build_bedrock_client,
    (
        *_BEDROCK_REGIONS,
        "AWS_PROFILE",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "AWS_CONFIG_FILE",
        "ANTHROPIC_BEDROCK_BASE_URL",
    ),
)


@miniagent(alias="ANTHROPIC_VERTEX_AGENT")
class AnthropicVertexAgent(_CloudAgent):
    """Ask a Claude model on Google Vertex, by Google's name of it: `claude-haiku-4-5@20251001`.

    Authentication is by `api_key` (an access token), else by the credentials that Google's own tools find. For all
    else see `AnthropicAgent`. Needs `pip install "miniagents[vertex]"`.

    Attributes:
        region: where, such as `"europe-west1"` or `"global"`; else CLOUD_ML_REGION.
        project_id: whose; else ANTHROPIC_VERTEX_PROJECT_ID or GOOGLE_CLOUD_PROJECT.
        async_client: an `anthropic.AsyncAnthropicVertex` of your own.
    """

    provider: ClassVar[str] = "vertex-anthropic"
    client_class: ClassVar[str] = "AsyncAnthropicVertex"
    extra: ClassVar[str] = "vertex"
    package: ClassVar[str] = "google-auth"
    credentials: ClassVar[str] = (
        "Sign in with `gcloud auth application-default login`, or give an access token, `api_key=`."
    )

    region: str | None = None
    project_id: str | None = None

    async def own_client(self) -> AnthropicClient:
        """Give the running loop's client.

        Raises:
            MissingSDKError: `anthropic` is not installed.
            BadRequestError: no region, or no project, is known.
        """
        region = self.region or _first_of(_VERTEX_REGIONS)
        if region is None:
            raise self.missing("region", "region", _VERTEX_REGIONS)
        project_id = self.project_id or _first_of(_VERTEX_PROJECTS)
        if project_id is None:
            raise self.missing("project", "project_id", _VERTEX_PROJECTS)
        return await _vertex_clients.client(self.key(), self.base_url, region, project_id)


def _first_of(variables: tuple[str, ...]) -> str | None:
    return next((os.environ[name] for name in variables if os.environ.get(name)), None)


def _build_vertex_client(
    access_token: str | None, base_url: str | None, region: str, project_id: str
) -> AnthropicClient:
    sdk = load_sdk("anthropic", "ANTHROPIC_VERTEX_AGENT")
    return cast(
        "AnthropicClient",
        sdk.AsyncAnthropicVertex(
            access_token=access_token,
            base_url=base_url,
            region=region,
            project_id=project_id,
            **client_options(sdk),
        ),
    )


_vertex_clients = ClientPool(_build_vertex_client, ("ANTHROPIC_VERTEX_BASE_URL", "GOOGLE_APPLICATION_CREDENTIALS"))
