import subprocess
import sys

import pytest
from google import genai
from google.oauth2.credentials import Credentials

from miniagents import MiniAgents
from miniagents.ext.llms.errors import (
    BadRequestError,
    MissingAPIKeyError,
    MissingSDKError,
    UnsupportedOptionError,
    WrongClientError,
)
from miniagents.ext.llms.gemini import GeminiAgent
from miniagents.testing.server import Answer, ProtocolServer, Raw, Refusal

gemini_agent = GeminiAgent.fork(model="gemini-3.8-flash")


@pytest.fixture(autouse=True)
def _of_clouds(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in server.environment_of_clouds.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("model", "level", "config"),
    [
        ("gemini-3.8-flash", "low", {"thinking_level": "LOW", "include_thoughts": True}),
        ("gemini-4-argon", "high", {"thinking_level": "HIGH", "include_thoughts": True}),
        ("gemini-flash-latest", "medium", {"thinking_level": "MEDIUM", "include_thoughts": True}),
        ("gemini-3.6-flash", "off", {"thinking_level": "MINIMAL"}),
        ("gemini-2.5-flash", "off", {"thinking_budget": 0}),
        ("gemini-2.5-pro", "medium", {"thinking_budget": 8192, "include_thoughts": True}),
        ("gemini-2.0-flash", "off", None),
        ("gemini-3.8-flash", None, None),
    ],
)
async def test_thinking_is_asked_for_as_the_generation_wants_it(server: ProtocolServer, model, level, config):
    async with MiniAgents():
        await GeminiAgent.inquire("Hi", model=model, thinking=level)

    assert server.requests[0].body["generationConfig"].get("thinkingConfig") == config


@pytest.mark.parametrize(
    ("model", "options", "sentence"),
    [
        ("gemini-3.8-flash", {"thinking": "off"}, "it always thinks. Use `thinking='low'`"),
        ("gemini-2.5-pro", {"thinking": "off"}, "it always thinks. Use `thinking='low'`"),
        ("gemini-2.0-flash", {"thinking": "low"}, "it does not think"),
        ("gemini-3-pro-preview", {"thinking": "medium"}, "it knows 'low' and 'high' only"),
        (
            "gemini-3.8-flash",
            {"tool_config": {"function_calling_config": {"stream_function_call_arguments": True}}},
            "read as a whole",
        ),
    ],
)
async def test_what_a_model_refuses_fails_before_anything_is_sent(server: ProtocolServer, model, options, sentence):
    async with MiniAgents():
        with pytest.raises(UnsupportedOptionError, match=sentence):
            await GeminiAgent.inquire("Hi", model=model, **options)

    assert server.requests == []


async def test_what_the_sdk_refuses_is_told_in_a_sentence(server: ProtocolServer):
    async with MiniAgents():
        with pytest.raises(
            BadRequestError, match="cannot be asked like this: `temperature`: Input should be a valid number"
        ):
            await gemini_agent.inquire("Hi", temperature="hot")
        with pytest.raises(
            BadRequestError, match="cannot be asked like this: audio_timestamp parameter is only supported in"
        ):
            await gemini_agent.inquire("Hi", audio_timestamp=True)

    assert server.requests == []


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_an_answer_that_was_filtered_says_so(server: ProtocolServer, stream: bool):
    server.script(Answer([Refusal("I'd rather")], finish="content_filter"))

    async with MiniAgents():
        [message] = await gemini_agent.inquire("Hi", stream=stream)

    assert message.finish_reason == "content_filter"
    assert message.candidates[0].finish_reason == "SAFETY"


async def test_a_prompt_that_was_blocked_says_so(server: ProtocolServer):
    server.script(Answer([Raw(b'data: {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}\n\n')], finish=None))

    async with MiniAgents():
        [message] = await gemini_agent.inquire("Hi")

    assert (str(message), message.finish_reason) == ("", "content_filter")
    assert message.prompt_feedback.block_reason == "PROHIBITED_CONTENT"


async def test_vertex_is_asked_with_the_account_in_its_project(server: ProtocolServer):
    server.script("Hello from Vertex")
    vertex_agent = gemini_agent.fork(
        vertexai=True,
        project="my-project",
        location="europe-west1",
        credentials=Credentials("my-token"),
        base_url=server.url,
    )

    async with MiniAgents():
        [message] = await vertex_agent.inquire("Hi")

    assert str(message) == "Hello from Vertex"
    [request] = server.requests
    assert request.path == (
        "/v1beta1/projects/my-project/locations/europe-west1/publishers/google/models/"
        "gemini-3.8-flash:streamGenerateContent"
    )
    assert request.headers["authorization"] == "Bearer my-token"
    assert "x-goog-api-key" not in request.headers


async def test_key_and_server_can_be_given(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    for name in ("GEMINI_API_KEY", "GOOGLE_GEMINI_BASE_URL"):
        monkeypatch.delenv(name)

    async with MiniAgents():
        await gemini_agent.inquire("Hi", api_key="my-own-key", base_url=server.url)

    assert server.requests[0].headers["x-goog-api-key"] == "my-own-key"


async def test_a_client_of_ones_own_is_used(server: ProtocolServer):
    with genai.Client(api_key="my-own-key", http_options={"base_url": server.url}) as client:
        async with MiniAgents():
            await gemini_agent.inquire("Hi", async_client=client)
        await client.aio.aclose()

    assert server.requests[0].headers["x-goog-api-key"] == "my-own-key"


async def test_what_is_no_client_is_refused(server: ProtocolServer):
    async with MiniAgents():
        with pytest.raises(WrongClientError, match=r"needs a `google.genai.Client`"):
            await gemini_agent.inquire("Hi", async_client=object())


async def test_a_missing_key_names_the_variable(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("GEMINI_API_KEY")

    async with MiniAgents():
        with pytest.raises(MissingAPIKeyError, match="environment variable GEMINI_API_KEY"):
            await gemini_agent.inquire("Hi")

    assert server.requests == []


def test_a_missing_package_names_the_extra():
    program = (
        "import sys; sys.modules['google.genai'] = None\n"
        "from miniagents import MiniAgents\n"
        "from miniagents.ext.llms.gemini import GeminiAgent\n"
        "async def main():\n"
        "    await GeminiAgent.inquire('Hi', model='gemini-3.8-flash', api_key='any')\n"
        "try:\n"
        "    MiniAgents().run(main())\n"
        "except ImportError as error:\n"
        "    print(type(error).__name__, error)"
    )

    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout

    assert printed.startswith(MissingSDKError.__name__)
    assert 'pip install "miniagents[gemini]"' in printed


async def test_a_key_is_never_shown(server: ProtocolServer):
    agent = gemini_agent.fork(api_key="very-secret")

    async with MiniAgents():
        [message] = await agent.inquire("Hi")

    assert "very-secret" not in repr(agent)
    assert "very-secret" not in repr(message)
