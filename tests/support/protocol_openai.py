"""The server's side of OpenAI's chat completions, embeddings and models, on the wire."""

import base64
import json
import struct
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
    Step,
    Thinking,
    ToolCall,
    words,
)

ROLES = {"system", "developer", "user", "assistant", "tool", "function"}
# Of `create()` today, with what the tests send on purpose; the real server refuses what it does not know.
KNOWN_PARAMETERS = {
    "messages", "model", "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
    "max_completion_tokens", "max_tokens", "metadata", "modalities", "moderation", "n", "parallel_tool_calls",
    "prediction", "presence_penalty", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
    "reasoning_effort", "response_format", "safety_identifier", "seed", "service_tier", "stop", "store", "stream",
    "stream_options", "temperature", "tool_choice", "tools", "top_logprobs", "top_p", "user", "verbosity",
    "web_search_options", "x_unknown_to_the_sdk",
}  # fmt: skip


def event(data: object) -> bytes:
    # Without ASCII escapes, as the real server sends it: U+2028 arrives as it is, which is no line end in this format.
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def error_body(failure: Failure | ErrorInside) -> dict[str, Any]:
    code = failure.code if isinstance(failure, Failure) else None
    param = failure.param if isinstance(failure, Failure) else None
    return {"error": {"message": failure.message, "type": failure.type, "param": param, "code": code}}


def refusal_of(body: dict[str, Any]) -> Failure | None:
    """What the real server would refuse about this request, if anything."""

    def bad(message: str, param: str, code: str | None = None) -> Failure:
        return Failure(400, message, "invalid_request_error", code, param)

    if not isinstance(body.get("model"), str) or not body["model"]:
        return bad("you must provide a model parameter", "model")
    if not body.get("messages"):
        return bad("Invalid 'messages': empty array. Expected an array with minimum length 1.", "messages")
    for number, message in enumerate(body["messages"]):
        if message.get("role") not in ROLES:
            return bad(f"Invalid value: {message.get('role')!r}.", f"messages[{number}].role")
        if not isinstance(message.get("content"), str | list):
            return bad(f"Invalid type for 'messages[{number}].content'.", f"messages[{number}].content")
    if unknown := set(body) - KNOWN_PARAMETERS:
        return bad(f"Unrecognized request argument supplied: {sorted(unknown)[0]}", sorted(unknown)[0])
    if body.get("stream_options") and not body.get("stream"):
        return bad("The 'stream_options' parameter is only allowed when 'stream' is enabled.", "stream_options")
    if body["model"].startswith("reasoning") and "max_tokens" in body:
        return bad(
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead.",
            "max_tokens",
            "unsupported_parameter",
        )
    return None


def text_of(content: Any) -> str:
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content)


def usage_of(body: dict[str, Any], answer: Answer) -> dict[str, Any]:
    prompt = sum(len(words(text_of(message["content"]))) for message in body["messages"])
    completion = sum(isinstance(step, str) for step in answer.all_steps)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
        **(answer.usage or {}),
    }


def _head(body: dict[str, Any], number: int, kind: str, answer: Answer) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{number}",
        "object": kind,
        "created": 1_700_000_000 + number,
        "model": body["model"],
        "service_tier": "default",
        "system_fingerprint": "fp_loopback",
        **answer.fields,
    }


def whole(body: dict[str, Any], number: int, answer: Answer) -> dict[str, Any]:
    """The JSON body of an answer that is not streamed."""
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": []}
    for step in answer.all_steps:
        if isinstance(step, ToolCall):
            call = {"id": step.id, "type": "function", "function": {"name": step.name, "arguments": ""}}
            call["function"]["arguments"] = "".join(step.arguments)
            message.setdefault("tool_calls", []).append(call)
        elif isinstance(step, Thinking):
            message["reasoning_content"] = message.get("reasoning_content", "") + step.text
        elif isinstance(step, ErrorInside):
            return error_body(step)
    choices = [
        {"index": index, "message": message, "logprobs": None, "finish_reason": _finish_reason(answer)}
        for index in range(body.get("n") or 1)
    ]
    response = {**_head(body, number, "chat.completion", answer), "choices": choices}
    return response if answer.usage is None else {**response, "usage": usage_of(body, answer)}


