"""Reads answers of OpenAI's chat completions: `chat.completion.chunk` events, or one `chat.completion`."""

from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from pydantic_core import from_json

from miniagents.ext.llms._adapters.sse import ServerSentEvent
from miniagents.ext.llms._common.faults import reported_fault
from miniagents.ext.llms._openai.chat_request import CHAT_THOUGHT
from miniagents.ext.llms._openai.deltas import finished, merge_delta
from miniagents.ext.llms._openai.tool_calls import StreamedToolCalls
from miniagents.ext.llms.model_events import (
    BlockEnded,
    BlockStarted,
    BlockToken,
    FinishReason,
    ModelEvent,
    TurnEnded,
    UsageKnown,
)
from miniagents.usage import TokenUsage

# Of a response: put together apart from the rest, or padding.
_FIELDS_APART: Final = frozenset({"choices", "usage", "object", "obfuscation", "model"})
_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "stop": "stop",
    "length": "length",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    # Of servers that have words of their own.
    "max_tokens": "length",
    "model_length": "length",
    "refusal": "refusal",
}
# How some servers say that they broke down in the middle.
_FAILED: Final = frozenset({"error", "insufficient_system_resource"})
# Undeclared in the protocol; a server that sends both sends the same text twice.
_THOUGHT_FIELDS: Final = ("reasoning_content", "reasoning")


