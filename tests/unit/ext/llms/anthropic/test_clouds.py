"""Claude on Bedrock and on Vertex: the same agent behind other doors."""

from typing import Any

import pytest
from anthropic import AsyncAnthropicBedrock, AsyncAnthropicBedrockMantle

from miniagents import MiniAgent, MiniAgents
from miniagents.ext.llms import LLMError
from miniagents.ext.llms.anthropic import AnthropicAgent
from miniagents.ext.llms.anthropic_clouds import AnthropicBedrockAgent, AnthropicVertexAgent
from miniagents.ext.llms.errors import (
    AuthenticationError,
    BadRequestError,
    ConnectionLostError,
    IncompleteStreamError,
    MissingSDKError,
    ProviderError,
    RateLimitedError,
)
from miniagents.testing.server import (
    Answer,
    BadJSON,
    Cut,
    Drop,
    ErrorInside,
    Failure,
    Gate,
    ProtocolServer,
    Raw,
    Thinking,
    ToolCall,
    UnknownEvent,
)
from miniagents.testing.server.anthropic_clouds import BedrockMessageRendering

bedrock_agent = AnthropicBedrockAgent.fork(model="us.anthropic.claude-sonnet-5-5", max_retries=0)
vertex_agent = AnthropicVertexAgent.fork(model="claude-sonnet-5-5", api_key="access-token", max_retries=0)

pytestmark = pytest.mark.allow_blocking("the AWS SDK reads its files when it signs a request")
RENDERING = BedrockMessageRendering.__new__(BedrockMessageRendering)
ON_BOTH = pytest.mark.parametrize("agent", [bedrock_agent, vertex_agent], ids=["bedrock", "vertex"])


@pytest.fixture(autouse=True)
def clouds(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment_of_clouds.items():
        monkeypatch.setenv(name, value)
    for name in ("ANTHROPIC_API_KEY", "AWS_PROFILE", "AWS_BEARER_TOKEN_BEDROCK", "GOOGLE_APPLICATION_CREDENTIALS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("CLOUD_ML_REGION", "europe-west1")
    monkeypatch.setenv("ANTHROPIC_VERTEX_PROJECT_ID", "my-project")


async def failure(agent: MiniAgent, **settings: Any) -> LLMError:
    async with MiniAgents():
        with pytest.raises(LLMError) as raised:
            await agent.inquire("Hi", **settings)
    return raised.value


@ON_BOTH
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_thoughts_text_and_calls_are_messages_as_with_anthropic(
    server: ProtocolServer, agent: MiniAgent, stream: bool
):
    server.script(
        Answer([Thinking("Hmm.", "sig"), "Let", UnknownEvent(), " me", ToolCall("add", {"a": 1, "b": 2}, id="t1")]),
        "It is 3.",
    )

    def add(a: int, b: int) -> int:
        """Add two numbers."""
        return a + b

    async with MiniAgents():
        said = await agent.inquire("1 + 2?", tools=[add], stream=stream)

    assert [str(message) for message in said[:2]] == ["Hmm.", "Let me"]
    assert (said[2].tool_name, said[2].arguments.as_kwargs()) == ("add", {"a": 1, "b": 2})
    assert str(said[-1]) == "It is 3."
    assert said[-1].usage.output_tokens > 0
    assert said[-1].provider.endswith("-anthropic")
    assert server.requests[1].body["messages"][1]["content"][0] == {
        "type": "thinking",
        "thinking": "Hmm.",
        "signature": "sig",
    }


async def test_bedrock_streams_token_by_token_through_its_binary_frames(server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["Hel", gate, "lo"]))
    tokens: list[str] = []

    async with MiniAgents():
        async for message in bedrock_agent.inquire("Hi"):
            async for token in message:
                tokens.append(token)
                gate.open()

    assert tokens == ["Hel", "lo"]
    [request] = server.requests
    assert request.path == "/model/us.anthropic.claude-sonnet-5-5/invoke-with-response-stream"
    assert request.headers["authorization"].startswith("AWS4-HMAC-SHA256 Credential=loopback-key/")


async def test_kinds_that_the_sdk_does_not_know_come_through_word_for_word(server: ProtocolServer):
    events = [
        ("content_block_start", {"index": 0, "content_block": {"type": "brand_new", "found": [{"a": 1}]}}),
        ("content_block_delta", {"index": 0, "delta": {"type": "brand_new_delta", "content": "new"}}),
        ("content_block_stop", {"index": 0}),
    ]
    frames = [Raw(BedrockMessageRendering.event(RENDERING, kind, **data)) for kind, data in events]
    server.script(Answer([*frames, "Hello"]))

    async with MiniAgents():
        said = await bedrock_agent.inquire("Hi")
        await bedrock_agent.inquire(["Hi", *said, "Again"])

    assert server.requests[1].body["messages"][1]["content"][0] == {
        "type": "brand_new",
        "found": [{"a": 1}],
        "content": "new",
    }


async def test_a_bedrock_key_takes_the_place_of_credentials(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    async with MiniAgents():
        await bedrock_agent.inquire("Hi", api_key="bedrock-key")
        monkeypatch.setenv("AWS_BEARER_TOKEN_BEDROCK", "another-key\n")
        await bedrock_agent.inquire("Hi")

    keys = [request.headers["authorization"] for request in server.requests]
    assert keys == ["Bearer bedrock-key", "Bearer another-key"]


async def test_vertex_is_asked_in_the_region_and_project_that_are_set(server: ProtocolServer):
    async with MiniAgents():
        await vertex_agent.inquire("Hi")
        await vertex_agent.inquire("Hi", region="global", project_id="other", stream=False)

    first, second = server.requests
    place = "/v1/projects/my-project/locations/europe-west1/publishers/anthropic/models/"
    assert first.path == f"{place}claude-sonnet-5-5:streamRawPredict"
    assert second.path.startswith("/v1/projects/other/locations/global/")
    assert first.headers["authorization"] == "Bearer access-token"


@pytest.mark.parametrize(
    ("agent", "model", "version"),
    [
        (bedrock_agent, "anthropic.claude-haiku-4-5-20251001-v1:0", "bedrock-2023-05-31"),
        (vertex_agent, "claude-haiku-4-5@20251001", "vertex-2023-10-16"),
    ],
    ids=["bedrock", "vertex"],
)
async def test_sampling_parameters_go_with_the_older_version_in_the_body(
    server: ProtocolServer, agent: MiniAgent, model: str, version: str
):
    async with MiniAgents():
        await agent.inquire("Hi", model=model, temperature=0.5)
        await agent.inquire("Hi")

    old, new = (request.body for request in server.requests)
    assert (old["anthropic_version"], old["temperature"]) == (version, 0.5)
    assert new["anthropic_version"] != version


# ---------------------------------------------------------------------------------------------------- faults


@ON_BOTH
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        pytest.param(Failure(429, "Slow down.", retry_after_s=3.0), RateLimitedError, id="429"),
        pytest.param(Failure(400, "Bad."), BadRequestError, id="400"),
        pytest.param(Answer(["Once", Cut()]), IncompleteStreamError, id="cut"),
        pytest.param(Answer(["Once", Drop()]), ConnectionLostError, id="dropped"),
        pytest.param(Answer(["Once", BadJSON()]), ProviderError, id="bad JSON"),
    ],
)
async def test_faults_are_those_of_our_tree(server: ProtocolServer, agent: MiniAgent, reply: Any, kind: type[LLMError]):
    server.script(reply)

    error = await failure(agent)

    assert type(error) is kind
    assert error.provider in ("bedrock-anthropic", "vertex-anthropic")
    assert error.model in ("us.anthropic.claude-sonnet-5-5", "claude-sonnet-5-5")
    if isinstance(reply, Answer):
        assert error.partial_text == "Once"
    else:
        assert error.status_code == reply.status
        assert error.code


