"""OpenAI's chat completions, and Azure's form of them."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from typing_extensions import override

from miniagents.testing.server import openai_errors
from miniagents.testing.server._rendering import (
    JSON,
    Protocol,
    Rendering,
    Template,
    dialog_of,
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

_ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
# Of `create()` today, with what tests send on purpose; the real server refuses what it does not know.
_KNOWN_PARAMETERS = {
    "messages", "model", "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
    "max_completion_tokens", "max_tokens", "metadata", "modalities", "moderation", "n", "parallel_tool_calls",
    "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
    "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream",
    "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
    "web_search_options", "x_unknown_to_the_sdk",
}  # fmt: skip
_AZURE_FILTER = {"hate": {"filtered": False, "severity": "safe"}}


class ChatRendering(Rendering):
    """An answer as a chat completion, or as its chunks."""

    reasons: ClassVar[Mapping[str, str]] = {
        "refusal": "stop",
        "stop_sequence": "stop",
        "pause": "stop",
        "context_window": "length",
    }

    def __init__(self, request: RecordedRequest, answer: Answer, number: int) -> None:
        super().__init__(request, answer, number)
        self._azure = request.path.startswith("/openai/deployments/")
        self._choices = range(request.body.get("n") or 1)
        options: JSON = request.body.get("stream_options") or {}
        self._with_usage = bool(options.get("include_usage"))
        self._logprobs = list(answer.logprobs)
        self._tool_index = 0
        self._templates = [Template(self._chunk({"content": Template.placeholder}, index)) for index in self._choices]

    def _head(self, kind: str) -> JSON:
        return {
            "id": f"chatcmpl-{self.number}",
            "object": kind,
            "created": 1_700_000_000 + self.number,
            "model": self.request.model,
            "service_tier": "default",
            "system_fingerprint": "fp_loopback",
            **self.answer.fields,
        }

    def _chunk(self, delta: JSON, index: int = 0, finish: str | None = None, logprobs: JSON | None = None) -> bytes:
        choice: JSON = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
        if self._azure:
            choice["content_filter_results"] = _AZURE_FILTER
        return self._event([choice])

    def _event(self, choices: list[JSON], **more: Any) -> bytes:
        usage = {"usage": None} if self._with_usage else {}
        return sse({**self._head("chat.completion.chunk"), "choices": choices, **usage, **more})

    @override
    def start(self) -> list[bytes]:
        filtered = [{"prompt_index": 0, "content_filter_results": _AZURE_FILTER}]
        first = [self._event([], prompt_filter_results=filtered)] if self._azure else []
        opening: JSON = {"role": "assistant", "content": "", "refusal": None}
        return first + [self._chunk(opening, index) for index in self._choices]

    @override
    def render(self, part: Said) -> list[bytes]:
        if isinstance(part, str):
            if self._logprobs:
                logprobs = {"content": [dict(self._logprobs.pop(0))], "refusal": None}
                return [self._chunk({"content": part}, index, None, logprobs) for index in self._choices]
            return [template.fill(part) for template in self._templates]
        if isinstance(part, ToolCall):
            return self._calls([part])
        if isinstance(part, Interleaved):
            return self._calls(part.calls)
        if isinstance(part, RedactedThinking):
            return []
        if isinstance(part, Thinking):
            delta = {"reasoning_content": part.text}
        elif isinstance(part, Refusal):
            delta = {"refusal": part.text}
        else:
            delta = {"content": part.text}
        return [self._chunk(delta, index) for index in self._choices]

    def _calls(self, calls: Sequence[ToolCall]) -> list[bytes]:
        """First every call's name, then the pieces of their arguments in turns."""
        deltas: list[JSON] = []
        for offset, call in enumerate(calls):
            function = {"name": call.name, "arguments": ""}
            call_id = self.call_id(call, "call_")
            deltas.append({"index": self._tool_index + offset, "id": call_id, "type": "function", "function": function})
        for turn in range(max((len(call.pieces) for call in calls), default=0)):
            for offset, call in enumerate(calls):
                if turn < len(call.pieces):
                    index = self._tool_index + offset
                    deltas.append({"index": index, "function": {"arguments": call.pieces[turn]}})
        self._tool_index += len(calls)
        return [self._chunk({"tool_calls": [delta]}) for delta in deltas]

    @override
    def end(self) -> list[bytes]:
        events: list[bytes] = []
        reason = self.finish_reason()
        if reason is not None:
            events += [self._chunk({}, index, reason) for index in self._choices]
        if self._with_usage and self.answer.usage is not None:
            events.append(self._event([], usage=self._usage()))
        return [*events, b"data: [DONE]\n\n"] if self.answer.end_mark else events

    @override
    def error(self, error: ErrorInside) -> bytes:
        return sse(_error_inside(error))

    @override
    def event_of(self, part: Event) -> bytes:
        if isinstance(part, Raw | BadJSON):
            return sse_bad(part)
        if isinstance(part, EmptyChoices):
            return self._event([])
        if isinstance(part, UnknownEvent):
            return sse({"object": part.name}, part.name)
        return sse_comment(part.text if isinstance(part, KeepAlive) else "ping")

    @override
    def whole(self) -> JSON:
        error = self.error_in_parts()
        if error:
            return _error_inside(error)
        logprobs = {"content": list(map(dict, self.answer.logprobs)), "refusal": None} if self.answer.logprobs else None
        choices = [
            {"index": index, "message": self._message(), "logprobs": logprobs, "finish_reason": self.finish_reason()}
            for index in self._choices
        ]
        response = {**self._head("chat.completion"), "choices": choices}
        if self._azure:
            response["prompt_filter_results"] = [{"prompt_index": 0, "content_filter_results": _AZURE_FILTER}]
        return response if self.answer.usage is None else {**response, "usage": self._usage()}

    def _message(self) -> JSON:
        text: str | None = None
        message: JSON = {"role": "assistant", "content": None, "refusal": None, "annotations": []}
        for part in self.said():
            if isinstance(part, ToolCall):
                function = {"name": part.name, "arguments": "".join(part.pieces)}
                call = {"id": self.call_id(part, "call_"), "type": "function", "function": function}
                message.setdefault("tool_calls", []).append(call)
            elif isinstance(part, Thinking):
                message["reasoning_content"] = message.get("reasoning_content", "") + part.text
            elif isinstance(part, Refusal):
                message["refusal"] = (message["refusal"] or "") + part.text
            else:
                text = (text or "") + text_of(part)
        if text is None and not message["refusal"] and "tool_calls" not in message:
            text = ""
        return {**message, "content": text}

    def _usage(self) -> JSON:
        usage = self.usage()
        return {
            "prompt_tokens": usage.input_tokens,
            "completion_tokens": usage.output_tokens,
            "total_tokens": usage.input_tokens + usage.output_tokens,
            "prompt_tokens_details": {"cached_tokens": usage.cache_read_tokens, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
            **self.usage_fields(),
        }


def _error_inside(error: ErrorInside) -> JSON:
    return {"error": {"message": error.message, "type": error.type or "server_error", "param": None, "code": None}}


class OpenAIChat(Protocol):
    """`POST /v1/chat/completions`, and `/openai/deployments/{name}/chat/completions` as Azure has it."""

    name = "openai-chat"
    rendering = ChatRendering

    @override
    def dialog(self, body: JSON) -> list[tuple[str, str]]:
        return dialog_of(body, "messages", "content")

    @override
    def error_body(self, failure: Failure) -> JSON:
        return openai_errors.error_body(failure)

    @override
    def refusal_of(self, request: RecordedRequest) -> Failure | None:
        body = request.body
        if not request.model:
            return _bad("you must provide a model parameter", "model")
        if not body.get("messages"):
            return _bad("Invalid 'messages': empty array. Expected an array with minimum length 1.", "messages")
        for number, message in enumerate(body["messages"]):
            if message.get("role") not in _ROLES:
                return _bad(f"Invalid value: {message.get('role')!r}.", f"messages[{number}].role")
            silent = message["role"] == "assistant" and (message.get("tool_calls") or message.get("refusal"))
            if not isinstance(message.get("content"), str | list) and not silent:
                return _bad(f"Invalid type for 'messages[{number}].content'.", f"messages[{number}].content")
        if unknown := set(body) - _KNOWN_PARAMETERS:
            return _bad(f"Unrecognized request argument supplied: {min(unknown)}", min(unknown))
        if body.get("stream_options") and not body.get("stream"):
            return _bad("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
        if request.model.startswith("reasoning") and "max_tokens" in body:
            return _bad(
                "Unsupported parameter: 'max_tokens' is not supported with this model. "
                "Use 'max_completion_tokens' instead.",
                "max_tokens",
                "unsupported_parameter",
            )
        return None


def _bad(message: str, param: str, code: str | None = None) -> Failure:
    return Failure(400, message, "invalid_request_error", code, param)
