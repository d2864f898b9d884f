"""Turns the events of one model turn into messages: one for each block, written as it comes.

    text "a" "b" | thinking | tool call      each block is a promise in the reply sequence from its beginning on

As long as nothing is visible, texts and thoughts that have begun without a token are held back: a turn that fails then
can be asked again without a trace. (A model may think for minutes before it says anything.)

The block that began last stays open until the turn ends, as what the turn cost stands on its last message.
"""

import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Final, cast

from miniagents.ext.llms._common.plain_json import from_plain_json
from miniagents.ext.llms.llm_messages import AssistantMessage, ThinkingMessage, ToolCallMessage
from miniagents.ext.llms.model_events import BlockEnded, BlockStarted, BlockToken
from miniagents.messages import Message, MessagePromise
from miniagents.promising._buffer import Buffer
from miniagents.promising._failure import Failure
from miniagents.promising._producer import Producer
from miniagents.promising.ext.frozen import Frozen, freeze, frozen_field
from miniagents.promising.sentinels import NO_VALUE

_TEXT: Final = "text without a block of its own"
_CLASS_OF_KIND: Final[dict[str, type[Message]]] = {"thinking": ThinkingMessage, "tool_call": ToolCallMessage}


class AnswerPromise(MessagePromise):
    """A promise of a message that the task of a model agent writes straight into its buffer.

    An appender would be its public form; it is made for the hands of users, and takes three times as long.
    """

    __slots__ = ("parsed",)

    parsed: Any

    def __init__(self, buffer: Buffer[str], message_class: type[Message], known: Mapping[str, Any]) -> None:
        """Promise what is written to `buffer`; `known` are fields of it, frozen."""
        self._set_up(None, NO_VALUE, needs_context=False)
        self._buffer = buffer
        self._streamer_function = self._token_streamer = None
        self._preliminary = dict(known)
        self._metadata_so_far = {}
        self.message_class = message_class
        self.parsed = None
        if self._context is not None:
            self._context.promise_was_made(self)

    def finish(self, fields: Mapping[str, Any]) -> None:
        """End the message; `fields` are added to it."""
        self._metadata_so_far.update({name: value for name, value in fields.items() if value is not None})
        self._buffer.producer = None
        self._buffer.close()

    def fail(self, failure: Failure) -> None:
        """End the message with an error."""
        self._buffer.producer = None
        self._buffer.close(failure)

    def cancel(self, msg: str | None = None) -> bool:
        """Stop the turn that this is a message of; `True` unless the message has ended."""
        # The replies end in good order then, and not with this message's error.
        self._buffer.producer = None
        return super().cancel(msg)

    def _package(self, pieces: list[Any]) -> Message:
        message = super()._package(pieces)
        if self.parsed is not None and isinstance(message, AssistantMessage):
            return message.with_parsed(self.parsed)
        return message


class _Block:
    """One message that is being written."""

    __slots__ = ("buffer", "fields", "is_closing", "is_ended", "kind", "promise", "whole")

    def __init__(
        self,
        kind: str,
        message_class: type[Message],
        known: Mapping[str, Any],
        read_ahead: int | None,
        producer: Producer | None,
        *,
        stream: bool,
    ) -> None:
        self.kind = kind
        self.buffer: Buffer[str] = Buffer(read_ahead)
        # Whose task it is that readers wait for.
        self.buffer.producer = producer
        self.promise = AnswerPromise(self.buffer, message_class, known)
        self.fields: dict[str, Any] = {}
        # Of an answer that is given as a whole, until it is.
        self.whole: list[str] | None = None if stream else []
        self.is_ended = False
        self.is_closing = False

    def text(self) -> str:
        """Give what was written so far."""
        return "".join([piece for piece in (self.whole or self.buffer.pieces) if isinstance(piece, str)])

    def close(self) -> None:
        """End the message."""
        if self.is_closing:
            return
        self.is_closing = True
        if self.whole:
            self.buffer.append("".join(self.whole))
        if self.kind == "tool_call":
            self.fields.setdefault("arguments", _arguments(self.text()))
        self.promise.finish(self.fields)


