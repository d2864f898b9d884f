"""What was said, as JSON in the form of the conventions; used only with `capture_content=True`.

The classes of messages are those of the model agents, which are above this package: a message is known by its fields.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from pydantic_core import to_json

from miniagents._segments import SequenceBuffer, flat_parts, message_at
from miniagents.messages import Message, MessagePromise
from miniagents.promising._buffer import Buffer
from miniagents.promising._failure import Failure

_MODALITIES: Final = frozenset({"image", "video", "audio"})


def json_text(value: Any) -> str:
    """Give `value` as JSON; what JSON cannot hold as its text."""
    return to_json(value, fallback=str, inf_nan_mode="strings", bytes_mode="base64").decode()


def input_messages(turns: Iterable[Any]) -> str:
    """Give the turns of a request; results of tools are messages of their own, as the conventions have it."""
    messages: list[dict[str, Any]] = []
    for turn in turns:
        for part in turn.parts:
            shown = _part(part)
            role = "tool" if shown["type"] == "tool_call_response" else str(turn.role)
            if not messages or messages[-1]["role"] != role:
                messages.append({"role": role, "parts": []})
            messages[-1]["parts"].append(shown)
    return json_text(messages)


def output_messages(promises: Sequence[MessagePromise]) -> str:
    """Give the answer, as far as it has come."""
    parts = [shown for promise in promises if (shown := _part_so_far(promise)) is not None]
    return json_text([{"role": "assistant", "parts": parts}])


def system_instructions(request: Any) -> str | None:
    """Give the system prompt of a request; None if it has none."""
    blocks: list[Any] = [block.get("text") for block in request.system_blocks]
    texts = [text for text in (*blocks, request.system) if isinstance(text, str) and text]
    return json_text([{"type": "text", "content": text} for text in texts]) if texts else None


def tool_definitions(tools: Iterable[Any]) -> str | None:
    """Give what the model may call; None if there is nothing."""
    shown = [
        {"type": "function", "name": tool.name, "description": tool.description, "parameters": tool.parameters}
        for tool in tools
    ]
    return json_text(shown) if shown else None


def outcomes_there(buffer: SequenceBuffer) -> Iterator[Message | Failure | None]:
    """Give the messages and errors of a sequence; None for what is not there yet. Nothing is made to start."""
    for part in flat_parts(buffer, message_at):
        outcome = part.outcome_if_done() if isinstance(part, MessagePromise) else part
        yield outcome if isinstance(outcome, Message | Failure) else None


def text_there(buffer: SequenceBuffer) -> str | None:
    """Give the texts of a sequence; None if something of it is missing."""
    texts: list[str] = []
    for outcome in outcomes_there(buffer):
        if not isinstance(outcome, Message):
            return None
        texts.append(str(outcome))
    return "\n\n".join(texts)


def _part_so_far(promise: MessagePromise) -> dict[str, Any] | None:
    message = promise.outcome_if_done()
    if isinstance(message, Message):
        return _part(message)
    text = "".join([piece for piece in _pieces(promise) if isinstance(piece, str)])
    fields = promise.message_class.model_fields
    if "tool_call_id" in fields:
        known = promise.preliminary_metadata
        return {"type": "tool_call", "id": known.get("tool_call_id"), "name": known.get("tool_name"), "arguments": text}
    if not text:
        return None
    return {"type": "reasoning" if "signature" in fields else "text", "content": text}


def _pieces(promise: MessagePromise) -> Sequence[Any]:
    buffer: Buffer[Any] = promise.buffer()
    return buffer.pieces


def _part(message: Message) -> dict[str, Any]:
    fields = type(message).model_fields
    if "media_type" in fields:
        return _media(message)
    if "tool_call_id" in fields:
        call_id, name = message["tool_call_id"], message["tool_name"]
        if "is_error" in fields:
            return {"type": "tool_call_response", "id": call_id, "name": name, "response": str(message)}
        arguments = message["arguments"]
        shown = str(message) if arguments is None else arguments.model_dump(exclude={"class_"})
        return {"type": "tool_call", "id": call_id, "name": name, "arguments": shown}
    return {"type": "reasoning" if "signature" in fields else "text", "content": str(message)}


def _media(message: Message) -> dict[str, Any]:
    media_type = str(message["media_type"])
    modality = media_type.partition("/")[0]
    shown: dict[str, Any] = {
        "modality": modality if modality in _MODALITIES else "document",
        "mime_type": media_type,
    }
    url = message["url"]
    if url is None:
        # A span is no place for megabytes; how many they were must do.
        return {"type": "blob", **shown, "content": "", "base64_length": len(message["data"] or "")}
    # What is behind the `?` may be a signature that lets whoever has it fetch the file.
    return {"type": "uri", **shown, "uri": _without_query(str(url))}


def _without_query(url: str) -> str:
    if url.startswith("data:"):
        return url.partition(",")[0]
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
