"""Which call of a model's the code that runs is the answer to; known below those who run tools and who watch them."""

from contextvars import ContextVar
from typing import Any

current_tool_call: ContextVar[Any] = ContextVar("miniagents_current_tool_call", default=None)
"""The `ToolCallMessage` that the running tool answers; None outside of tools."""
