"""A request as OpenAI's chat completions want it."""

from collections.abc import Iterator, Mapping
from typing import Any, cast

from miniagents.ext.llms._common.message_parts import arguments_text, as_mapping, text_of
from miniagents.ext.llms._common.parameters import thawed
from miniagents.ext.llms._openai.models import (
    ModelTraits,
    effort_of,
    refuse_old_functions,
    refuse_sampling,
    thinks_now,
)
from miniagents.ext.llms._openai.tool_calls import CHAT_CALL_EXTRAS
from miniagents.ext.llms.errors import UnsupportedOptionError
from miniagents.ext.llms.llm_messages import (
    FileMessage,
    ImageMessage,
    MediaMessage,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
)
from miniagents.ext.llms.model_events import ModelRequest, RequestTurn, ThinkingLevel, ToolSchema
from miniagents.messages import Message

# Of a thought: what to send back is in `provider_data` under this name, by the server's own field names.
CHAT_THOUGHT = "chat_fields"


def chat_parameters(
    request: ModelRequest, *, provider: str, agent_alias: str, traits: ModelTraits | None
) -> dict[str, Any]:
    """Give the parameters of the API for this request; None stands for what is not sent.

    Raises:
        UnsupportedOptionError: an option that the API refuses.
    """
    own = dict(request.parameters)
    tools = [*(_tool(tool) for tool in request.tools), *(own.pop("tools", None) or ())]
    effort = chat_effort(
        own, request.thinking, has_tools=bool(tools), agent_alias=agent_alias, model=request.model, traits=traits
    )
    if traits is not None and traits.thinks and own.get("max_completion_tokens") is None:
        # The older name is refused by these models.
        own["max_completion_tokens"] = own.pop("max_tokens", None)
    if request.stream:
        own["stream_options"] = {"include_usage": True, **(own.get("stream_options") or {})}
    return {
        "model": request.model,
        "messages": chat_messages(request, provider, agent_alias),
        "stream": request.stream,
        "tools": tools or None,
        "response_format": _response_format(request),
        **own,
        "reasoning_effort": effort,
    }


def chat_effort(
    own: Mapping[str, Any],
    thinking: ThinkingLevel | None,
    *,
    has_tools: bool,
    agent_alias: str,
    model: str,
    traits: ModelTraits | None,
) -> str | None:
    """Give the effort to ask for, having checked that the options `own` go together with it and with the model.

    Raises:
        UnsupportedOptionError: they do not.
    """
    refuse_old_functions(own, agent_alias=agent_alias, model=model)
    effort: str | None = own.get("reasoning_effort")
    if effort is None:
        effort = effort_of(thinking, agent_alias=agent_alias, model=model, traits=traits)
    if has_tools:
        effort = _effort_with_tools(effort, agent_alias=agent_alias, model=model, traits=traits)
    refuse_sampling(own, effort, agent_alias=agent_alias, model=model, traits=traits)
    return effort


def _effort_with_tools(effort: str | None, *, agent_alias: str, model: str, traits: ModelTraits | None) -> str | None:
    if traits is None or traits.calls_tools_while_thinking:
        return effort
    if not traits.takes_tools_in_chat:
        raise UnsupportedOptionError(
            agent_alias, "tools=", model, "it takes them through the Responses API only: use `OpenAIResponsesAgent`."
        )
    if effort not in (None, "none"):
        raise UnsupportedOptionError(
            agent_alias,
            f"reasoning_effort={effort!r}",
            model,
            "with tools, chat completions refuse it. Use `OpenAIResponsesAgent`, which thinks and calls tools, or set "
            '`thinking="off"`.',
        )
    # Said outright where thinking is the default, which the server would refuse just as well.
    return "none" if thinks_now(effort, traits) else effort


def _tool(tool: ToolSchema) -> dict[str, Any]:
    function: dict[str, Any] = {
        "name": tool.name,
        "description": tool.description,
        "parameters": thawed(tool.parameters),
    }
    if tool.strict:
        function["strict"] = True
    return {"type": "function", "function": function}


def _response_format(request: ModelRequest) -> dict[str, Any] | None:
    output = request.output
    if output is None:
        return None
    schema: dict[str, Any] = {"name": output.name, "schema": thawed(output.schema), "strict": output.strict}
    return {"type": "json_schema", "json_schema": schema}


