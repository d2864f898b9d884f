"""Tools of MCP servers: `tools=[mcp_tools("uvx mcp-server-fetch")]`. Needs the extra `mcp`.

MCP, the Model Context Protocol, is how programs offer tools to models. A server is a command that is started, a URL, or
an object in this process.
"""

import importlib.util
import logging
import re
from collections.abc import Collection, Generator, Mapping, Sequence
from os import PathLike
from typing import Any, cast

from miniagents.errors import MissingExtraError
from miniagents.ext.llms._common.secrets import without_secrets
from miniagents.ext.llms._common.strict_schema import strict_schema
from miniagents.ext.llms._tools.approval import ApprovalRule, checked_rule
from miniagents.ext.llms._tools.mcp_results import messages_of
from miniagents.ext.llms._tools.mcp_session import MCPServerError, Server, Session, command_of
from miniagents.ext.llms._tools.schemas import (
    ToolDefinitionError,
    any_arguments,
    without_titles,
)
from miniagents.ext.llms._tools.tool import Tool, ToolSource
from miniagents.ext.llms._tools.toolbox import ToolFailedError
from miniagents.ext.llms.model_events import ToolSchema
from miniagents.interaction import InteractionContext
from miniagents.miniagents import MiniAgent, MiniAgents, miniagent
from miniagents.utils import upper_snake_case

__all__ = ["MCPServerError", "MCPTools", "mcp_tools"]

_KEY_IN_CONTEXT = "sessions with MCP servers"
# Error codes of JSON-RPC: the connection was closed; the server does not know the session any more.
_LOST = frozenset([-32000, -32600])
_REFUSED_IN_NAMES = re.compile(r"[^a-zA-Z0-9_-]")


def mcp_tools(
    server: Any,
    *,
    include: Collection[str] | None = None,
    exclude: Collection[str] = (),
    prefix: str = "",
    requires_approval: ApprovalRule = False,
    headers: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: str | PathLike[str] | None = None,
    timeout_s: float | None = None,
    connect_timeout_s: float = 60.0,
) -> "MCPTools":
    """Give the tools of an MCP server, to be put into `tools=[...]`.

    Nothing is started before a model is asked for the first time; then there is one session for each `MiniAgents`
    context, which ends with the context (the process of the server, too). To have it end earlier, or to see the tools,
    write `async with mcp_tools(...) as tools:`.

    Args:
        server: a command line such as `"uvx mcp-server-fetch"` or `["python", "server.py"]`, a URL (streamable HTTP),
            or an `MCPServer` of this process.
        include: the server's names of the tools that are wanted; None: all.
        exclude: those that are not wanted.
        prefix: goes before the names, so that those of two servers do not clash.
        requires_approval: which calls are asked about first; as for a `Toolbox`, with the names after `prefix`.
        headers: of every HTTP request, for example for authentication. Never shown.
        env: environment variables of the command, besides a few (`PATH`, `HOME`, ...) that it always gets. Never shown.
        cwd: the folder in which the command runs.
        timeout_s: how long one call may take; None: any time.
        connect_timeout_s: how long the server may take to answer at first.

    Raises:
        MissingExtraError: the package `mcp` is not installed.
        TypeError: `server` is none of these, or an option is not for its kind.
    """
    if importlib.util.find_spec("mcp") is None:
        raise MissingExtraError(package="mcp", extra="mcp", purpose="`mcp_tools()`")
    return MCPTools(
        _server_of(server, headers=headers, env=env, cwd=cwd),
        include=None if include is None else _names(include, "include"),
        exclude=_names(exclude, "exclude"),
        prefix=prefix,
        requires_approval=checked_rule(requires_approval),
        timeout_s=timeout_s,
        connect_timeout_s=connect_timeout_s,
    )


