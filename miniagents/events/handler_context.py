"""`HandlerContext`: what a handler of events gets as its first argument."""

from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any, Final, Protocol

from miniagents._call_marks import JournaledCall, current_journaled_call
from miniagents.errors import NoJournalError
from miniagents.events._slots import outside_of_handler
from miniagents.events.event import Event
from miniagents.events.flow import Flow
from miniagents.events.shared_memory import SharedMemory

if TYPE_CHECKING:
    from miniagents.events.bus import EventBus


class RunOfHandler(Protocol):
    """What a context needs of the run that it belongs to."""

    event: Event
    flow: Flow
    attempt: int
    is_over: bool
    engine: Any

    @property
    def bus(self) -> "EventBus":
        """The bus."""
        ...

    @property
    def handler_name(self) -> str:
        """The name of the handler."""
        ...

    def reply(self, messages: object) -> None:
        """Take a reply."""
        ...


class HandlerContext:
    """What a handler gets: the event, its flow, the bus, and the way to reply.

    Among the replies, events are routed on; texts, messages and tokens are for those who read the flow.
    """

    __slots__ = ("_run",)

    def __init__(self, run: RunOfHandler) -> None:
        self._run = run

    @property
    def event(self) -> Event:
        """The event that is handled; for a join the one that made it complete."""
        return self._run.event

    @property
    def flow(self) -> Flow:
        """The flow that the event is part of."""
        return self._run.flow

    @property
    def bus(self) -> "EventBus":
        """The bus that delivered the event."""
        return self._run.bus

    @property
    def shared_memory(self) -> SharedMemory:
        """What all handlers of the bus know together."""
        return self._run.bus.shared_memory

    @property
    def this_handler(self) -> str:
        """The name of the handler that is running."""
        return self._run.handler_name

    @property
    def attempt(self) -> int:
        """How often the handler has been called for this event, this time included."""
        return self._run.attempt

    async def call_key(self) -> str:
        """Give the name of this run of the handler in the journal: the same one each time that the run is resumed.

        Raises:
            NoJournalError: the context has no journal.
        """
        return await _journaled("call_key()").call_key()

    async def once(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Give what `function(*args, **kwargs)` returns, which runs once for this event and this handler.

        A later attempt, and a resumed run, get what the first one got. See `InteractionContext.once`.

        Raises:
            NoJournalError: the context has no journal.
            UnstorableValueError: the result cannot be stored; the field is named.
        """
        return await _journaled("once(...)").once(name, function, args, kwargs)

    async def ask(self, text: str, key: str | None = None) -> Any:
        """Ask a person, and give the answer, however long that takes; see `InteractionContext.ask`.

        A handler that waits for a person takes no place on the bus meanwhile.

        Raises:
            NoJournalError: the context has no journal.
            JournalError: another text was asked under this key.
        """
        return await outside_of_handler(_journaled("ask(...)").ask(text, key))

    def reply(self, messages: object) -> "GiveWay":
        """Send replies: events, texts, messages, promises, or (async) iterables of these.

        Returns at once and need not be awaited; `await ctx.reply(...)` lets others run. Events are on their way when it
        returns, as copies that bear the stamps of this flow. A sequence that is still coming is followed in the
        background, at its place in the flow; the handler is not done before it is.

        Raises:
            NotAMessageError: something in it can be no message; nothing is sent then.
            RepliesClosedError: the handler has ended already.
        """
        run = self._run
        if isinstance(messages, Event) and not run.is_over:
            # What `run.reply` would come to, as it is what handlers reply with most.
            run.engine.take_reply(run, messages)
        else:
            run.reply(messages)
        return GIVE_WAY


def _journaled(what: str) -> JournaledCall:
    call = current_journaled_call.get()
    if call is None:
        raise NoJournalError(f"ctx.{what}")
    return call


class GiveWay:
    """What `reply` gives: may be awaited, to let others run."""

    __slots__ = ()

    def __await__(self) -> Generator[Any, Any, None]:
        # A bare yield is how a task lets all others that are ready run first.
        yield


GIVE_WAY: Final = GiveWay()

__all__ = ["GiveWay", "HandlerContext"]
