"""Reads answers of OpenAI's Responses API: its named events, or one `response`."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from pydantic_core import from_json

from miniagents.ext.llms._adapters.sse import ServerSentEvent
from miniagents.ext.llms._common.faults import reported_fault
from miniagents.ext.llms._openai.responses_request import RESPONSE_ITEM, TEXT_FIELDS
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

# Of a response: told apart from the rest, or what was sent to it in the first place.
_FIELDS_APART: Final = frozenset(
    {"output", "usage", "model", "error", "instructions", "tools", "tool_choice", "text", "reasoning"}
)
_BLOCK_ITEMS: Final = frozenset({"message", "reasoning", "function_call"})
_INCOMPLETE: Final[dict[str, FinishReason]] = {"max_output_tokens": "length", "content_filter": "content_filter"}
_ENDS: Final = frozenset({"response.completed", "response.incomplete"})


class _Item:
    """One output item: what was told of it so far."""

    def __init__(self, index: int, item: Mapping[str, Any]) -> None:
        self.key = ("item", index)
        self.kind: str = item.get("type") or ""
        self.has_tokens = False
        self.is_ended = False


class ResponseReader:
    """See `AnswerReader`. Each message, thought and function call is a block; other items stay in `output`."""

    end_mark = "the event `response.completed`"
    hint = ""

    def __init__(self, who: str, *, provider: str, model: str) -> None:
        self._who = who
        self._provider = provider
        self._model = model
        self._items: dict[int, _Item] = {}
        self._text_item: _Item | None = None
        self._refusal: list[str] = []
        self._response: dict[str, Any] | None = None

    @property
    def is_complete(self) -> bool:
        return self._response is not None

    @property
    def may_end_here(self) -> bool:
        return self._response is not None

    def event(self, event: ServerSentEvent) -> Sequence[ModelEvent] | str | None:
        if event.data == b"[DONE]":
            # Sent by some servers after the end.
            return None
        data: dict[str, Any] = from_json(event.data)
        kind: str = data.get("type") or event.name.decode()
        if kind == "response.output_text.delta":
            item = self._text_item
            if item is not None and item.key[1] == data["output_index"]:
                item.has_tokens = True
                return cast("str", data["delta"])
        return list(self._events(kind, data))

    def body(self, body: Any) -> list[ModelEvent]:
        if body.get("object") != "response" and "output" not in body:
            if body.get("error"):
                raise self._reported(body["error"])
            raise LookupError("it has no `output`")
        return list(self._end(body))

    def ended(self) -> TurnEnded:
        response = self._response or {}
        usage = response.get("usage") or None
        others = [item for item in response.get("output") or () if item.get("type") not in _BLOCK_ITEMS]
        fields = {name: value for name, value in response.items() if name not in _FIELDS_APART and value is not None}
        refusal = "".join(self._refusal) or None
        return TurnEnded(
            finish_reason=self._finish_reason(response, refusal),
            usage=None if usage is None else usage_of_response(usage),
            raw_usage=usage,
            model=response.get("model"),
            fields={**fields, "output": others} if others else fields,
            refusal=refusal,
        )

    def _finish_reason(self, response: dict[str, Any], refusal: str | None) -> FinishReason:
        details: dict[str, Any] = response.get("incomplete_details") or {}
        if refusal is not None:
            return "refusal"
        if response.get("status") == "incomplete":
            return _INCOMPLETE.get(details.get("reason") or "", "length")
        return "tool_calls" if any(item.kind == "function_call" for item in self._items.values()) else "stop"

    def _events(self, kind: str, data: dict[str, Any]) -> Iterator[ModelEvent]:
        match kind:
            case "response.output_item.added":
                yield from self._started(data["output_index"], data["item"])
            case "response.output_item.done":
                yield from self._whole_item(data["output_index"], data["item"])
            case "response.output_text.delta" | "response.refusal.delta":
                yield from self._started(data["output_index"], {"type": "message"})
                yield from self._said(data["output_index"], data["delta"], is_refusal=kind == "response.refusal.delta")
            case (
                "response.function_call_arguments.delta"
                | "response.reasoning_summary_text.delta"
                | "response.reasoning_text.delta"
            ):
                yield from self._token(data["output_index"], data["delta"])
            case "response.reasoning_summary_part.added":
                if data.get("summary_index"):
                    yield from self._token(data["output_index"], "\n\n")
            case "response.failed" | "error":
                raise self._reported(_error_of(data))
            case _ if kind in _ENDS:
                yield from self._end(data["response"])
            case _:
                # What says nothing that is not said elsewhere, what other tools do, and what may be added.
                pass

    def _started(self, index: int, item: Mapping[str, Any]) -> Iterator[ModelEvent]:
        if index in self._items:
            return
        known = self._items[index] = _Item(index, item)
        if known.kind == "message":
            self._text_item = known
            yield BlockStarted(known.key, "text")
        elif known.kind == "reasoning":
            yield BlockStarted(known.key, "thinking")
        elif known.kind == "function_call":
            fields = {"tool_name": item["name"], "tool_call_id": item["call_id"]}
            yield BlockStarted(known.key, "tool_call", fields)

    def _said(self, index: int, text: str, *, is_refusal: bool) -> Iterator[ModelEvent]:
        self._items[index].has_tokens = True
        if is_refusal:
            self._refusal.append(text)
        yield text

    def _token(self, index: int, text: str) -> Iterator[ModelEvent]:
        item = self._items[index]
        item.has_tokens = True
        if text:
            yield BlockToken(item.key, text)

    def _whole_item(self, index: int, item: Mapping[str, Any]) -> Iterator[ModelEvent]:
        """End an item; what was not streamed of it comes now."""
        yield from self._started(index, item)
        known = self._items[index]
        if known.is_ended:
            return
        known.is_ended = True
        if known.kind == "message":
            if not known.has_tokens:
                for part in item.get("content") or ():
                    is_refusal = part.get("type") == "refusal"
                    yield from self._said(
                        index, part.get("refusal" if is_refusal else "text") or "", is_refusal=is_refusal
                    )
            # "commentary" or "final_answer", to be sent back by the newer models' own wish.
            fields = {"provider_data": {TEXT_FIELDS: {"phase": item["phase"]}}} if item.get("phase") else {}
            yield BlockEnded(known.key, fields)
        elif known.kind == "function_call":
            if not known.has_tokens:
                yield from self._token(index, item.get("arguments") or "")
            yield BlockEnded(known.key)
        elif known.kind == "reasoning":
            if not known.has_tokens:
                texts = [part.get("text") or "" for name in ("summary", "content") for part in item.get(name) or ()]
                yield from self._token(index, "\n\n".join(texts))
            yield BlockEnded(known.key, _thought_fields(item))

    def _end(self, response: dict[str, Any]) -> Iterator[ModelEvent]:
        if response.get("status") == "failed" or response.get("error"):
            raise self._reported(response.get("error") or response)
        for index, item in enumerate(response.get("output") or ()):
            yield from self._whole_item(index, item)
        self._response = response
        if usage := response.get("usage"):
            yield UsageKnown(usage_of_response(usage))

    def _reported(self, error: Any) -> Exception:
        return reported_fault(self._who, error, provider=self._provider, model=self._model)


def _thought_fields(item: Mapping[str, Any]) -> dict[str, Any]:
    # The status is the server's to say.
    kept = {name: value for name, value in item.items() if name != "status" and value is not None}
    if not item.get("encrypted_content"):
        # Nothing there to go on from, unless the server keeps it.
        return {"provider_data": {RESPONSE_ITEM: kept}} if item.get("content") else {}
    fields: dict[str, Any] = {"provider_data": {RESPONSE_ITEM: kept}}
    return fields if item.get("summary") or item.get("content") else {**fields, "redacted": True}


def _error_of(data: dict[str, Any]) -> Any:
    if "response" in data:
        return data["response"].get("error") or data["response"]
    # The event's own `type` is "error", which says nothing.
    return data.get("error") or {name: data.get(name) for name in ("code", "message", "param")}


def usage_of_response(raw: dict[str, Any]) -> TokenUsage:
    """Give the usage of a response as that of all providers."""
    read: dict[str, Any] = raw.get("input_tokens_details") or {}
    written: dict[str, Any] = raw.get("output_tokens_details") or {}
    return TokenUsage(
        input_tokens=raw.get("input_tokens"),
        output_tokens=raw.get("output_tokens"),
        cache_read_tokens=read.get("cached_tokens"),
        cache_write_tokens=read.get("cache_write_tokens"),
        reasoning_tokens=written.get("reasoning_tokens"),
    )