class MCPTools(ToolSource):
    """The tools of one MCP server; made by `mcp_tools()`.

    `async with` it, or await it, for a list of `Tool`s; the block ends the session with the server at its end.
    """

    def __init__(
        self,
        server: Server,
        *,
        include: frozenset[str] | None,
        exclude: frozenset[str],
        prefix: str,
        requires_approval: ApprovalRule,
        timeout_s: float | None,
        connect_timeout_s: float,
    ) -> None:
        self._server = server
        self._include = include
        self._exclude = exclude
        self._prefix = prefix
        self._requires_approval = requires_approval
        self._timeout_s = timeout_s
        self._connect_timeout_s = connect_timeout_s

    def __repr__(self) -> str:
        return f"<MCPTools of {self._server.describe()}>"

    async def load(self) -> Sequence[Tool]:
        """Give the tools that the server has now; it is asked again only if it says that they have changed.

        Raises:
            MCPServerError: it cannot be reached.
            ToolDefinitionError: `include` or `exclude` names a tool that it does not have, or two names clash.
        """
        known = self._sessions().get(self)
        try:
            session = await self._session()
            async with session.listing:
                if session.tools_changed:
                    session.tools_changed = False
                    try:
                        session.tools = self._chosen(await _listed(session))
                    except BaseException:
                        session.tools_changed = True
                        raise
        except MCPServerError as error:
            if known is None or not known.tools:
                raise
            # The model goes on; a call of them will tell it, or find the server again.
            MiniAgents.get_current().logger.warning("%s Its tools are taken to be what they were.", error)
            return known.tools
        return session.tools

    @property
    def is_connected(self) -> bool:
        """Whether there is an open session with the server in the current context."""
        session = self._sessions().get(self)
        return session is not None and session.client is not None and not session.is_over

    async def __aenter__(self) -> list[Tool]:
        return list(await self.load())

    async def __aexit__(self, *_: object) -> None:
        session = self._sessions().get(self)
        if session is not None:
            await session.close()

    def __await__(self) -> Generator[Any, Any, list[Tool]]:
        return self.__aenter__().__await__()

    # -- sessions ------------------------------------------------------------------------------------------------

    def _sessions(self) -> "dict[MCPTools, Session]":
        """Give the sessions of the current context, which keeps them, so that they go with it."""
        return vars(MiniAgents.get_current()).setdefault(_KEY_IN_CONTEXT, {})

    async def _session(self) -> Session:
        sessions = self._sessions()
        session = sessions.get(self)
        if session is None or session.is_over:
            session = sessions[self] = Session(self._server, [] if session is None else session.tools)
        with MiniAgents.get_current().waits_for_outside(f"the MCP server {self._server.describe()}"):
            await session.open(self._connect_timeout_s)
        return session

    async def call(self, tool_name: str, arguments: dict[str, Any]) -> list[Any]:
        """Call a tool by the server's name of it, and give the messages of its result.

        Raises:
            ToolFailedError: the server says that it failed, or it took too long.
            MCPServerError: the server cannot be reached, or was lost; the next call connects again.
        """
        session = await self._session()
        try:
            with MiniAgents.get_current().waits_for_outside(f"the MCP server {self._server.describe()}"):
                result = await session.client.call_tool(tool_name, arguments, read_timeout_seconds=self._timeout_s)
        except Exception as error:
            code = getattr(error, "code", None)
            if session.is_over or not isinstance(code, int) or code in _LOST:
                where = self._server.describe()
                words = await session.give_up_and_listen()
                # For the user; the model is not told what the server writes about itself.
                MiniAgents.get_current().logger.warning("The MCP server %s was lost.%s", where, words)
                raise MCPServerError(
                    f"The MCP server {where} was lost during the call of `{tool_name}`; the next call connects again."
                ) from error
            raise ToolFailedError(
                without_secrets(f"The tool `{tool_name}` failed at its MCP server: {error}")
            ) from error
        return messages_of(result, tool_name)

    # -- tools ---------------------------------------------------------------------------------------------------

    def _chosen(self, found: list[Any]) -> list[Tool]:
        names = {tool.name for tool in found}
        unknown = sorted(((self._include or frozenset()) | self._exclude) - names)
        if unknown:
            raise ToolDefinitionError(
                f"The MCP server {self._server.describe()} has no tool `{unknown[0]}`, which `include` or `exclude` "
                f"names. It has {', '.join(f'`{name}`' for name in sorted(names)) or 'none'}."
            )
        chosen: dict[str, Tool] = {}
        for tool in found:
            if (self._include is not None and tool.name not in self._include) or tool.name in self._exclude:
                continue
            made = self._tool(tool)
            other = chosen.setdefault(made.name, made)
            if other is not made:
                raise ToolDefinitionError(
                    f"Two tools would be named `{made.name}`: {other.origin} and {made.origin}. Leave one out with "
                    "`exclude=`."
                )
        return list(chosen.values())

    def _tool(self, found: Any) -> Tool:
        # Servers use dots and slashes, which providers refuse.
        name = _REFUSED_IN_NAMES.sub("_", f"{self._prefix}{found.name}")
        parameters: dict[str, Any] = {"type": "object", "properties": {}, **without_titles(found.input_schema)}
        description = found.description or found.title or ""
        return Tool(
            ToolSchema(name, description, parameters, strict=_is_strict(parameters)),
            _agent(self, name, found.name, description),
            self._requires_approval_of(name),
            "json",
            f"`{found.name}` of the MCP server {self._server.describe()}",
        )

    def _requires_approval_of(self, name: str) -> ApprovalRule:
        rule = self._requires_approval
        return rule if isinstance(rule, bool) or callable(rule) else name in rule


