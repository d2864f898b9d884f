"""Calls of tools as a model makes them, for the tests of tools."""

import itertools

from miniagents.ext.llms.llm_messages import ToolCallMessage
from miniagents.ext.llms.tools import Toolbox
from miniagents.messages import Message

_numbers = itertools.count(1)


def call(name: str, arguments: str = "{}") -> ToolCallMessage:
    return ToolCallMessage(arguments, tool_name=name, tool_call_id=f"call_{next(_numbers)}")


def toolbox(*tools: object, **options: object) -> Toolbox:
    return Toolbox(tools, agent_alias="MODEL", **options)


async def result_of(tools: Toolbox, name: str, arguments: str = "{}") -> Message:
    (promise,) = tools.run([call(name, arguments)])
    return await promise
