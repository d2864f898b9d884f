"""Tools of an MCP server in this process, and what is alike for all servers."""

import asyncio
import logging
import subprocess
import sys
from typing import Any

import pytest

from miniagents import MiniAgents
from miniagents.errors import MissingExtraError
from miniagents.ext.llms import Script, ScriptedAgent, tool_call
from miniagents.ext.llms.llm_messages import ImageMessage
from miniagents.ext.llms.mcp import mcp_tools
from miniagents.ext.llms.tools import ToolDefinitionError, ToolError
from tests.unit.ext.llms.tools.mcp_demo import demo_server
from tests.unit.ext.llms.tools.tool_calls import result_of, toolbox
from tests.unit.ext.terminal import REPOSITORY, environment


@pytest.fixture(scope="module", autouse=True)
def sdk_is_loaded() -> None:
    """Importing it takes a second; not within the time of a test."""
    demo_server()


@pytest.fixture
def demo() -> Any:
    return demo_server()


async def test_the_tools_of_a_server_are_tools(demo: Any, mini_agents: MiniAgents) -> None:
    tools = toolbox(mcp_tools(demo))
    await tools.prepare()

    assert [schema.name for schema in tools.schemas] == [
        *("add", "look", "data", "fail", "process", "die", "grow", "wait", "dotted_name")
    ]
    assert tools.schemas[0].description == "Add numbers."
    assert tools.schemas[0].parameters == {
        "type": "object",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer", "default": 2}},
        "required": ["a"],
    }
    assert str(await result_of(tools, "add", '{"a": 1}')) == "3"
    assert str(await result_of(tools, "dotted_name")) == "dotted"


async def test_texts_pictures_and_data_come_through(demo: Any, mini_agents: MiniAgents) -> None:
    tools = toolbox(mcp_tools(demo))
    await tools.prepare()

    looked = await result_of(tools, "look")

    assert str(looked) == "Here it is:"
    assert looked.media == (ImageMessage(data=b"png", media_type="image/png"),)
    assert '"n": 1' in str(await result_of(tools, "data")).replace('"n":1', '"n": 1')