async def test_an_exception_in_amazons_stream_has_the_type_of_its_name(server: ProtocolServer):
    server.script(Answer(["Once", ErrorInside("throttlingException", "Too many tokens.")]))

    error = await failure(bedrock_agent)

    assert type(error) is RateLimitedError
    assert (error.code, error.partial_text) == ("throttlingException", "Once")
    assert "Too many tokens." in str(error)


@pytest.mark.parametrize(
    ("agent", "variables", "sentence"),
    [
        (bedrock_agent, ["AWS_DEFAULT_REGION"], "needs a region: give `aws_region=`, .* AWS_REGION or AWS_DEFAULT_"),
        (vertex_agent, ["CLOUD_ML_REGION"], "needs a region: give `region=`, .* variable CLOUD_ML_REGION"),
        (vertex_agent, ["ANTHROPIC_VERTEX_PROJECT_ID"], "needs a project: give `project_id=`, .*GOOGLE_CLOUD_PROJECT"),
    ],
    ids=["bedrock region", "vertex region", "vertex project"],
)
async def test_what_is_not_set_is_named(
    server: ProtocolServer, agent: MiniAgent, variables: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch
):
    for name in variables:
        monkeypatch.delenv(name)

    async with MiniAgents():
        with pytest.raises(BadRequestError, match=sentence):
            await agent.inquire("Hi")

    assert server.requests == []


async def test_nothing_to_sign_with_is_an_error_that_says_so(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")

    error = await failure(bedrock_agent, aws_region="eu-west-3")

    assert type(error) is AuthenticationError
    assert "Set AWS_BEARER_TOKEN_BEDROCK" in str(error)


async def test_without_boto3_the_extra_is_named(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("sys").modules, "boto3", None)

    async with MiniAgents():
        with pytest.raises(MissingSDKError, match=r"miniagents\[bedrock\]"):
            await bedrock_agent.inquire("Hi", api_key="a-key-without-a-client-yet")


# ---------------------------------------------------------------------------------------------------- own clients


async def test_any_client_of_the_sdk_can_be_handed_over(server: ProtocolServer):
    bedrock = AsyncAnthropicBedrock(api_key="my-key", base_url=server.bedrock_base_url, aws_region="eu-west-1")
    mantle = AsyncAnthropicBedrockMantle(api_key="my-key", base_url=server.anthropic_base_url, aws_region="eu-west-1")

    async with bedrock, mantle, MiniAgents():
        await bedrock_agent.inquire("Hi", async_client=bedrock)
        await AnthropicAgent.inquire("Hi", async_client=bedrock, model="anthropic.claude-sonnet-5-5")
        await bedrock_agent.inquire("Hi", async_client=mantle)
        await AnthropicAgent.inquire("Hi", async_client=mantle, model="claude-sonnet-5-5")

    assert [request.path for request in server.requests] == [
        "/model/us.anthropic.claude-sonnet-5-5/invoke-with-response-stream",
        "/model/anthropic.claude-sonnet-5-5/invoke-with-response-stream",
        "/v1/messages",
        "/v1/messages",
    ]
    assert {request.headers["authorization"] for request in server.requests} == {"Bearer my-key"}
