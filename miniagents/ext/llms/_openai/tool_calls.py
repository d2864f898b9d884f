"""Puts together the calls of tools that chat completions stream in pieces, several calls at a time."""

import json
import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final

from miniagents.ext.llms.model_events import BlockEnded, BlockStarted, BlockToken, ModelEvent

# Of a call: what a server added to it, to be sent back with it, such as the signatures of Gemini.
CHAT_CALL_EXTRAS: Final = "chat_call_fields"

_KNOWN: Final = frozenset({"index", "id", "type", "function"})


class _Call:
    """One call. It can be shown as soon as its name is known."""

    def __init__(self, number: int) -> None:
        self.key = ("tool_call", number)
        self.id: str | None = None
        self.name: str | None = None
        self.waiting: list[str] = []
        self.extras: dict[str, Any] = {}


class StreamedToolCalls:
    """Tells calls apart by their `index`, as the protocol says; by id or name where a server leaves it out or errs."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._by_index: dict[int, _Call] = {}

    @property
    def any(self) -> bool:
        """Whether there were calls."""
        return bool(self._calls)

    def take(self, deltas: Sequence[dict[str, Any]]) -> Iterator[ModelEvent]:
        """Take in the pieces of one chunk."""
        for delta in deltas:
            function: dict[str, Any] = delta.get("function") or {}
            call = self._call_of(delta, function)
            call.id = call.id or delta.get("id")
            call.extras.update({name: value for name, value in delta.items() if name not in _KNOWN})
            arguments = function.get("arguments")
            if arguments:
                # An object in place of its text is what some local servers send.
                call.waiting.append(
                    arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
                )
            if call.name is None and function.get("name"):
                call.name = function["name"]
                yield self._started(call)
            if call.name is not None:
                for piece in call.waiting:
                    yield BlockToken(call.key, piece)
                call.waiting.clear()

    def ended(self) -> Iterator[ModelEvent]:
        """What is left to tell when the answer is complete."""
        for call in self._calls:
            if call.name is not None:
                fields = {"provider_data": {CHAT_CALL_EXTRAS: call.extras}} if call.extras else {}
                yield BlockEnded(call.key, fields)

    def _call_of(self, delta: dict[str, Any], function: dict[str, Any]) -> _Call:
        index, name, call_id = delta.get("index"), function.get("name"), delta.get("id")
        if isinstance(index, int):
            call = self._by_index.get(index)
        elif call_id:
            call = next((known for known in self._calls if known.id == call_id), None)
        else:
            call = self._calls[-1] if self._calls and not name else None
        # Some servers give every call the same index.
        if call is None or (name and call_id and call.id and call_id != call.id):
            call = _Call(len(self._calls))
            self._calls.append(call)
            if isinstance(index, int):
                self._by_index[index] = call
        return call

    def _started(self, call: _Call) -> BlockStarted:
        # Without an id the result could not be matched to the call, also by the server that gave none.
        call.id = call.id or f"call_{uuid.uuid4().hex}"
        return BlockStarted(call.key, "tool_call", {"tool_name": call.name, "tool_call_id": call.id})
