"""Reads what google-genai gives: chunks of an answer, or one whole answer, as events."""

import base64
import json
from collections.abc import Iterator
from typing import Any, Final, Literal, TypeAlias, cast

from miniagents.ext.llms._gemini.request import OUR_CALL_IDS
from miniagents.ext.llms.errors import BadRequestError, IncompleteStreamError, LLMError, ProviderError
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
    "STOP": "stop",
    "MAX_TOKENS": "length",
    "CONTINUATION": "length",
    "TOO_MANY_TOOL_CALLS": "length",
    **dict.fromkeys(
        (
            "SAFETY", "RECITATION", "LANGUAGE", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY",
            "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "ESCALATION", "MODEL_ARMOR",
        ),
        "content_filter",
    ),
}  # fmt: skip
# Reasons that leave no answer to read, and whose fault it is.
_FAULTS: Final[dict[str, type[LLMError]]] = {
    "MALFORMED_FUNCTION_CALL": ProviderError,
    "MALFORMED_RESPONSE": ProviderError,
    "UNEXPECTED_TOOL_CALL": ProviderError,
    "MISSING_THOUGHT_SIGNATURE": BadRequestError,
}
_Kind: TypeAlias = Literal["text", "thinking", "tool_call"]
_APART: Final = frozenset({"content", "finish_reason"})


