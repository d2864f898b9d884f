"""Amazon Bedrock's Converse: one form for all models, streamed in the binary frames of `_amazon.py`."""

import base64
from collections.abc import Mapping
from typing import Any, ClassVar

from typing_extensions import override

from miniagents.testing.server._amazon import error_body, error_headers, event_message, exception_message
from miniagents.testing.server._rendering import JSON, Protocol, Rendering, dialog_of, plain_text
from miniagents.testing.server.parts import (
    BadJSON,
    ErrorInside,
    Event,
    Interleaved,
    Raw,
    RedactedThinking,
    Said,
    Thinking,
    ToolCall,
    UnknownEvent,
)
from miniagents.testing.server.recording import RecordedRequest
from miniagents.testing.server.replies import Answer, Failure, text_of


class ConverseRendering(Rendering):
    """An answer of Converse, or its events. Only blocks of tools are announced; others begin with their first piece."""

    reasons: ClassVar[Mapping[str, str]] = {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "refusal": "content_filtered",
        "content_filter": "content_filtered",
        "pause": "end_turn",
        "context_window": "model_context_window_exceeded",
    }

    def __init__(self, request: RecordedRequest, answer: Answer, number: int) -> None:
        super().__init__(request, answer, number)
        self._block_index = -1
        self._block_kind: str | None = None

    @override
    def start(self) -> list[bytes]:
        return [event_message("messageStart", {"role": "assistant"})]

    @override
    def render(self, part: Said) -> list[bytes]:
        if isinstance(part, Interleaved):
            return [event for call in part.calls for event in self.render(call)]
        if isinstance(part, ToolCall):
            opened = self._open("tool")
            tool = {"toolUse": {"toolUseId": self.call_id(part, "tooluse_"), "name": part.name}}
            start = event_message("contentBlockStart", {"start": tool, "contentBlockIndex": self._block_index})
            return [*opened, start, *(self._delta({"toolUse": {"input": piece}}) for piece in ("", *part.pieces))]
        if isinstance(part, RedactedThinking):
            return [*self._open("redacted"), self._delta({"reasoningContent": _redacted(part)})]
        if isinstance(part, Thinking):
            events = self._open("thinking")
            if part.text:
                events.append(self._delta({"reasoningContent": {"text": part.text}}))
            signed = [self._delta({"reasoningContent": {"signature": part.signature}})] if part.signature else []
            return events + signed
        return [*self._open("text"), self._delta({"text": text_of(part)})]

    def _open(self, kind: str) -> list[bytes]:
        if kind == self._block_kind and kind in {"text", "thinking"}:
            return []
        closed = self._close()
        self._block_index += 1
        self._block_kind = kind
        return closed

    def _delta(self, delta: JSON) -> bytes:
        return event_message("contentBlockDelta", {"delta": delta, "contentBlockIndex": self._block_index})

    def _close(self) -> list[bytes]:
        if self._block_kind is None:
            return []
        self._block_kind = None
        return [event_message("contentBlockStop", {"contentBlockIndex": self._block_index})]

    @override
    def end(self) -> list[bytes]:
        events = self._close()
        if self.neutral_finish() is None or not self.answer.end_mark:
            return events
        events.append(event_message("messageStop", {"stopReason": self.finish_reason()}))
        if self.answer.usage is not None:
            events.append(event_message("metadata", {"usage": self._usage(), "metrics": {"latencyMs": 1}}))
        return events

    @override
    def error(self, error: ErrorInside) -> bytes:
        return exception_message(error)

    @override
    def event_of(self, part: Event) -> bytes:
        if isinstance(part, Raw):
            return part.data
        if isinstance(part, BadJSON):
            return event_message("contentBlockDelta", part.data.encode())
        return event_message(part.name, {}) if isinstance(part, UnknownEvent) else b""

    @override
    def whole(self) -> JSON:
        content: list[JSON] = []
        for part in self.said():
            last = content[-1] if content else {}
            if isinstance(part, Thinking):
                signature = {"signature": part.signature} if part.signature else {}
                text = {"text": part.text, **signature}
                if "reasoningText" in last.get("reasoningContent", {}):
                    text["text"] = content.pop()["reasoningContent"]["reasoningText"]["text"] + part.text
                content.append({"reasoningContent": {"reasoningText": text}})
            elif isinstance(part, RedactedThinking):
                content.append({"reasoningContent": _redacted(part)})
            elif isinstance(part, ToolCall):
                tool = {"toolUseId": self.call_id(part, "tooluse_"), "name": part.name, "input": part.input}
                content.append({"toolUse": tool})
            elif "text" in last:
                last["text"] += text_of(part)
            else:
                content.append({"text": text_of(part)})
        response: dict[str, Any] = {
            "output": {"message": {"role": "assistant", "content": content}},
            "stopReason": self.finish_reason(),
            "metrics": {"latencyMs": 1},
            **self.answer.fields,
        }
        return response if self.answer.usage is None else {**response, "usage": self._usage()}

    def _usage(self) -> JSON:
        usage = self.usage()
        return {
            "inputTokens": usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens,
            "outputTokens": usage.output_tokens,
            "totalTokens": usage.input_tokens + usage.output_tokens,
            "cacheReadInputTokens": usage.cache_read_tokens,
            "cacheWriteInputTokens": usage.cache_write_tokens,
            **self.usage_fields(),
        }


def _redacted(part: RedactedThinking) -> JSON:
    return {"redactedContent": base64.b64encode(part.data.encode()).decode()}


class BedrockConverse(Protocol):
    """`POST /model/{id}/converse` and `/model/{id}/converse-stream`."""

    name = "bedrock-converse"
    stream_type = "application/vnd.amazon.eventstream"
    rendering = ConverseRendering

    @override
    def dialog(self, body: JSON) -> list[tuple[str, str]]:
        system = [("system", plain_text(body["system"]))] if body.get("system") else []
        return system + dialog_of(body, "messages", "content")

    @override
    def error_body(self, failure: Failure) -> JSON:
        return error_body(failure)

    @override
    def error_headers(self, failure: Failure) -> dict[str, str]:
        return error_headers(failure)

    @override
    def refusal_of(self, request: RecordedRequest) -> Failure | None:
        messages = request.body.get("messages")
        if not messages:
            return Failure(400, "A conversation must start with a user message.")
        if messages[0].get("role") != "user":
            return Failure(400, "A conversation must start with a user message. Try again with one.")
        return None
