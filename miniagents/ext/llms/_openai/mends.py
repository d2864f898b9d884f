"""What servers that speak OpenAI's protocols do not all know, and how to ask those that do not."""

import json
import re
from collections.abc import Container
from typing import Any, Final

from miniagents.ext.llms._openai.opening import Mend, Parameters


def _without(parameters: Parameters, name: str) -> dict[str, Any]:
    return {**parameters, name: None}


def _no_stream_options(parameters: Parameters, given: Container[str]) -> Parameters | None:
    if "stream_options" in given or not parameters.get("stream_options"):
        return None
    return _without(parameters, "stream_options")


def _other_name_of_max_tokens(parameters: Parameters, given: Container[str]) -> Parameters | None:
    del given  # what was given is sent, under the name that the server knows
    for name, other in (("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")):
        if parameters.get(name) is not None:
            return {**parameters, name: None, other: parameters[name]}
    return None


def _not_strict(parameters: Parameters, given: Container[str]) -> Parameters | None:
    if "tools" in given or not any("strict" in tool.get("function", tool) for tool in parameters.get("tools") or ()):
        return None
    tools = [
        {**tool, "function": {name: value for name, value in tool["function"].items() if name != "strict"}}
        if "function" in tool
        else {name: value for name, value in tool.items() if name != "strict"}
        for tool in parameters["tools"]
    ]
    return {**parameters, "tools": tools}


def _schema_in_words(parameters: Parameters, given: Container[str]) -> Parameters | None:
    wanted: dict[str, Any] = parameters.get("response_format") or {}
    if "response_format" in given or wanted.get("type") != "json_schema":
        return None
    words = f"Answer with JSON of this schema, and with nothing else:\n{json.dumps(wanted['json_schema']['schema'])}"
    first, *others = parameters["messages"]
    if first["role"] != "system":
        messages = [{"role": "system", "content": words}, first, *others]
    elif isinstance(first["content"], str):
        messages = [{**first, "content": f"{first['content']}\n\n{words}"}, *others]
    else:
        messages = [{**first, "content": [*first["content"], {"type": "text", "text": words}]}, *others]
    return {**parameters, "messages": messages, "response_format": {"type": "json_object"}}


def _no_json_object(parameters: Parameters, given: Container[str]) -> Parameters | None:
    if "response_format" in given or parameters.get("response_format") != {"type": "json_object"}:
        return None
    return _without(parameters, "response_format")


def _tools_instead_of_thinking(parameters: Parameters, given: Container[str]) -> Parameters | None:
    if parameters.get("reasoning_effort") is not None or "reasoning_effort" in given:
        return None
    return {**parameters, "reasoning_effort": "none"}


def _no_effort_of_none(parameters: Parameters, given: Container[str]) -> Parameters | None:
    if "reasoning_effort" in given or parameters.get("reasoning_effort") != "none":
        return None
    return _without(parameters, "reasoning_effort")


def _no_include(parameters: Parameters, given: Container[str]) -> Parameters | None:
    return None if "include" in given or not parameters.get("include") else _without(parameters, "include")


def _no_summary(parameters: Parameters, given: Container[str]) -> Parameters | None:
    reasoning: dict[str, Any] = parameters.get("reasoning") or {}
    if "reasoning" in given or "summary" not in reasoning:
        return None
    return {**parameters, "reasoning": {name: value for name, value in reasoning.items() if name != "summary"} or None}


def _no_store(parameters: Parameters, given: Container[str]) -> Parameters | None:
    return None if "store" in given or parameters.get("store") is None else _without(parameters, "store")


# Checked by us in any case, and asked for again if it is not right.
_NO_SCHEMAS: Final = re.compile("response_format|json_schema|json_object")
_STRICT: Final = Mend(re.compile(r"\bstrict\b"), _not_strict)

CHAT_MENDS: Final = (
    Mend(re.compile("stream_options|include_usage"), _no_stream_options),
    Mend(re.compile("max_completion_tokens"), _other_name_of_max_tokens),
    Mend(re.compile("set reasoning_effort to"), _tools_instead_of_thinking),
    Mend(re.compile("reasoning_effort|reasoning effort"), _no_effort_of_none),
    Mend(_NO_SCHEMAS, _schema_in_words),
    Mend(_NO_SCHEMAS, _no_json_object),
    _STRICT,
)
RESPONSES_MENDS: Final = (
    Mend(re.compile(r"\binclude\b|[Ee]ncrypted content is not supported|encrypted_content"), _no_include),
    Mend(re.compile(r"summar"), _no_summary),
    Mend(re.compile(r"\bstore\b"), _no_store),
    _STRICT,
)
