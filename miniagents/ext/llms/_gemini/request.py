"""A request in the form of google-genai: `model`, `contents` and `config`, as plain dictionaries."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final, cast

from miniagents.ext.llms._common.message_parts import arguments_of, text_of
from miniagents.ext.llms._common.parameters import thawed
from miniagents.ext.llms._gemini.models import signs_its_calls, structures_beside_tools, thinking_config
from miniagents.ext.llms.llm_messages import (
    FileMessage,
    ImageMessage,
    ModelMessage,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
)
from miniagents.ext.llms.model_events import ModelRequest, RequestTurn
from miniagents.messages import Message

PROVIDER: Final = "gemini"
OUR_CALL_IDS: Final = "gemini_call_"
"""How the ids begin that we give to calls of functions, as the older models give none."""

# The names that other APIs have for the same.
_OTHER_NAMES: Final = {
    "max_tokens": "max_output_tokens",
    "max_completion_tokens": "max_output_tokens",
    "stop": "stop_sequences",
    "n": "candidate_count",
}
_LONGEST_NAME: Final = 64
# In place of the signature of a call that another model made: what Google's documentation wants there.
_UNSIGNED: Final = "skip_thought_signature_validator"


def gemini_request(request: ModelRequest, *, agent_alias: str, known_options: Mapping[str, str]) -> dict[str, Any]:
    """Give the keyword arguments of `generate_content` for a request.

    `known_options` are the options of the SDK's `GenerateContentConfig`, by each of their names. What it does not know
    goes into the body's `generationConfig`, so that an option that is newer than the SDK reaches the server.

    Raises:
        UnsupportedOptionError: the model does not think as much as it is told to.
    """
    config: dict[str, Any] = {"automatic_function_calling": {"disable": True}}
    system = [*request.system_blocks, *([{"text": request.system}] if request.system else [])]
    if system:
        config["system_instruction"] = {"parts": [{"text": block.get("text", "")} for block in system]}
    thinking = thinking_config(agent_alias, request.model, request.thinking)
    if thinking:
        config["thinking_config"] = thinking
    if request.tools:
        config["tools"] = [_declarations(request)]
    _prescribe_output(request, config)
    _add_options(request.parameters, known_options, config)
    return {"model": request.model, "contents": _contents(request), "config": config}


def _add_options(given: Mapping[str, Any], known: Mapping[str, str], config: dict[str, Any]) -> None:
    options = {_OTHER_NAMES.get(name, name): value for name, value in given.items() if value is not None}
    http: dict[str, Any] = dict(options.pop("http_options", {}))
    body: dict[str, Any] = dict(options.pop("extra_body", {}))
    if "timeout" in options:
        http["timeout"] = round(options.pop("timeout") * 1000)
    if "extra_headers" in options:
        http["headers"] = options.pop("extra_headers")
    if "tools" in options:
        config["tools"] = [*config.get("tools", []), *options.pop("tools")]
    if isinstance(options.get("stop_sequences"), str):
        options["stop_sequences"] = [options["stop_sequences"]]
    config.update({known[name]: value for name, value in options.items() if name in known})
    unknown = {name: value for name, value in options.items() if name not in known}
    if unknown:
        body["generationConfig"] = {**unknown, **body.get("generationConfig", {})}
    if body:
        http["extra_body"] = {**body, **http.get("extra_body", {})}
    if http:
        config["http_options"] = http


def _declarations(request: ModelRequest) -> dict[str, Any]:
    return {
        "function_declarations": [
            {"name": tool.name, "description": tool.description, "parameters_json_schema": thawed(tool.parameters)}
            for tool in request.tools
        ]
    }


def _prescribe_output(request: ModelRequest, config: dict[str, Any]) -> None:
    if request.output is None:
        return
    schema = thawed(request.output.schema)
    if not request.tools or structures_beside_tools(request.model):
        config.update(response_mime_type="application/json", response_json_schema=schema)
        return
    # Older models refuse functions and a prescribed form in one request, so they are asked for it in words.
    wish = f"When you answer, answer with JSON of this schema and nothing else: {json.dumps(schema)}"
    instruction = config.setdefault("system_instruction", {"parts": []})
    instruction["parts"].append({"text": wish})


def _contents(request: ModelRequest) -> list[dict[str, Any]]:
    names = {
        part.tool_call_id: part.tool_name
        for turn in request.turns
        for part in turn.parts
        if isinstance(part, ToolCallMessage)
    }
    return [
        {
            "role": "model" if turn.role == "assistant" else "user",
            "parts": [part for message in _joined(turn, request.delimiter) for part in _parts(message, request, names)],
        }
        for turn in request.turns
    ]


def _joined(turn: RequestTurn, delimiter: str) -> list[str | Message]:
    """The parts of a turn, plain texts in a row joined, but for those that have a signature of their own."""
    joined: list[str | Message] = []
    for message in turn.parts:
        for part in RequestTurn(turn.role, (message,)).joined(delimiter):
            if isinstance(part, str) and _own_data(message):
                joined.append(message)
            elif isinstance(part, str) and joined and isinstance(joined[-1], str):
                joined[-1] += delimiter + part
            else:
                joined.append(part)
    return joined


def _own_data(message: Message) -> dict[str, Any]:
    """What Gemini gave along with the message, to be given back."""
    if isinstance(message, ModelMessage) and message.provider == PROVIDER:
        data = thawed(message.provider_data)
        return cast("dict[str, Any]", data) if isinstance(data, dict) else {}
    return {}


def _parts(message: str | Message, request: ModelRequest, names: Mapping[str, str]) -> list[dict[str, Any]]:
    if isinstance(message, str):
        return [{"text": message}]
    data = _own_data(message)
    if "part" in data:
        return [data["part"]]
    # A signature is good for the model that made it; another one refuses it.
    signature = data.get("thought_signature") if data.get("model") == request.model else None
    signed = {} if signature is None else {"thought_signature": signature}
    if isinstance(message, ThinkingMessage):
        thought = text_of(message)
        return [{"text": thought, "thought": True, **signed}] if thought or signed else []
    if isinstance(message, ToolCallMessage):
        if not signed and signs_its_calls(request.model) and not data.get("follows_a_signed_call"):
            signed = {"thought_signature": _UNSIGNED}
        arguments = arguments_of(message)
        call: dict[str, Any] = {"name": message.tool_name, "args": arguments, **_id_of(message.tool_call_id)}
        return [{"function_call": call, **signed}]
    if isinstance(message, ToolResultMessage):
        response = {"error" if message.is_error else "output": text_of(message)}
        name = message.tool_name or names.get(message.tool_call_id, "unknown")
        return [{"function_response": {"name": name, "response": response, **_id_of(message.tool_call_id)}}]
    if isinstance(message, ImageMessage | FileMessage):
        return [_media(message)]
    if signed and data.get("in_a_part_of_its_own"):
        return [{"text": str(message)}, {"text": "", **signed}]
    return [{"text": str(message), **signed}]


def _id_of(tool_call_id: str) -> dict[str, str]:
    if tool_call_id.startswith(OUR_CALL_IDS):
        # Gemini gave none, and matches calls and responses by their order then.
        return {}
    return {"id": re.sub(r"[^\w.:-]", "_", tool_call_id)[:_LONGEST_NAME]}


def _media(message: ImageMessage | FileMessage) -> dict[str, Any]:
    if message.url is not None:
        return {"file_data": {"file_uri": message.url, "mime_type": message.media_type}}
    return {"inline_data": {"data": message.data, "mime_type": message.media_type}}
