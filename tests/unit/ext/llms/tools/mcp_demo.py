"""A real MCP server, for the tests: a program that speaks over its standard streams, and `demo_server()` in a process."""

import asyncio
import os
import sys
from typing import Any


def demo_server() -> Any:
    from mcp.server import MCPServer
    from mcp.server.mcpserver import Context, Image
    from mcp_types import CallToolResult, TextContent

    server = MCPServer("demo", log_level="ERROR")

    @server.tool()
    def add(a: int, b: int = 2) -> int:
        """Add numbers."""
        return a + b

    @server.tool(structured_output=False)
    def look() -> list[Any]:
        return ["Here it is:", Image(data=b"png", format="png")]

    @server.tool()
    def data() -> dict[str, int]:
        return {"n": 1}

    @server.tool()
    def fail() -> CallToolResult:
        return CallToolResult(content=[TextContent(type="text", text="The vault is locked.")], is_error=True)

    @server.tool()
    def process() -> int:
        return os.getpid()

    @server.tool()
    def die() -> str:
        print("api_key=very-secret-words, farewell", file=sys.stderr, flush=True)
        os._exit(3)

    @server.tool()
    async def grow(ctx: Context) -> str:
        server.add_tool(lambda x: x, name="late")
        await ctx.notify_tools_changed()
        return "grown"

    @server.tool()
    async def wait() -> str:
        await asyncio.Event().wait()
        return "never"

    @server.tool(name="dotted.name")
    def dotted() -> str:
        return "dotted"

    return server


if __name__ == "__main__":
    demo_server().run("stdio")
