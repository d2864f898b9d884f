"""Agents that ask large language models, and the messages of such conversations.

| to | take |
| --- | --- |
| ask any model by a string such as `"anthropic:claude-opus-5-5"` | `model_agent` |
| ask OpenAI | `OpenAIAgent`, `OpenAIResponsesAgent` |
| ask Azure, or a server that speaks OpenAI's protocol | `AzureOpenAIAgent`, `OpenAICompatibleAgent` |
| ask Anthropic, also on clouds | `AnthropicAgent`, `AnthropicBedrockAgent`, `AnthropicVertexAgent` |
| ask Gemini, or any chat model on Bedrock | `GeminiAgent`, `BedrockAgent` |
| ask any other model | a subclass of `LLMAgent` of your own, with one method |
| answer from a script, offline | `ScriptedAgent` with a `Script` |
| let a model call functions, agents and MCP servers | `tools=[...]`, `tool`, `mcp_tools` |
| get a validated object instead of text | `response_model=`, `parse_reply`, `stream_parsed` |
| say who says something | `UserMessage`, `SystemMessage`, `AssistantMessage` |
| show a model pictures and files | `ImageMessage`, `FileMessage` |
| read what a model thought and called | `ThinkingMessage`, `ToolCallMessage`, `ToolResultMessage` |
| make vectors of texts | `openai_embedding_agent` |
| catch what went wrong | `LLMError` and those below it, see `miniagents.ext.llms.errors` |

Importing this package loads no provider's SDK, and neither does using a name of it: the SDK is loaded when a model is
asked for the first time, in a thread, while other agents go on.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miniagents.ext.llms.anthropic import AnthropicAgent, AnthropicMessage
    from miniagents.ext.llms.anthropic_clouds import AnthropicBedrockAgent, AnthropicVertexAgent
    from miniagents.ext.llms.bedrock import BedrockAgent, BedrockMessage
    from miniagents.ext.llms.errors import LLMError
    from miniagents.ext.llms.gemini import GeminiAgent, GeminiMessage
    from miniagents.ext.llms.llm_common import LLMAgent
    from miniagents.ext.llms.llm_messages import (
        AssistantMessage,
        FileMessage,
        ImageMessage,
        LLMMessage,
        SystemMessage,
        ThinkingMessage,
        TokenUsage,
        ToolCallMessage,
        ToolResultMessage,
        UserMessage,
    )
    from miniagents.ext.llms.mcp import mcp_tools
    from miniagents.ext.llms.model_agents import model_agent, register_provider
    from miniagents.ext.llms.model_events import ModelEvent, ModelRequest
    from miniagents.ext.llms.openai import AzureOpenAIAgent, OpenAIAgent, OpenAICompatibleAgent, OpenAIMessage
    from miniagents.ext.llms.openai_embeddings import EmbeddingMessage, openai_embedding_agent
    from miniagents.ext.llms.openai_responses import OpenAIResponseMessage, OpenAIResponsesAgent
    from miniagents.ext.llms.prompt import Prompt
    from miniagents.ext.llms.scripted import Script, ScriptedAgent, tool_call
    from miniagents.ext.llms.structured import output_schema, parse_reply, stream_parsed
    from miniagents.ext.llms.tools import ApprovalMessage, Tool, Toolbox, tool

__all__ = [
    "AnthropicAgent",
    "AnthropicBedrockAgent",
    "AnthropicMessage",
    "AnthropicVertexAgent",
    "ApprovalMessage",
    "AssistantMessage",
    "AzureOpenAIAgent",
    "BedrockAgent",
    "BedrockMessage",
    "EmbeddingMessage",
    "FileMessage",
    "GeminiAgent",
    "GeminiMessage",
    "ImageMessage",
    "LLMAgent",
    "LLMError",
    "LLMMessage",
    "ModelEvent",
    "ModelRequest",
    "OpenAIAgent",
    "OpenAICompatibleAgent",
    "OpenAIMessage",
    "OpenAIResponseMessage",
    "OpenAIResponsesAgent",
    "Prompt",
    "Script",
    "ScriptedAgent",
    "SystemMessage",
    "ThinkingMessage",
    "TokenUsage",
    "Tool",
    "ToolCallMessage",
    "ToolResultMessage",
    "Toolbox",
    "UserMessage",
    "mcp_tools",
    "model_agent",
    "openai_embedding_agent",
    "output_schema",
    "parse_reply",
    "register_provider",
    "stream_parsed",
    "tool",
    "tool_call",
]

_MODULE_OF_NAME = {
    "AnthropicAgent": "anthropic",
    "AnthropicBedrockAgent": "anthropic_clouds",
    "AnthropicMessage": "anthropic",
    "AnthropicVertexAgent": "anthropic_clouds",
    "ApprovalMessage": "tools",
    "AssistantMessage": "llm_messages",
    "AzureOpenAIAgent": "openai",
    "BedrockAgent": "bedrock",
    "BedrockMessage": "bedrock",
    "EmbeddingMessage": "openai_embeddings",
    "FileMessage": "llm_messages",
    "GeminiAgent": "gemini",
    "GeminiMessage": "gemini",
    "ImageMessage": "llm_messages",
    "LLMAgent": "llm_common",
    "LLMError": "errors",
    "LLMMessage": "llm_messages",
    "ModelEvent": "model_events",
    "ModelRequest": "model_events",
    "OpenAIAgent": "openai",
    "OpenAICompatibleAgent": "openai",
    "OpenAIMessage": "openai",
    "OpenAIResponseMessage": "openai_responses",
    "OpenAIResponsesAgent": "openai_responses",
    "Prompt": "prompt",
    "Script": "scripted",
    "ScriptedAgent": "scripted",
    "SystemMessage": "llm_messages",
    "ThinkingMessage": "llm_messages",
    "TokenUsage": "llm_messages",
    "Tool": "tools",
    "ToolCallMessage": "llm_messages",
    "ToolResultMessage": "llm_messages",
    "Toolbox": "tools",
    "UserMessage": "llm_messages",
    "mcp_tools": "mcp",
    "model_agent": "model_agents",
    "openai_embedding_agent": "openai_embeddings",
    "output_schema": "structured",
    "parse_reply": "structured",
    "register_provider": "model_agents",
    "stream_parsed": "structured",
    "tool": "tools",
    "tool_call": "scripted",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULE_OF_NAME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULE_OF_NAME[name]}"), name)
    # Found without this function from now on.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
