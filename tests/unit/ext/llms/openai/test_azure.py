import pytest
from openai import AsyncAzureOpenAI

from miniagents import MiniAgents
from miniagents.ext.llms.errors import BadRequestError, MissingAPIKeyError
from miniagents.ext.llms.openai import AzureOpenAIAgent
from miniagents.testing.server import ProtocolServer

azure_agent = AzureOpenAIAgent.fork(model="gpt-4o", api_version="2025-04-01-preview")


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_the_model_is_asked_by_its_deployment_with_the_key_of_azure(server: ProtocolServer, stream: bool):
    server.script("Hello there")

    async with MiniAgents():
        [message] = await azure_agent.inquire("Hi", azure_endpoint=server.url, api_key="azure-key", stream=stream)

    assert str(message) == "Hello there"
    assert (message.provider, message.finish_reason) == ("azure-openai", "stop")
    assert message.usage.output_tokens == 2
    [request] = server.requests
    assert request.path == "/openai/deployments/gpt-4o/chat/completions"
    assert request.headers["api-key"] == "azure-key"


async def test_the_deployment_may_have_a_name_of_its_own(server: ProtocolServer):
    async with MiniAgents():
        await azure_agent.inquire("Hi", azure_endpoint=server.url, api_key="k", azure_deployment="my-own")

    assert server.requests[0].path == "/openai/deployments/my-own/chat/completions"


async def test_a_token_provider_is_asked_for_each_request(server: ProtocolServer):
    tokens = iter(["token-1", "token-2"])

    async def provide() -> str:
        return next(tokens)

    async with MiniAgents():
        for _ in range(2):
            await azure_agent.inquire("Hi", azure_endpoint=server.url, azure_ad_token_provider=provide)

    assert [request.headers["authorization"] for request in server.requests] == ["Bearer token-1", "Bearer token-2"]


async def test_settings_may_come_from_the_environment(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server.url)
    monkeypatch.setenv("AZURE_OPENAI_API_KEY", "azure-key")
    monkeypatch.setenv("OPENAI_API_VERSION", "2025-04-01-preview")

    async with MiniAgents():
        await AzureOpenAIAgent.inquire("Hi", model="gpt-4o")

    assert server.requests[0].headers["api-key"] == "azure-key"


async def test_a_client_of_ones_own_is_used(server: ProtocolServer):
    client = AsyncAzureOpenAI(azure_endpoint=server.url, api_key="my-own-key", api_version="2025-04-01-preview")

    async with client, MiniAgents():
        await azure_agent.inquire("Hi", async_client=client)

    assert server.requests[0].headers["api-key"] == "my-own-key"


async def test_what_is_missing_is_named_with_its_variable(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    for variable in ("AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY", "OPENAI_API_VERSION"):
        monkeypatch.delenv(variable, raising=False)

    async with MiniAgents():
        with pytest.raises(MissingAPIKeyError, match="AZURE_OPENAI_API_KEY"):
            await azure_agent.inquire("Hi", azure_endpoint=server.url)
        with pytest.raises(BadRequestError, match="needs `azure_endpoint=`.* AZURE_OPENAI_ENDPOINT"):
            await azure_agent.inquire("Hi", api_key="k")
        with pytest.raises(BadRequestError, match="needs `api_version=`.* OPENAI_API_VERSION"):
            await AzureOpenAIAgent.inquire("Hi", model="gpt-4o", azure_endpoint=server.url, api_key="k")

    assert server.requests == []