def _finish_reason(answer: Answer) -> str:
    return answer.stop or ("tool_calls" if any(isinstance(step, ToolCall) for step in answer.all_steps) else "stop")


async def stream(  # noqa: C901 - one kind of step a branch
    body: dict[str, Any], number: int, answer: Answer
) -> AsyncIterator[bytes | Gate | Pause | Drop]:
    """The body of a streamed answer, piece by piece; gates, pauses and drops are left to the server."""
    head = _head(body, number, "chat.completion.chunk", answer)
    with_usage = bool((body.get("stream_options") or {}).get("include_usage"))
    choice_count = body.get("n") or 1

    def chunk(delta: dict[str, Any], index: int = 0, finish_reason: str | None = None) -> bytes:
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return event({**head, "choices": [choice], **({"usage": None} if with_usage else {})})

    for index in range(choice_count):
        yield chunk({"role": "assistant", "content": "", "refusal": None}, index)
    tool_count = 0
    for step in answer.all_steps:
        if isinstance(step, Cut):
            return
        if isinstance(step, ErrorInside):
            yield event(error_body(step))
            return
        if isinstance(step, Gate | Pause | Drop):
            yield step
        elif isinstance(step, ToolCall):
            for delta in _tool_call_deltas(step, tool_count):
                yield chunk({"tool_calls": [delta]})
            tool_count += 1
        else:
            for index in range(choice_count):
                yield _plain(step, chunk, index)
    if answer.finish:
        for index in range(choice_count):
            yield chunk({}, index, _finish_reason(answer))
    if with_usage and answer.usage is not None:
        yield event({**head, "choices": [], "usage": usage_of(body, answer)})
    if answer.done:
        yield b"data: [DONE]\n\n"


def _plain(step: Step, chunk: Any, index: int) -> bytes:
    if isinstance(step, Raw):
        return step.data
    if isinstance(step, Thinking):
        return chunk({"reasoning_content": step.text}, index)
    return chunk({"content": step}, index)


def _tool_call_deltas(call: ToolCall, index: int) -> list[dict[str, Any]]:
    first = {"index": index, "id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
    return [first, *({"index": index, "function": {"arguments": piece}} for piece in call.arguments)]


def embeddings(body: dict[str, Any]) -> dict[str, Any] | Failure:
    """One vector per input; equal texts have equal vectors, `dimensions` numbers long (4 if not told)."""
    inputs = [body["input"]] if isinstance(body.get("input"), str) else body.get("input") or []
    if not inputs or not all(isinstance(text, str) and text for text in inputs):
        return Failure(400, "'$.input' is invalid.", "invalid_request_error", None, "input")
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": _encoded(vector_of(text, body.get("dimensions") or 4), body),
        }
        for index, text in enumerate(inputs)
    ]
    used = sum(len(words(text)) for text in inputs)
    usage = {"prompt_tokens": used, "total_tokens": used}
    return {"object": "list", "data": data, "model": body["model"], "usage": usage}


def vector_of(text: str, dimensions: int = 4) -> list[float]:
    """The vector that the server gives for a text: its length, then halves of it. Exact in 32 bits."""
    return [len(text) / 2**power for power in range(dimensions)]


def _encoded(vector: list[float], body: dict[str, Any]) -> list[float] | str:
    if body.get("encoding_format") != "base64":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def models(names: list[str]) -> dict[str, Any]:
    data = [{"id": name, "object": "model", "created": 1_700_000_000, "owned_by": "loopback"} for name in names]
    return {"object": "list", "data": data}
