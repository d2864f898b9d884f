"""MCP servers in processes of their own and behind HTTP: how they die, and what is left of them."""

import asyncio
import contextlib
import os
import shutil
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from miniagents import MiniAgents
from miniagents.ext.llms.mcp import MCPServerError, mcp_tools
from tests.unit.ext.llms.tools import mcp_demo
from tests.unit.ext.llms.tools.tool_calls import call, result_of, toolbox

PROGRAM = [sys.executable, str(Path(mcp_demo.__file__))]


def is_running(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    return True


# ------------------------------------------------------------------------------------------------------ processes


@pytest.mark.parametrize("ended_by", ["success", "error", "cancellation"])
async def test_the_process_is_gone_when_the_context_has_ended(ended_by: str) -> None:
    started: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def program() -> None:
        async with MiniAgents():
            tools = toolbox(mcp_tools(PROGRAM))
            await tools.prepare()
            started.set_result(int(str(await result_of(tools, "process"))))
            if ended_by == "error":
                raise ValueError("enough")
            if ended_by == "cancellation":
                await asyncio.Event().wait()

    running = asyncio.create_task(program())
    process_id = await started
    if ended_by == "cancellation":
        assert is_running(process_id)
        running.cancel()
    await asyncio.wait([running])

    assert not is_running(process_id)
    assert type(running.exception() if not running.cancelled() else None) is (
        ValueError if ended_by == "error" else type(None)
    )


async def test_the_process_is_gone_when_the_block_is_left(mini_agents: MiniAgents) -> None:
    async with mcp_tools(PROGRAM, include=["process"]) as (process,):
        (reply,) = await process.inquire()
        assert is_running(int(str(reply)))

    assert not is_running(int(str(reply)))


async def test_a_server_that_dies_in_a_call_is_an_error_result_and_is_started_again(
    mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    tools = toolbox(mcp_tools(PROGRAM))
    await tools.prepare()
    first = str(await result_of(tools, "process"))

    died = await result_of(tools, "die")

    assert died.is_error
    assert "was lost during the call of `die`; the next call connects again." in str(died)
    assert "farewell" not in str(died)
    assert "farewell" in caplog.text
    assert "very-secret-words" not in caplog.text
    second = await result_of(tools, "process")
    assert not second.is_error
    assert str(second) != first


async def test_a_server_that_dies_between_two_calls_is_started_again(mini_agents: MiniAgents) -> None:
    source = mcp_tools(PROGRAM)
    tools = toolbox(source)
    await tools.prepare()
    process_id = int(str(await result_of(tools, "process")))

    os.kill(process_id, 9)
    async with asyncio.timeout(10):
        while source.is_connected:  # noqa: ASYNC110 - the end of a process is no event of ours
            await asyncio.sleep(0)

    second = await result_of(tools, "process")
    assert not second.is_error


async def test_a_call_that_is_cancelled_leaves_the_session_as_it_is(mini_agents: MiniAgents) -> None:
    tools = toolbox(mcp_tools(PROGRAM))
    await tools.prepare()
    first = str(await result_of(tools, "process"))

    (promise,) = tools.run([call("add", '{"a": 1}')])
    await asyncio.sleep(0)
    promise.cancel()

    assert str(await result_of(tools, "process")) == first


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (["no-such-command-anywhere", "x"], "cannot be used: there is no command `no-such-command-anywhere`."),
        (
            [sys.executable, "-c", "import sys; sys.exit('no config, token=abcdefgh1234')"],
            "It said: no config, token=***.",
        ),
    ],
    ids=["no command", "ends at once"],
)
async def test_a_server_that_cannot_be_started_says_why(command: list[str], says: str, mini_agents: MiniAgents) -> None:
    with pytest.raises(MCPServerError) as raised:
        await mcp_tools(command).load()

    assert says in str(raised.value)


async def test_a_server_that_says_nothing_is_given_up(mini_agents: MiniAgents) -> None:
    silent = mcp_tools([sys.executable, "-c", "import time; time.sleep(60)"], connect_timeout_s=0.05)

    with pytest.raises(MCPServerError, match="it did not answer within 0.05 s"):
        await silent.load()


async def test_a_command_line_is_one_text_as_well(mini_agents: MiniAgents, tmp_path: Path) -> None:
    await asyncio.to_thread(shutil.copy, mcp_demo.__file__, tmp_path / "server.py")

    tools = await mcp_tools(f"'{sys.executable}' server.py", cwd=tmp_path, env={"LANG": "C"})

    assert "add" in [tool.name for tool in tools]


# ------------------------------------------------------------------------------------------------------ HTTP


class HTTPServer:
    """The demo server behind HTTP, in a thread."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.authorizations: list[str | None] = []
        app = mcp_demo.demo_server().streamable_http_app()

        async def watched(scope: dict, receive: object, send: object) -> None:
            if scope["type"] == "http":
                self.authorizations.append(dict(scope["headers"]).get(b"authorization", b"").decode() or None)
            with contextlib.suppress(asyncio.CancelledError):
                await app(scope, receive, send)

        config = uvicorn.Config(watched, host="127.0.0.1", port=port, log_level="critical", lifespan="on")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        # It sets no event; what keeps it from starting ends its thread.
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.005)

    def stop(self) -> None:
        self._server.force_exit = True
        self._server.should_exit = True
        self._thread.join(10)


@pytest.fixture
def port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.fixture
def http_server(port: int) -> Iterator[HTTPServer]:
    server = HTTPServer(port)
    yield server
    server.stop()


async def test_a_server_behind_http_gets_the_headers_and_answers(
    http_server: HTTPServer, mini_agents: MiniAgents
) -> None:
    source = mcp_tools(f"http://127.0.0.1:{http_server.port}/mcp", headers={"Authorization": "Bearer of-news"})

    async with source as tools:
        (add,) = [tool for tool in tools if tool.name == "add"]
        assert [str(reply) for reply in await add.inquire(a=1)] == ["3"]

    assert set(http_server.authorizations) == {"Bearer of-news"}


async def test_an_http_server_that_was_away_is_found_again(
    http_server: HTTPServer, mini_agents: MiniAgents, caplog: pytest.LogCaptureFixture
) -> None:
    tools = toolbox(mcp_tools(f"http://127.0.0.1:{http_server.port}/mcp"))
    await tools.prepare()

    await asyncio.to_thread(http_server.stop)
    away = await result_of(tools, "add", '{"a": 1}')
    await tools.prepare()
    again = await asyncio.to_thread(HTTPServer, http_server.port)
    try:
        back = await result_of(tools, "add", '{"a": 1}')
    finally:
        await asyncio.to_thread(again.stop)

    assert away.is_error
    assert "add" in [schema.name for schema in tools.schemas]
    assert (str(back), back.is_error) == ("3", False)


async def test_an_http_server_that_is_not_there_is_named_without_secrets(port: int, mini_agents: MiniAgents) -> None:
    with pytest.raises(MCPServerError) as raised:
        await mcp_tools(f"http://me:hunter22@127.0.0.1:{port}/mcp?key=topsecret").load()

    assert f"The MCP server `http://127.0.0.1:{port}/mcp` cannot be used" in str(raised.value)
    assert "hunter22" not in str(raised.value)
    assert "topsecret" not in str(raised.value)
