"""What OpenAI's models take, by generation: how the level of thinking is said, and which options they refuse.

As of November 2026, from OpenAI's guide to reasoning and from what its API answers. Models that are not listed here
(those of other servers, deployments with names of their own) are sent whatever was asked for.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from miniagents.ext.llms.errors import UnsupportedOptionError
from miniagents.ext.llms.model_events import ThinkingLevel


@dataclass(frozen=True, slots=True)
class ModelTraits:
    """What is known of a generation of models.

    Attributes:
        thinks: whether it thinks before it answers, if it is let.
        has_levels: whether it can be told how much.
        off: the effort that means not to think at all; None where it cannot be told.
        by_default: whether it thinks when it is told nothing.
        calls_tools_while_thinking: whether chat completions lets it do both; Responses always does.
        takes_tools_in_chat: whether chat completions lets it have tools at all.
    """

    thinks: bool = True
    has_levels: bool = True
    off: str | None = None
    by_default: bool = True
    calls_tools_while_thinking: bool = True
    takes_tools_in_chat: bool = True


# The first that the name begins with.
_GENERATIONS: Final[list[tuple[str, ModelTraits]]] = [
    (r"gpt-6-astra", ModelTraits(calls_tools_while_thinking=False, takes_tools_in_chat=False)),
    (r"gpt-[6-9]", ModelTraits(off="none", calls_tools_while_thinking=False)),
    (r"gpt-5[.\d]*-chat", ModelTraits(thinks=False)),
    (r"gpt-5[.\d]*-(pro|codex)", ModelTraits()),
    (r"gpt-5\.([5-9]|\d\d)", ModelTraits(off="none", calls_tools_while_thinking=False)),
    (r"gpt-5\.4", ModelTraits(off="none", by_default=False, calls_tools_while_thinking=False)),
    (r"gpt-5\.", ModelTraits(off="none", by_default=False)),
    (r"gpt-5", ModelTraits(off="minimal")),
    (r"o1-(mini|preview)", ModelTraits(has_levels=False)),
    (r"o[1-9](-|$)", ModelTraits()),
    (r"gpt-4|gpt-3\.5|chatgpt-4", ModelTraits(thinks=False)),
]
_COMPILED: Final = [(re.compile(pattern), traits) for pattern, traits in _GENERATIONS]

# Refused while a model thinks; with the value that changes nothing, which is not.
_SAMPLING: Final[dict[str, Any]] = {
    "temperature": 1,
    "top_p": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
    "logprobs": False,
    "top_logprobs": 0,
    "logit_bias": {},
}
_USE_TOOLS: Final = "OpenAI has replaced it by tools. Give the functions themselves: `tools=[my_function]`."


def traits_of(model: str) -> ModelTraits | None:
    """Give what is known of the model; None if nothing is."""
    name = model.removeprefix("ft:")
    return next((traits for pattern, traits in _COMPILED if pattern.match(name)), None)


def effort_of(level: ThinkingLevel | None, *, agent_alias: str, model: str, traits: ModelTraits | None) -> str | None:
    """Give the effort with which the level is asked for; None to say nothing.

    Raises:
        UnsupportedOptionError: the model does not think, or not that much.
    """
    if level is None:
        return None
    if level == "off":
        if traits is not None and traits.thinks and traits.off is None:
            raise UnsupportedOptionError(
                agent_alias, "thinking='off'", model, "it always thinks. Leave `thinking` out, or ask for 'low'."
            )
        return "none" if traits is None else traits.off
    if traits is None or (traits.thinks and traits.has_levels):
        return level
    if traits.thinks:
        raise UnsupportedOptionError(
            agent_alias, f"thinking={level!r}", model, "it cannot be told how much to think. Leave `thinking` out."
        )
    raise UnsupportedOptionError(
        agent_alias,
        f"thinking={level!r}",
        model,
        "it does not think. Leave `thinking` out, or take a model that does, such as 'gpt-5.6-sol'.",
    )


def thinks_now(effort: str | None, traits: ModelTraits | None) -> bool:
    """Whether a model that is known will think at this effort."""
    if traits is None or not traits.thinks:
        return False
    return traits.by_default if effort is None else effort != "none"


def refuse_sampling(
    parameters: Mapping[str, Any], effort: str | None, *, agent_alias: str, model: str, traits: ModelTraits | None
) -> None:
    """Raise `UnsupportedOptionError` for an option that the model refuses while it thinks."""
    if traits is None or not thinks_now(effort, traits):
        return
    for name, harmless in _SAMPLING.items():
        value = parameters.get(name)
        if value is not None and value != harmless:
            way_out = ', or set `thinking="off"`' if traits.off == "none" else ""
            raise UnsupportedOptionError(
                agent_alias, f"{name}={value!r}", model, f"it is refused by models that think. Leave it out{way_out}."
            )


def refuse_old_functions(parameters: Mapping[str, Any], *, agent_alias: str, model: str) -> None:
    """Raise `UnsupportedOptionError` for the forerunners of tools."""
    for name in ("functions", "function_call"):
        if parameters.get(name) is not None:
            raise UnsupportedOptionError(agent_alias, f"{name}=", model, _USE_TOOLS)


def refuse_named(
    parameters: Mapping[str, Any], names: Iterable[str], instead: str, *, agent_alias: str, model: str
) -> None:
    """Raise `UnsupportedOptionError` for the first of these options that is given."""
    for name in names:
        if parameters.get(name) is not None:
            raise UnsupportedOptionError(agent_alias, f"{name}=", model, instead)
