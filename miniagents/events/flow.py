"""`Flow`: everything that follows from one event, as a sequence of messages that can be read live and again.

    open --nothing is left to do--> ended          (`close()` only leaves less to do)
      |---cancel()--> cancelled

A flow is its list of messages and a count of the open work: the deliveries that were made, or are to be made, and are
not done. Handlers that are done count down, and what they replied with counts up before that, so that the count is zero
exactly when nothing can come any more. There may be a great many flows at once, and the garbage collector looks at
every object: what only readers need, the stream's buffer, is made when the first one comes.
"""

import threading
import weakref
from collections.abc import AsyncIterator, Generator, Iterable
from typing import TYPE_CHECKING, Any, Protocol, cast

from miniagents._segments import SequenceBuffer, announced, flat_parts, message_at, somebody_listens
from miniagents.events._slots import find_run
from miniagents.events._thread_calls import OwnThread
from miniagents.events.dead_letter import DeadLetter
from miniagents.events.event import Event
from miniagents.message_sequence import MessageSequencePromise, SequenceReader
from miniagents.messages import Message, MessagePromise
from miniagents.promising._buffer import ENDED, Buffer
from miniagents.promising._failure import Failure
from miniagents.promising._waiting import AnyTask, check_thread, new_waiter
from miniagents.promising.context import PromisingContext
from miniagents.promising.errors import PromiseCancelledError
from miniagents.promising.sentinels import NO_VALUE

if TYPE_CHECKING:
    import asyncio

    from miniagents.events._joins import Round
    from miniagents.events._runs import HandlerRun


class FlowEngine(Protocol):
    """What a flow needs of the engine of its bus."""

    thread_id: int
    context: Any

    def close_flow(self, flow: "Flow", error: BaseException | None) -> None:
        """Make dead letters of what waits in `flow`; with an error, stop what runs in it as well."""
        ...

    def give_up_round(self, flow: "Flow", given_up: "Round", reason: str) -> None:
        """Make a dead letter of a round, or call the handler that its join has for that."""
        ...

    def tasks_of(self, flow: "Flow") -> Iterable[AnyTask] | None:
        """Give the tasks that can add something to `flow`; None if that is not known."""
        ...

    def advice_on(self, flow: "Flow") -> str | None:
        """Say what mends a wait for `flow` that cannot end, if that waits for somebody's turn."""
        ...

    def draw_flow(self, flow: "Flow") -> str:
        """Give what happened in `flow` as a Mermaid diagram."""
        ...


