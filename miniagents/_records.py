"""Records of what happened, made only where somebody listens: `on_persist_message`.

The record of a call causes no work. It waits, without asking for anything, until the call's messages are there; what is
not there when the context ends is recorded as unread.
"""

import asyncio
import weakref
from collections.abc import Awaitable, Callable
from typing import Protocol

from miniagents._segments import flat_parts
from miniagents.message_sequence import MessageSequencePromise
from miniagents.messages import Message, MessagePromise
from miniagents.miniagent_typing import PersistMessageHandler
from miniagents.promising._buffer import Buffer
from miniagents.promising._failure import Failure
from miniagents.promising._reporting import BackgroundErrors
from miniagents.promising._wording import class_and_text
from miniagents.promising.ext.frozen import Frozen


class RecordingContext(Protocol):
    """What persisting needs of the context: see `MiniAgents`."""

    is_active: bool

    def start_asap(self, awaitable: Awaitable[None], /) -> object:
        """Run `awaitable` in the background."""
        ...

    @property
    def errors(self) -> BackgroundErrors:
        """Where errors of handlers are told."""
        ...


class AgentCallNode(Message):
    """The record of an agent call."""

    messages: tuple[Message, ...]
    """What the agent was called with."""
    agent: Frozen
    """The agent."""
    settings: Frozen
    """The settings of this call, those of the agent included."""


class AgentReplyNode(Message):
    """The record of an agent's replies."""

    agent_call: AgentCallNode
    """The call that they answer."""
    replies: tuple[Message, ...]
    """What the agent replied. A message that nobody read, so that it was never made, is there with `is_unread=True`."""
    error: str | None = None
    """The error that the replies end with, or the first one among them."""


class MessagePersister:
    """Offers every resolved message object to the handlers, once, and what is inside it before it."""

    def __init__(self, mini_agents: RecordingContext) -> None:
        self.handlers: list[PersistMessageHandler] = []
        self._mini_agents = mini_agents

    def offer(self, message: Message) -> None:
        """Hand `message` to the handlers in a background task, unless that has happened."""
        if self.handlers and self._mini_agents.is_active and not self._is_taken(message):
            self._mini_agents.start_asap(self._persist(message))

    def _is_taken(self, message: Message) -> bool:
        state = self._state_of(message)
        return state.is_done or state.is_going_on

    def _state_of(self, message: Message) -> "_HandingOver":
        # Kept on the message object, as equal messages count as two; weakly, as it may outlive many contexts.
        states = message.cached("persisted by", weakref.WeakKeyDictionary[MessagePersister, _HandingOver])
        state = states.get(self)
        if state is None:
            state = states[self] = _HandingOver()
        return state

    async def _persist(self, message: Message) -> None:
        for part in (*message.sub_messages(), message):
            state = self._state_of(part)
            while state.is_going_on:
                await state.until_changed()
            if state.is_done:
                continue
            state.is_going_on = True
            try:
                state.is_done = await self._handle(part)
            finally:
                # One that failed is offered again the next time that it is resolved, or by whoever waits for it now.
                state.is_going_on = False
                state.wake()

    async def _handle(self, message: Message) -> bool:
        is_good = True
        for handler in self.handlers:
            try:
                await handler(self._mini_agents, message)
            except Exception as error:  # noqa: BLE001 - one handler's failure is reported and harms nobody else
                is_good = False
                self._mini_agents.errors.log(error, f"A handler of `on_persist_message` failed for {message.hash_key}")
        return is_good


class _HandingOver:
    """Whether a message object was handed to the handlers, or is being handed over."""

    __slots__ = ("_waiters", "is_done", "is_going_on")

    def __init__(self) -> None:
        self.is_done = False
        self.is_going_on = False
        self._waiters: list[asyncio.Future[None]] = []

    def wake(self) -> None:
        """Tell those who wait that something has changed."""
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    async def until_changed(self) -> None:
        """Wait until whoever is handing it over has succeeded or failed."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter


class CallRecorder:
    """Makes the records of calls."""

    def __init__(self, persister: MessagePersister) -> None:
        self._persister = persister
        self._unfinished: dict[int, Callable[[], None]] = {}
        self._count = 0

    def watch(
        self, agent: Frozen, settings: Frozen, requests: MessageSequencePromise, replies: MessageSequencePromise
    ) -> None:
        """Record this call as soon as its input is there, and its replies as soon as they are."""
        self._count += 1
        number = self._count
        call_nodes: list[AgentCallNode] = []

        def record_call() -> None:
            if not call_nodes:
                fields: Frozen | None = agent.get("interaction_metadata")
                metadata = fields.as_kwargs() if fields is not None else {}
                messages, _ = _messages_so_far(requests)
                call_nodes.append(AgentCallNode(messages=messages, agent=agent, settings=settings, **metadata))
                self._persister.offer(call_nodes[0])

        def record_replies() -> None:
            if self._unfinished.pop(number, None) is not None:
                record_call()
                messages, error = _messages_so_far(replies)
                self._persister.offer(AgentReplyNode(agent_call=call_nodes[0], replies=messages, error=error))

        self._unfinished[number] = record_replies
        requests.when_done(record_call)
        replies.when_done(record_replies)

    def forget_all(self) -> None:
        """Begin anew."""
        self._unfinished.clear()

    def record_the_rest(self) -> None:
        """Record the calls whose messages are not all there, as they are."""
        for record in list(self._unfinished.values()):
            record()


def _messages_so_far(sequence: MessageSequencePromise) -> tuple[tuple[Message, ...], str | None]:
    messages: list[Message] = []
    error: str | None = None
    for part in flat_parts(sequence.buffer()):
        outcome = part.outcome_if_done() if isinstance(part, MessagePromise) else part
        if isinstance(outcome, Message):
            messages.append(outcome)
        elif isinstance(outcome, Failure):
            error = error or class_and_text(outcome.error)
        elif isinstance(part, Buffer):
            break
        else:
            messages.append(Message(is_unread=True, **part.preliminary_metadata.as_kwargs()))
    return tuple(messages), error