async def _listed(session: Session) -> list[Any]:
    tools: list[Any] = []
    cursor: str | None = None
    try:
        while True:
            page = await session.client.list_tools(cursor=cursor, cache_mode="bypass")
            tools.extend(page.tools)
            cursor = page.next_cursor
            if not cursor:
                return tools
    except Exception as error:
        session.give_up()
        raise session.error(f"it does not list its tools ({without_secrets(str(error))})") from error


def _agent(source: MCPTools, name: str, server_name: str, description: str) -> MiniAgent:
    async def call_mcp_tool(ctx: InteractionContext) -> None:
        arguments = any_arguments("".join([str(message) for message in await ctx.message_promises]))
        ctx.reply(await source.call(server_name, arguments))

    return miniagent(alias=upper_snake_case(name), description=description, durable=True)(call_mcp_tool)


def _is_strict(parameters: Mapping[str, Any]) -> bool:
    # Sent as the server wrote it, so it has to be strict as it is.
    form = strict_schema(parameters, references="put in place")
    return not form.losses and form.schema == parameters


def _names(given: Collection[str], option: str) -> frozenset[str]:
    if isinstance(given, str):
        raise TypeError(f"`{option}={given!r}` is one text: give a list of names, `{option}=[{given!r}]`.")
    return frozenset(given)


def _server_of(
    given: Any,
    *,
    headers: Mapping[str, str] | None,
    env: Mapping[str, str] | None,
    cwd: str | PathLike[str] | None,
) -> Server:
    if isinstance(given, str) and given.startswith(("http://", "https://")):
        _refuse(given, "a URL", env=env, cwd=cwd)
        return Server(url=given, headers=headers or {})
    if given and isinstance(given, str | list | tuple):
        command = command_of(cast("Sequence[str]", given))
        _refuse(command, "a command", headers=headers)
        return Server(command=command, env=env, cwd=cwd)
    if type(given).__module__.startswith("mcp.server"):
        _refuse(given, "a server in this process", headers=headers, env=env, cwd=cwd)
        _remove_log_handler_of(given)
        return Server(in_process=given)
    raise TypeError(
        f"`mcp_tools({given!r})` is no server: give a command line such as 'uvx mcp-server-fetch', a URL that begins "
        "with http, or an `MCPServer`."
    )


def _refuse(server: Any, kind: str, **options: Any) -> None:
    for name, value in options.items():
        if value is not None:
            raise TypeError(f"`mcp_tools({server!r}, {name}=...)`: `{name}` is not for {kind}. Leave it out.")


def _remove_log_handler_of(server: Any) -> None:
    """Remove what making an `MCPServer` leaves behind: a handler on the root logger that shows every request."""
    root = logging.getLogger()
    level = logging.getLevelNamesMapping().get(getattr(getattr(server, "settings", None), "log_level", ""))
    if level is None or len(root.handlers) != 1:
        return
    handler: Any = root.handlers[0]
    looks_like_it = type(handler).__name__ == "RichHandler" and getattr(handler, "rich_tracebacks", False)
    if looks_like_it and handler.console.stderr and root.level == level:
        root.removeHandler(handler)
        root.setLevel(logging.WARNING)
