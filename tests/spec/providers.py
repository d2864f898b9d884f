"""The providers of models: an agent of each, which the environment of the fixture `model_server` points at the server."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest
from google.oauth2.credentials import Credentials

from miniagents import MiniAgent
from miniagents.ext.llms import (
    AnthropicAgent,
    AnthropicBedrockAgent,
    AnthropicVertexAgent,
    AzureOpenAIAgent,
    BedrockAgent,
    GeminiAgent,
    LLMError,
    OpenAIAgent,
    OpenAICompatibleAgent,
    OpenAIResponsesAgent,
)

KEY = "key-that-nobody-may-see"

AGENTS: Mapping[str, MiniAgent] = {
    "openai": OpenAIAgent.fork(model="gpt-5-mini", api_key=KEY),
    "openai-responses": OpenAIResponsesAgent.fork(model="gpt-5-mini", api_key=KEY),
    "openai-azure": AzureOpenAIAgent.fork(model="gpt-5-mini", api_key=KEY),
    "openai-compatible": OpenAICompatibleAgent.fork(model="qwen3:8b", api_key=KEY),
    "anthropic": AnthropicAgent.fork(model="claude-sonnet-5-5", api_key=KEY),
    "anthropic-bedrock": AnthropicBedrockAgent.fork(model="us.anthropic.claude-sonnet-5-5", api_key=KEY),
    "anthropic-vertex": AnthropicVertexAgent.fork(model="claude-sonnet-5-5", api_key=KEY),
    "gemini": GeminiAgent.fork(model="gemini-3.8-flash", api_key=KEY),
    "gemini-vertex": GeminiAgent.fork(
        model="gemini-3.8-flash", vertexai=True, project="my-project", location="europe-west1", credentials=Credentials(KEY)
    ),
    "bedrock": BedrockAgent.fork(model="amazon.nova-pro-v1:0", api_key=KEY),
}  # fmt: skip
NAMES: Mapping[str, tuple[str, str]] = {
    "openai": ("openai", "gpt-5-mini"),
    "openai-responses": ("openai", "gpt-5-mini"),
    "openai-azure": ("azure-openai", "gpt-5-mini"),
    "openai-compatible": ("openai-compatible", "qwen3:8b"),
    "anthropic": ("anthropic", "claude-sonnet-5-5"),
    "anthropic-bedrock": ("bedrock-anthropic", "us.anthropic.claude-sonnet-5-5"),
    "anthropic-vertex": ("vertex-anthropic", "claude-sonnet-5-5"),
    "gemini": ("gemini", "gemini-3.8-flash"),
    "gemini-vertex": ("gemini", "gemini-3.8-flash"),
    "bedrock": ("bedrock", "amazon.nova-pro-v1:0"),
}
"""What an error has as its `provider` and its `model`."""

OF_EVERY_PROVIDER = pytest.mark.parametrize("provider", AGENTS)
STREAMED_AND_WHOLE = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


def agent_of(provider: str, base_url: str, **settings: Any) -> MiniAgent:
    """Give the agent of a provider; `base_url` is that of the server, for the one whose SDK has no variable for it."""
    agent = AGENTS[provider].fork(**settings)
    return agent.fork(base_url=base_url) if provider == "gemini-vertex" else agent


async def tokens_and_fault(
    agent: MiniAgent, when_read: Callable[[str], object] = str, **settings: Any
) -> tuple[list[str], LLMError]:
    """Give the tokens of all messages of an answer, and the error that ends it; for use inside of a context.

    `when_read` is called for each token, with all text until then.
    """
    tokens: list[str] = []
    with pytest.raises(LLMError) as raised:
        async for message in agent.inquire("Hi", **settings):
            async for token in message:
                tokens.append(token)
                when_read("".join(tokens))
    return tokens, raised.value