class ChatReader:
    """See `AnswerReader`. The answer's tokens are told as `str`, thoughts and calls of tools as blocks."""

    end_mark = "`data: [DONE]`"

    def __init__(self, who: str, *, provider: str, model: str, done_is_needed: bool) -> None:
        self._who = who
        self._provider = provider
        self._model = model
        self._done_is_needed = done_is_needed
        self._is_done = False
        self._fields: dict[str, Any] = {}
        self._answered_by: str | None = None
        self._choices: dict[int, dict[str, Any]] = {}
        self._usage: dict[str, Any] | None = None
        self._thought_key: tuple[str, int] | None = None
        self._thought_field = ""
        self._thought_count = 0
        self._tool_calls = StreamedToolCalls()
        self._refusal: list[str] = []
        self.takes_plain_token: Callable[[str], object] | None = None

    @property
    def is_complete(self) -> bool:
        return self._is_done

    @property
    def may_end_here(self) -> bool:
        return self._is_done or (self._finish_reason is not None and not self._done_is_needed)

    @property
    def hint(self) -> str:
        if self._finish_reason is None:
            return ""
        return "If this server never sends it: `fork(end_mark='finish_reason')`."

    @property
    def _finish_reason(self) -> str | None:
        return self._choices.get(0, {}).get("finish_reason") or None

    def event(self, event: ServerSentEvent) -> Sequence[ModelEvent] | str | None:
        if event.data == b"[DONE]":
            self._is_done = True
            return None
        chunk: dict[str, Any] = from_json(event.data)
        events = self._take(chunk)
        # Empty in the chunk with the usage, and in the first one of some clouds.
        choices = chunk.get("choices") or ()
        for choice in choices:
            self._take_choice(choice, events)
        if len(events) == 1 and isinstance(events[0], str):
            self.takes_plain_token = _nothing_to_do if _are_plain(choices) else None
            return events[0]
        self.takes_plain_token = None
        return events

    def body(self, body: Any) -> list[ModelEvent]:
        events = self._take(body)
        if not body["choices"]:
            raise LookupError("it has no choices")
        for choice in body["choices"]:
            message: dict[str, Any] = choice.pop("message", None) or {}
            self._take_choice({**choice, "delta": message}, events)
        self._end_thought(events)
        self._is_done = True
        return events

    def ended(self) -> TurnEnded:
        refusal = "".join(self._refusal) or None
        return TurnEnded(
            finish_reason=self._neutral_finish_reason(refusal),
            usage=None if self._usage is None else usage_of_chat(self._usage),
            raw_usage=self._usage,
            model=self._answered_by,
            fields={
                **self._fields,
                "object": "chat.completion",
                "choices": [finished(self._choices[index]) for index in sorted(self._choices)],
            },
            refusal=refusal,
        )

    def _neutral_finish_reason(self, refusal: str | None) -> FinishReason | None:
        if refusal is not None:
            return "refusal"
        reason = self._finish_reason
        if reason is None:
            return None
        found = _FINISH_REASONS.get(reason, "stop")
        # Some servers stop like this after a call as well.
        return "tool_calls" if found == "stop" and self._tool_calls.any else found

    def _take(self, chunk: dict[str, Any]) -> list[ModelEvent]:
        if error := chunk.get("error"):
            raise self._reported(error)
        for name, value in chunk.items():
            if value is not None and name not in _FIELDS_APART:
                self._fields[name] = value
        self._answered_by = chunk.get("model") or self._answered_by
        usage = chunk.get("usage")
        if not usage:
            return []
        self._usage = usage
        return [UsageKnown(usage_of_chat(usage))]

    def _take_choice(self, choice: dict[str, Any], events: list[ModelEvent]) -> None:
        index: int = choice.get("index") or 0
        whole = self._choices.get(index)
        if whole is None:
            whole = self._choices[index] = {"index": index, "message": {}}
        if choice.get("error"):
            raise self._reported(choice["error"])
        delta = choice.get("delta")
        if delta:
            if index == 0:
                self._take_delta(delta, events)
            merge_delta(whole["message"], delta)
        for name, value in choice.items():
            if value is None:
                whole.setdefault(name, None)
            elif name not in ("index", "delta"):
                merge_delta(whole, {name: value})
        reason = choice.get("finish_reason")
        if reason and index == 0:
            if reason in _FAILED:
                raise self._reported({"code": reason, "message": "the model broke down while it answered"})
            self._end_thought(events)
            events.extend(self._tool_calls.ended())

    def _take_delta(self, delta: dict[str, Any], events: list[ModelEvent]) -> None:
        """Take out of the delta of the first choice what becomes messages; those keep it, so that nobody else must."""
        for name in _THOUGHT_FIELDS:
            if isinstance(delta.get(name), str):
                thought = delta.pop(name)
                if thought and self._thought_field in ("", name):
                    self._think(name, events)
                    events.append(BlockToken(self._thought_key, thought))
        if delta.get("reasoning_details") and not self._thought_count:
            # Encrypted, without any text.
            self._think("", events)
        if "content" in delta:
            text = _text_of(delta.pop("content"))
            if text:
                self._end_thought(events)
                events.append(text)
        refusal = delta.get("refusal")
        if refusal:
            self._end_thought(events)
            self._refusal.append(refusal)
            events.append(refusal)
        calls = delta.pop("tool_calls", None)
        if calls:
            self._end_thought(events)
            events.extend(self._tool_calls.take(calls))

    def _think(self, field: str, events: list[ModelEvent]) -> None:
        if self._thought_key is not None:
            return
        self._thought_count += 1
        self._thought_key = ("thinking", self._thought_count)
        self._thought_field = field
        events.append(BlockStarted(self._thought_key, "thinking"))

    def _end_thought(self, events: list[ModelEvent]) -> None:
        if self._thought_key is None:
            return
        details = self._choices[0]["message"].get("reasoning_details")
        # Signed details go back as they came; a text goes back under the name under which it came.
        fields = {"reasoning_details": finished(details)} if details else self._thought_field
        events.append(BlockEnded(self._thought_key, {"provider_data": {CHAT_THOUGHT: fields}}))
        self._thought_key = None

    def _reported(self, error: Any) -> Exception:
        return reported_fault(self._who, error, provider=self._provider, model=self._model)


def _are_plain(choices: Sequence[dict[str, Any]]) -> bool:
    """Whether the choices of a chunk, whose text was taken out of them, hold nothing else."""
    return (
        len(choices) == 1
        and all(
            not value if name == "index" else name == "delta" or value is None for name, value in choices[0].items()
        )
        and all(value is None or name == "role" for name, value in choices[0]["delta"].items())
    )


def _nothing_to_do(_: str) -> None:
    """The texts are told, and not kept here."""


def _text_of(content: Any) -> str:
    """The text of `content`, which a few servers send as a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text") or "" for part in content or ())


def usage_of_chat(raw: dict[str, Any]) -> TokenUsage:
    """Give the usage of a chat completion as that of all providers."""
    prompt = cast("dict[str, Any]", raw.get("prompt_tokens_details") or {})
    completion = cast("dict[str, Any]", raw.get("completion_tokens_details") or {})
    return TokenUsage(
        input_tokens=raw.get("prompt_tokens"),
        output_tokens=raw.get("completion_tokens"),
        cache_read_tokens=prompt.get("cached_tokens"),
        cache_write_tokens=prompt.get("cache_write_tokens"),
        reasoning_tokens=completion.get("reasoning_tokens"),
    )