def chat_messages(request: ModelRequest, provider: str, agent_alias: str) -> list[dict[str, Any]]:
    """Give system prompt and conversation as the API's messages.

    Raises:
        UnsupportedOptionError: a file is given by its URL, which the API does not take.
    """
    messages: list[dict[str, Any]] = []
    system = [*request.system_blocks, *([{"type": "text", "text": request.system}] if request.system else [])]
    if system:
        messages.append({"role": "system", "content": system if request.system_blocks else request.system})
    for turn in request.turns:
        if turn.role == "assistant":
            messages.append(_assistant(turn, request.delimiter, provider))
        else:
            messages.extend(_user(turn, request, agent_alias))
    return messages


def _assistant(turn: RequestTurn, delimiter: str, provider: str) -> dict[str, Any]:
    parts = turn.joined(delimiter)
    texts = [part for part in parts if isinstance(part, str)]
    message: dict[str, Any] = {"role": "assistant", "content": delimiter.join(texts) if texts else None}
    calls = [_tool_call(part, provider) for part in parts if isinstance(part, ToolCallMessage)]
    if calls:
        message["tool_calls"] = calls
        # Only between the rounds of its tools does a model need what it thought; elsewhere it is ignored or refused.
        for part in parts:
            if isinstance(part, ThinkingMessage) and part.provider == provider:
                _add_thought(message, part)
    elif not texts:
        message["content"] = ""
    return message


def _add_thought(message: dict[str, Any], thought: ThinkingMessage) -> None:
    fields = as_mapping(thawed(thought.provider_data)).get(CHAT_THOUGHT)
    if isinstance(fields, str):
        message[fields] = message.get(fields, "") + text_of(thought)
    else:
        message.update(as_mapping(fields))


def _tool_call(message: ToolCallMessage, provider: str) -> dict[str, Any]:
    function = {"name": message.tool_name, "arguments": arguments_text(message)}
    # Only the provider that added something to its call gets it back.
    data = thawed(message.provider_data) if message.provider == provider else None
    extras = as_mapping(data).get(CHAT_CALL_EXTRAS)
    return {"id": message.tool_call_id, "type": "function", "function": function, **as_mapping(extras)}


def _user(turn: RequestTurn, request: ModelRequest, agent_alias: str) -> Iterator[dict[str, Any]]:
    for part in turn.parts:
        if isinstance(part, ToolResultMessage):
            yield {"role": "tool", "tool_call_id": part.tool_call_id, "content": text_of(part)}
    rest = RequestTurn("user", tuple(part for part in turn.parts if not isinstance(part, ToolResultMessage)))
    said = rest.joined(request.delimiter)
    if not said:
        return
    if all(isinstance(part, str) for part in said):
        yield {"role": "user", "content": request.delimiter.join(cast("list[str]", said))}
    else:
        yield {"role": "user", "content": [_content_part(part, request, agent_alias) for part in said]}


def _content_part(part: str | Message, request: ModelRequest, agent_alias: str) -> dict[str, Any]:
    if isinstance(part, ImageMessage):
        extra: dict[str, Any] = {"detail": detail} if (detail := getattr(part, "detail", None)) else {}
        return {"type": "image_url", "image_url": {"url": media_url(part), **extra}}
    if isinstance(part, FileMessage):
        if part.data is None:
            raise UnsupportedOptionError(
                agent_alias,
                "FileMessage(url=...)",
                request.model,
                "chat completions fetch no files. Give `data=` or `path=`, or use `OpenAIResponsesAgent`.",
            )
        if part.media_type.startswith("audio/"):
            audio_format = {"mpeg": "mp3"}.get(sound := part.media_type[6:].removeprefix("x-"), sound)
            return {"type": "input_audio", "input_audio": {"data": part.data, "format": audio_format}}
        return {"type": "file", "file": {"filename": part.name or "file", "file_data": media_url(part)}}
    return {"type": "text", "text": str(part)}


def media_url(message: MediaMessage) -> str:
    """Give the URL, or the bytes as a data URL."""
    return message.url or f"data:{message.media_type};base64,{message.data}"
