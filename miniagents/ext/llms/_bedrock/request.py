"""A request in the form of Amazon Bedrock's Converse."""

import base64
import json
import re
from collections import Counter
from typing import Any, Final, cast

from miniagents.ext.llms._bedrock.models import (
    takes_cache_marks,
    takes_cache_marks_on_tools,
    takes_schemas,
    thinking_fields,
)
from miniagents.ext.llms._common.message_parts import arguments_of, text_of
from miniagents.ext.llms._common.parameters import thawed
from miniagents.ext.llms.errors import PromptError
from miniagents.ext.llms.llm_messages import MediaMessage, ThinkingMessage, ToolCallMessage, ToolResultMessage
from miniagents.ext.llms.model_events import ModelRequest
from miniagents.messages import Message

PROVIDER: Final = "bedrock"

# Options of Converse itself; whatever else is given is the model's own.
_CONVERSE_OPTIONS: Final = frozenset(
    {
        "additionalModelResponseFieldPaths", "guardrailConfig", "outputConfig", "performanceConfig", "promptVariables",
        "requestMetadata", "serviceTier",
    }
)  # fmt: skip
_INFERENCE_OPTIONS: Final = {
    "max_tokens": "maxTokens",
    "maxTokens": "maxTokens",
    "temperature": "temperature",
    "top_p": "topP",
    "topP": "topP",
    "stop": "stopSequences",
    "stop_sequences": "stopSequences",
    "stopSequences": "stopSequences",
}
_CACHE_POINT: Final = {"cachePoint": {"type": "default"}}
_FORMATS: Final[dict[str, tuple[str, str]]] = {
    "image/png": ("image", "png"),
    "image/jpeg": ("image", "jpeg"),
    "image/gif": ("image", "gif"),
    "image/webp": ("image", "webp"),
    "application/pdf": ("document", "pdf"),
    "text/csv": ("document", "csv"),
    "text/html": ("document", "html"),
    "text/plain": ("document", "txt"),
    "text/markdown": ("document", "md"),
    "application/msword": ("document", "doc"),
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": ("document", "docx"),
    "application/vnd.ms-excel": ("document", "xls"),
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": ("document", "xlsx"),
    "video/mp4": ("video", "mp4"),
    "video/quicktime": ("video", "mov"),
    "video/webm": ("video", "webm"),
    "video/x-matroska": ("video", "mkv"),
    "video/mpeg": ("video", "mpeg"),
}
_LONGEST_ID: Final = 64


def converse_request(request: ModelRequest, *, agent_alias: str) -> dict[str, Any]:
    """Give the keyword arguments of `converse` and `converse_stream` for a request.

    Raises:
        UnsupportedOptionError: the model cannot be told to think so much.
        PromptError: a picture or file is of a kind, or in a place, that Bedrock does not take.
    """
    marks = request.cache and takes_cache_marks(request.model)
    given = {name: value for name, value in request.parameters.items() if value is not None and name != "timeout"}
    inference: dict[str, Any] = dict(given.pop("inferenceConfig", {}))
    for name in list(given):
        if name in _INFERENCE_OPTIONS:
            value = given.pop(name)
            converse_name = _INFERENCE_OPTIONS[name]
            inference[converse_name] = [value] if converse_name == "stopSequences" and isinstance(value, str) else value
    own: dict[str, Any] = dict(given.pop("additionalModelRequestFields", {}))
    tool_config = _tool_config(request, given)
    call: dict[str, Any] = {"modelId": request.model}
    system = _system(request)
    call.update({name: given.pop(name) for name in list(given) if name in _CONVERSE_OPTIONS})
    _prescribe_output(request, call, system)
    thinking, max_tokens = thinking_fields(
        agent_alias, request.model, request.thinking, max_tokens=inference.get("maxTokens")
    )
    if max_tokens is not None:
        inference["maxTokens"] = max_tokens
    # What is left are options that only this model has.
    own = {**thinking, **given, **own}
    messages = _messages(request, agent_alias)
    if marks:
        _mark(request.model, system, tool_config, messages)
    parts = {
        "messages": messages,
        "system": system,
        "inferenceConfig": inference,
        "toolConfig": tool_config,
        "additionalModelRequestFields": own,
    }
    return {**call, **{name: value for name, value in parts.items() if value}}


def _system(request: ModelRequest) -> list[dict[str, Any]]:
    # Blocks may be in the form of Converse, or in that of Anthropic's API.
    blocks = [
        {"text": block["text"]} if block.get("type") == "text" and "text" in block else block
        for block in request.system_blocks
    ]
    return [*blocks, *([{"text": request.system}] if request.system else [])]


