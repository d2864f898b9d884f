"""What else than calls of agents is recorded as calls: the work of handlers of events.

Such work is never answered from the journal. It runs again when its run is resumed, and finds what it calls answered,
as it is the parent of that.
"""

from collections.abc import Iterable, Sequence
from contextvars import ContextVar
from typing import Any

from miniagents._call_marks import current_journaled_call
from miniagents._segments import SequenceBuffer
from miniagents.journal._call_nodes import CallNode
from miniagents.journal._keys import likeness
from miniagents.journal._outcomes import StoreTrouble, replies_so_far
from miniagents.journal._promises import ReplayedPromise
from miniagents.journal.errors import JournalError
from miniagents.journal.records import StartedCall
from miniagents.message_sequence import MessageSequencePromise
from miniagents.messages import Message
from miniagents.promising.ext.frozen import Frozen

_VERSION_OF_WORK = "work of a handler"
"""Part of the key, so that an agent of the same name is another one."""


class AskedCall:
    """The call of an agent that is about to be made, and what the journal knows it as."""

    __slots__ = ("_variable", "call")

    def __init__(self) -> None:
        self.call: CallNode | None = None
        self._variable = _asked_call.set(self)

    def was_made(self) -> None:
        """The call was made, so the next one in this place is another one."""
        _asked_call.reset(self._variable)


_asked_call: ContextVar[AskedCall | None] = ContextVar("miniagents_asked_call", default=None)


def note_call(call: CallNode) -> None:
    """Let whoever has asked for it know as what the journal knows a call."""
    asked = _asked_call.get()
    if asked is not None:
        asked.call = call
        # What the agent calls is not what was asked.
        _asked_call.set(None)


class WorkRecords:
    """Records work in one run."""

    def __init__(self, root: CallNode, trouble: StoreTrouble) -> None:
        self._root = root
        self._trouble = trouble

    def node(self, above: object, name: str, known_by: str, *, is_certain: bool) -> CallNode:
        """Give the call that a piece of work is, below the one that is `above` it."""
        root = self._root
        parent = above if isinstance(above, CallNode) and above.run is root.run else root
        return CallNode(root.run, parent, likeness(name, _VERSION_OF_WORK, None, known_by), is_certain=is_certain)

    async def begin(self, node: CallNode, name: str, inputs: Sequence[Message] | None, beside: Frozen) -> None:
        """Record that work begins; from here on it is what is called in this place.

        `beside` is kept with it and is no part of what it is known by.

        Raises:
            JournalError: it cannot be recorded, and that is to be raised.
        """
        current_journaled_call.set(node)
        messages = None if inputs is None else tuple(inputs)
        try:
            await node.run.call_started(StartedCall(node.key, node.parent_key, name, "", beside, messages))
        except JournalError as error:
            self._trouble.judge(error)

    async def end(
        self, node: CallNode, inputs: Sequence[Message] | None, replies: SequenceBuffer, error: BaseException | None
    ) -> None:
        """Record how work has ended, and what it has replied with."""
        found, _ = replies_so_far(MessageSequencePromise.of_buffer(replies))
        try:
            if error is None:
                await node.run.call_finished(node.key, found, inputs=inputs, passes_on=True)
            else:
                await node.run.call_failed(node.key, error, found, inputs=inputs, passes_on=True)
        except JournalError as trouble:
            self._trouble.put_off(trouble)

    # -- what is beside the content of replies ---------------------------------------------------------------------

    async def kept_beside(
        self, replies: SequenceBuffer, position: int, promise: object, stamps: Sequence[str | None]
    ) -> Iterable[Any] | None:
        """Keep the stamps of a reply of an agent's call, or give those that are kept of one that was not made again.

        None: there is nothing that is not in the reply itself.
        """
        origin: str | None = getattr(replies, "origin", None)
        run = self._root.run
        if origin is None or run.answers_by_content:
            return None
        key = f"{origin}/stamps of reply {position}"
        try:
            if any(stamps):
                await run.remember(key, list(stamps))
            elif isinstance(promise, ReplayedPromise):
                kept = await run.recall(key)
                return None if kept is None else kept[0]
        except JournalError as error:
            self._trouble.judge(error)
        return None


__all__ = ["AskedCall", "WorkRecords", "note_call"]
