"""What the input of a call is known by, though it may still be coming.

A value counts by its content. Replies of another call count as what that call is known by, whether they are there yet
or not: where a run is resumed, answers come sooner than they did. Only what comes from elsewhere and is not there yet
cannot be told apart, such as messages that are sent one after another on an open call.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple, cast
from weakref import WeakKeyDictionary

from miniagents._segments import SequenceBuffer, is_nested, message_at, offset_of
from miniagents.messages import Message, MessagePromise
from miniagents.promising._failure import Failure


class Identity(NamedTuple):
    """What the messages of a call are known by."""

    text: str
    is_certain: bool
    """Whether that is all of them."""
    is_content: bool
    """Whether it is certainly the content of each."""

    def content_of(self, messages: tuple[Message, ...]) -> str:
        """Give what they are known by once they are all there."""
        return self.text if self.is_content else " ".join([message.hash_key for message in messages])


class Origins:
    """Which messages are replies of which calls, and what their calls are known by."""

    def __init__(self) -> None:
        self._of_messages: WeakKeyDictionary[MessagePromise, str] = WeakKeyDictionary()

    def note(self, promise: MessagePromise, origin: str, position: int) -> None:
        """Take note that `promise` is the reply at `position` of the call that is known by `origin`."""
        self._of_messages[promise] = f"{origin}/{position}"

    def identity_of(self, requests: SequenceBuffer) -> Identity:
        """Give what the messages of a call are known by."""
        pieces = requests.pieces
        # Most calls get one message, as it is.
        if requests.end is not None and len(pieces) == 1 and pieces[0].__class__ in (str, Message):
            return Identity(self._part(pieces, 0).text, is_certain=True, is_content=True)
        parts = list(self._parts(requests))
        texts = [part.text for part in parts]
        return Identity(" ".join(texts), _OPEN.text not in texts, all(part.is_content for part in parts))

    def _parts(self, root: SequenceBuffer) -> "Iterator[_Part]":
        stack: list[tuple[SequenceBuffer, int]] = [(root, 0)]
        while stack:
            buffer, index = stack.pop()
            if index == 0 and not self._is_known(buffer, is_root=buffer is root):
                yield _OPEN
                continue
            while index < len(buffer.pieces):
                piece: Any = buffer.pieces[index]
                index += 1
                if not is_nested(piece):
                    yield self._part(buffer.pieces, index - 1)
                    continue
                nested = cast("SequenceBuffer", piece.buffer())
                skipped = offset_of(piece)
                if skipped:
                    yield _Part(f"behind:{skipped}", is_content=False)
                origin: str | None = getattr(nested, "origin", None)
                if origin is not None:
                    yield _Part(f"replies:{origin}", is_content=False)
                    continue
                stack.append((buffer, index))
                stack.append((nested, 0))
                break

    @staticmethod
    def _is_known(buffer: SequenceBuffer, *, is_root: bool) -> bool:
        """Whether what is in a sequence is the same each time: what comes in pieces may be there or not."""
        # Messages that are sent to a call one after another are there, or not, before anything else can happen.
        return buffer.end is not None and (is_root or getattr(buffer, "was_given", False))

    def _part(self, pieces: list[Any], index: int) -> "_Part":
        piece = pieces[index]
        if isinstance(piece, Failure):
            return _Part("failure", is_content=False)
        if isinstance(piece, MessagePromise):
            origin = self._of_messages.get(piece)
            if origin is not None:
                return _Part(f"reply:{origin}", is_content=False)
            # What is streamed may be there or not; the next time it may be otherwise.
            outcome: Any = piece.outcome_if_done() if piece.was_given else None
            return _Part(outcome.hash_key, is_content=True) if isinstance(outcome, Message) else _OPEN
        return _Part(cast("Message", message_at(pieces, index)).hash_key, is_content=True)


class _Part(NamedTuple):
    """What one message is known by, or a sequence of them."""

    text: str
    is_content: bool


_OPEN = _Part("...", is_content=False)