def _tool_config(request: ModelRequest, given: dict[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = dict(given.pop("toolConfig", {}))
    choice = given.pop("toolChoice", None) or given.pop("tool_choice", None)
    specs: list[Any] = [
        {
            "toolSpec": {
                "name": tool.name,
                **({"description": tool.description} if tool.description else {}),
                "inputSchema": {"json": thawed(tool.parameters)},
            }
        }
        for tool in request.tools
    ]
    specs += [*given.pop("tools", []), *config.get("tools", [])]
    if not specs:
        # A conversation with calls in it is refused unless their tools are declared.
        called = {part.tool_name for turn in request.turns for part in turn.parts if isinstance(part, ToolCallMessage)}
        specs = [{"toolSpec": {"name": name, "inputSchema": {"json": {"type": "object"}}}} for name in sorted(called)]
    if specs:
        config["tools"] = specs
        if choice is not None:
            config["toolChoice"] = {choice: {}} if isinstance(choice, str) else choice
    return config


def _prescribe_output(request: ModelRequest, call: dict[str, Any], system: list[dict[str, Any]]) -> None:
    if request.output is None:
        return
    schema = json.dumps(thawed(request.output.schema))
    if request.output.strict and takes_schemas(request.model):
        prescribed = {"schema": schema, "name": request.output.name}
        text_format = {"type": "json_schema", "structure": {"jsonSchema": prescribed}}
        call["outputConfig"] = {"textFormat": text_format, **call.get("outputConfig", {})}
    else:
        system.append({"text": f"When you answer, answer with JSON of this schema and nothing else: {schema}"})


def _mark(
    model: str, system: list[dict[str, Any]], tool_config: dict[str, Any], messages: list[dict[str, Any]]
) -> None:
    """Mark what does not change from turn to turn: tools and system prompt, and the conversation so far."""
    if any("cachePoint" in block for block in system):
        # Somebody marked by hand, and knows better.
        return
    if system:
        system.append(_CACHE_POINT)
    elif tool_config.get("tools") and takes_cache_marks_on_tools(model):
        tool_config["tools"] = [*tool_config["tools"], _CACHE_POINT]
    if messages and messages[-1]["role"] == "user":
        messages[-1]["content"].append(_CACHE_POINT)


def _messages(request: ModelRequest, agent_alias: str) -> list[dict[str, Any]]:
    names: Counter[str] = Counter()
    messages: list[dict[str, Any]] = []
    for turn in request.turns:
        content: list[dict[str, Any]] = []
        for part in turn.joined(request.delimiter):
            content += [{"text": part}] if isinstance(part, str) else _blocks(part, names, agent_alias)
        if content:
            messages.append({"role": turn.role, "content": content})
    return messages


def _blocks(part: Message, names: Counter[str], agent_alias: str) -> list[dict[str, Any]]:
    if isinstance(part, ThinkingMessage):
        return _thought(part)
    if isinstance(part, ToolCallMessage):
        arguments = arguments_of(part)
        call: dict[str, Any] = {"toolUseId": _id_of(part.tool_call_id), "name": part.tool_name, "input": arguments}
        return [{"toolUse": call}]
    if isinstance(part, ToolResultMessage):
        result = {
            "toolUseId": _id_of(part.tool_call_id),
            # A blank text is refused.
            "content": [{"text": text if (text := text_of(part)).strip() else "(no output)"}],
            "status": "error" if part.is_error else "success",
        }
        return [{"toolResult": result}]
    return [_media(cast("MediaMessage", part), names, agent_alias)]


def _thought(part: ThinkingMessage) -> list[dict[str, Any]]:
    data: Any = thawed(part.provider_data)
    redacted = cast("dict[str, Any]", data).get("redacted_content") if isinstance(data, dict) else None
    if redacted is not None:
        return [{"reasoningContent": {"redactedContent": base64.b64decode(redacted)}}]
    if part.signature is None:
        # Models that do not sign their thoughts do not take them back.
        return []
    return [{"reasoningContent": {"reasoningText": {"text": text_of(part), "signature": part.signature}}}]


def _id_of(tool_call_id: str) -> str:
    return re.sub(r"[^\w.:-]", "_", tool_call_id, flags=re.ASCII)[:_LONGEST_ID]


def _media(part: MediaMessage, names: Counter[str], agent_alias: str) -> dict[str, Any]:
    found = _FORMATS.get(part.media_type.partition(";")[0].strip().lower())
    if found is None:
        raise PromptError(
            f"`{agent_alias}` cannot send a {type(part).__name__} of `media_type={part.media_type!r}`: Bedrock takes "
            f"{', '.join(_FORMATS)}."
        )
    kind, form = found
    block: dict[str, Any] = {"format": form, "source": _source(part, agent_alias)}
    if kind == "document":
        block["name"] = _document_name(part, names)
    return {kind: block}


def _source(part: MediaMessage, agent_alias: str) -> dict[str, Any]:
    if part.url is None:
        return {"bytes": part.raw_bytes}
    if part.url.startswith("s3://"):
        return {"s3Location": {"uri": part.url}}
    raise PromptError(
        f"`{agent_alias}` cannot send {part.url!r}: Bedrock fetches nothing from the web. Give the bytes, with `data=` "
        "or `path=`, or an address such as `s3://bucket/key`."
    )


def _document_name(part: MediaMessage, names: Counter[str]) -> str:
    """A name of the characters that Bedrock allows, another one for each document."""
    stem = (part.name or "document").rpartition("/")[2].rpartition(".")[0] or part.name or "document"
    name = re.sub(r"\s+", " ", re.sub(r"[^A-Za-z0-9()\[\]\s-]", "-", stem)).strip()[:150] or "document"
    names[name] += 1
    return name if names[name] == 1 else f"{name} ({names[name]})"
