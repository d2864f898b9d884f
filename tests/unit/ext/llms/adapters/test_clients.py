import asyncio
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import openai
import pytest

from miniagents import Message, MiniAgents
from miniagents.errors import MissingExtraError
from miniagents.ext.llms import AnthropicAgent, OpenAIAgent
from miniagents.ext.llms._adapters.clients import ClientPool
from miniagents.ext.llms.errors import AuthenticationError, MissingSDKError
from miniagents.testing.server import Failure, ProtocolServer

ROOT = Path(__file__).parents[5]


class FakeClient:
    def __init__(self) -> None:
        self.thread = threading.current_thread()
        self.closed_on: asyncio.AbstractEventLoop | None = None

    async def close(self) -> None:
        self.closed_on = asyncio.get_running_loop()


def test_each_event_loop_has_its_own_client_which_is_closed_with_it():
    pool = ClientPool(FakeClient, ())

    async def two_clients() -> tuple[FakeClient, FakeClient, asyncio.AbstractEventLoop]:
        first, second = await asyncio.gather(pool.client(), pool.client())
        assert first.closed_on is None
        return first, second, asyncio.get_running_loop()

    first, also_first, loop = asyncio.run(two_clients())
    second, _, _ = asyncio.run(two_clients())

    assert first is also_first
    assert first is not second
    assert first.closed_on is loop
    assert first.thread is not threading.current_thread()


def test_a_client_is_built_anew_when_the_environment_has_changed(monkeypatch: pytest.MonkeyPatch):
    pool = ClientPool(FakeClient, ("SOME_KEY",))

    async def main() -> None:
        monkeypatch.setenv("SOME_KEY", "one")
        first = await pool.client()
        monkeypatch.setenv("SOME_KEY", "two")
        assert await pool.client() is not first
        monkeypatch.setenv("SOME_KEY", "one")
        assert await pool.client() is first

    asyncio.run(main())


def test_a_client_that_could_not_be_built_is_tried_again():
    failures = [ZeroDivisionError("no luck")]

    def build() -> FakeClient:
        if failures:
            raise failures.pop()
        return FakeClient()

    pool = ClientPool(build, ())

    async def main() -> None:
        with pytest.raises(ZeroDivisionError):
            await pool.client()
        assert isinstance(await pool.client(), FakeClient)

    asyncio.run(main())


def test_there_is_one_client_for_each_set_of_arguments():
    built: list[tuple[str, str | None]] = []

    def build(key: str, url: str | None) -> FakeClient:
        built.append((key, url))
        return FakeClient()

    pool = ClientPool(build, ())

    async def main() -> None:
        first = await pool.client("one", None)
        assert await pool.client("two", None) is not first
        assert await pool.client("one", "http://elsewhere") is not first
        assert await pool.client("one", None) is first

    asyncio.run(main())
    assert built == [("one", None), ("two", None), ("one", "http://elsewhere")]


