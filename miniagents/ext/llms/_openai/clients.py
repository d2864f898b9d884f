"""Clients of OpenAI's SDK: for OpenAI, for Azure, and for other servers."""

import os
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from miniagents._settings import without_credentials
from miniagents.ext.llms._adapters.clients import ClientPool, load_sdk, patient_timeout
from miniagents.ext.llms._common.setting_checks import check_url, sendable_key
from miniagents.ext.llms.errors import BadRequestError, MissingAPIKeyError, WrongClientError

_KEY_VARIABLE: Final = "OPENAI_API_KEY"
_VARIABLES: Final = (_KEY_VARIABLE, "OPENAI_ADMIN_KEY", "OPENAI_BASE_URL", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID")
_URL_VARIABLE: Final = "OPENAI_BASE_URL"
_AZURE_KEY_VARIABLE: Final = "AZURE_OPENAI_API_KEY"
_AZURE_TOKEN_VARIABLE: Final = "AZURE_OPENAI_AD_TOKEN"
_AZURE_VARIABLES: Final = (
    _AZURE_KEY_VARIABLE,
    _AZURE_TOKEN_VARIABLE,
    "AZURE_OPENAI_ENDPOINT",
    "OPENAI_API_VERSION",
    "OPENAI_ORG_ID",
)
_OLLAMA: Final = "127.0.0.1:11434"
# For servers that want no key, as the SDK wants one.
_NO_KEY: Final = "none"

AzureTokenProvider = Callable[[], str | Awaitable[str]]


class OpenAIClient(Protocol):
    """An `openai.AsyncOpenAI`, or a client of a subclass."""

    @property
    def chat(self) -> Any:
        """Where `chat.completions` is."""
        ...

    @property
    def responses(self) -> Any:
        """Where `responses.create` is."""
        ...

    @property
    def embeddings(self) -> Any:
        """Where `embeddings.create` is."""
        ...

    async def close(self) -> None:
        """Close its connections."""
        ...


def _build_client(api_key: str | None = None, base_url: str | None = None) -> OpenAIClient:
    return load_sdk("openai", "OPENAI_AGENT").AsyncOpenAI(api_key=api_key, base_url=base_url, timeout=patient_timeout())


def _build_azure_client(*names_and_values: tuple[str, Any]) -> OpenAIClient:
    return load_sdk("openai", "AZURE_OPENAI_AGENT").AsyncAzureOpenAI(
        timeout=patient_timeout(), **dict(names_and_values)
    )


def _build_compatible_client(api_key: str, base_url: str) -> OpenAIClient:
    client: Any = load_sdk("openai", "OPENAI_COMPATIBLE_AGENT").AsyncOpenAI(
        api_key=api_key, base_url=base_url, timeout=patient_timeout()
    )
    # The user's names at OpenAI, taken from the environment, are nothing that another server should see.
    client.organization = client.project = None
    return client


_clients = ClientPool(_build_client, _VARIABLES)
_compatible_clients = ClientPool(_build_compatible_client, _VARIABLES)
_azure_clients = ClientPool(_build_azure_client, _AZURE_VARIABLES)


async def openai_client(
    async_client: OpenAIClient | None, agent_alias: str, *, api_key: str | None = None, base_url: str | None = None
) -> OpenAIClient:
    """`async_client` if there is one, else the running loop's for this key and server.

    Raises:
        MissingSDKError: the package `openai` is not installed.
        MissingAPIKeyError: the environment has no key, and none was given.
        AuthenticationError: the key cannot be sent.
        SettingError: OPENAI_BASE_URL is no URL.
        WrongClientError: `async_client` is something else.
    """
    if async_client is not None:
        return _checked(async_client, agent_alias)
    if base_url is None:
        _check_url_of_environment()
    if not api_key and not os.environ.get(_KEY_VARIABLE) and not os.environ.get("OPENAI_ADMIN_KEY"):
        raise MissingAPIKeyError(agent_alias, _KEY_VARIABLE, "openai.AsyncOpenAI")
    return await _clients.client(_sendable(api_key or os.environ.get(_KEY_VARIABLE), agent_alias), base_url)


async def compatible_client(
    async_client: OpenAIClient | None, agent_alias: str, *, api_key: str | None, base_url: str | None
) -> OpenAIClient:
    """The same for a server that may want no key. OpenAI's own key goes only where OPENAI_BASE_URL points.

    Raises:
        MissingSDKError: the package `openai` is not installed.
        AuthenticationError: the key cannot be sent.
        SettingError: OPENAI_BASE_URL is no URL.
        WrongClientError: `async_client` is something else.
    """
    if async_client is not None:
        return _checked(async_client, agent_alias)
    if base_url is None and os.environ.get("OPENAI_BASE_URL"):
        _check_url_of_environment()
        api_key = api_key or os.environ.get(_KEY_VARIABLE)
        base_url = os.environ["OPENAI_BASE_URL"]
    return await _compatible_clients.client(_sendable(api_key, agent_alias) or _NO_KEY, base_url or _ollama_url())


def _ollama_url() -> str:
    host = os.environ.get("OLLAMA_HOST") or _OLLAMA
    if "://" not in host:
        host = f"http://{host}"
    if ":" not in host.rpartition("//")[2]:
        host = f"{host.rstrip('/')}:11434"
    # What a server listens on, which is no address to ask.
    return f"{host.replace('//0.0.0.0', '//127.0.0.1').rstrip('/')}/v1"


async def azure_client(
    async_client: OpenAIClient | None,
    agent_alias: str,
    *,
    azure_endpoint: str | None,
    azure_deployment: str | None,
    api_version: str | None,
    api_key: str | None,
    azure_ad_token: str | None,
    azure_ad_token_provider: AzureTokenProvider | None,
    base_url: str | None,
) -> OpenAIClient:
    """The same for Azure.

    Raises:
        BadRequestError: no endpoint, or no version of the API.
        MissingSDKError: the package `openai` is not installed.
        MissingAPIKeyError: neither key nor token.
        AuthenticationError: the key or token cannot be sent.
        WrongClientError: `async_client` is something else.
    """
    if async_client is not None:
        return _checked(async_client, agent_alias)
    credentials = (api_key, azure_ad_token, azure_ad_token_provider)
    if not any(credentials) and not os.environ.get(_AZURE_KEY_VARIABLE) and not os.environ.get(_AZURE_TOKEN_VARIABLE):
        raise MissingAPIKeyError(agent_alias, _AZURE_KEY_VARIABLE, "openai.AsyncAzureOpenAI")
    needed = (
        (azure_endpoint or base_url, "azure_endpoint", "AZURE_OPENAI_ENDPOINT", "https://NAME.openai.azure.com"),
        (api_version, "api_version", "OPENAI_API_VERSION", "2025-04-01-preview"),
    )
    for value, setting, variable, example in needed:
        if not value and not os.environ.get(variable):
            raise BadRequestError(
                f"`{agent_alias}` needs `{setting}=`, such as {example!r}, or the environment variable {variable}."
            )
    settings: dict[str, Any] = {
        "azure_endpoint": None if base_url else azure_endpoint,
        "azure_deployment": None if base_url else azure_deployment,
        "api_version": api_version,
        "api_key": _sendable(api_key or os.environ.get(_AZURE_KEY_VARIABLE), agent_alias),
        "azure_ad_token": _sendable(azure_ad_token, agent_alias),
        "azure_ad_token_provider": azure_ad_token_provider,
        "base_url": base_url,
    }
    return await _azure_clients.client(*((name, value) for name, value in settings.items() if value is not None))


def _sendable(key: str | None, agent_alias: str) -> str | None:
    return sendable_key(key, f"`{agent_alias}`") if key else None


def _check_url_of_environment() -> None:
    url = os.environ.get(_URL_VARIABLE)
    if url:
        check_url(url, f"The environment variable {_URL_VARIABLE} is {without_credentials(url)!r}, which")


def _checked(async_client: OpenAIClient, agent_alias: str) -> OpenAIClient:
    sdk = load_sdk("openai", agent_alias)
    if not isinstance(async_client, sdk.AsyncOpenAI):
        raise WrongClientError(agent_alias, async_client, "openai.AsyncOpenAI")
    return async_client