async def test_what_the_server_calls_an_error_is_one(
    demo: Any, mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    tools = toolbox(mcp_tools(demo))
    await tools.prepare()
    failed = await result_of(tools, "fail")

    assert (str(failed), failed.is_error) == ("The vault is locked.", True)
    assert (await result_of(tools, "add", '{"a": "x"}')).is_error
    raising = toolbox(mcp_tools(demo), tool_errors="raise")
    await raising.prepare()
    with pytest.raises(ToolError, match="The vault is locked"):
        await result_of(raising, "fail")


async def test_a_call_may_take_only_so_long(
    demo: Any, mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    tools = toolbox(mcp_tools(demo, timeout_s=0.01))
    await tools.prepare()

    late = await result_of(tools, "wait")

    assert late.is_error
    assert "The tool `wait` failed at its MCP server: " in str(late)
    assert str(await result_of(tools, "add", '{"a": 1}')) == "3"


async def test_a_model_calls_them_like_any_other_tool(demo: Any, mini_agents: MiniAgents) -> None:
    script = Script([tool_call("add", {"a": 40})], "It is 42.")

    replies = await ScriptedAgent.inquire("40 + 2?", script=script, tools=[mcp_tools(demo)])

    assert [str(reply) for reply in replies][1:] == ["42", "It is 42."]


async def test_tools_are_chosen_and_renamed(demo: Any, mini_agents: MiniAgents) -> None:
    chosen = toolbox(mcp_tools(demo, include=["add", "look"], exclude=["look"], prefix="demo_"))
    await chosen.prepare()

    assert [schema.name for schema in chosen.schemas] == ["demo_add"]
    assert str(await result_of(chosen, "demo_add", '{"a": 1}')) == "3"


async def test_choosing_a_tool_that_is_not_there_is_refused(demo: Any, mini_agents: MiniAgents) -> None:
    with pytest.raises(ToolDefinitionError) as raised:
        await toolbox(mcp_tools(demo, include=["sub"])).prepare()

    assert "The MCP server `demo` (in this process) has no tool `sub`, which `include` or `exclude` names." in str(
        raised.value
    )


async def test_names_that_clash_are_refused_with_both_owners(demo: Any, mini_agents: MiniAgents) -> None:
    def add(a: int) -> int:
        return a

    with pytest.raises(ToolDefinitionError) as raised:
        await toolbox(add, mcp_tools(demo)).prepare()

    assert (
        "two tools named `add`, the function `add` and `add` of the MCP server `demo` (in this process): rename one"
        in str(raised.value)
    )


async def test_they_may_need_approval(demo: Any, mini_agents: MiniAgents, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    tools = toolbox(mcp_tools(demo, requires_approval={"add"}))
    await tools.prepare()

    assert "was not approved" in str(await result_of(tools, "add", '{"a": 1}'))
    assert not (await result_of(tools, "data")).is_error


async def test_tools_that_appear_later_are_there_at_the_next_turn(demo: Any, mini_agents: MiniAgents) -> None:
    tools = toolbox(mcp_tools(demo))
    await tools.prepare()
    before = tools.schemas

    await result_of(tools, "grow")
    async with asyncio.timeout(5):
        while tools.schemas == before:
            await asyncio.sleep(0)
            await tools.prepare()

    assert [schema.name for schema in tools.schemas][-1] == "late"


async def test_one_session_serves_all_agents_of_a_context_and_another_context_gets_its_own(demo: Any) -> None:
    source = mcp_tools(demo)
    async with MiniAgents():
        first, second = await asyncio.gather(source.load(), source.load())
        assert first is second

    async with MiniAgents():
        assert await source.load() is not first


async def test_a_block_gives_the_tools_and_ends_the_session(demo: Any, mini_agents: MiniAgents) -> None:
    async with mcp_tools(demo, include=["add"]) as tools:
        (add,) = tools
        assert [str(reply) for reply in await add.inquire(a=1)] == ["3"]

    assert len(await mcp_tools(demo)) == 9


async def test_a_session_does_not_belong_to_the_agent_that_opened_it(demo: Any, mini_agents: MiniAgents) -> None:
    source = mcp_tools(demo)
    script = Script("first", [tool_call("add", {"a": 1})], "second")
    model = ScriptedAgent.fork(script=script, tools=[source])

    async with model.inquire("one") as replies:
        await replies
    replies = await model.inquire("two")

    assert [str(reply) for reply in replies][1:] == ["3", "second"]


# ------------------------------------------------------------------------------------------------------ mistakes


@pytest.mark.parametrize(
    ("given", "options", "says"),
    [
        (7, {}, "is no server: give a command line such as 'uvx mcp-server-fetch', a URL"),
        ("", {}, "is no server"),
        ("https://host/mcp", {"cwd": "."}, "`cwd` is not for a URL"),
        ("uvx server", {"headers": {"X": "1"}}, "`headers` is not for a command"),
        ("uvx server", {"include": "add"}, "give a list of names, `include=['add']`"),
    ],
    ids=["number", "nothing", "cwd of a URL", "headers of a command", "one text"],
)
def test_what_is_no_server_is_refused(given: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(TypeError) as raised:
        mcp_tools(given, **options)

    assert says in str(raised.value)


def test_without_the_extra_the_error_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(MissingExtraError) as raised:
        mcp_tools("uvx server")

    assert str(raised.value) == (
        "`mcp_tools()` needs the package `mcp`, which is not installed. Install it with `pip install mcp` or "
        '`pip install "miniagents[mcp]"`.'
    )


def test_headers_and_what_is_in_a_url_are_never_shown() -> None:
    source = mcp_tools("https://me:password1@host:8000/mcp?key=secret", headers={"Authorization": "Bearer x"})

    assert repr(source) == "<MCPTools of `https://host:8000/mcp`>"


def test_the_log_handler_that_a_server_leaves_behind_is_removed() -> None:
    program = (
        "import logging\n"
        "from mcp.server import MCPServer\n"
        "from miniagents.ext.llms.mcp import mcp_tools\n"
        "server = MCPServer('demo')\n"
        "assert len(logging.getLogger().handlers) == 1\n"
        "mcp_tools(server)\n"
        "print(logging.getLogger().handlers, logging.getLogger().level)\n"
    )

    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=REPOSITORY,
        env=environment(),
        check=True,
        capture_output=True,
        text=True,
        timeout=25,
    )

    assert ended.stdout == f"[] {logging.WARNING}\n"


def test_a_log_handler_of_the_program_stays() -> None:
    handler = logging.StreamHandler()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        mcp_tools(demo_server())

        assert handler in root.handlers
    finally:
        root.removeHandler(handler)