class GeminiReader:
    """Takes in the responses to one request; `call_ids` is what the ids of calls begin with that came without one."""

    def __init__(self, *, who: str, model: str, provider: str, call_ids: str) -> None:
        self._who = who
        self._model = model
        self._provider = provider
        self._call_ids = f"{OUR_CALL_IDS}{call_ids}"
        self._blocks = 0
        self._calls = 0
        self._open: int | None = None
        self._open_kind: _Kind | None = None
        self._open_data: dict[str, Any] | None = None
        self._usage: TokenUsage | None = None
        self._raw_usage: dict[str, Any] | None = None
        self._reason: str | None = None
        self._candidates: dict[int, dict[str, Any]] = {}
        self._fields: dict[str, Any] = {}
        # Whether something came, and nothing of it was known.
        self._is_empty = False

    @property
    def request_id(self) -> str | None:
        """Google's name of the answer, as far as it is known."""
        return self._fields.get("id")

    def take(self, response: Any) -> Iterator[ModelEvent]:
        """Take in a `GenerateContentResponse` and give what it tells."""
        for name, value in (
            ("id", response.response_id),
            ("model_version", response.model_version),
            ("create_time", response.create_time and response.create_time.isoformat()),
            ("prompt_feedback", response.prompt_feedback and _plain(response.prompt_feedback)),
        ):
            if value is not None:
                self._fields[name] = value
        for position, candidate in enumerate(response.candidates or ()):
            index: int = candidate.index or position
            known = self._candidates.setdefault(index, {"index": index})
            known.update({name: value for name, value in _plain(candidate).items() if name not in _APART})
            parts: list[Any] = (candidate.content and candidate.content.parts) or []
            if index == 0:
                for part in parts:
                    yield from self._part(part)
            else:
                known["text"] = known.get("text", "") + "".join(part.text or "" for part in parts)
            if candidate.finish_reason is not None:
                known["finish_reason"] = candidate.finish_reason.value
                if index == 0:
                    self._reason = candidate.finish_reason.value
        self._is_empty = not (self._fields or self._candidates or response.usage_metadata)
        if response.usage_metadata is not None:
            self._raw_usage = _plain(response.usage_metadata)
            usage = _usage_of(response.usage_metadata)
            if usage != self._usage:
                self._usage = usage
                yield UsageKnown(usage)

    def _part(self, part: Any) -> Iterator[ModelEvent]:
        signature = None if part.thought_signature is None else base64.b64encode(part.thought_signature).decode("ascii")
        data = {} if signature is None else {"thought_signature": signature, "model": self._model}
        if part.function_call is not None:
            yield from self._call(part.function_call, data)
        elif part.text is None or (not part.text and data and self._open is None):
            yield from self._other(part)
        elif part.text or data:
            yield from self._said("thinking" if part.thought else "text", part.text, data)

    def _said(self, kind: _Kind, text: str, data: dict[str, Any]) -> Iterator[ModelEvent]:
        if text and self._open_kind != kind:
            yield from self._end_open()
            yield self._begin(kind)
        if text and kind == "text":
            yield text
        elif text:
            yield BlockToken(self._open, text)
        if data:
            self._open_data = data if text else {**data, "in_a_part_of_its_own": True}
        if data and kind == "thinking":
            # What is thought after a signature is another thought.
            yield from self._end_open()

    def _call(self, call: Any, data: dict[str, Any]) -> Iterator[ModelEvent]:
        yield from self._end_open()
        if self._calls and not data:
            # Of parallel calls only the first is signed.
            data = {"follows_a_signed_call": True}
        call_id: str = call.id or f"{self._call_ids}{self._calls}"
        self._calls += 1
        begun = self._begin("tool_call", tool_name=call.name or "", tool_call_id=call_id)
        yield begun
        yield BlockToken(begun.key, json.dumps(call.args or {}, ensure_ascii=False))
        self._open_data = data
        yield from self._end_open()

    def _other(self, part: Any) -> Iterator[ModelEvent]:
        """What Gemini did by itself on the way (ran code, searched, drew): kept as it is, to be given back."""
        yield from self._end_open()
        raw = _plain(part)
        if not raw:
            return
        begun = self._begin("thinking", provider_data={"part": raw})
        yield begun
        text: str = (part.executable_code and part.executable_code.code) or ""
        text = text or (part.code_execution_result and part.code_execution_result.output) or ""
        if text:
            yield BlockToken(begun.key, text)
        yield from self._end_open()

    def _begin(self, kind: _Kind, **fields: Any) -> BlockStarted:
        self._open = self._blocks
        self._open_kind = kind
        self._blocks += 1
        return BlockStarted(self._open, kind, fields)

    def _end_open(self) -> Iterator[ModelEvent]:
        if self._open is None:
            return
        data = self._open_data
        fields: dict[str, Any] = {"provider_data": data} if data else {}
        if data and self._open_kind == "thinking":
            fields["signature"] = data["thought_signature"]
        yield BlockEnded(self._open, fields)
        self._open = self._open_kind = self._open_data = None

    def rest(self) -> Iterator[ModelEvent]:
        """Give what is left when the last response was taken in."""
        yield from self._end_open()

    def ended(self) -> TurnEnded:
        """Give the end of the answer.

        Raises:
            IncompleteStreamError: it did not say that it is complete.
            ProviderError: what came is no answer of Gemini's.
            LLMError: it ended in a way that leaves nothing to read.
        """
        details: dict[str, Any] = {"provider": self._provider, "model": self._model, "request_id": self.request_id}
        feedback: dict[str, Any] = self._fields.get("prompt_feedback") or {}
        blocked = feedback.get("block_reason")
        if self._is_empty:
            raise ProviderError(
                f"{self._who} answered with something else than an answer: nothing in it is known. "
                "Is `base_url` right?",
                raw_text="",
                **details,
            )
        if self._reason is None and blocked is None:
            raise IncompleteStreamError(
                f"The answer of {self._who} ended without a finish reason, so a part of it may be missing.", **details
            )
        fault = _FAULTS.get(self._reason or "")
        if fault is not None:
            words = (self._candidates.get(0) or {}).get("finish_message") or "no further words"
            raise fault(f"{self._who} gave up its answer: {words} [{self._reason}]", code=self._reason, **details)
        reason: FinishReason | None = "content_filter" if self._reason is None else _REASONS.get(self._reason)
        if reason == "stop" and self._calls:
            reason = "tool_calls"
        fields = {**self._fields, "candidates": [self._candidates[index] for index in sorted(self._candidates)]}
        return TurnEnded(
            finish_reason=reason,
            usage=self._usage,
            raw_usage=self._raw_usage,
            model=self._fields.get("model_version"),
            request_id=self.request_id,
            fields=fields,
            refusal=feedback.get("block_reason_message"),
        )


def _plain(value: Any) -> dict[str, Any]:
    """The fields of one of the SDK's objects, those that are set, as plain JSON."""
    return cast("dict[str, Any]", value.model_dump(mode="json", exclude_none=True))


def _usage_of(raw: Any) -> TokenUsage:
    return TokenUsage(
        input_tokens=_sum(raw.prompt_token_count, raw.tool_use_prompt_token_count),
        output_tokens=_sum(raw.candidates_token_count, raw.thoughts_token_count),
        cache_read_tokens=raw.cached_content_token_count,
        reasoning_tokens=raw.thoughts_token_count,
    )


def _sum(*counts: int | None) -> int | None:
    known = [count for count in counts if count is not None]
    return sum(known) if known else None
