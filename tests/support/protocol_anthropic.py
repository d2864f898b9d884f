"""The server's side of Anthropic's messages and models, on the wire."""

import json
from collections.abc import AsyncIterator
from typing import Any

from tests.support.protocol_script import (
    Answer,
    Cut,
    Drop,
    ErrorInside,
    Failure,
    Gate,
    Pause,
    Raw,
    Thinking,
    ToolCall,
    words,
)

KNOWN_PARAMETERS = {
    "max_tokens", "messages", "model", "cache_control", "container", "diagnostics", "inference_geo", "metadata",
    "output_config", "service_tier", "speed", "stop_sequences", "stream", "system", "thinking", "tool_choice", "tools",
    "x_unknown_to_the_sdk",
}  # fmt: skip
SAMPLING = {"temperature", "top_p", "top_k"}


def event(name: str, **data: Any) -> bytes:
    body = json.dumps({"type": name, **data}, ensure_ascii=False).encode()
    return b"event: " + name.encode() + b"\ndata: " + body + b"\n\n"


def error_body(failure: Failure | ErrorInside) -> dict[str, Any]:
    return {"type": "error", "error": {"type": failure.type, "message": failure.message}, "request_id": "req_loopback"}


def refusal_of(body: dict[str, Any], api_version: str | None) -> Failure | None:  # noqa: C901 - one rule a line
    """What the real server would refuse about this request, if anything."""

    def bad(message: str) -> Failure:
        return Failure(400, message, "invalid_request_error")

    if api_version is None:
        return bad("anthropic-version: header is required")
    for name in ("model", "max_tokens", "messages"):
        if name not in body:
            return bad(f"{name}: Field required")
    for name in SAMPLING & set(body):
        if api_version > "2023-06-01":
            return bad(f"{name}: Extra inputs are not permitted")
    if unknown := set(body) - KNOWN_PARAMETERS - SAMPLING:
        return bad(f"{sorted(unknown)[0]}: Extra inputs are not permitted")
    messages = body["messages"]
    if not messages:
        return bad("messages: at least one message is required")
    if messages[0]["role"] != "user":
        return bad('messages: first message must use the "user" role')
    for number, message in enumerate(messages):
        if message["role"] not in {"user", "assistant"}:
            return bad(f"messages.{number}: use the top-level `system` parameter for the initial system prompt")
        if number and message["role"] == messages[number - 1]["role"]:
            return bad('messages: roles must alternate between "user" and "assistant"')
        if not text_of(message["content"]).strip():
            return bad("messages: text content blocks must contain non-whitespace text")
    if messages[-1]["role"] == "assistant" and text_of(messages[-1]["content"])[-1:].isspace():
        return bad("messages: final assistant content cannot end with trailing whitespace")
    if "system" in body and not text_of(body["system"]).strip():
        return bad("system: text content blocks must be non-empty")
    return None


def text_of(content: Any) -> str:
    return content if isinstance(content, str) else "".join(block.get("text", "") for block in content)


def usage_of(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    prompt = len(words(text_of(body.get("system", ""))))
    prompt += sum(len(words(text_of(message["content"]))) for message in body["messages"])
    return {
        "input_tokens": prompt,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": sum(isinstance(step, str) for step in answer.all_steps),
        "service_tier": "standard",
        **(answer.usage or {}),
    }


def _head(body: dict[str, Any], number: int, answer: Answer) -> dict[str, Any]:
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": body["model"],
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        **answer.fields,
    }


def whole(body: dict[str, Any], number: int, answer: Answer) -> dict[str, Any]:
    """The JSON body of an answer that is not streamed."""
    content: list[dict[str, Any]] = []
    for step in answer.all_steps:
        last = content[-1] if content else {}
        if isinstance(step, str) and last.get("type") == "text":
            last["text"] += step
        elif isinstance(step, str):
            content.append({"type": "text", "text": step})
        elif isinstance(step, Thinking) and last.get("type") == "thinking":
            last.update(thinking=last["thinking"] + step.text, signature=step.signature or "")
        elif isinstance(step, Thinking):
            content.append({"type": "thinking", "thinking": step.text, "signature": step.signature or ""})
        elif isinstance(step, ToolCall):
            tool_input = json.loads("".join(step.arguments) or "{}")
            content.append({"type": "tool_use", "id": step.id, "name": step.name, "input": tool_input})
        elif isinstance(step, ErrorInside):
            return error_body(step)
    response = {**_head(body, number, answer), "content": content, "stop_reason": _stop_reason(answer)}
    return response if answer.usage is None else {**response, "usage": usage_of(body, answer)}


def _stop_reason(answer: Answer) -> str:
    return answer.stop or ("tool_use" if any(isinstance(step, ToolCall) for step in answer.all_steps) else "end_turn")


class _Blocks:
    """Opens and closes content blocks so that each step lands in one of its kind."""

    def __init__(self) -> None:
        self.index = -1
        self.kind: str | None = None

    def open(self, kind: str, **block: Any) -> bytes:
        if kind == self.kind and kind != "tool_use":
            return b""
        closed = self.close()
        self.index += 1
        self.kind = kind
        start = event("content_block_start", index=self.index, content_block={"type": kind, **block})
        return closed + start

    def delta(self, kind: str, **delta: Any) -> bytes:
        return event("content_block_delta", index=self.index, delta={"type": kind, **delta})

    def close(self) -> bytes:
        if self.kind is None:
            return b""
        self.kind = None
        return event("content_block_stop", index=self.index)


async def stream(body: dict[str, Any], number: int, answer: Answer) -> AsyncIterator[bytes | Gate | Pause | Drop]:
    """The body of a streamed answer, piece by piece; gates, pauses and drops are left to the server."""
    usage = usage_of(body, answer)
    head = _head(body, number, answer)
    if answer.usage is not None:
        head["usage"] = {**usage, "output_tokens": 1}
    yield event("message_start", message=head)
    blocks = _Blocks()
    yield event("ping")
    for step in answer.all_steps:
        if isinstance(step, Cut):
            return
        if isinstance(step, ErrorInside):
            yield event("error", **{key: value for key, value in error_body(step).items() if key != "type"})
            return
        if isinstance(step, Gate | Pause | Drop):
            yield step
        else:
            yield _plain(step, blocks)
    yield blocks.close()
    if answer.finish:
        delta = {"stop_reason": _stop_reason(answer), "stop_sequence": None}
        # Cumulative, and without what cannot have changed since the start.
        counts = {} if answer.usage is None else {"usage": {"output_tokens": usage["output_tokens"]}}
        yield event("message_delta", delta=delta, **counts)
    if answer.done:
        yield event("message_stop")


def _plain(step: str | Thinking | ToolCall | Raw, blocks: _Blocks) -> bytes:
    if isinstance(step, Raw):
        return step.data
    if isinstance(step, str):
        return blocks.open("text", text="") + blocks.delta("text_delta", text=step)
    if isinstance(step, Thinking):
        opened = blocks.open("thinking", thinking="", signature="")
        pieces = opened + blocks.delta("thinking_delta", thinking=step.text)
        signed = blocks.delta("signature_delta", signature=step.signature) if step.signature else b""
        return pieces + signed
    opened = blocks.open("tool_use", id=step.id, name=step.name, input={})
    return opened + b"".join(blocks.delta("input_json_delta", partial_json=piece) for piece in ("", *step.arguments))


def models(names: list[str]) -> dict[str, Any]:
    data = [{"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"} for name in names]
    return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}
