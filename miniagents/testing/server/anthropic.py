"""Anthropic's messages; `anthropic_clouds.py` has the forms of them that Google and Amazon serve."""

from collections.abc import Mapping
from typing import Any, ClassVar, cast

from typing_extensions import override

from miniagents.testing.server._rendering import (
    JSON,
    Protocol,
    Rendering,
    Template,
    dialog_of,
    plain_text,
    sse,
    sse_bad,
    sse_comment,
)
from miniagents.testing.server.parts import (
    BadJSON,
    Cited,
    EmptyChoices,
    ErrorInside,
    Event,
    Interleaved,
    KeepAlive,
    Ping,
    Raw,
    RedactedThinking,
    Said,
    Thinking,
    ToolCall,
)
from miniagents.testing.server.recording import RecordedRequest
from miniagents.testing.server.replies import Answer, Failure, text_of

_KNOWN_PARAMETERS = {
    "max_tokens", "messages", "model", "cache_control", "container", "diagnostics", "inference_geo", "metadata",
    "output_config", "service_tier", "speed", "stop_sequences", "stream", "system", "thinking", "tool_choice", "tools",
    "x_unknown_to_the_sdk",
}  # fmt: skip
_SAMPLING = {"temperature", "top_p", "top_k"}
_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


class MessageRendering(Rendering):
    """An answer as a message, or as its events. Content blocks are opened and closed as the parts need them."""

    reasons: ClassVar[Mapping[str, str]] = {
        "stop": "end_turn",
        "length": "max_tokens",
        "tool_calls": "tool_use",
        "content_filter": "refusal",
        "pause": "pause_turn",
        "context_window": "model_context_window_exceeded",
    }

    def __init__(self, request: RecordedRequest, answer: Answer, number: int) -> None:
        super().__init__(request, answer, number)
        self._block_index = -1
        self._block_kind: str | None = None
        self._text_template: Template | None = None

    def event(self, kind: str, **data: Any) -> bytes:
        """One event of the stream."""
        return sse({"type": kind, **data}, kind)

    def _head(self) -> JSON:
        return {
            "id": f"msg_{self.number}",
            "type": "message",
            "role": "assistant",
            "model": self.request.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            **self.answer.fields,
        }

    @override
    def start(self) -> list[bytes]:
        usage = {} if self.answer.usage is None else {"usage": {**self._usage(), "output_tokens": 1}}
        return [self.event("message_start", message={**self._head(), **usage}), self.event("ping")]

    @override
    def render(self, part: Said) -> list[bytes]:
        if isinstance(part, str):
            opened = self.open_block("text", text="")
            if self._text_template is None or opened:
                self._text_template = Template(self.delta("text_delta", text=Template.placeholder))
            return [*opened, self._text_template.fill(part)]
        if isinstance(part, Interleaved):
            return [event for call in part.calls for event in self.render(call)]
        if isinstance(part, ToolCall):
            opened = self.open_block("tool_use", id=self.call_id(part, "toolu_"), name=part.name, input={})
            return opened + [self.delta("input_json_delta", partial_json=piece) for piece in ("", *part.pieces)]
        if isinstance(part, RedactedThinking):
            return self.open_block("redacted_thinking", data=part.data)
        if isinstance(part, Thinking):
            events = self.open_block("thinking", thinking="", signature="")
            if part.text:
                events.append(self.delta("thinking_delta", thinking=part.text))
            return events + ([self.delta("signature_delta", signature=part.signature)] if part.signature else [])
        events = self.open_block("text", text="")
        if isinstance(part, Cited):
            events.append(self.delta("citations_delta", citation=_citation(part)))
        return [*events, self.delta("text_delta", text=part.text)]

    def open_block(self, kind: str, **block: Any) -> list[bytes]:
        """Open a block of this kind, unless the open one goes on."""
        if kind == self._block_kind and kind in {"text", "thinking"}:
            return []
        closed = self._close()
        self._block_index += 1
        self._block_kind = kind
        return [
            *closed,
            self.event("content_block_start", index=self._block_index, content_block={"type": kind, **block}),
        ]

    def delta(self, kind: str, **delta: Any) -> bytes:
        """Return the next piece of the open block."""
        return self.event("content_block_delta", index=self._block_index, delta={"type": kind, **delta})

    def _close(self) -> list[bytes]:
        if self._block_kind is None:
            return []
        self._block_kind = None
        return [self.event("content_block_stop", index=self._block_index)]

    @override
    def end(self) -> list[bytes]:
        events = self._close()
        if self.neutral_finish() is not None:
            delta = {"stop_reason": self.finish_reason(), "stop_sequence": None}
            # Cumulative: what the end says replaces what the start said.
            usage = {} if self.answer.usage is None else {"usage": self._usage()}
            events.append(self.event("message_delta", delta=delta, **usage))
        return [*events, self.event("message_stop")] if self.answer.end_mark else events

    @override
    def error(self, error: ErrorInside) -> bytes:
        return self.event("error", **{key: value for key, value in _error_inside(error).items() if key != "type"})

    @override
    def event_of(self, part: Event) -> bytes:
        if isinstance(part, Raw | BadJSON):
            return sse_bad(part, "content_block_delta")
        if isinstance(part, KeepAlive):
            return sse_comment(part.text)
        if isinstance(part, EmptyChoices):
            return b""
        return self.event("ping") if isinstance(part, Ping) else self.event(part.name, index=0)

    @override
    def whole(self) -> JSON:
        error = self.error_in_parts()
        if error:
            return _error_inside(error)
        content: list[JSON] = []
        for part in self.said():
            last = content[-1] if content else {}
            if isinstance(part, Thinking) and last.get("type") == "thinking":
                last.update(thinking=last["thinking"] + part.text, signature=part.signature or "")
            elif isinstance(part, Thinking):
                content.append({"type": "thinking", "thinking": part.text, "signature": part.signature or ""})
            elif isinstance(part, RedactedThinking):
                content.append({"type": "redacted_thinking", "data": part.data})
            elif isinstance(part, ToolCall):
                call_id = self.call_id(part, "toolu_")
                content.append({"type": "tool_use", "id": call_id, "name": part.name, "input": part.input})
            elif isinstance(part, Cited):
                content.append({"type": "text", "text": part.text, "citations": [_citation(part)]})
            elif last.get("type") == "text":
                last["text"] += text_of(part)
            else:
                content.append({"type": "text", "text": text_of(part)})
        response = {**self._head(), "content": content, "stop_reason": self.finish_reason()}
        return response if self.answer.usage is None else {**response, "usage": self._usage()}

    def _usage(self) -> JSON:
        usage = self.usage()
        details = (
            {"output_tokens_details": {"thinking_tokens": usage.reasoning_tokens}} if usage.reasoning_tokens else {}
        )
        return {
            "input_tokens": usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens,
            "cache_creation_input_tokens": usage.cache_write_tokens,
            "cache_read_input_tokens": usage.cache_read_tokens,
            "output_tokens": usage.output_tokens,
            **details,
            "service_tier": "standard",
            **self.usage_fields(),
        }


