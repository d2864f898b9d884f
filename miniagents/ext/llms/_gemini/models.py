"""What the generations of Gemini take: how they are told to think, and what their functions go with.

As published at https://ai.google.dev/gemini-api/docs/thinking and in the guides to each model until November 2026. A
model that is not recognised is taken for one of the newest.
"""

import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn, cast

from miniagents.ext.llms.errors import UnsupportedOptionError
from miniagents.ext.llms.model_events import ThinkingLevel

_NAME: Final = re.compile(r"gemini-(?P<major>\d+)(?:\.(?P<minor>\d+))?")
_NEWEST: Final = (99, 0)
# Of the models that are told how many tokens they may think.
_BUDGETS: Final[dict[str, int]] = {"low": 1024, "medium": 8192, "high": 24576}


def version_of(model: str) -> tuple[int, int]:
    """Give the version that stands in the name, such as (3, 8) for "gemini-3.8-flash"."""
    found = _NAME.search(model)
    return _NEWEST if found is None else (int(found["major"]), int(found["minor"] or 0))


def signs_its_calls(model: str) -> bool:
    """Whether a call of a function is refused without the signature of the thought that led to it."""
    return version_of(model) >= (3, 0)


def structures_beside_tools(model: str) -> bool:
    """Whether the form of the answer may be prescribed to a model that also has functions."""
    return version_of(model) >= (3, 0)


def thinking_config(agent_alias: str, model: str, level: ThinkingLevel | None) -> dict[str, Any]:
    """Give the `thinking_config` for a level; empty for what the model does by default.

    Raises:
        UnsupportedOptionError: the model does not think, not that much, or always.
    """
    version = version_of(model)
    if level is None:
        return {}
    if version < (2, 5):
        return {} if level == "off" else _refuse(agent_alias, model, level, "it does not think. Leave it out.")
    if level == "off":
        return _off(agent_alias, model, version)
    if version < (3, 0):
        return {"thinking_budget": _BUDGETS[level], "include_thoughts": True}
    if version == (3, 0) and "pro" in model and level == "medium":
        _refuse(agent_alias, model, level, "it knows 'low' and 'high' only.")
    return {"thinking_level": level.upper(), "include_thoughts": True}


def _off(agent_alias: str, model: str, version: tuple[int, int]) -> dict[str, Any]:
    if version < (3, 0) and "pro" not in model:
        return {"thinking_budget": 0}
    if version < (3, 7) and "flash" in model:
        # As near to nothing as these models go.
        return {"thinking_level": "MINIMAL"}
    return _refuse(agent_alias, model, "off", "it always thinks. Use `thinking='low'` for as little as possible.")


def check_parameters(agent_alias: str, model: str, parameters: Mapping[str, Any]) -> None:
    """Refuse what cannot be sent, before anything is.

    Raises:
        UnsupportedOptionError: it names the option, and what to do in its place.
    """
    tool_config: Any = parameters.get("tool_config") or parameters.get("toolConfig")
    if not isinstance(tool_config, Mapping):
        return
    options = cast("Mapping[str, Any]", tool_config)
    calling: Any = options.get("function_calling_config") or options.get("functionCallingConfig")
    for name in ("stream_function_call_arguments", "streamFunctionCallArguments"):
        if isinstance(calling, Mapping) and cast("Mapping[str, Any]", calling).get(name):
            raise UnsupportedOptionError(
                agent_alias, name, model, "the arguments of a call are read as a whole. Leave it out."
            )


def _refuse(agent_alias: str, model: str, level: str, instead: str) -> NoReturn:
    raise UnsupportedOptionError(agent_alias, f"thinking={level!r}", model, instead)
