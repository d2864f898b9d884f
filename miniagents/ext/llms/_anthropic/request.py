"""Makes a request to Anthropic's messages API from the turns of a conversation."""

import base64
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

from pydantic_core import to_json

from miniagents.ext.llms._adapters.claude_models import is_same_model, thinking_parameters
from miniagents.ext.llms._common.message_parts import arguments_of, text_of
from miniagents.ext.llms._common.parameters import thawed
from miniagents.ext.llms.errors import EmptyPromptError, PromptError
from miniagents.ext.llms.llm_messages import (
    FileMessage,
    ImageMessage,
    MediaMessage,
    ModelMessage,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
)
from miniagents.ext.llms.model_events import ModelRequest, OutputSchema, RequestTurn
from miniagents.messages import Message

# Whose blocks are taken back: the clouds serve the same models.
_FAMILY: Final = frozenset({"anthropic", "bedrock-anthropic", "vertex-anthropic"})
_MARK: Final = {"type": "ephemeral"}
# Kinds of blocks that a mark for the cache may stand on.
_MARKABLE: Final = frozenset({"text", "image", "document", "tool_use", "tool_result"})
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})

Block = dict[str, Any]


def body_of(
    request: ModelRequest,
    *,
    agent_alias: str,
    max_tokens: int | None,
    enforceable: Callable[[dict[str, Any]], dict[str, Any]],
) -> dict[str, Any]:
    """Give the parameters of the request; a parameter that is None is not to be sent.

    Args:
        request: what is to be sent.
        agent_alias: for errors.
        max_tokens: the longest answer, None for the default.
        enforceable: the SDK's function that leaves out of a JSON schema what the provider cannot enforce.

    Raises:
        EmptyPromptError: there is no message; this API takes no system prompt alone.
        PromptError: a message is of a kind that Claude does not read.
        UnsupportedOptionError: `max_tokens` leaves no room to think.
    """
    own = dict(request.parameters)
    messages = _messages(request, agent_alias)
    if not messages:
        raise EmptyPromptError(agent_alias)
    tools = [_tool(tool.name, tool.description, tool.parameters) for tool in request.tools] + (
        own.pop("tools", None) or []
    )
    system = _system(request)
    asked = thinking_parameters(agent_alias, request.model, request.thinking, max_tokens)
    if asked.get("thinking", {}).get("type") == "enabled" and _waits_without_a_thought(messages):
        del asked["thinking"]
    output_config = {**asked.pop("output_config", {}), **_format(request.output, enforceable)}
    output_config.update(own.pop("output_config", None) or {})
    body: dict[str, Any] = {
        "model": request.model,
        "messages": messages,
        "system": system or None,
        "tools": tools or None,
        "output_config": output_config or None,
        "stream": request.stream,
        **asked,
        **own,
    }
    if request.cache and not _is_marked(own, system, tools):
        _mark(body)
    return body


def _tool(name: str, description: str, schema: Mapping[str, Any]) -> Block:
    # Not `strict`: the provider would refuse schemas with bounds and patterns, which are checked on our side anyway.
    return {"name": name, "description": description, "input_schema": thawed(schema)}


def _system(request: ModelRequest) -> str | list[Block]:
    texts = [request.system] if request.system.strip() else []
    if request.output is not None and not request.output.strict:
        # Open objects cannot be enforced: the model is told, and the answer is validated as any other.
        schema = to_json(request.output.schema).decode()
        texts.append(f"Answer with one JSON value and nothing else. It has to fit this JSON schema:\n{schema}")
    text = request.delimiter.join(texts)
    if not request.system_blocks:
        return text
    return [*(dict(block) for block in request.system_blocks), *([{"type": "text", "text": text}] if text else [])]


