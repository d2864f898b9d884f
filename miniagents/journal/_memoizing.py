"""Equal calls that go on at the same time are one."""

import asyncio

from miniagents.journal._outcomes import replies_so_far
from miniagents.message_sequence import MessageSequencePromise
from miniagents.promising.promising import PromisingContext

_Place = tuple[asyncio.AbstractEventLoop, str]


class InFlight:
    """The memoised calls that go on now, by what equal ones have in common; those of one event loop share them."""

    def __init__(self) -> None:
        self._replies: dict[_Place, MessageSequencePromise] = {}
        self._contexts: dict[_Place, PromisingContext | None] = {}
        self.ended = 0
        """How many have ended; who has looked into the journal while this grew must look again."""

    def find(self, equal: str | None) -> MessageSequencePromise | None:
        """Give the replies of an equal call that goes on; they may be read like those of a call of one's own.

        One that is known to have failed is not shared any more, though that may not be recorded yet.
        """
        replies = None if equal is None or not self._replies else self._replies.get(_here(equal))
        return None if replies is None or replies_so_far(replies)[1] is not None else replies

    async def shared(self, equal: str | None) -> MessageSequencePromise | None:
        """Give the replies of an equal call that goes on, to be read in place of those of a call of one's own.

        Those of another context are given when all of them are there: that may be cancelled, which is nothing to this
        one. Nobody else is let in between None and a `begin()` right after it.
        """
        replies = self.find(equal)
        while equal is not None and replies is not None:
            if self._contexts.get(_here(equal)) is PromisingContext.find_current():
                return replies
            await replies.outcome()
            if replies_so_far(replies)[1] is None:
                return replies
            replies = self.find(equal)
        return None

    def begin(self, equal: str | None, replies: MessageSequencePromise) -> None:
        """Let others share this call, until `end`, which comes when it is recorded; None: it is none to be shared."""
        if equal is not None:
            self._replies[_here(equal)] = replies
            self._contexts[_here(equal)] = PromisingContext.find_current()

    def end(self, equal: str | None, replies: MessageSequencePromise) -> None:
        """Share the call no more; nothing if it was not shared."""
        if equal is not None and self._replies.get(_here(equal)) is replies:
            del self._replies[_here(equal)], self._contexts[_here(equal)]
            self.ended += 1


def _here(equal: str) -> _Place:
    # Promises belong to their loop, and a journal may be used from several.
    return asyncio.get_running_loop(), equal
