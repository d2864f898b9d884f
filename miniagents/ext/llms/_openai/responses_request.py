"""A request as OpenAI's Responses API wants it."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from miniagents.ext.llms._common.message_parts import arguments_text, as_mapping, text_of
from miniagents.ext.llms._common.parameters import thawed
from miniagents.ext.llms._openai.chat_request import media_url
from miniagents.ext.llms._openai.models import (
    ModelTraits,
    effort_of,
    refuse_named,
    refuse_old_functions,
    refuse_sampling,
)
from miniagents.ext.llms.llm_messages import (
    FileMessage,
    ImageMessage,
    ModelMessage,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
)
from miniagents.ext.llms.model_events import ModelRequest, RequestTurn, ThinkingLevel, ToolSchema
from miniagents.messages import Message

# Of a message: the output item that it was, or what the item of its text said beside the text.
RESPONSE_ITEM: Final = "response_item"
TEXT_FIELDS: Final = "response_text_fields"

_ENCRYPTED: Final = "reasoning.encrypted_content"
_CHAT_ONLY: Final = (
    "stop", "n", "seed", "logit_bias", "logprobs", "presence_penalty", "frequency_penalty", "prediction", "audio",
    "modalities", "messages",
)  # fmt: skip
_KEPT_BY_THE_SERVER: Final = ("previous_response_id", "conversation", "background")


def check_response_options(
    own: Mapping[str, Any],
    thinking: ThinkingLevel | None,
    *,
    agent_alias: str,
    model: str,
    traits: ModelTraits | None,
) -> str | None:
    """Give the effort to ask for, having checked the options `own`.

    Raises:
        UnsupportedOptionError: the API, or the model, refuses one of them.
    """
    refuse_old_functions(own, agent_alias=agent_alias, model=model)
    refuse_named(
        own,
        _CHAT_ONLY,
        "the Responses API does not know it. Leave it out, or use `OpenAIAgent`, which asks through chat completions.",
        agent_alias=agent_alias,
        model=model,
    )
    refuse_named(
        own,
        ("response_format",),
        'the Responses API calls it `text={"format": {...}}`; `response_model=` works with all providers.',
        agent_alias=agent_alias,
        model=model,
    )
    effort: str | None = as_mapping(own.get("reasoning")).get("effort") or own.get("reasoning_effort")
    if effort is None:
        effort = effort_of(thinking, agent_alias=agent_alias, model=model, traits=traits)
    refuse_sampling(own, effort, agent_alias=agent_alias, model=model, traits=traits)
    return effort


def response_parameters(
    request: ModelRequest, *, provider: str, agent_alias: str, traits: ModelTraits | None
) -> dict[str, Any]:
    """Give the parameters of the API for this request; None stands for what is not sent.

    Raises:
        UnsupportedOptionError: an option that the API refuses.
    """
    own = dict(request.parameters)
    effort = check_response_options(own, request.thinking, agent_alias=agent_alias, model=request.model, traits=traits)
    own.pop("reasoning_effort", None)
    for name in ("max_tokens", "max_completion_tokens"):
        given = own.pop(name, None)
        if own.get("max_output_tokens") is None:
            own["max_output_tokens"] = given
    tools = [*(_tool(tool) for tool in request.tools), *(own.pop("tools", None) or ())]
    reasoning: dict[str, Any] = {"effort": effort} if effort else {}
    reasoning.update(own.pop("reasoning", None) or {})
    if request.thinking not in (None, "off"):
        # Else nothing of its thoughts is shown.
        reasoning.setdefault("summary", "auto")
    parameters: dict[str, Any] = {
        "model": request.model,
        "input": [*_system_items(request), *response_input(request, provider)],
        "instructions": request.system or None,
        "stream": request.stream,
        "tools": tools or None,
        "reasoning": reasoning or None,
        **{name: value for name, value in own.items() if name != "verbosity"},
        "text": _text(request, own),
    }
    if not any(own.get(name) for name in _KEPT_BY_THE_SERVER):
        # The conversation is ours: nothing is kept there, and thoughts come in a form that can be sent back.
        parameters.setdefault("store", False)
        if parameters["store"] is False and (traits is None or traits.thinks):
            parameters.setdefault("include", [_ENCRYPTED])
    return parameters


def _tool(tool: ToolSchema) -> dict[str, Any]:
    return {
        "type": "function",
        "name": tool.name,
        "description": tool.description,
        "parameters": thawed(tool.parameters),
        # Left out it would mean True, and a schema that is not strict would be refused.
        "strict": tool.strict,
    }


def _text(request: ModelRequest, own: Mapping[str, Any]) -> dict[str, Any] | None:
    text: dict[str, Any] = {"verbosity": own["verbosity"]} if own.get("verbosity") else {}
    if request.output is not None:
        schema = {"name": request.output.name, "schema": thawed(request.output.schema)}
        text["format"] = {"type": "json_schema", **schema, "strict": request.output.strict}
    return {**text, **(own.get("text") or {})} or None


def _system_items(request: ModelRequest) -> Iterator[dict[str, Any]]:
    if request.system_blocks:
        blocks = [
            {**block, "type": "input_text"} if block.get("type") == "text" else block for block in request.system_blocks
        ]
        yield {"role": "developer", "content": blocks}


def response_input(request: ModelRequest, provider: str) -> Iterator[dict[str, Any]]:
    """Give the conversation as the API's input items, in the order in which it happened."""
    for turn in request.turns:
        if turn.role == "assistant":
            yield from _assistant_items(turn, provider)
        else:
            yield from _user_items(turn, request.delimiter)


def _assistant_items(turn: RequestTurn, provider: str) -> Iterator[dict[str, Any]]:
    for part in turn.parts:
        data: Mapping[str, Any] = {}
        if isinstance(part, ModelMessage) and part.provider == provider:
            data = as_mapping(thawed(part.provider_data))
        if isinstance(part, ThinkingMessage):
            if item := data.get(RESPONSE_ITEM):
                yield dict(item)
        elif isinstance(part, ToolCallMessage):
            call = {"call_id": part.tool_call_id, "name": part.tool_name, "arguments": arguments_text(part)}
            yield {"type": "function_call", **call}
        else:
            yield {"role": "assistant", "content": str(part), **as_mapping(data.get(TEXT_FIELDS))}


def _user_items(turn: RequestTurn, delimiter: str) -> Iterator[dict[str, Any]]:
    for part in turn.parts:
        if isinstance(part, ToolResultMessage):
            yield {"type": "function_call_output", "call_id": part.tool_call_id, "output": text_of(part)}
    rest = RequestTurn("user", tuple(part for part in turn.parts if not isinstance(part, ToolResultMessage)))
    said = rest.joined(delimiter)
    if len(said) == 1 and isinstance(said[0], str):
        yield {"role": "user", "content": said[0]}
    elif said:
        yield {"role": "user", "content": [_content_part(part) for part in said]}


def _content_part(part: str | Message) -> dict[str, Any]:
    if isinstance(part, ImageMessage):
        return {"type": "input_image", "image_url": media_url(part), "detail": getattr(part, "detail", None) or "auto"}
    if isinstance(part, FileMessage):
        if part.data is None:
            return {"type": "input_file", "file_url": part.url}
        return {"type": "input_file", "filename": part.name or "file", "file_data": media_url(part)}
    return {"type": "input_text", "text": str(part)}
