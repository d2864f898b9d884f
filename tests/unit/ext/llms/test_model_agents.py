import subprocess
import sys

import pytest

from miniagents import MiniAgent, MiniAgents, miniagent
from miniagents.ext.llms import LLMAgent, Script
from miniagents.ext.llms.errors import BadRequestError, UnknownModelError
from miniagents.ext.llms.model_agents import _registered, known_prefixes, model_agent, register_provider
from miniagents.testing.server import ProtocolServer
from tests.support.model_servers import model_server

__all__ = ["model_server"]


@pytest.fixture(autouse=True)
def _nothing_set_up(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MINIAGENTS_PROVIDER", "OPENAI_BASE_URL", "OLLAMA_HOST", "CI"):
        monkeypatch.delenv(name, raising=False)
    # What runs on the machine of the developer must not change the outcome of a test.
    monkeypatch.setenv("MINIAGENTS_OFFLINE", "1")
    monkeypatch.setattr("miniagents.ext.llms.model_agents._registered", dict(_registered))


@pytest.fixture
def _servers_of_all_clouds(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**server.environment, **server.environment_of_clouds}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("OPENAI_API_VERSION", "2025-04-01-preview")


@pytest.mark.parametrize(
    ("name", "protocol"),
    [
        ("openai:gpt-4o", "openai-chat"),
        ("openai-responses:gpt-4o", "openai-responses"),
        ("azure:gpt-4o", "openai-chat"),
        ("openai-compatible:qwen3:8b", "openai-chat"),
        ("local:qwen3:8b", "openai-chat"),
        ("qwen3:8b", "openai-chat"),
        ("anthropic:claude-sonnet-5-5", "anthropic"),
        ("bedrock-anthropic:us.anthropic.claude-sonnet-5-5", "bedrock-anthropic"),
        ("bedrock:amazon.nova-pro-v1:0", "bedrock-converse"),
        ("gemini:gemini-3.8-flash", "gemini"),
        ("GEMINI: gemini-3.8-flash", "gemini"),
    ],
)
@pytest.mark.usefixtures("_servers_of_all_clouds")
async def test_a_prefix_says_who_is_asked(server: ProtocolServer, name: str, protocol: str):
    agent = model_agent(name)

    async with MiniAgents():
        answer = str(await agent.inquire("Hi").as_single_promise())

    assert answer.startswith('You said "Hi"')
    [request] = server.requests
    assert request.protocol == protocol
    model = name if name == "qwen3:8b" else name.partition(":")[2].strip()
    assert request.model == model


@pytest.mark.usefixtures("_servers_of_all_clouds")
async def test_settings_are_those_of_the_agent(server: ProtocolServer):
    agent = model_agent("openai:gpt-4o", system="Be brief.", temperature=0.5, alias="BRIEF")

    async with MiniAgents():
        [message] = await agent.inquire("Hi")

    assert server.requests[0].body["temperature"] == 0.5
    assert server.requests[0].body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert message.agent_alias == "BRIEF"


@pytest.mark.parametrize("name", ["vertex-anthropic:claude-sonnet-5-5", "vertex-gemini:gemini-3.8-flash"])
def test_vertex_has_prefixes_of_its_own(name: str):
    assert isinstance(model_agent(name), MiniAgent)


async def test_offline_models_need_no_name():
    async with MiniAgents():
        assert str(await model_agent("echo").inquire("Hi there").as_single_promise()) == "Hi there"
        told = model_agent("scripted", script=Script("Once upon a time"))
        assert str(await told.inquire("A story!").as_single_promise()) == "Once upon a time"


# --------------------------------------------------------------------------------------------- without a known prefix


@pytest.mark.usefixtures("_servers_of_all_clouds")
async def test_the_default_provider_is_the_one_that_the_environment_names(
    server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MINIAGENTS_PROVIDER", "bedrock")

    async with MiniAgents():
        await model_agent("amazon.nova-pro-v1:0").inquire("Hi")

    assert (server.requests[0].protocol, server.requests[0].model) == ("bedrock-converse", "amazon.nova-pro-v1:0")


def test_a_default_provider_that_is_none_is_an_error(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MINIAGENTS_PROVIDER", "opnai")

    with pytest.raises(UnknownModelError, match="MINIAGENTS_PROVIDER is 'opnai', which is none of them"):
        model_agent("gpt-4o")


@pytest.mark.parametrize("name", ["qwen3:8b", "llama3"])
def test_else_it_is_the_server_on_this_machine_that_has_the_model(
    model_server, monkeypatch: pytest.MonkeyPatch, name: str
):
    found = model_server(["other", "qwen3:8b", "llama3:latest"])
    monkeypatch.delenv("MINIAGENTS_OFFLINE")
    monkeypatch.setattr("miniagents.ext.llms.model_agents.likely_addresses", lambda _: [found.address])

    agent = model_agent(name)

    assert agent.alias == "OPENAI_COMPATIBLE_AGENT"
    assert (agent.settings.model, agent.settings.base_url) == (name, found.address.base_url)
    assert found.requests == ["/v1/models"]


def test_one_that_no_server_has_is_unknown_and_what_they_have_is_told(model_server, monkeypatch: pytest.MonkeyPatch):
    found = model_server(["llama3:8b"])
    monkeypatch.delenv("MINIAGENTS_OFFLINE")
    monkeypatch.setattr("miniagents.ext.llms.model_agents.likely_addresses", lambda _: [found.address])

    with pytest.raises(UnknownModelError, match="what servers on this machine have is 'llama3:8b'"):
        model_agent("qwen3:8b")


@pytest.mark.allow_blocking("a server is looked for while the loop stands still")
async def test_a_server_is_found_from_within_a_running_loop(model_server, monkeypatch: pytest.MonkeyPatch):
    found = model_server(["qwen3:8b"])
    monkeypatch.delenv("MINIAGENTS_OFFLINE")
    monkeypatch.setattr("miniagents.ext.llms.model_agents.likely_addresses", lambda _: [found.address])

    assert model_agent("qwen3:8b").settings.base_url == found.address.base_url


def test_where_there_is_no_provider_the_error_tells_all_ways_out(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("MINIAGENTS_OFFLINE")
    monkeypatch.setattr("miniagents.ext.llms.model_agents.likely_addresses", lambda _: [])

    with pytest.raises(UnknownModelError) as raised:
        model_agent("qwen3:8b")

    sentence = str(raised.value)
    assert "Known prefixes: openai, openai-responses, azure," in sentence
    assert "no model server answers on this machine" in sentence
    assert 'pip install "miniagents[EXTRA]"' in sentence
    assert "anthropic, bedrock, gemini, openai, vertex" in sentence
    assert raised.value.model == "qwen3:8b"


def test_nothing_is_looked_for_where_that_is_turned_off():
    with pytest.raises(UnknownModelError, match="as MINIAGENTS_OFFLINE is set"):
        model_agent("qwen3:8b")


@pytest.mark.parametrize("name", ["openai", "openai:", "gemini: "])
def test_a_provider_without_a_model_is_an_error(name: str):
    with pytest.raises(BadRequestError, match="is a provider and no model"):
        model_agent(name)


def test_an_empty_name_is_an_error():
    with pytest.raises(UnknownModelError, match="Give a name, such as 'openai:gpt-5.5'"):
        model_agent(" ")


# ---------------------------------------------------------------------------------------------- providers of one's own


@miniagent
class ParrotAgent(LLMAgent):
    cries: int = 1

    async def stream_answer(self, prompt, answer_fields):
        for _ in range(self.cries):
            yield f"{self.model} says {prompt.last_text}. "


async def test_an_agent_of_ones_own_gets_a_prefix():
    register_provider("Parrot", ParrotAgent)

    async with MiniAgents():
        answer = await model_agent("parrot:polly", cries=2).inquire("hi").as_single_promise()

    assert str(answer) == "polly says hi. polly says hi. "
    # Others of ones own may be there, too, and all of them stand behind those that are built in.
    assert known_prefixes().index("parrot") > known_prefixes().index("openai")


async def test_a_function_may_make_the_agents():
    register_provider("parrot", lambda model, **settings: ParrotAgent.fork(model=f"great {model}", **settings))

    async with MiniAgents():
        assert str(await model_agent("parrot:polly").inquire("hi").as_single_promise()) == "great polly says hi. "


def test_ones_own_provider_can_be_the_default(monkeypatch: pytest.MonkeyPatch):
    register_provider("parrot", ParrotAgent)
    monkeypatch.setenv("MINIAGENTS_PROVIDER", "parrot")

    assert model_agent("polly:1").alias == ParrotAgent.alias


@pytest.mark.parametrize("prefix", ["", "a:b", "two words"])
def test_what_is_no_prefix_is_refused(prefix: str):
    with pytest.raises(ValueError, match="is no prefix: give one word without a colon"):
        register_provider(prefix, ParrotAgent)


def test_what_is_no_agent_is_refused():
    with pytest.raises(TypeError, match="takes an agent, or a function that makes one"):
        register_provider("parrot", "polly")
    register_provider("parrot", lambda model: model)
    with pytest.raises(TypeError, match="made 'polly' of 'polly', which is no agent"):
        model_agent("parrot:polly")


def test_making_an_agent_loads_no_sdk():
    program = (
        "import sys\n"
        "from miniagents.ext.llms.model_agents import known_prefixes, model_agent\n"
        "heavy = {'openai', 'anthropic', 'google.genai', 'boto3', 'httpx2'}\n"
        "for prefix in known_prefixes():\n"
        "    if prefix != 'local': model_agent(f'{prefix}:some-model')\n"
        "print(sorted(heavy & set(sys.modules)))"
    )

    printed = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout

    assert printed.strip() == "[]"
