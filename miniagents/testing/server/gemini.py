"""Google's Gemini, at its own URLs and at Vertex's."""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from typing_extensions import override

from miniagents.testing.server import google_errors
from miniagents.testing.server._rendering import (
    JSON,
    Protocol,
    Rendering,
    Template,
    dialog_of,
    plain_text,
    prompt_tokens,
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
    Said,
    Thinking,
    ToolCall,
    UnknownEvent,
)
from miniagents.testing.server.recording import RecordedRequest
from miniagents.testing.server.replies import Answer, Failure, text_of


class GeminiRendering(Rendering):
    """An answer as `GenerateContentResponse`, whole or in chunks; the last chunk tells the reason and the usage."""

    reasons: ClassVar[Mapping[str, str]] = {
        "stop": "STOP",
        "length": "MAX_TOKENS",
        "tool_calls": "STOP",
        "refusal": "SAFETY",
        "content_filter": "SAFETY",
        "stop_sequence": "STOP",
        "pause": "STOP",
        "context_window": "MAX_TOKENS",
    }

    def __init__(self, request: RecordedRequest, answer: Answer, number: int) -> None:
        super().__init__(request, answer, number)
        self._text = Template(self._chunk([{"text": Template.placeholder}]))

    def _response(self, parts: Sequence[JSON], reason: str | None = None, *, with_usage: bool = False) -> JSON:
        candidate: JSON = {"content": {"parts": list(parts), "role": "model"}, "index": 0}
        if reason is not None:
            candidate["finishReason"] = reason
        usage = {"usageMetadata": self._usage()} if with_usage and self.answer.usage is not None else {}
        names = {"modelVersion": self.request.model, "responseId": f"gemini-{self.number}"}
        return {"candidates": [candidate], **usage, **names, **self.answer.fields}

    def _chunk(self, parts: Sequence[JSON]) -> bytes:
        return sse(self._response(parts))

    @override
    def render(self, part: Said) -> list[bytes]:
        if isinstance(part, str):
            return [self._text.fill(part)]
        if isinstance(part, Interleaved):
            # Parallel calls stand in one chunk.
            return [self._chunk([self._part(call) for call in part.calls])]
        return [] if isinstance(part, RedactedThinking) else [self._chunk([self._part(part)])]

    def _part(self, part: Said) -> JSON:
        if isinstance(part, Thinking):
            signature = {"thoughtSignature": part.signature} if part.signature else {}
            return {"text": part.text, "thought": True, **signature}
        if isinstance(part, ToolCall):
            call_id = {"id": part.id} if part.id else {}
            return {"functionCall": {**call_id, "name": part.name, "args": part.input}}
        return {"text": text_of(part)}

    @override
    def end(self) -> list[bytes]:
        # The stream has no other end mark than the reason.
        if self.neutral_finish() is None or not self.answer.end_mark:
            return []
        return [sse(self._response([{"text": ""}], self.finish_reason(), with_usage=True))]

    @override
    def error(self, error: ErrorInside) -> bytes:
        return sse(_error_inside(error))

    @override
    def event_of(self, part: Event) -> bytes:
        if isinstance(part, Raw | BadJSON):
            return sse_bad(part)
        if isinstance(part, EmptyChoices):
            return sse({**self._response([]), "candidates": []})
        if isinstance(part, UnknownEvent):
            return sse({part.name: {}}, part.name)
        return sse_comment(part.text if isinstance(part, KeepAlive) else "ping")

    @override
    def whole(self) -> JSON:
        error = self.error_in_parts()
        if error:
            return _error_inside(error)
        parts: list[JSON] = []
        for said in self.said():
            if isinstance(said, RedactedThinking):
                continue
            part = self._part(said)
            joins = parts and "text" in part and "text" in parts[-1] and "thoughtSignature" not in parts[-1]
            if joins and part.get("thought") == parts[-1].get("thought"):
                parts[-1] = {**part, "text": parts[-1]["text"] + part["text"]}
            else:
                parts.append(part)
        return self._response(parts, self.finish_reason(), with_usage=True)

    def _usage(self) -> JSON:
        usage = self.usage()
        spoken = usage.output_tokens - usage.reasoning_tokens
        thoughts = {"thoughtsTokenCount": usage.reasoning_tokens} if usage.reasoning_tokens else {}
        cached = {"cachedContentTokenCount": usage.cache_read_tokens} if usage.cache_read_tokens else {}
        return {
            "promptTokenCount": usage.input_tokens,
            "candidatesTokenCount": spoken,
            **thoughts,
            **cached,
            "totalTokenCount": usage.input_tokens + usage.output_tokens,
            **self.usage_fields(),
        }


def _error_inside(error: ErrorInside) -> JSON:
    name = error.type or "UNAVAILABLE"
    return {"error": {"code": google_errors.STATUS_CODES.get(name, 500), "message": error.message, "status": name}}


class Gemini(Protocol):
    """`POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent`, and below Vertex's projects."""

    name = "gemini"
    rendering = GeminiRendering

    @override
    def dialog(self, body: JSON) -> list[tuple[str, str]]:
        system: JSON = body.get("systemInstruction") or body.get("system_instruction") or {}
        first = [("system", plain_text(system["parts"]))] if "parts" in system else []
        roles = {"model": "assistant", "": "user"}
        return first + [(roles.get(role, role), text) for role, text in dialog_of(body, "contents", "parts")]

    @override
    def error_body(self, failure: Failure) -> JSON:
        return google_errors.error_body(failure)

    @override
    def error_headers(self, failure: Failure) -> dict[str, str]:
        return dict(failure.headers)

    @override
    def refusal_of(self, request: RecordedRequest) -> Failure | None:
        if not request.body.get("contents"):
            return Failure(400, "* GenerateContentRequest.contents: contents is not specified")
        if request.streamed and request.query.get("alt") != "sse":
            return Failure(400, "this server streams with `?alt=sse` only")
        return None

    @override
    def count(self, request: RecordedRequest) -> JSON:
        return {"totalTokens": prompt_tokens(request)}


def models(names: list[str]) -> JSON:
    """The list of models."""
    methods = ["generateContent", "countTokens"]
    return {
        "models": [
            {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods} for name in names
        ]
    }
