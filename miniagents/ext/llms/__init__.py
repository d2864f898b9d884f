"""Agents that ask large language models, and the messages of such conversations.

| to | take |
| --- | --- |
| ask OpenAI, or a server that speaks its protocol | `OpenAIAgent` |
| ask Anthropic | `AnthropicAgent` |
| ask any other model | a subclass of `LLMAgent` of your own, with one method |
| answer from a script, offline | `ScriptedAgent` with a `Script` |
| say who says something | `UserMessage`, `SystemMessage`, `AssistantMessage` |
| make vectors of texts | `openai_embedding_agent` |
| catch what went wrong | `LLMError` and those below it, see `miniagents.ext.llms.errors` |

Importing this package loads no provider's SDK, and neither does using a name of it: the SDK is loaded when a model is
asked for the first time, in a thread, while other agents go on.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from miniagents.ext.llms.anthropic import AnthropicAgent, AnthropicMessage
    from miniagents.ext.llms.errors import LLMError
    from miniagents.ext.llms.llm_common import (
        AssistantMessage,
        LLMAgent,
        LLMMessage,
        SystemMessage,
        TokenUsage,
        UserMessage,
    )
    from miniagents.ext.llms.openai import OpenAIAgent, OpenAIMessage
    from miniagents.ext.llms.openai_embeddings import EmbeddingMessage, openai_embedding_agent
    from miniagents.ext.llms.prompt import Prompt
    from miniagents.ext.llms.scripted import Script, ScriptedAgent

__all__ = [
    "AnthropicAgent",
    "AnthropicMessage",
    "AssistantMessage",
    "EmbeddingMessage",
    "LLMAgent",
    "LLMError",
    "LLMMessage",
    "OpenAIAgent",
    "OpenAIMessage",
    "Prompt",
    "Script",
    "ScriptedAgent",
    "SystemMessage",
    "TokenUsage",
    "UserMessage",
    "openai_embedding_agent",
]

_MODULE_OF_NAME = {
    "AnthropicAgent": "anthropic",
    "AnthropicMessage": "anthropic",
    "AssistantMessage": "llm_messages",
    "EmbeddingMessage": "openai_embeddings",
    "LLMAgent": "llm_common",
    "LLMError": "errors",
    "LLMMessage": "llm_messages",
    "OpenAIAgent": "openai",
    "OpenAIMessage": "openai",
    "Prompt": "prompt",
    "Script": "scripted",
    "ScriptedAgent": "scripted",
    "SystemMessage": "llm_messages",
    "TokenUsage": "llm_messages",
    "UserMessage": "llm_messages",
    "openai_embedding_agent": "openai_embeddings",
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