def _citation(part: Cited) -> Mapping[str, Any]:
    place = {
        "type": "char_location",
        "cited_text": part.text,
        "document_index": 0,
        "document_title": None,
        "file_id": None,
        "start_char_index": 0,
        "end_char_index": len(part.text),
    }
    return {**place, **part.citation}


def _error_inside(error: ErrorInside) -> JSON:
    return _error(error.type or "overloaded_error", error.message)


def _error(kind: str, message: str) -> JSON:
    return {"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_loopback"}


class Anthropic(Protocol):
    """`POST /v1/messages`."""

    name = "anthropic"
    rendering = MessageRendering

    @override
    def dialog(self, body: JSON) -> list[tuple[str, str]]:
        system = [("system", plain_text(body["system"]))] if body.get("system") else []
        return system + dialog_of(body, "messages", "content")

    @override
    def error_body(self, failure: Failure) -> JSON:
        return _error(failure.type or _ERROR_TYPES.get(failure.status, "api_error"), failure.message)

    @override
    def refusal_of(self, request: RecordedRequest) -> Failure | None:
        version = request.headers.get("anthropic-version")
        if version is None:
            return _bad("anthropic-version: header is required")
        for name in ("model", "max_tokens", "messages"):
            if name not in request.body:
                return _bad(f"{name}: Field required")
        for name in sorted(_SAMPLING & set(request.body)):
            if version > "2023-06-01":
                return _bad(f"{name}: Extra inputs are not permitted")
        if unknown := set(request.body) - _KNOWN_PARAMETERS - _SAMPLING:
            return _bad(f"{min(unknown)}: Extra inputs are not permitted")
        return refusal_of_dialog(request.body)


def refusal_of_dialog(body: JSON) -> Failure | None:
    """What the real server would refuse about the messages and the system prompt, if anything."""
    messages: list[JSON] = body.get("messages") or []
    if not messages:
        return _bad("messages: at least one message is required")
    if messages[0]["role"] != "user":
        return _bad('messages: first message must use the "user" role')
    for number, message in enumerate(messages):
        if message["role"] not in {"user", "assistant"}:
            return _bad(f"messages.{number}: use the top-level `system` parameter for the initial system prompt")
        if number and message["role"] == messages[number - 1]["role"]:
            return _bad('messages: roles must alternate between "user" and "assistant"')
        if not _says_something(message["content"]):
            return _bad("messages: text content blocks must contain non-whitespace text")
    last = messages[-1]
    if last["role"] == "assistant" and plain_text(last["content"])[-1:].isspace():
        return _bad("messages: final assistant content cannot end with trailing whitespace")
    if "system" in body and not plain_text(body["system"]).strip():
        return _bad("system: text content blocks must be non-empty")
    return None


def _says_something(content: Any) -> bool:
    blocks = cast(list[Any], content) if isinstance(content, list) else []
    return bool(plain_text(content).strip()) or any(block.get("type") != "text" for block in blocks)


def _bad(message: str) -> Failure:
    return Failure(400, message)


def models(names: list[str]) -> JSON:
    """The list of models."""
    data = [{"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"} for name in names]
    return {"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]}
