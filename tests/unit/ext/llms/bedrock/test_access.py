import boto3
import pytest

from miniagents import MiniAgents
from miniagents.ext.llms.bedrock import BedrockAgent
from miniagents.ext.llms.errors import (
    AuthenticationError,
    BadRequestError,
    WrongClientError,
)
from miniagents.testing.server import (
    Answer,
    Gate,
    ProtocolServer,
)

bedrock_agent = BedrockAgent.fork(model="amazon.nova-pro-v1:0")


@pytest.fixture(autouse=True)
def _of_clouds(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment_of_clouds.items():
        monkeypatch.setenv(name, value)


async def test_a_key_of_bedrock_takes_the_place_of_the_credentials(
    server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    agent = bedrock_agent.fork(api_key="very-secret", base_url=server.url, aws_region="eu-west-1")

    async with MiniAgents():
        [message] = await agent.inquire("Hi")

    assert server.requests[0].headers["authorization"] == "Bearer very-secret"
    assert "very-secret" not in repr(agent)
    assert "very-secret" not in repr(message)


async def test_credentials_and_region_can_be_given(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION"):
        monkeypatch.delenv(name)

    async with MiniAgents():
        await bedrock_agent.inquire(
            "Hi",
            aws_access_key_id="my-id",
            aws_secret_access_key="my-secret",
            aws_region="eu-west-1",
            base_url=server.url,
        )

    assert "Credential=my-id/" in server.requests[0].headers["authorization"]
    assert "/eu-west-1/" in server.requests[0].headers["authorization"]


async def test_a_missing_region_names_the_variable(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_DEFAULT_REGION")
    monkeypatch.delenv("AWS_REGION", raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")

    async with MiniAgents():
        with pytest.raises(BadRequestError, match="needs a region: set AWS_REGION, or give `aws_region=`"):
            await bedrock_agent.inquire("Hi")


async def test_missing_credentials_name_the_variables(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    async with MiniAgents():
        with pytest.raises(AuthenticationError, match="has no AWS credentials.*AWS_ACCESS_KEY_ID.*AWS_PROFILE"):
            await bedrock_agent.inquire("Hi")

    assert server.requests == []


@pytest.mark.allow_blocking("boto3 reads its description of the service")
async def test_a_client_of_ones_own_is_used(server: ProtocolServer):
    client = boto3.client(
        "bedrock-runtime", endpoint_url=server.url, aws_access_key_id="own", aws_secret_access_key="x"
    )
    gate = Gate()
    server.script("Hello", Answer(["Hel", gate, "lo"]))

    async with MiniAgents():
        [message] = await bedrock_agent.inquire("Hi", async_client=client)
        async with bedrock_agent.inquire("Hi", async_client=client) as replies:
            async for token in await anext(aiter(replies)):
                assert token == "Hel"
                break

        assert await server.requests[1].ended() == "closed by the client"
    assert str(message) == "Hello"
    assert "Credential=own/" in server.requests[0].headers["authorization"]
    client.close()


async def test_what_is_no_client_is_refused(server: ProtocolServer):
    async with MiniAgents():
        with pytest.raises(WrongClientError, match=r"needs a `boto3.client\('bedrock-runtime'\)`"):
            await bedrock_agent.inquire("Hi", async_client=object())
