"""One session with an MCP server: where the server is, how it is reached, and what is left when it dies.

    new --open()--> connecting --> open --the server is gone, close(), or the end of the context--> over

A session lives in a task of its own, since the SDK wants it to be closed in the task that has opened it. The task
belongs to the context, which ends it when all other work is done.
"""

import asyncio
import contextvars
import importlib
import os
import shlex
import threading
from collections import deque
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

from miniagents.ext.llms._common.secrets import without_secrets
from miniagents.ext.llms._tools.tool import Tool
from miniagents.ext.llms.errors import LLMError
from miniagents.miniagents import MiniAgents
from miniagents.promising._producer import current_producer
from miniagents.promising._wording import class_and_text

_LINES_KEPT = 20
_LAST_WORDS_S = 1.0
_LONGEST_COMMAND = 80
_LONGEST_WORDS = 500


class MCPServerError(LLMError, ConnectionError):
    """An MCP server could not be reached, or was lost."""


@dataclass(frozen=True)
class Server:
    """Where a server is: a command line, a URL, or an object in this process."""

    command: tuple[str, ...] = ()
    url: str = ""
    in_process: Any = None
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    env: Mapping[str, str] | None = field(default=None, repr=False)
    cwd: str | os.PathLike[str] | None = None

    def describe(self) -> str:
        """Name it, without what could be a secret."""
        if self.command:
            line = without_secrets(shlex.join(self.command))
            return f"`{line if len(line) <= _LONGEST_COMMAND else line[:_LONGEST_COMMAND] + '...'}`"
        if self.url:
            parts = urlsplit(self.url)
            return f"`{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}{parts.path}`"
        return f"`{getattr(self.in_process, 'name', self.in_process)}` (in this process)"


class Session:
    """One session.

    Attributes:
        client: the SDK's client, once `open` has returned.
        is_over: whether it can no longer be used.
        tools: what `tools_changed` is about; kept for whoever asks for them.
        tools_changed: whether the server's tools are to be asked for anew.
        listing: held by whoever asks for them.
    """

    def __init__(self, server: Server, tools: list[Tool]) -> None:
        self.client: Any = None
        self.is_over = False
        self.tools = tools
        self.tools_changed = True
        self.listing = asyncio.Lock()
        self._server = server
        self._said: deque[str] = deque(maxlen=_LINES_KEPT)
        self._stop = asyncio.Event()
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Else asyncio complains about an error that nobody fetched, when all who waited were cancelled.
        self._ready.add_done_callback(lambda done: done.cancelled() or done.exception())
        context = MiniAgents.get_current()
        # Not in the variables of whoever comes first: the session is nobody's part.
        variables = contextvars.copy_context()
        variables.run(current_producer.set, None)
        self._task = variables.run(context.start_asap, self._live())
        self._task.add_done_callback(self._has_ended)
        # What is there to serve others does not keep the context from ending.
        context.background.park(self._task)

    async def open(self, timeout_s: float) -> None:
        """Wait until the server has answered.

        Raises:
            MCPServerError: it did not, or not in time.
        """
        try:
            async with asyncio.timeout(timeout_s):
                # Others may be waiting, too.
                await asyncio.shield(self._ready)
        except TimeoutError:
            self.is_over = True
            self._task.cancel()
            raise self.error(f"it did not answer within {timeout_s:g} s" + self.last_words()) from None

    async def close(self) -> None:
        """End the session and wait until it has ended, the server's process included."""
        self.give_up()
        await asyncio.wait([self._task])

    def give_up(self) -> None:
        """End the session; whoever asks for one next gets another."""
        self.is_over = True
        self._stop.set()

    def error(self, why: str) -> MCPServerError:
        """Give the error that says why the server cannot be used."""
        return MCPServerError(f"The MCP server {self._server.describe()} cannot be used: {why}.")

    async def give_up_and_listen(self) -> str:
        """End the session, and give its last words when it has ended, or after a moment."""
        self.give_up()
        await asyncio.wait([self._task], timeout=_LAST_WORDS_S)
        return self.last_words()

    def last_words(self) -> str:
        """Give the end of what the server has written to its standard error, without what could be a secret."""
        said = " ".join("\n".join(self._said).split())
        return f" It said: {without_secrets(said)[-_LONGEST_WORDS:]}" if said else ""

    async def _live(self) -> None:
        try:
            sdk = await _sdk("mcp")
            server = self._server
            target = server.in_process if server.in_process is not None else _Watched(self._transport(), self)
            async with sdk.Client(target, message_handler=self._on_message) as client:
                self.client = client
                self._ready.set_result(None)
                async with asyncio.TaskGroup() as group:
                    listener = group.create_task(self._listen(client))
                    await self._stop.wait()
                    listener.cancel()
        except Exception as error:  # noqa: BLE001 - told to those who wait; afterwards it only says how the server died
            if not self._ready.done():
                self._ready.set_exception(self._could_not_connect(error))

    def _has_ended(self, _: object) -> None:
        self.is_over = True
        # One that is cancelled before its first step runs no code at all.
        if not self._ready.done():
            self._ready.set_exception(self.error("the session was ended before it was open"))

    def _transport(self) -> AbstractAsyncContextManager[Any]:
        server = self._server
        return _over_http(server) if server.url else _over_stdio(server, self._said)

    def _could_not_connect(self, error: BaseException) -> MCPServerError:
        while isinstance(error, BaseExceptionGroup):
            error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
        if isinstance(error, FileNotFoundError) and self._server.command:
            why = f"there is no command `{self._server.command[0]}`"
        else:
            why = without_secrets(class_and_text(error))
        failure = self.error(why.rstrip(".") + self.last_words())
        failure.__cause__ = error
        return failure

    async def _listen(self, client: Any) -> None:
        """Keep open what a server tells changes through; not all have it, and not all keep it open."""
        try:
            async with client.listen(tools_list_changed=True) as changes:
                async for _ in changes:
                    self.tools_changed = True
        except Exception as error:  # noqa: BLE001 - without news, the tools are what they were
            MiniAgents.get_current().logger.debug("No news of %s: %r", self._server.describe(), error)

    async def _on_message(self, message: Any) -> None:
        if getattr(message, "method", None) == "notifications/tools/list_changed":
            self.tools_changed = True