class Flow(MessageSequencePromise):
    """Everything that follows from one event; `bus.emit()` gives it.

    It is a `MessageSequencePromise`: `async for message_promise in flow` gives the event that was emitted, then, as
    they come, all that handlers reply with, dead letters included; `await flow` gives the tuple of them when nothing is
    left to do. Any number of readers, at any time, and it can be handed to agents. `await` raises for no dead letter.

    What nobody holds is freed as soon as it has ended.
    """

    __slots__ = (
        "_made",
        "engine",
        "errors_known",
        "id",
        "is_closed",
        "is_ended",
        "letters",
        "open",
        "parts",
        "rounds",
        "runs",
        "watchers",
    )

    id: str
    """The id of the event that it began with."""
    parts: list[Any]
    letters: list[DeadLetter] | None
    open: int
    runs: "set[HandlerRun] | None"
    """The handlers of it that have begun and wait for something."""
    rounds: "dict[object, Round] | None"
    watchers: "list[tuple[type[Event], asyncio.Future[Event | None]]] | None"
    errors_known: list[BaseException] | None
    is_closed: bool
    is_ended: bool

    def __init__(self, engine: FlowEngine, flow_id: str) -> None:
        # All that a promise has; see `MessageSequencePromise.of_buffer`.
        self.waiters = None
        self._thread_id = engine.thread_id
        self._value = NO_VALUE
        self._resolver_function = self._streamer_function = None
        self._producer = self._readers = self._done_callbacks = None
        self._context = engine.context
        self._made: FlowBuffer | None = None
        self.engine = engine
        self.id = flow_id
        self.parts = []
        self.letters = self.rounds = self.runs = self.watchers = self.errors_known = None
        self.open = 0
        self.is_closed = self.is_ended = False
        if PromisingContext.handlers_exist:
            engine.context.promise_was_made(self)

    # -- what users call -----------------------------------------------------------------------------------------

    @property
    def errors(self) -> tuple[DeadLetter, ...]:
        """What has failed in this flow so far, or was not delivered."""
        return tuple(self.letters or ())

    @property
    def events(self) -> tuple[Event, ...]:
        """The events that are there so far: the one that was emitted, then what followed."""
        return tuple(part for part in self._there() if isinstance(part, Event))

    def close(self) -> None:
        """Deliver nothing more: what waits becomes dead letters, what runs is let finish, and then the flow ends."""
        if not self._is_hosted_elsewhere():
            check_thread(self._thread_id, "close a flow")
            self.engine.close_flow(self, None)
        elif not self.is_ended:
            self._context.run_from_thread(self.close)

    def cancel(self, msg: str | None = None) -> bool:
        """Stop everything in this flow, and nothing else; `True` unless it had ended already.

        Handlers that run are cancelled, with the calls that they made; they and what waits become dead letters. Readers
        get what there is so far and then `PromiseCancelledError` (with `msg`).
        """
        if self.is_ended:
            return False
        if self._is_hosted_elsewhere():
            return self._context.run_from_thread(self.cancel, msg)
        check_thread(self._thread_id, "cancel a flow")
        error = PromiseCancelledError(msg or "The flow was cancelled.")
        self.engine.close_flow(self, error)
        self.end(Failure(error))
        return True

    def _is_hosted_elsewhere(self) -> bool:
        """Whether this is a thread of a program whose dispatcher works in another one, of its own."""
        return isinstance(self._context, OwnThread) and threading.get_ident() != self._thread_id

    def mermaid(self) -> str:
        """Give what happened, as a Mermaid diagram: which event led to which by which handler, and what failed."""
        return self.engine.draw_flow(self)

    def __aiter__(self) -> AsyncIterator[MessagePromise]:
        reader = super().__aiter__()
        run = find_run()
        # A handler that waits for a flow must not take a place that the flow needs.
        return reader if run is None else _ReaderInHandler(reader, run)

    def __await__(self) -> Generator[Any, Any, tuple[Message, ...]]:
        run = find_run()
        if run is None or self.done():
            return (yield from super().__await__())
        return (yield from self._awaited_in_handler(run).__await__())

    async def _awaited_in_handler(self, run: Any) -> tuple[Message, ...]:
        async with run.outside():
            return await _Awaited(super().__await__())

    def __repr__(self) -> str:
        state = "ended" if self.is_ended else f"{self.open} open"
        return f"<Flow {self.id}: {len(self.parts)} messages, {state}>"

    # -- as a promise --------------------------------------------------------------------------------------------

    @property
    def _buffer(self) -> "FlowBuffer":  # pyright: ignore[reportIncompatibleVariableOverride]
        made = self._made
        if made is None:
            made = self._made = FlowBuffer(self)
        return made

    def _collect(self) -> Any:
        messages: list[Message] = []
        for part in flat_parts(self._buffer, message_at):
            if isinstance(part, Buffer):
                return NO_VALUE
            outcome = part.outcome_if_done() if isinstance(part, MessagePromise) else part
            if outcome is NO_VALUE:
                return outcome
            if not isinstance(outcome, Failure):
                messages.append(cast("Message", outcome))
            elif not self._is_known(outcome.error):
                return outcome
        return tuple(messages)

    async def _outcome(self) -> Any:
        messages: list[Message] = []
        reader: Any = SequenceReader(self._buffer, raises=False, part_at=message_at)
        async for part in reader:
            outcome = part
            if isinstance(part, MessagePromise):
                outcome = part.outcome_if_done()
                if outcome is NO_VALUE:
                    outcome = await part.outcome()
            if not isinstance(outcome, Failure):
                messages.append(outcome)
            elif not self._is_known(outcome.error):
                self._settle(outcome)
                return outcome
        if self._value is NO_VALUE:
            self._settle(tuple(messages))
        return self._value

    def know_error(self, error: BaseException) -> None:
        """An error that may stand among the messages is accounted for elsewhere (for this package)."""
        if self.errors_known is None:
            self.errors_known = []
        self.errors_known.append(error)

    def _is_known(self, error: BaseException) -> bool:
        """Whether an error among the messages is told of by a dead letter, or was retried."""
        return any(error is known for known in self.errors_known or ())

    def _there(self) -> Iterable[Any]:
        """Give the messages that are there, as messages as far as they are resolved."""
        for part in flat_parts(self._buffer, message_at):
            yield part.outcome_if_done() if isinstance(part, MessagePromise) else part

    # -- for the package -----------------------------------------------------------------------------------------

    def is_read_by(self, reader: SequenceReader) -> bool:
        """Whether a reader is inside of it at this moment (for this package)."""
        return self._made is not None and reader.is_inside(self._made)

    def add(self, part: Any, into: SequenceBuffer | None = None) -> None:
        """Add a message, a promise, or a nested sequence (for this package)."""
        if self.is_ended:
            return
        if into is not None:
            into.append(part)
            return
        self.parts.append(part)
        made = self._made
        if made is not None and made.waiters is not None:
            made.wake()
        if PromisingContext.handlers_exist and _can_be_told(part):
            announced(self.parts, len(self.parts) - 1)

    def watch(self, kind: type[Event]) -> "asyncio.Future[Event | None]":
        """Give a future of the first event of this class that follows; None if none does (for this package)."""
        future = cast("asyncio.Future[Event | None]", new_waiter(self._buffer))
        # Dead letters of what was delivered to nobody are there at once.
        found = next((part for part in self.parts[1:] if isinstance(part, kind)), None)
        if found is not None or self.is_ended:
            future.set_result(found)
        elif self.watchers is None:
            self.watchers = [(kind, future)]
        else:
            self.watchers.append((kind, future))
        return future

    def tell_watchers(self, event: Event) -> bool:
        """Tell those who wait for such an event; whether there are any (for this package)."""
        found = False
        for kind, future in self.watchers or ():
            if isinstance(event, kind):
                found = True
                if not future.done():
                    future.set_result(event)
        return found

    def end(self, failure: Failure | None = None) -> None:
        """Nothing more will come (for this package)."""
        if self.is_ended:
            return
        self.is_ended = True
        made = self._made
        if failure is not None:
            self._buffer.replace_end(failure)
            self._settle(failure)
        elif made is not None:
            made.close()
        watchers, self.watchers = self.watchers, None
        for _, future in watchers or ():
            if not future.done():
                future.set_result(None)


