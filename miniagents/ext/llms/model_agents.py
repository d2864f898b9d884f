"""`model_agent("anthropic:claude-sonnet-5-5")`: the agent that asks a model, from its name.

| prefix | what it asks | `pip install` |
| --- | --- | --- |
| `openai` | OpenAI's chat completions | `"miniagents[openai]"` |
| `openai-responses` | OpenAI's Responses | `"miniagents[openai]"` |
| `azure` | OpenAI's models on Azure | `"miniagents[openai]"` |
| `openai-compatible` | the server of `base_url=` or OPENAI_BASE_URL, else Ollama | `"miniagents[openai]"` |
| `local` | whichever such server on this machine has the model | `"miniagents[openai]"` |
| `anthropic` | Anthropic | `"miniagents[anthropic]"` |
| `bedrock-anthropic` | Claude on Amazon Bedrock | `"miniagents[bedrock]"` |
| `vertex-anthropic` | Claude on Google's Vertex AI | `"miniagents[vertex]"` |
| `bedrock` | any chat model on Amazon Bedrock | `"miniagents[bedrock]"` |
| `gemini` | Google's Gemini | `"miniagents[gemini]"` |
| `vertex-gemini` | Gemini on Vertex AI | `"miniagents[gemini]"` |
| `echo` | nobody: repeats what it is told | |
| `scripted` | nobody: tells what `script=` says | |

A provider's module is imported when an agent of it is made, and its SDK when that agent is first asked.
"""

import asyncio
import importlib
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final, cast

from miniagents.ext.llms.errors import BadRequestError, SettingError, UnknownModelError
from miniagents.ext.llms.local_servers import LocalServer, find_local_servers, likely_addresses, probing_is_off
from miniagents.miniagents import MiniAgent

__all__ = ["known_prefixes", "model_agent", "register_provider"]

# How long a program may be held up by the search for a server. Usually it takes a millisecond.
_LONGEST_SEARCH_S: Final = 0.25


@dataclass(frozen=True, slots=True)
class _BuiltIn:
    """An agent of this package, by the module that it is in."""

    module: str
    name: str
    extra: str | None
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    model_needed: bool = True

    def __call__(self, model: str, **settings: Any) -> MiniAgent:
        agent: MiniAgent = getattr(importlib.import_module(f"miniagents.ext.llms.{self.module}"), self.name)
        return _fork(agent, model, {**self.settings, **settings})


_BUILT_IN: Final[Mapping[str, _BuiltIn]] = {
    "openai": _BuiltIn("openai", "OpenAIAgent", "openai"),
    "openai-responses": _BuiltIn("openai_responses", "OpenAIResponsesAgent", "openai"),
    "azure": _BuiltIn("openai", "AzureOpenAIAgent", "openai"),
    "openai-compatible": _BuiltIn("openai", "OpenAICompatibleAgent", "openai"),
    "local": _BuiltIn("model_agents", "local_agent_of", "openai"),
    "anthropic": _BuiltIn("anthropic", "AnthropicAgent", "anthropic"),
    "bedrock-anthropic": _BuiltIn("anthropic_clouds", "AnthropicBedrockAgent", "bedrock"),
    "vertex-anthropic": _BuiltIn("anthropic_clouds", "AnthropicVertexAgent", "vertex"),
    "bedrock": _BuiltIn("bedrock", "BedrockAgent", "bedrock"),
    "gemini": _BuiltIn("gemini", "GeminiAgent", "gemini"),
    "vertex-gemini": _BuiltIn("gemini", "GeminiAgent", "gemini", {"vertexai": True}),
    "echo": _BuiltIn("echo", "EchoAgent", None, model_needed=False),
    "scripted": _BuiltIn("scripted", "ScriptedAgent", None, model_needed=False),
}

ModelFactory = Callable[..., MiniAgent]
"""Makes an agent: `factory(model, **settings)`."""

_registered: dict[str, ModelFactory] = {}


def model_agent(name: str, /, **settings: Any) -> MiniAgent:
    """Give the agent that asks the model `name`, such as "anthropic:claude-sonnet-5-5", with these settings.

    A name without a known prefix is that of the default provider, also if it has a colon ("qwen3:8b"): the one that
    the environment variable MINIAGENTS_PROVIDER names; else the server of `base_url=`, OPENAI_BASE_URL or OLLAMA_HOST;
    else whichever OpenAI-compatible server on this machine has the model. Such a server is looked for now, which holds
    the program up for a quarter of a second at most, and not at all where CI or MINIAGENTS_OFFLINE is set.

    Raises:
        UnknownModelError: there is no such prefix, and no default provider; it lists the prefixes.
        BadRequestError: the name has a prefix and nothing else.
        SettingError: the name is no text, or there is a second one as `model=`.
    """
    if not isinstance(cast("object", name), str):
        raise SettingError(f"`model_agent({name!r})` cannot be: give the name of a model, such as 'openai:gpt-5.5'.")
    if "model" in settings:
        raise SettingError(
            f"`model_agent()` was given two models, {name!r} and `model={settings['model']!r}`: leave one of them out."
        )
    prefix, colon, model = name.partition(":")
    prefix, model = prefix.strip().lower(), model.strip()
    factory = _factory_of(prefix)
    if factory is not None and (colon or prefix == name.strip().lower()):
        return _made(factory, prefix, model, settings)
    if not name.strip():
        raise UnknownModelError(name, known_prefixes(), "Give a name, such as 'openai:gpt-5.5'.")
    chosen = os.environ.get("MINIAGENTS_PROVIDER", "").strip().lower().removesuffix(":")
    if not chosen:
        return local_agent_of(name.strip(), settings)
    factory = _factory_of(chosen)
    if factory is None:
        raise UnknownModelError(name, known_prefixes(), f"MINIAGENTS_PROVIDER is {chosen!r}, which is none of them.")
    return _made(factory, chosen, name.strip(), settings)


