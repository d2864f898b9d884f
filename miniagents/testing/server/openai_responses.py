"""OpenAI's Responses: named events, no end mark but `response.completed`."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from typing_extensions import override

from miniagents.testing.server import openai_errors
from miniagents.testing.server._rendering import (
    JSON,
    Protocol,
    Rendering,
    objects_in,
    plain_text,
    sse,
    sse_bad,
    sse_comment,
)
from miniagents.testing.server.parts import (
    BadJSON,
    EmptyChoices,
    ErrorInside,
    Event,
    Interleaved,
    KeepAlive,
    Raw,
    RedactedThinking,
    Refusal,
    Said,
    Thinking,
    ToolCall,
    UnknownEvent,
)
from miniagents.testing.server.recording import RecordedRequest
from miniagents.testing.server.replies import Answer, Failure, text_of

_INCOMPLETE = {
    "length": "max_output_tokens",
    "max_output_tokens": "max_output_tokens",
    "context_window": "max_output_tokens",
    "content_filter": "content_filter",
}


class ResponseRendering(Rendering):
    """An answer as a response, or as its events. `_item` is the open item, `_output` holds the closed ones."""

    reasons: ClassVar[Mapping[str, str]] = {}

    def __init__(self, request: RecordedRequest, answer: Answer, number: int) -> None:
        super().__init__(request, answer, number)
        self._sequence = -1
        self._output: list[JSON] = []
        self._item: JSON | None = None
        self._content_kind: str | None = None
        self._pieces: list[str] = []

    def _event(self, kind: str, **data: Any) -> bytes:
        self._sequence += 1
        return sse({"type": kind, "sequence_number": self._sequence, **data}, kind)

    # ------------------------------------------------------------------------------------------ the response

    def _response(self, status: str, **more: Any) -> JSON:
        body = self.request.body
        return {
            "id": f"resp_{self.number}",
            "object": "response",
            "created_at": 1_700_000_000 + self.number,
            "status": status,
            "error": None,
            "incomplete_details": None,
            "instructions": body.get("instructions"),
            "metadata": body.get("metadata") or {},
            "model": self.request.model,
            "output": list(self._output),
            "parallel_tool_calls": body.get("parallel_tool_calls", True),
            "previous_response_id": body.get("previous_response_id"),
            "temperature": body.get("temperature", 1.0),
            "text": body.get("text") or {"format": {"type": "text"}},
            "tool_choice": body.get("tool_choice", "auto"),
            "tools": body.get("tools") or [],
            "top_p": body.get("top_p", 1.0),
            "usage": None,
            **more,
            **self.answer.fields,
        }

    def _final(self) -> JSON:
        """The response as it is in the end."""
        usage = None if self.answer.usage is None else self._usage()
        error = self.error_in_parts()
        if error:
            failed = {"code": error.type or "server_error", "message": error.message}
            return self._response("failed", error=failed, usage=usage)
        reason = self.neutral_finish()
        if reason in _INCOMPLETE:
            details = {"reason": _INCOMPLETE[reason]}
            return self._response("incomplete", incomplete_details=details, usage=usage)
        return self._response("in_progress" if reason is None else "completed", usage=usage)

    def _usage(self) -> JSON:
        usage = self.usage()
        return {
            "input_tokens": usage.input_tokens,
            "input_tokens_details": {
                "cached_tokens": usage.cache_read_tokens,
                "cache_write_tokens": usage.cache_write_tokens,
            },
            "output_tokens": usage.output_tokens,
            "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            "total_tokens": usage.input_tokens + usage.output_tokens,
            **self.usage_fields(),
        }

    # ------------------------------------------------------------------------------------------ streamed

    @override
    def start(self) -> list[bytes]:
        kinds = ("response.created", "response.in_progress")
        return [self._event(kind, response=self._response("in_progress")) for kind in kinds]

    @override
    def render(self, part: Said) -> list[bytes]:
        if isinstance(part, Thinking):
            return self._think(part)
        if isinstance(part, RedactedThinking):
            return [*self._close_item(), *self._open_item(self._reasoning(part.data)), *self._close_item()]
        if isinstance(part, ToolCall):
            return self._calls([part])
        if isinstance(part, Interleaved):
            return self._calls(part.calls)
        kind = "refusal" if isinstance(part, Refusal) else "output_text"
        text = text_of(part)
        events = [*self._open_message(), *self._open_content(kind)]
        self._pieces.append(text)
        more: JSON = {} if kind == "refusal" else {"logprobs": []}
        return [*events, self._event(f"response.{kind}.delta", **self._content_place(), delta=text, **more)]

    def _place(self) -> JSON:
        """Where the open item stands."""
        return {"item_id": self._item["id"] if self._item else "", "output_index": len(self._output)}

    def _content_place(self) -> JSON:
        return {**self._place(), "content_index": len(self._item["content"]) if self._item else 0}

    def _open_item(self, item: JSON) -> list[bytes]:
        self._item = item
        return [self._event("response.output_item.added", output_index=len(self._output), item=item)]

    def _close_item(self) -> list[bytes]:
        if self._item is None:
            return []
        events = [*self._close_content(), *self._close_summary()]
        item = {**self._item, "status": "completed"}
        self._item = None
        events.append(self._event("response.output_item.done", output_index=len(self._output), item=item))
        self._output.append(item)
        return events

    def _open_message(self) -> list[bytes]:
        if self._item and self._item["type"] == "message":
            return []
        return [*self._close_item(), *self._open_item(self._message())]

    def _message(self) -> JSON:
        name = f"msg_{self.number}_{len(self._output)}"
        return {"id": name, "type": "message", "status": "in_progress", "role": "assistant", "content": []}

    def _reasoning(self, encrypted: str | None = None) -> JSON:
        item: JSON = {"id": f"rs_{self.number}_{len(self._output)}", "type": "reasoning", "summary": []}
        return item if encrypted is None else {**item, "encrypted_content": encrypted}

    def _open_content(self, kind: str) -> list[bytes]:
        if self._content_kind == kind:
            return []
        events = self._close_content()
        self._content_kind = kind
        part = _content(kind, "")
        return [*events, self._event("response.content_part.added", **self._content_place(), part=part)]

    def _close_content(self) -> list[bytes]:
        kind = self._content_kind
        if kind is None or self._item is None:
            return []
        text = "".join(self._pieces)
        part = _content(kind, text)
        done: JSON = {"refusal": text} if kind == "refusal" else {"text": text, "logprobs": []}
        events = [
            self._event(f"response.{kind}.done", **self._content_place(), **done),
            self._event("response.content_part.done", **self._content_place(), part=part),
        ]
        self._item["content"].append(part)
        self._content_kind = None
        self._pieces.clear()
        return events

    def _think(self, part: Thinking) -> list[bytes]:
        events: list[bytes] = []
        if self._item is None or self._item["type"] != "reasoning":
            events += [*self._close_item(), *self._open_item(self._reasoning())]
            empty = {"type": "summary_text", "text": ""}
            events.append(
                self._event("response.reasoning_summary_part.added", **self._place(), summary_index=0, part=empty)
            )
        self._pieces.append(part.text)
        kind = "response.reasoning_summary_text.delta"
        events.append(self._event(kind, **self._place(), summary_index=0, delta=part.text))
        if part.signature and self._item:
            self._item["encrypted_content"] = part.signature
            events += self._close_item()
        return events

    def _close_summary(self) -> list[bytes]:
        if self._item is None or self._item["type"] != "reasoning" or not self._pieces:
            return []
        text = "".join(self._pieces)
        self._pieces.clear()
        part = {"type": "summary_text", "text": text}
        self._item["summary"] = [part]
        return [
            self._event("response.reasoning_summary_text.done", **self._place(), summary_index=0, text=text),
            self._event("response.reasoning_summary_part.done", **self._place(), summary_index=0, part=part),
        ]

    def _calls(self, calls: Sequence[ToolCall]) -> list[bytes]:
        """Open all of them, send the pieces of their arguments in turns, close all of them."""
        events = self._close_item()
        items: list[JSON] = []
        for call in calls:
            call_id = self.call_id(call, "call_")
            item: JSON = {"id": f"fc_{call_id}", "type": "function_call", "status": "in_progress", "arguments": ""}
            items.append({**item, "call_id": call_id, "name": call.name})
        first = len(self._output)
        events += [
            self._event("response.output_item.added", output_index=first + n, item=i) for n, i in enumerate(items)
        ]
        for turn in range(max((len(call.pieces) for call in calls), default=0)):
            for number, (call, item) in enumerate(zip(calls, items, strict=True)):
                if turn < len(call.pieces):
                    place = {"item_id": item["id"], "output_index": first + number}
                    delta = call.pieces[turn]
                    events.append(self._event("response.function_call_arguments.delta", **place, delta=delta))
        for number, (call, item) in enumerate(zip(calls, items, strict=True)):
            item.update(arguments="".join(call.pieces), status="completed")
            done = {"item_id": item["id"], "output_index": first + number, "name": call.name}
            events += [
                self._event("response.function_call_arguments.done", **done, arguments=item["arguments"]),
                self._event("response.output_item.done", output_index=first + number, item=item),
            ]
        self._output += items
        return events

    @override
    def end(self) -> list[bytes]:
        events = self._close_item()
        if self.neutral_finish() is None or not self.answer.end_mark:
            return events
        final = self._final()
        return [*events, self._event(f"response.{final['status']}", response=final)]

    @override
    def error(self, error: ErrorInside) -> bytes:
        if error.form == "failed":
            return self._event("response.failed", response=self._final())
        return self._event("error", code=error.type or "server_error", message=error.message, param=None)

    @override
    def event_of(self, part: Event) -> bytes:
        if isinstance(part, Raw | BadJSON):
            return sse_bad(part, "response.output_text.delta")
        if isinstance(part, EmptyChoices):
            return b""
        if isinstance(part, UnknownEvent):
            return self._event(f"response.{part.name}")
        return sse_comment(part.text if isinstance(part, KeepAlive) else "ping")

    @override
    def whole(self) -> JSON:
        for part in self.said():
            self.render(part)
        self._close_item()
        return self._final()


def _content(kind: str, text: str) -> JSON:
    if kind == "refusal":
        return {"type": kind, "refusal": text}
    return {"type": kind, "text": text, "annotations": [], "logprobs": []}


class OpenAIResponses(Protocol):
    """`POST /v1/responses`, and the same below `/openai` as Azure has it."""

    name = "openai-responses"
    rendering = ResponseRendering

    @override
    def dialog(self, body: JSON) -> list[tuple[str, str]]:
        system = [("system", str(body["instructions"]))] if body.get("instructions") else []
        if isinstance(body.get("input"), str):
            return [*system, ("user", body["input"])]
        return system + [_role_and_text(item) for item in objects_in(body, "input")]

    @override
    def error_body(self, failure: Failure) -> JSON:
        return openai_errors.error_body(failure)

    @override
    def refusal_of(self, request: RecordedRequest) -> Failure | None:
        if not request.model:
            return _bad("Missing required parameter: 'model'.", "model")
        if "input" not in request.body and "previous_response_id" not in request.body:
            return _bad("Missing required parameter: 'input'.", "input")
        return None


def _role_and_text(item: JSON) -> tuple[str, str]:
    if item.get("type") == "function_call_output":
        return "tool", plain_text(item.get("output"))
    return str(item.get("role") or "assistant"), plain_text(item.get("content"))


def _bad(message: str, param: str) -> Failure:
    return Failure(400, message, "invalid_request_error", "missing_required_parameter", param)