def _format(output: OutputSchema | None, enforceable: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    if output is None or not output.strict:
        return {}
    return {"format": {"type": "json_schema", "schema": enforceable(thawed(output.schema))}}


# ------------------------------------------------------------------------------------------------ messages


def _messages(request: ModelRequest, agent_alias: str) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []
    for turn in request.turns:
        if turn.role == "user":
            blocks = _user_blocks(turn, request.delimiter, agent_alias)
        else:
            blocks = _assistant_blocks(turn, request)
        if not blocks:
            # A thought alone, of another model for example, is left out, and so is its turn.
            continue
        if messages and messages[-1]["role"] == turn.role:
            messages[-1]["content"] += blocks
        else:
            messages.append({"role": turn.role, "content": blocks})
    if messages and messages[-1]["role"] == "assistant":
        # The beginning of the answer, put into the model's mouth: refused if white space is at its end.
        last = messages[-1]["content"][-1]
        if last["type"] == "text":
            last["text"] = last["text"].rstrip()
    for message in messages:
        _simplify(message)
    return messages


def _waits_without_a_thought(messages: list[dict[str, Any]]) -> bool:
    """Whether a call of a tool is being answered that no thought led to, as where another model made it.

    The models that think by a budget refuse to begin to think there.
    """
    answers, calls = messages[-1]["content"], messages[-2]["content"] if len(messages) > 1 else ""
    is_answer = isinstance(answers, list) and cast("list[Block]", answers)[0]["type"] == "tool_result"
    return is_answer and not (isinstance(calls, list) and cast("list[Block]", calls)[0]["type"] in _THOUGHTS)


def _simplify(message: dict[str, Any]) -> None:
    content: list[Block] = message["content"]
    if len(content) == 1 and content[0].keys() == {"type", "text"}:
        message["content"] = content[0]["text"]


def _user_blocks(turn: RequestTurn, delimiter: str, agent_alias: str) -> list[Block]:
    # The API wants the results of tools before anything else that the user says.
    results = [_tool_result(part) for part in turn.parts if isinstance(part, ToolResultMessage)]
    said: list[Block] = []
    for part in turn.parts:
        if isinstance(part, MediaMessage):
            said.append(_media(part, agent_alias))
        text = "" if isinstance(part, ToolResultMessage | ThinkingMessage) else text_of(part)
        if text.strip():
            if said and said[-1]["type"] == "text":
                said[-1]["text"] += delimiter + text
            else:
                said.append({"type": "text", "text": text})
    return results + said


def _tool_result(result: ToolResultMessage) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": result.tool_call_id}
    if text := text_of(result):
        block["content"] = text
    if result.is_error:
        block["is_error"] = True
    return block


def _media(message: MediaMessage, agent_alias: str) -> Block:
    media_type = message.media_type.partition(";")[0].strip().lower()
    if isinstance(message, ImageMessage) or media_type.startswith("image/"):
        return {"type": "image", "source": _source(message, media_type)}
    title = {"title": message.name} if isinstance(message, FileMessage) and message.name else {}
    if media_type == "application/pdf":
        return {"type": "document", "source": _source(message, media_type), **title}
    if message.data is not None and (media_type.startswith("text/") or media_type == "application/json"):
        text = base64.b64decode(message.data).decode(errors="replace")
        return {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": text}, **title}
    raise PromptError(
        f"`{agent_alias}` cannot send {message.name or message.url or 'a file'!r} of type {message.media_type!r}: "
        "Claude reads images, PDF documents, and text that is given as `data=` or `path=`. Send it as one of these."
    )


def _source(message: MediaMessage, media_type: str) -> Block:
    if message.data is None:
        return {"type": "url", "url": message.url}
    return {"type": "base64", "media_type": media_type, "data": message.data}


def _assistant_blocks(turn: RequestTurn, request: ModelRequest) -> list[Block]:
    blocks: list[Block] = []
    # The block of text that neighbours are joined to; never one that has to go back as it came.
    text: Block | None = None
    for part in turn.parts:
        if isinstance(part, ThinkingMessage):
            more = _thought(part, request.model)
        elif isinstance(part, ToolCallMessage):
            more = [_tool_use(part)]
        else:
            more = _own_blocks(part)
            if not more and str(part).strip():
                if text is not None:
                    text["text"] += request.delimiter + str(part)
                else:
                    text = {"type": "text", "text": str(part)}
                    blocks.append(text)
                continue
        if more:
            blocks += more
            text = None
    while blocks and blocks[-1]["type"] in _THOUGHTS:
        # Refused at the end of a message; the model did not come to what it thought for.
        blocks.pop()
    return blocks


def _thought(message: ThinkingMessage, model: str) -> list[Block]:
    asked = message.model
    if asked is not None and not is_same_model(asked, model):
        # A signature is that of one model, and refused by the others.
        return []
    kept = _provider_data(message)
    if isinstance(kept, dict) and cast("Block", kept).get("type") in _THOUGHTS:
        return [cast("Block", kept)]
    if message.signature is None:
        return []
    return [{"type": "thinking", "thinking": text_of(message), "signature": message.signature}]


def _tool_use(message: ToolCallMessage) -> Block:
    kept = _provider_data(message)
    more = cast("Block", kept) if isinstance(kept, dict) else {}
    return {
        "type": "tool_use",
        "id": message.tool_call_id,
        "name": message.tool_name,
        "input": arguments_of(message),
        **more,
    }


def _own_blocks(message: Message) -> list[Block]:
    kept = _provider_data(message)
    blocks = cast("list[Block]", kept) if isinstance(kept, list) else []
    # An empty text says nothing and is refused.
    return [block for block in blocks if block.get("type") != "text" or str(block.get("text", "")).strip()]


def _provider_data(message: Message) -> Any:
    if isinstance(message, ModelMessage) and message.provider in _FAMILY:
        return thawed(message.provider_data)
    return None


# ------------------------------------------------------------------------------------------------ the cache


def _is_marked(parameters: Mapping[str, Any], system: str | Sequence[Block], tools: Sequence[Block]) -> bool:
    """Whether the user set marks himself; then all of them are his."""
    blocks = [*tools, *(system if not isinstance(system, str) else ())]
    body: Mapping[str, Any] = parameters.get("extra_body") or {}
    return "cache_control" in parameters or "cache_control" in body or any("cache_control" in block for block in blocks)


def _mark(body: dict[str, Any]) -> None:
    """Mark what the next request will begin with: tools and system, and the dialog up to the model's last turn."""
    system: str | list[Block] | None = body["system"]
    if system:
        # What stands before a mark belongs to it, and the tools stand before the system prompt.
        blocks: list[Block] = [{"type": "text", "text": system}] if isinstance(system, str) else system
        blocks[-1] = {**blocks[-1], "cache_control": _MARK}
        body["system"] = blocks
    elif body["tools"]:
        body["tools"] = [*body["tools"][:-1], {**body["tools"][-1], "cache_control": _MARK}]
    for message in reversed(body["messages"][:-1]):
        if message["role"] == "assistant":
            _mark_message(message)
            return


def _mark_message(message: dict[str, Any]) -> None:
    content: list[Block] | str = message["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    for index in reversed(range(len(blocks))):
        if blocks[index].get("type") in _MARKABLE:
            marked = {**blocks[index], "cache_control": _MARK}
            message["content"] = [*blocks[:index], marked, *blocks[index + 1 :]]
            return