def _can_be_told(part: object) -> bool:
    """Whether somebody wants to hear of this message, and it has its content."""
    return isinstance(part, Message) and somebody_listens() and (not isinstance(part, Event) or part.is_resolved)


class FlowBuffer(SequenceBuffer):
    """The stream of a flow, which knows who can still write to it."""

    __slots__ = ("_flow",)

    def __init__(self, flow: Flow) -> None:
        super().__init__(name="a flow of events")
        self.thread_id = flow.engine.thread_id
        self.pieces = flow.parts
        # Weakly, as the flow has the buffer.
        self._flow = weakref.ref(flow)
        if flow.is_ended:
            self.end = ENDED

    def writers(self) -> Iterable[AnyTask] | None:
        """Give the tasks of the handlers that run; None if something else can add a message."""
        flow = self._flow()
        return None if flow is None or self.end is not None else flow.engine.tasks_of(flow)

    def advice(self) -> str:
        """Say what mends a wait for this flow that cannot end."""
        flow = self._flow()
        return (None if flow is None else flow.engine.advice_on(flow)) or (
            "A handler of a flow is part of that flow, so it cannot wait for its end. Reply with an event, and wait "
            "for the flow outside of its handlers."
        )


class _Awaited:
    """Makes an awaitable of a generator."""

    __slots__ = ("_steps",)

    def __init__(self, steps: Generator[Any, Any, Any]) -> None:
        self._steps = steps

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._steps


class _ReaderInHandler(AsyncIterator[MessagePromise]):
    """Reads a flow for a handler, which takes no place on the bus while it waits."""

    __slots__ = ("_reader", "_run")

    def __init__(self, reader: AsyncIterator[MessagePromise], run: Any) -> None:
        self._reader = reader
        self._run = run

    async def __anext__(self) -> MessagePromise:
        async with self._run.outside():
            return await anext(self._reader)


__all__ = ["Flow", "FlowBuffer", "FlowEngine"]