async def test_key_and_server_are_settings_of_the_agent(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    for variable in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(variable)
    agent = OpenAIAgent.fork(model="gpt-4o", base_url=server.openai_base_url)

    async with MiniAgents():
        for key in ("one", "two", "one"):
            await agent.inquire("Hi", api_key=key)

    assert [request.headers["authorization"] for request in server.requests] == [
        "Bearer one",
        "Bearer two",
        "Bearer one",
    ]
    first, second, third = (request.client_port for request in server.requests)
    assert first == third != second


async def test_a_client_of_ones_own_stays_open(server: ProtocolServer):
    client = openai.AsyncOpenAI()

    async with MiniAgents():
        await OpenAIAgent.inquire("Hi", model="gpt-4o", async_client=client, max_retries=5)

    assert not client.is_closed()
    assert (await client.chat.completions.create(model="gpt-4o", messages=[{"role": "user", "content": "Hi"}])).choices
    await client.close()


async def test_a_key_is_never_shown(server: ProtocolServer, caplog: pytest.LogCaptureFixture):
    server.script(Failure(401, "Incorrect API key provided"))

    async with MiniAgents() as mini_agents:
        seen: list[str] = []

        @mini_agents.on_persist_message
        async def note(_: object, message: Message) -> None:
            seen.append(str(message.full_json))

        agent = OpenAIAgent.fork(model="gpt-4o", api_key="sk-very-secret")
        with pytest.raises(AuthenticationError) as raised:
            await agent.inquire("Hi")

    shown = "".join([*seen, *traceback.format_exception(raised.value), repr(agent), caplog.text])
    assert "OPENAI_AGENT" in shown
    assert "sk-very-secret" not in shown


def test_one_program_may_run_several_times_on_several_loops(server: ProtocolServer):
    async def main() -> str:
        agents = [OpenAIAgent.fork(model="gpt-4o"), AnthropicAgent.fork(model="claude-sonnet-5-5")]
        return " ".join([str(await agent.inquire("Hi").as_single_promise()) for agent in agents])

    texts = {MiniAgents().run(main()) for _ in range(2)}

    assert len(texts) == 1


@pytest.mark.parametrize(
    ("agent", "package"),
    [(OpenAIAgent.fork(model="gpt-4o"), "openai"), (AnthropicAgent.fork(model="claude-sonnet-5-5"), "anthropic")],
    ids=["openai", "anthropic"],
)
async def test_a_missing_sdk_names_both_commands_that_install_it(
    agent, package: str, server: ProtocolServer, monkeypatch: pytest.MonkeyPatch
):
    # What the import system itself notes of a package that cannot be imported.
    monkeypatch.setitem(sys.modules, package, None)
    async with MiniAgents():
        with pytest.raises(
            MissingSDKError, match=rf'pip install {package}` or `pip install "miniagents\[{package}\]"'
        ) as raised:
            await agent.inquire("Hi")

    assert isinstance(raised.value, MissingExtraError)
    assert isinstance(raised.value, ImportError)


@pytest.mark.parametrize(
    "statement",
    [
        "from miniagents.ext.llms import OpenAIAgent, AnthropicAgent, openai_embedding_agent, ScriptedAgent",
        "from miniagents.ext.llms import OpenAIAgent; OpenAIAgent.fork(model='gpt-4o', temperature=1)",
    ],
)
def test_the_agents_can_be_imported_and_configured_without_the_sdks(statement: str):
    program = f"""
import sys
{statement}
heavy = {{"openai", "anthropic", "httpx2", "jiter"}} & set(sys.modules)
assert not heavy, heavy
"""

    subprocess.run([sys.executable, "-W", "error", "-c", program], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("module", "folder"),
    [
        ("openai", "_openai"),
        ("openai_embeddings", "_openai"),
        ("openai_responses", "_openai"),
        ("anthropic", "_anthropic"),
        ("anthropic_clouds", "_anthropic"),
        ("bedrock", "_bedrock"),
        ("gemini", "_gemini"),
        ("scripted", None),
    ],
)
def test_importing_the_agents_of_one_provider_loads_no_sdk_and_nothing_of_another_provider(
    module: str, folder: str | None
):
    program = f"""
import sys
import miniagents.ext.llms.{module}
sdks = {{"anthropic", "boto3", "botocore", "google.genai", "httpx2", "mcp", "openai"}} & set(sys.modules)
assert not sdks, sdks
folders = {{f"miniagents.ext.llms.{{name}}" for name in ("_anthropic", "_bedrock", "_gemini", "_openai")}}
print(*[name.rpartition(".")[2] for name in sorted(folders & set(sys.modules))])
"""

    done = subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, capture_output=True, text=True)

    assert done.stdout.split() == [folder] * (folder is not None)


def test_every_exported_name_is_there():
    import miniagents.ext.llms as llms

    assert [name for name in llms.__all__ if getattr(llms, name, None) is None] == []
    assert set(llms.__all__) <= set(dir(llms))
    with pytest.raises(AttributeError, match="has no attribute 'ParrotAgent'; it has: AnthropicAgent, "):
        llms.ParrotAgent  # noqa: B018
