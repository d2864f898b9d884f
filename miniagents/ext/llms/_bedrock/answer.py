"""Reads what Converse answers: events of its stream, or one whole answer."""

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from miniagents.ext.llms._common.faults import request_id_of
from miniagents.ext.llms.errors import IncompleteStreamError, ProviderError
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

_REASONS: Final[dict[str, FinishReason]] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_MALFORMED: Final = ("malformed_model_output", "malformed_tool_use")
_APART: Final = frozenset({"output", "usage", "ResponseMetadata", "stream"})


class ConverseReader:
    """Takes in what boto3 gives for one request."""

    def __init__(self, *, who: str, model: str, provider: str) -> None:
        self._who = who
        self._model = model
        self._provider = provider
        self.request_id: str | None = None
        self._open: set[int] = set()
        self._block_fields: dict[int, dict[str, Any]] = {}
        self._fields: dict[str, Any] = {}
        self._usage: TokenUsage | None = None
        self._raw_usage: dict[str, Any] | None = None

    def take(self, event: dict[str, Any]) -> Iterator[ModelEvent]:
        """Take in one event, or the response itself, and give what it tells."""
        for name, content in event.items():
            if name == "contentBlockDelta":
                yield from self._delta(content["contentBlockIndex"], content["delta"])
            elif name == "contentBlockStart":
                tool: dict[str, Any] | None = content["start"].get("toolUse")
                if tool is not None:
                    fields = {"tool_name": tool["name"], "tool_call_id": tool["toolUseId"]}
                    yield self._begin(content["contentBlockIndex"], "tool_call", **fields)
            elif name == "contentBlockStop":
                yield from self._end(content["contentBlockIndex"])
            elif name in ("messageStop", "metadata"):
                yield from self._tail(content)
            elif name == "ResponseMetadata":
                self.request_id = content.get("RequestId") or request_id_of(content.get("HTTPHeaders") or {})
            elif name == "output":
                yield from self._whole(event)

    def _delta(self, index: int, delta: dict[str, Any]) -> Iterator[ModelEvent]:
        text = delta.get("text")
        if text is not None:
            if index not in self._open:
                yield self._begin(index, "text")
            yield text
        elif "toolUse" in delta:
            if delta["toolUse"]["input"]:
                yield BlockToken(index, delta["toolUse"]["input"])
        elif "reasoningContent" in delta:
            yield from self._thought(index, delta["reasoningContent"])
        elif "citation" in delta:
            self._block_fields.setdefault(index, {}).setdefault("citations", []).append(delta["citation"])

    def _thought(self, index: int, thought: dict[str, Any]) -> Iterator[ModelEvent]:
        fields = self._block_fields.setdefault(index, {})
        redacted: bytes | None = thought.get("redactedContent")
        if index not in self._open:
            yield self._begin(index, "thinking", **({} if redacted is None else {"redacted": True}))
        if redacted is not None:
            known = base64.b64decode(fields.get("provider_data", {}).get("redacted_content", ""))
            encoded = base64.b64encode(known + redacted).decode("ascii")
            fields["provider_data"] = {"redacted_content": encoded}
        if thought.get("text"):
            yield BlockToken(index, thought["text"])
        if thought.get("signature"):
            fields["signature"] = fields.get("signature", "") + thought["signature"]

    def _whole(self, response: dict[str, Any]) -> Iterator[ModelEvent]:
        message: dict[str, Any] = response["output"].get("message") or {}
        for index, block in enumerate(message.get("content") or ()):
            if "toolUse" in block:
                tool = block["toolUse"]
                yield self._begin(index, "tool_call", tool_name=tool["name"], tool_call_id=tool["toolUseId"])
                yield BlockToken(index, json.dumps(tool.get("input") or {}, ensure_ascii=False))
            elif "reasoningContent" in block:
                thought = block["reasoningContent"]
                yield from self._thought(index, thought.get("reasoningText") or thought)
            elif "citationsContent" in block:
                cited: dict[str, Any] = block["citationsContent"]
                self._block_fields.setdefault(index, {})["citations"] = cited.get("citations") or []
                yield from self._delta(index, {"text": _cited_text(cited)})
            elif "text" in block:
                yield from self._delta(index, {"text": block["text"]})
            yield from self._end(index)
        yield from self._tail(response)

    def _tail(self, content: dict[str, Any]) -> Iterator[ModelEvent]:
        self._fields.update({name: value for name, value in content.items() if name not in _APART})
        if content.get("usage"):
            self._raw_usage = content["usage"]
            self._usage = _usage_of(content["usage"])
            yield UsageKnown(self._usage)

    def _begin(self, index: int, kind: Any, **fields: Any) -> BlockStarted:
        self._open.add(index)
        return BlockStarted(index, kind, fields)

    def _end(self, index: int) -> Iterator[ModelEvent]:
        if index in self._open:
            self._open.discard(index)
            yield BlockEnded(index, self._block_fields.pop(index, {}))

    def ended(self) -> TurnEnded:
        """Give the end of the answer.

        Raises:
            IncompleteStreamError: it did not say that it is complete.
            ProviderError: it says that the model made nothing that can be read.
        """
        reason: str | None = self._fields.get("stopReason")
        details: dict[str, Any] = {"provider": self._provider, "model": self._model, "request_id": self.request_id}
        if reason is None:
            raise IncompleteStreamError(
                f"The answer of {self._who} ended without `messageStop`, so a part of it may be missing.", **details
            )
        if reason in _MALFORMED:
            raise ProviderError(f"{self._who} made an answer that cannot be read [{reason}].", code=reason, **details)
        return TurnEnded(
            finish_reason=_REASONS.get(reason),
            usage=self._usage,
            raw_usage=self._raw_usage,
            request_id=self.request_id,
            fields=self._fields,
        )


def _cited_text(cited: Mapping[str, Any]) -> str:
    parts: Sequence[Mapping[str, Any]] = cited.get("content", ())
    return "".join([part.get("text", "") for part in parts])


def _usage_of(raw: dict[str, Any]) -> TokenUsage:
    read, written = raw.get("cacheReadInputTokens"), raw.get("cacheWriteInputTokens")
    plain = raw.get("inputTokens")
    return TokenUsage(
        # Amazon counts what was in the cache apart.
        input_tokens=None if plain is None else plain + (read or 0) + (written or 0),
        output_tokens=raw.get("outputTokens"),
        cache_read_tokens=read,
        cache_write_tokens=written,
    )
