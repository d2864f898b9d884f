"""`AgentCall`, a call that is still being made, and `Agent`, what can be called."""

import weakref
from collections.abc import Callable, Generator
from typing import Any, Protocol

from miniagents._segments import SequenceBuffer
from miniagents.errors import CallFinishedError
from miniagents.message_sequence import MessageSequencePromise, append_messages, append_out_of_order
from miniagents.promising._buffer import Buffer
from miniagents.promising._failure import Failure
from miniagents.promising._producer import current_task
from miniagents.promising._waiting import check_thread
from miniagents.promising.promising import PromisingContext


class Agent(Protocol):
    """What can be called, as the code of an agent sees it: a `MiniAgent`."""

    @property
    def alias(self) -> str:
        """The name in upper snake case."""
        ...

    @property
    def description(self) -> str | None:
        """What it does."""
        ...

    def inquire(self, messages: object = None, **settings: Any) -> MessageSequencePromise:
        """Call it and give its replies; see `MiniAgent.inquire`."""
        ...

    def kick_off(self, messages: object = None, **settings: Any) -> None:
        """Call it and ignore its replies; see `MiniAgent.kick_off`."""
        ...

    def initiate_inquiry(self, **settings: Any) -> "AgentCall":
        """Begin a call whose messages are sent one after another; see `MiniAgent.initiate_inquiry`."""
        ...

    def fork(self, **settings: Any) -> "Agent":
        """Give a new agent with these settings on top; see `MiniAgent.fork`."""
        ...


class AgentCall:
    """A call that is still being made: messages are sent one after another, while replies may be read already.

    `finish()` (or `reply_sequence()`, by default) tells the agent that no more messages will come. A call that is left
    open is finished when the agent, or the context, in which it was made ends.
    """

    __slots__ = ("__weakref__", "_alias", "_finish", "_replies", "_requests")

    def __init__(
        self, alias: str, requests: SequenceBuffer, replies: MessageSequencePromise, finish: Callable[[], None]
    ) -> None:
        self._alias = alias
        self._requests = requests
        self._replies = replies
        self._finish = finish
        # Weakly: whether anybody can still send anything depends on who holds this object.
        requests.handle = weakref.ref(self)
        task = current_task()
        requests.opener = None if task is None else weakref.ref(task)

    @property
    def is_finished(self) -> bool:
        """Whether no more messages can be sent."""
        return self._requests.end is not None

    def send_message(self, messages: object) -> "AgentCall":
        """Send messages, whatever kind of `MessageType` they are; gives the call itself.

        `await call.send_message(...)` lets the agent run, and waits for it where there is a `read_ahead` bound.

        Raises:
            CallFinishedError: the call is finished.
            NotAMessageError: something in it cannot become a message.
        """
        append_messages(self._writable(), messages)
        return self

    def send_out_of_order(self, messages: object) -> "AgentCall":
        """Send messages that are delivered as soon as they are there, ahead of earlier ones that are not.

        Raises:
            CallFinishedError, NotAMessageError: as for `send_message`.
        """
        append_out_of_order(self._writable(), messages, None)
        return self

    def reply_sequence(self, close_request_sequence: bool = True) -> MessageSequencePromise:  # noqa: FBT001, FBT002
        """Give the replies, the same promise each time, and (unless told otherwise) finish the call."""
        if close_request_sequence:
            self.finish()
        return self._replies

    def finish(self) -> "AgentCall":
        """Tell the agent that no more messages will come; does nothing if it was told already."""
        self._finish()
        return self

    def _writable(self) -> SequenceBuffer:
        check_thread(self._requests.thread_id, "send a message")
        if self._requests.is_settled() and not isinstance(self._requests.end, Failure):
            raise CallFinishedError(self._alias)
        return self._requests

    def __await__(self) -> "Generator[Any, Any, AgentCall]":
        yield from GiveWay(self._requests).__await__()
        return self


class GiveWay:
    """What `reply` gives: may be awaited, to let readers run and to keep within a `read_ahead` bound."""

    __slots__ = ("_buffer",)

    def __init__(self, buffer: Buffer[Any]) -> None:
        self._buffer = buffer

    def __await__(self) -> Generator[Any, Any, None]:
        # A bare yield is how a task lets all others that are ready run first.
        yield
        if not self._buffer.has_room():
            context = PromisingContext.find_current()
            yield from self._buffer.wait_for_room(None if context is None else context.background).__await__()
