"""Tools: what models can call. Functions, agents and the tools of MCP servers are given as `tools=[...]`.

```python
async def weather(city: str) -> str:
    return f"Sunny in {city}"


agent = OpenAIAgent.fork(model="gpt-4o", tools=[weather, research_agent, mcp_tools("uvx mcp-server-fetch")])
```

Every tool is an agent. The calls of one turn run at the same time, each result streams, and they go back to the model
in the order of the calls. `@tool` gives a function options; `Toolbox` is what runs the calls, for model agents of your
own.
"""

from miniagents._tool_marks import current_tool_call
from miniagents.ext.llms._tools.approval import ApprovalMessage, ApprovalRule, console_approval_agent
from miniagents.ext.llms._tools.results import ToolResultError
from miniagents.ext.llms._tools.schemas import ToolArgumentsError, ToolDefinitionError
from miniagents.ext.llms._tools.tool import Tool, ToolSource, as_tool, tool
from miniagents.ext.llms._tools.toolbox import Toolbox, ToolFailedError, UnknownToolError
from miniagents.ext.llms.errors import ToolError

__all__ = [
    "ApprovalMessage",
    "ApprovalRule",
    "Tool",
    "ToolArgumentsError",
    "ToolDefinitionError",
    "ToolError",
    "ToolFailedError",
    "ToolResultError",
    "ToolSource",
    "Toolbox",
    "UnknownToolError",
    "as_tool",
    "console_approval_agent",
    "current_tool_call",
    "tool",
]