class TurnWriter:
    """Writes one turn. `reply` takes each new promise; `unwanted` is called when a reader cancels one of them."""

    def __init__(
        self,
        reply: Callable[[MessagePromise], object],
        unwanted: Callable[[], object],
        *,
        known: Mapping[str, Any],
        text_class: type[Message],
        stream: bool,
        read_ahead: int | None,
        producer: Producer | None,
    ) -> None:
        self._producer = producer
        self._reply = reply
        self._unwanted = unwanted
        self._known = known
        self._text_class = text_class
        self._stream = stream
        self._read_ahead = read_ahead
        self._blocks: dict[Hashable, _Block] = {}
        self._last: _Block | None = None
        self._texts: list[_Block] = []
        self._text_key: Hashable | None = None
        self._held: list[BlockStarted | BlockEnded] = []
        self.promises: list[MessagePromise] = []

    @property
    def has_shown(self) -> bool:
        """Whether anything of the turn can be seen already."""
        return bool(self.promises)

    def text_so_far(self) -> str:
        """Give the text of the answer so far, thoughts and tool calls aside."""
        return "".join(block.text() for block in self._texts)

    def token(self, text: str) -> None:
        """Write a token of the answer's text. This is what every token goes through."""
        block = self._blocks.get(self._text_key)
        if block is None or block is not self._last:
            block = self._text_block()
        if block.whole is None:
            block.buffer.append(text)
        else:
            block.whole.append(text)

    def _text_block(self) -> _Block:
        self._release()
        block = self._blocks.get(self._text_key)
        if block is None or block is not self._last:
            self._text_key = _TEXT
            block = self._begin(_TEXT, "text", {})
        return block

    def open_buffers(self) -> list[Buffer[Any]]:
        """Give the buffers of all messages of the turn that are still open."""
        return [block.buffer for block in self._blocks.values() if not block.is_closing]

    def unfinished(self) -> Buffer[str] | None:
        """Give the buffer of the message that is being written, unless it is to come as a whole."""
        last = self._last
        return None if last is None or last.is_ended or last.whole is not None else last.buffer

    def take(self, event: Any) -> None:
        """Write what an event says of a block; other events are not for here."""
        if isinstance(event, BlockToken):
            if self._held:
                self._release()
            block = self._blocks[event.key]
            if block.whole is None:
                block.buffer.append(event.text)
            else:
                block.whole.append(event.text)
        elif isinstance(event, BlockStarted | BlockEnded):
            is_call = isinstance(event, BlockStarted) and event.kind == "tool_call"
            if is_call or self.has_shown:
                self._release()
                self._take_bound(event)
            else:
                self._held.append(event)

    def _release(self) -> None:
        held, self._held = self._held, []
        for event in held:
            self._take_bound(event)

    def _take_bound(self, event: BlockStarted | BlockEnded) -> None:
        if isinstance(event, BlockStarted):
            if event.kind == "text":
                self._text_key = event.key
            self._begin(event.key, event.kind, event.fields)
            return
        block = self._blocks.get(event.key)
        if block is not None:
            block.fields.update(event.fields)
            block.is_ended = True
            if block is not self._last:
                block.close()

    def _begin(self, key: Hashable, kind: str, fields: Mapping[str, Any]) -> _Block:
        for earlier in self._blocks.values():
            if earlier.is_ended or earlier.kind == "text":
                earlier.close()
        known = {name: freeze(value, name) for name, value in {**self._known, **fields}.items() if value is not None}
        message_class = _CLASS_OF_KIND.get(kind, self._text_class)
        block = _Block(kind, message_class, known, self._read_ahead, self._producer, stream=self._stream)
        self._blocks[key] = self._last = block
        if kind == "text":
            self._texts.append(block)
        self.promises.append(block.promise)
        block.buffer.when_ended(functools.partial(self._ended, block))
        self._reply(block.promise)
        return block

    def _ended(self, block: _Block) -> None:
        if not block.is_closing:
            self._unwanted()

    def finish(self, fields: Mapping[str, Any], *, parsed: Any = None) -> None:
        """End the turn; `fields` go to its last message, `parsed` is its text, validated."""
        self._release()
        last = self._last
        if last is None:
            # A model that says nothing has said an empty text.
            last = self._begin(_TEXT, "text", {})
        last.fields = {**fields, **last.fields}
        if parsed is not None and self._texts:
            self._texts[-1].promise.parsed = parsed
        for block in self._blocks.values():
            block.close()

    def tear(self) -> None:
        """End what is open as it is, marked as interrupted."""
        for block in self._blocks.values():
            if not block.is_closing:
                block.fields["interrupted"] = True
                block.close()

    def fail(self, error: Failure) -> None:
        """Put `error` at its place, the end of the message that was being written; others end, interrupted."""
        last = self._last
        for block in self._blocks.values():
            if block is not last and not block.is_closing:
                block.fields["interrupted"] = True
                block.close()
        if last is not None and not last.is_closing:
            last.is_closing = True
            last.promise.fail(error)

    def cancel(self, error: BaseException) -> None:
        """End what is open because the whole turn was cancelled."""
        for block in self._blocks.values():
            if not block.is_closing:
                block.is_closing = True
                block.promise.fail(Failure(error))


def _arguments(text: str) -> Frozen | None:
    """Give the object that the arguments are; None if they are none, or have something that cannot be stored."""
    try:
        found: Any = from_plain_json(text) if text.strip() else {}
        return cast("Frozen", frozen_field(found, "arguments")) if isinstance(found, dict) else None
    except ValueError:
        return None