class _Watched(AbstractAsyncContextManager[Any]):
    """A transport that tells its session when the server has hung up."""

    def __init__(self, transport: AbstractAsyncContextManager[Any], session: Session) -> None:
        self._transport = transport
        self._session = session

    async def __aenter__(self) -> Any:
        incoming, outgoing = await self._transport.__aenter__()
        return _WatchedStream(incoming, self._session), outgoing

    async def __aexit__(self, *details: Any) -> bool | None:
        return await self._transport.__aexit__(*details)


class _WatchedStream:
    """The stream of what the server sends."""

    def __init__(self, stream: Any, session: Session) -> None:
        self._stream = stream
        self._session = session

    async def __aenter__(self) -> "_WatchedStream":
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *details: object) -> Any:
        return await self._stream.__aexit__(*details)

    def __aiter__(self) -> "_WatchedStream":
        return self

    async def __anext__(self) -> Any:
        try:
            return await self._stream.__anext__()
        except StopAsyncIteration:
            self._session.give_up()
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


async def _sdk(module: str) -> Any:
    """Import a part of the SDK, which takes a second; in a thread, so that other agents go on meanwhile."""
    return await asyncio.to_thread(importlib.import_module, module)


@asynccontextmanager
async def _over_http(server: Server) -> AsyncGenerator[Any]:
    sdk = await _sdk("mcp.client.streamable_http")
    async with (
        sdk.create_mcp_http_client(headers=dict(server.headers)) as http_client,
        sdk.streamable_http_client(server.url, http_client=http_client) as streams,
    ):
        yield streams


@asynccontextmanager
async def _over_stdio(server: Server, said: deque[str]) -> AsyncGenerator[Any]:
    sdk = await _sdk("mcp.client.stdio")
    parameters = sdk.StdioServerParameters(
        command=server.command[0],
        args=list(server.command[1:]),
        env=None if server.env is None else dict(server.env),
        cwd=None if server.cwd is None else os.fspath(server.cwd),
    )
    reading_end, writing_end = os.pipe()
    # A thread, as pipes are read differently on each system; it ends with the last process that can write.
    reader = threading.Thread(target=_keep_last_lines, args=(reading_end, said), name="miniagents-mcp", daemon=True)
    reader.start()
    try:
        with os.fdopen(writing_end, "w", encoding="utf-8") as errors:
            async with sdk.stdio_client(parameters, errlog=errors) as streams:
                # The child has its own by now; while we hold ours, its end would not be noticed.
                errors.close()
                yield streams
    finally:
        # The server has ended, and its last words may still be on their way.
        await asyncio.to_thread(reader.join, _LAST_WORDS_S)


def _keep_last_lines(descriptor: int, said: deque[str]) -> None:
    with os.fdopen(descriptor, encoding="utf-8", errors="replace") as lines:
        said.extend(line.rstrip() for line in lines)


def command_of(given: str | Sequence[str]) -> tuple[str, ...]:
    """Give a command line as a program and its arguments."""
    if isinstance(given, str):
        return tuple(shlex.split(given, posix=os.name != "nt"))
    return tuple(str(part) for part in given)