def register_provider(prefix: str, agent_or_factory: MiniAgent | ModelFactory) -> None:
    """Let `model_agent("PREFIX:MODEL", **settings)` give agents of a provider of your own.

    Args:
        prefix: without the colon; upper and lower case are the same. One that is known already is replaced.
        agent_or_factory: an agent, whose fork with `model` and the settings is given; or a function that makes one of
            them, `factory(model, **settings)`.

    Raises:
        ValueError: the prefix is empty, or has a colon or a space in it.
        TypeError: what is to be registered is neither an agent nor a function.
    """
    name = prefix.strip().lower()
    if not name or ":" in name or len(name.split()) != 1:
        raise ValueError(f"{prefix!r} is no prefix: give one word without a colon, such as 'my-provider'.")
    if isinstance(agent_or_factory, MiniAgent):
        agent = agent_or_factory

        def fork(model: str, **settings: Any) -> MiniAgent:
            return _fork(agent, model, settings)

        _registered[name] = fork
    elif callable(agent_or_factory):
        _registered[name] = agent_or_factory
    else:
        raise TypeError(
            f"`register_provider({prefix!r}, ...)` takes an agent, or a function that makes one of a model's name and "
            f"settings, not {agent_or_factory!r}."
        )


def known_prefixes() -> tuple[str, ...]:
    """Give the prefixes that `model_agent` knows now, those of your own last."""
    return (*_BUILT_IN, *(prefix for prefix in _registered if prefix not in _BUILT_IN))


def _fork(agent: MiniAgent, model: str, settings: Mapping[str, Any]) -> MiniAgent:
    # A setting may be one of `fork()` itself, such as `alias`.
    given: dict[str, Any] = {**settings, "model": model} if model else dict(settings)
    return agent.fork(**given)


def _factory_of(prefix: str) -> ModelFactory | None:
    return _registered.get(prefix) or _BUILT_IN.get(prefix)


def _made(factory: ModelFactory, prefix: str, model: str, settings: Mapping[str, Any]) -> MiniAgent:
    if isinstance(factory, _BuiltIn):
        if factory.model_needed and not model:
            raise BadRequestError(
                f"{prefix!r} is a provider and no model: add its name, `model_agent('{prefix}:...')`."
            )
        if factory.name == local_agent_of.__name__:
            return local_agent_of(model, settings)
    made: Any = factory(model, **settings)
    if not isinstance(made, MiniAgent):
        raise TypeError(f"What is registered for {prefix!r} made {made!r} of {model!r}, which is no agent.")
    return made


# -------------------------------------------------------------------------------------------- servers on this machine


def local_agent_of(model: str, settings: Mapping[str, Any]) -> MiniAgent:
    """Give the agent for a model on a server of the user's own, looking for one where nothing names it.

    Raises:
        UnknownModelError: there is no such server, or it does not have the model.
    """
    compatible = _BUILT_IN["openai-compatible"]
    named = (os.environ.get("OPENAI_BASE_URL", "").strip(), os.environ.get("OLLAMA_HOST", "").strip())
    if settings.get("base_url") or settings.get("async_client") or any(named):
        return compatible(model, **settings)
    off = probing_is_off(os.environ)
    if off is not None:
        raise _unknown(model, f"no server was looked for on this machine, as {off}")
    servers = _servers_here()
    for server in servers:
        # Ollama's models have a tag, and may be called without it.
        if model in server.models or f"{model}:latest" in server.models:
            return compatible(model, **{"base_url": server.address.base_url, **settings})
    if not servers:
        raise _unknown(model, "no model server answers on this machine")
    offered = ", ".join(repr(known) for server in servers for known in server.models) or "none at all"
    raise _unknown(model, f"what servers on this machine have is {offered}")


def _unknown(model: str, why: str) -> UnknownModelError:
    extras = sorted({built_in.extra for built_in in _BUILT_IN.values() if built_in.extra})
    return UnknownModelError(
        model,
        known_prefixes(),
        f"Without a prefix it is that of MINIAGENTS_PROVIDER, which is not set, or of a local server, but {why}: write "
        f"`PREFIX:{model}`, set MINIAGENTS_PROVIDER, or start a server such as Ollama. Providers are installed with "
        f'`pip install "miniagents[EXTRA]"`, where EXTRA is one of {", ".join(extras)}.',
    )


def _servers_here() -> list[LocalServer]:
    def search() -> list[LocalServer]:
        return asyncio.run(find_local_servers(likely_addresses(os.environ), timeout_s=_LONGEST_SEARCH_S))

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return search()
    # A running loop cannot run another one; it is held up all the same, as this is no coroutine.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(search).result()
