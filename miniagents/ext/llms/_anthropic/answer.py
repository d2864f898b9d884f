"""Reads the answers of Anthropic's messages API: the events of one message, or one message as a whole.

Blocks of the API become blocks of ours:

    thinking, redacted_thinking     a thought each
    tool_use                        a call of a tool each
    text and whatever else          neighbours together one text; unless it is one block of nothing but text, they are
                                    kept as they came in its `provider_data`, to be sent back: citations, tools that
                                    the provider ran, and kinds that are not known here
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, cast

from pydantic_core import from_json, to_json

from miniagents.ext.llms._adapters.sse import ServerSentEvent
from miniagents.ext.llms._common.faults import reported_fault
from miniagents.ext.llms.errors import LLMError
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

_FINISH_REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    # The provider's own tools were at work for long; asked again with what was said, the model goes on.
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "refusal",
}
# Of a response: put together apart from the rest.
_FIELDS_APART: Final = frozenset({"content", "usage", "role", "model"})
_THOUGHTS: Final = frozenset({"thinking", "redacted_thinking"})
_NO_TEXT_INDEX: Final = -1


class MessageReader:
    """Reads one message; see `miniagents.ext.llms._adapters.answers.AnswerReader`."""

    end_mark = "the event `message_stop`"
    hint = ""

    def __init__(self, who: str, *, provider: str, model: str) -> None:
        self._who = who
        self._provider = provider
        self._model = model
        self._is_done = False
        self._fields: dict[str, Any] = {}
        self._usage: dict[str, Any] = {}
        self._answered_by: str | None = None
        self._open: dict[int, _Block] = {}
        # The text block that is open, if any: its number and where its pieces go.
        self._text_index = _NO_TEXT_INDEX
        self._text_pieces: list[str] = []
        self.takes_plain_token: Callable[[str], object] | None = None
        # Neighbours that become one text.
        self._run: list[_Block] = []
        self._run_key: str | None = None
        self._run_count = 0

    @property
    def is_complete(self) -> bool:
        """Whether `message_stop` has come."""
        return self._is_done

    @property
    def may_end_here(self) -> bool:
        """Whether `message_stop` has come: a stream without it is cut off."""
        return self._is_done

    def event(self, event: ServerSentEvent) -> Sequence[ModelEvent] | str | None:
        """Take in one event. Tokens of text, which are nearly all of them, take the shortest way."""
        data: dict[str, Any] = from_json(event.data, cache_strings="keys")
        kind = data["type"]
        if kind == "content_block_delta":
            delta: dict[str, Any] = data["delta"]
            if delta["type"] == "text_delta" and data["index"] == self._text_index:
                text: str = delta["text"]
                self._text_pieces.append(text)
                self.takes_plain_token = self._text_pieces.append
                return text
            self.takes_plain_token = None
            return self._delta(data["index"], delta)
        self.takes_plain_token = None
        match kind:
            case "content_block_start":
                return self._start(data["index"], data["content_block"])
            case "content_block_stop":
                return self._stop(data["index"])
            case "message_start":
                return self._take_message(data["message"])
            case "message_delta":
                self._take_fields(data.get("delta") or {})
                # Counts are totals, not differences, and only those that changed are sent.
                return self._take_usage(data.get("usage"))
            case "message_stop":
                return self._end()
            case "error":
                raise self._fault(data)
            case _:
                # "ping", and what may be added to the protocol: it promises to stay readable.
                return None

    def body(self, body: Any) -> Iterable[ModelEvent]:
        """Take in a whole message."""
        if body.get("type") == "error" or "error" in body:
            raise self._fault(body)
        events: list[ModelEvent] = [*self._take_message(body)]
        for index, block in enumerate(body["content"]):
            events += self._start(index, block)
            events += self._stop(index)
        return events + self._end()

    def ended(self) -> TurnEnded:
        """Give the end of the message; `stop_reason` and whatever else came is among its fields."""
        stop_reason = self._fields.get("stop_reason")
        details: Mapping[str, Any] = self._fields.get("stop_details") or {}
        return TurnEnded(
            finish_reason=_FINISH_REASONS.get(stop_reason) if isinstance(stop_reason, str) else None,
            usage=usage_of(self._usage) if self._usage else None,
            raw_usage=self._usage or None,
            model=self._answered_by,
            fields=self._fields,
            refusal=details.get("explanation") if stop_reason == "refusal" else None,
            goes_on=stop_reason == "pause_turn",
        )

    @property
    def was_cut_off(self) -> bool:
        """Whether the answer was longer than `max_tokens`."""
        return self._fields.get("stop_reason") == "max_tokens"

    def _fault(self, data: dict[str, Any]) -> LLMError:
        return reported_fault(
            self._who,
            data["error"],
            provider=self._provider,
            model=self._model,
            request_id=data.get("request_id"),
        )

    def _take_message(self, message: dict[str, Any]) -> list[ModelEvent]:
        self._take_fields(message)
        self._answered_by = message.get("model")
        return self._take_usage(message.get("usage"))

    def _take_fields(self, fields: dict[str, Any]) -> None:
        self._fields.update((name, value) for name, value in fields.items() if name not in _FIELDS_APART)

    def _take_usage(self, usage: dict[str, Any] | None) -> list[ModelEvent]:
        if not usage:
            return []
        self._usage.update((name, count) for name, count in usage.items() if count is not None)
        return [UsageKnown(usage_of(self._usage))]

    def _start(self, index: int, start: dict[str, Any]) -> list[ModelEvent]:
        block = self._open[index] = _Block(start)
        kind = start["type"]
        events: list[ModelEvent] = []
        if kind in _THOUGHTS:
            events = self._end_run()
            is_redacted = kind == "redacted_thinking"
            fields = {"redacted": True, "provider_data": start} if is_redacted else {}
            events.append(BlockStarted(index, "thinking", fields))
            if text := start.get("thinking"):
                events.append(BlockToken(index, text))
        elif kind == "tool_use":
            events = self._end_run()
            fields = {"tool_name": start["name"], "tool_call_id": start["id"]}
            events.append(BlockStarted(index, "tool_call", fields))
            # Empty in a stream, where the arguments come in pieces.
            if start.get("input"):
                events.append(BlockToken(index, to_json(start["input"]).decode()))
        else:
            self._run.append(block)
            if kind == "text":
                self._text_pieces = block.pieces.setdefault("text", [])
                if text := start.get("text"):
                    events = [*self._begin_run(), text]
                if self._run_key is not None:
                    self._text_index = index
        return events

    def _delta(self, index: int, delta: dict[str, Any]) -> list[ModelEvent]:
        block = self._open.get(index)
        if block is None:
            # Some gateways leave out the start of a text.
            if delta["type"] != "text_delta":
                return []
            self._start(index, {"type": "text"})
            block = self._open[index]
        text = block.add(delta)
        if not text:
            return []
        match block.kind, delta["type"]:
            case "text", "text_delta":
                # From now on the tokens of this block take the short way.
                events = self._begin_run()
                self._text_index = index
                return [*events, text]
            case ("thinking", "thinking_delta") | ("tool_use", "input_json_delta"):
                return [BlockToken(index, text)]
            case _:
                return []

    def _stop(self, index: int) -> list[ModelEvent]:
        block = self._open.pop(index, None)
        if index == self._text_index:
            self._text_index = _NO_TEXT_INDEX
        if block is None:
            return []
        if block.kind == "thinking":
            whole = block.finished()
            more = {"provider_data": whole} if whole.keys() - {"type", "thinking", "signature"} else {}
            return [BlockEnded(index, {"signature": whole.get("signature") or None, **more})]
        if block.kind == "tool_use":
            more = {key: value for key, value in block.start.items() if key not in _Block.OF_A_CALL}
            return [BlockEnded(index, {"provider_data": more} if more else {})]
        return [BlockEnded(index)] if block.kind in _THOUGHTS else []

    def _begin_run(self) -> list[ModelEvent]:
        if self._run_key is not None:
            return []
        self._run_count += 1
        self._run_key = f"text {self._run_count}"
        return [BlockStarted(self._run_key, "text")]

    def _end_run(self) -> list[ModelEvent]:
        blocks = [block.finished() for block in self._run]
        self._text_index = _NO_TEXT_INDEX
        events: list[ModelEvent] = []
        if len(blocks) > 1 or any(block["type"] != "text" or block.keys() - {"type", "text"} for block in blocks):
            events = self._begin_run()
            events.append(BlockEnded(self._run_key, {"provider_data": blocks}))
        elif self._run_key is not None:
            events.append(BlockEnded(self._run_key))
        self._run = []
        self._run_key = None
        return events

    def _end(self) -> list[ModelEvent]:
        events = [event for index in list(self._open) for event in self._stop(index)]
        self._is_done = True
        return events + self._end_run()


class _Block:
    """One content block, growing."""

    OF_A_CALL: Final = frozenset({"type", "id", "name", "input"})

    __slots__ = ("citations", "kind", "pieces", "start")

    def __init__(self, start: dict[str, Any]) -> None:
        self.start = {key: value for key, value in start.items() if value is not None}
        self.kind: str = start["type"]
        # By field; joined at the end.
        self.pieces: dict[str, list[str]] = {}
        self.citations: list[Any] = []

    def add(self, delta: dict[str, Any]) -> str | None:
        """Take in a piece and return its text. `text_delta` has a `text`, and so on; kinds may be added."""
        found: str | None = None
        for name, value in delta.items():
            if name == "citation":
                self.citations.append(value)
            elif name != "type" and isinstance(value, str):
                self.pieces.setdefault(name, []).append(value)
                found = value
        return found

    def finished(self) -> dict[str, Any]:
        """Give the block as the provider wants it back."""
        block = dict(self.start)
        for name, pieces in self.pieces.items():
            whole = "".join(pieces)
            if name == "partial_json":
                block["input"] = _input_of(whole) if whole else block.get("input") or {}
            else:
                block[name] = block.get(name, "") + whole
        if citations := [*(block.pop("citations", None) or ()), *self.citations]:
            block["citations"] = citations
        return block


def _input_of(text: str) -> dict[str, Any]:
    try:
        found = from_json(text)
    except ValueError:
        found = None
    # Cut off, by `max_tokens` for example: an object is all that the provider takes back.
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def usage_of(raw: Mapping[str, Any]) -> TokenUsage:
    """Give the provider's count in the form that is alike for all."""
    read: int | None = raw.get("cache_read_input_tokens")
    written: int | None = raw.get("cache_creation_input_tokens")
    uncached: int | None = raw.get("input_tokens")
    details: Mapping[str, Any] = raw.get("output_tokens_details") or {}
    return TokenUsage(
        # The provider counts apart what it read from and wrote to its cache.
        input_tokens=None if uncached is None else uncached + (read or 0) + (written or 0),
        output_tokens=raw.get("output_tokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=details.get("thinking_tokens"),
    )
