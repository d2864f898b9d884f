"""What the families of models on Amazon Bedrock take beside what Converse has for all of them.

As published in Amazon's guides to inference parameters, prompt caching and structured output until November 2026.
"""

import re
from typing import Any, Final

from miniagents.ext.llms._adapters.claude_models import check_options, thinking_parameters
from miniagents.ext.llms.errors import UnsupportedOptionError
from miniagents.ext.llms.model_events import ThinkingLevel

_CLAUDE: Final = "anthropic.claude"
# Too old for marks: all before the second version of 3.5.
_CLAUDE_WITHOUT_CACHE: Final = re.compile(
    r"anthropic\.claude-(?:v\d|instant|3-(?:opus|sonnet|haiku)|3-5-sonnet-20240620)"
)
_NOVA: Final = re.compile(r"amazon\.nova-(?!sonic|canvas|reel)")
_STRUCTURED: Final = re.compile(
    r"anthropic\.claude-(?:[a-z]+-)?(?:4-[5-9]|[5-9])|openai\.gpt-oss|qwen\.qwen3|deepseek\.v3"
)
_ALWAYS_THINKS: Final = re.compile(r"openai\.gpt-oss|deepseek\.r1")


def takes_cache_marks(model: str) -> bool:
    """Whether the prompt may have cache points; other models refuse them."""
    return _NOVA.search(model) is not None or (_CLAUDE in model and _CLAUDE_WITHOUT_CACHE.search(model) is None)


def takes_cache_marks_on_tools(model: str) -> bool:
    """Whether the list of tools may have one as well."""
    return _CLAUDE in model and takes_cache_marks(model)


def takes_schemas(model: str) -> bool:
    """Whether the form of the answer can be prescribed."""
    return _STRUCTURED.search(model) is not None


def is_claude(model: str) -> bool:
    """Whether this is one of Anthropic's models."""
    return _CLAUDE in model


def check_model_options(agent_alias: str, model: str, level: ThinkingLevel | None, parameters: dict[str, Any]) -> None:
    """Refuse what the model refuses, before anything is sent.

    Raises:
        UnsupportedOptionError: it names the option, and what to do in its place.
    """
    if _CLAUDE in model:
        own: dict[str, Any] = parameters.get("additionalModelRequestFields") or {}
        inference: dict[str, Any] = parameters.get("inferenceConfig") or {}
        names = {"topP": "top_p", "topK": "top_k"}
        renamed = {names.get(name, name): value for name, value in {**inference, **parameters}.items()}
        check_options(agent_alias, model, level, {**renamed, **own})
    thinking_fields(agent_alias, model, level, max_tokens=None)


def thinking_fields(
    agent_alias: str, model: str, level: ThinkingLevel | None, *, max_tokens: int | None
) -> tuple[dict[str, Any], int | None]:
    """Give the model's own fields for a level of thinking, and the `maxTokens` that go with it (None: as they were).

    Raises:
        UnsupportedOptionError: the model does not think, or always does, or is not known to us.
    """
    if level is None:
        return {}, max_tokens
    if _CLAUDE in model:
        fields = thinking_parameters(agent_alias, model, level, max_tokens)
        room = fields.pop("max_tokens")
        has_budget = "budget_tokens" in fields.get("thinking", {})
        return fields, room if has_budget else max_tokens
    if "amazon.nova-2" in model:
        if level == "off":
            return {"reasoningConfig": {"type": "disabled"}}, max_tokens
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": level}}, max_tokens
    if "openai.gpt-oss" in model and level != "off":
        return {"reasoning_effort": level}, max_tokens
    if level == "off" and not _ALWAYS_THINKS.search(model):
        return {}, max_tokens
    instead = (
        "it always thinks. Leave it out."
        if _ALWAYS_THINKS.search(model)
        else "it is not known how to tell this model. Leave it out, or say it in the model's own words: "
        "`additionalModelRequestFields={...}`."
    )
    raise UnsupportedOptionError(agent_alias, f"thinking={level!r}", model, instead)
