"""Promises of messages that a journal is about: one that is being recorded, and one that comes from the record."""

from collections.abc import Sequence
from typing import Any

from miniagents.messages import Message, MessagePromise
from miniagents.promising._buffer import prefilled_buffer
from miniagents.promising._failure import Failure
from miniagents.promising.errors import PromiseCancelledError
from miniagents.promising.ext.frozen import Frozen
from miniagents.promising.sentinels import NO_VALUE


class HeldPromise(MessagePromise):
    """Streams the tokens of another promise as they come, and resolves when it is released: when it is recorded.

    An error is no result that could be lost, so it is not held back.
    """

    __slots__ = ("source",)

    source: MessagePromise

    def __init__(self, source: MessagePromise) -> None:
        self.source = source
        self.message_class = source.message_class
        self._metadata_so_far = {}
        self._preliminary = {}
        self._token_streamer = self._streamer_function = None
        # Not announced to those who listen: the message is, by its own promise.
        self._set_up(None, NO_VALUE, needs_context=False)
        self._buffer = source.buffer()

    @property
    def preliminary_metadata(self) -> Frozen:
        """The fields that are known before the first token."""
        return self.source.preliminary_metadata

    @property
    def metadata_so_far(self) -> dict[str, Any]:
        """The fields that its streamer has given so far, beside the preliminary ones."""
        return self.source.metadata_so_far

    def _has_resolver(self) -> bool:
        # The value comes from outside, and not from the pieces when these have ended.
        return True

    async def _outcome(self) -> Any:
        # By way of the other one while that is not there: a wait for it that cannot end is an error there.
        if not self.source.done():
            await self.source.outcome()
        return await super()._outcome()

    def release(self) -> None:
        """Resolve to what the other promise has; as soon as it has it."""
        outcome = self.source.outcome_if_done()
        if outcome is NO_VALUE:
            self.source.when_done(self.release)
        else:
            self.settle(outcome)

    def cancel(self, msg: str | None = None) -> bool:
        """Stop what makes the message; `True` unless all was finished already."""
        if self.done():
            return False
        was_stopped = self.source.cancel(msg)
        self.settle(Failure(PromiseCancelledError(msg or "The promise was cancelled.")))
        return was_stopped


class ReplayedPromise(MessagePromise):
    """A message that is there already, and streams in the tokens that it first came in."""

    __slots__ = ()

    def __init__(self, message: Message, tokens: Sequence[str]) -> None:
        super().__init__(prefill_message=message)
        self._buffer = prefilled_buffer(tokens)
