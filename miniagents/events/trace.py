"""What happened on a bus: a capped record of every event and every handling of it, in the order in which it happened.

On the hot path a row is a plain tuple; `TraceEvent` objects are made when somebody looks.
"""

import asyncio
import contextlib
import inspect
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final, cast

from miniagents.events.event import Event
from miniagents.promising._wording import shown

EMITTED: Final = "emitted"
HANDLED: Final = "handled"
DEAD: Final = "dead"
RETRIED: Final = "retried"
UNROUTED: Final = "unrouted"
IGNORED: Final = "ignored"
JOINED: Final = "joined"
MEMORY: Final = "memory"
MODEL_CALLED: Final = "model_called"
MODEL_ANSWERED: Final = "model_answered"

Row = tuple[str, str, str | None, str | None, str, str | None, float, float | None, str | None]
"""Kind, flow, event, its cause, name of its type, handler, monotonic time, duration, error.

Texts and numbers alone, so that the garbage collector need not look at thousands of rows.
"""

_WITH_CONTENT: Final = frozenset({JOINED, MEMORY, MODEL_CALLED})
_OF_FLOWS: Final = frozenset({EMITTED, HANDLED, DEAD, RETRIED, UNROUTED, IGNORED, JOINED})

_RESOLUTION_S: Final = 1e-6
_NOT_YET: Final = 1_000
"""How many rows a subscriber may be behind before it loses the oldest."""


class TraceEvent(Event):
    """One thing that happened on a bus. `parent_id` is the event that `event_id` is a reply to: the causal tree.

    Kinds: `"emitted"` (an event came in; `handler` is who replied with it), `"handled"` and `"dead"` (a handler is done
    with it, or it will never be), `"retried"` (a handler failed and is tried again), `"unrouted"` (no handler takes
    it), `"ignored"` (a join had one already), `"joined"` (it is one of those of a join that is complete now; `content`
    has the id of the last of them), `"memory"` (a merge into the shared memory; `error` is None, `content`
    has the keys), `"model_called"` and `"model_answered"` (an `LLMBroker` asked; `content` of the former has the
    model's name, `error` of the latter what went wrong).
    """

    kind: str
    flow_id: str
    event_id: str | None = None
    parent_id: str | None = None
    event_type: str = ""
    """The name of the class of the event."""
    handler: str | None = None
    at: datetime
    """When it happened, in UTC; of what took time: when it was over."""
    duration_s: float | None = None
    """How long the handler took, all its attempts together."""
    error: str | None = None
    """Class and text of what went wrong."""


class Trace:
    """The trace of one bus: the last `max_trace_events` things that happened."""

    def __init__(self, max_trace_events: int) -> None:
        self.rows: deque[Row] | None = deque(maxlen=max_trace_events) if max_trace_events else None
        """The rows; None where nothing is traced (for this package)."""
        self.note: Callable[[Row], None] | None = None if self.rows is None else self.rows.append
        """Takes a row; None while nobody wants any (for this package)."""
        self._is_enabled = True
        self._subscribers: tuple[_Subscriber, ...] = ()
        self._writers = 0
        self._is_over = False
        # Rows have the clock that never jumps; people want that on the wall.
        self._wall_offset_s = time.time() - time.monotonic()

    def set_enabled(self, is_enabled: bool) -> None:  # noqa: FBT001 - a setter
        """Whether anything is taken from now on (for this package)."""
        self._is_enabled = is_enabled
        self._choose_note()

    def _choose_note(self) -> None:
        if not self._is_enabled:
            self.note = None
        elif self._subscribers:
            self.note = self._note_and_tell
        else:
            self.note = None if self.rows is None else self.rows.append

    def _note_and_tell(self, row: Row) -> None:
        if self.rows is not None:
            self.rows.append(row)
        for subscriber in self._subscribers:
            subscriber.take(row)

    def bus_has_begun(self) -> None:
        """One more bus writes this (for this package)."""
        self._writers += 1

    def bus_has_ended(self, *, is_its_own: bool) -> None:
        """A bus writes this no more; if it is the bus's own trace, nobody ever will (for this package)."""
        self._writers -= 1
        self._is_over = self._is_over or is_its_own
        if not self._writers:
            for subscriber in self._subscribers:
                subscriber.end()

    def kept(self) -> list[Row]:
        """Give the rows that are there at this moment, in any thread (for this package)."""
        while True:
            try:
                return list(self.rows or ())
            except RuntimeError:
                # Another thread has added one meanwhile.
                continue

    def query(
        self,
        *,
        flow: Any = None,
        type: Any = None,  # noqa: A002 - the published signature
        handler: Any = None,
        since: datetime | None = None,
    ) -> list[TraceEvent]:
        """Give the trace events that fit all that is given, in the order in which they happened.

        Args:
            flow: a `Flow`, or its id.
            type: a class of events, subclasses included, or its name, or a kind of trace events such as `"dead"`.
            handler: a handler, or its name.
            since: the earliest time; one without a time zone is local time.

        Raises:
            TypeError: one of them is not that.
        """
        flow_id = getattr(flow, "id", flow)
        _check("flow", flow, flow_id is None or isinstance(flow_id, str), "a flow, or its id")
        _check(
            "type",
            type,
            type is None or isinstance(type, str) or inspect.isclass(type),
            "a class of events, its name, or a kind of trace events such as 'dead'",
        )
        is_moment = since is None or isinstance(cast("object", since), datetime)
        _check("since", since, is_moment, "a `datetime`, such as `datetime.now(UTC) - timedelta(minutes=5)`")
        name = handler if handler is None or isinstance(handler, str) else handler_name(handler)
        # One of several handlers of that name; see `Routes.add`.
        prefix = f"{name} #" if name is not handler else None
        names = None if type is None else {type} if isinstance(type, str) else _names_of(type)
        # Less what `at` of a trace event is rounded by, so that it fits itself.
        earliest = None if since is None else since.timestamp() - self._wall_offset_s - _RESOLUTION_S
        return [
            self._trace_event(row)
            for row in self.kept()
            if (flow_id is None or row[1] == flow_id)
            and (names is None or row[0] in names or row[4] in names)
            and (name is None or row[5] == name or _has_prefix(row[5], prefix))
            and (earliest is None or row[6] >= earliest)
        ]

    def __iter__(self) -> Iterator[TraceEvent]:
        return iter(self.query())

    def __len__(self) -> int:
        return len(self.rows or ())

    async def subscribe(self) -> AsyncIterator[TraceEvent]:
        """Give trace events as they happen, from when the iteration begins; one that is far behind loses the oldest.

        It ends when the bus has ended; where several write this trace, when the last of those has that are at work.
        """
        if self._is_over:
            return
        subscriber = _Subscriber((self.rows.maxlen if self.rows is not None else None) or _NOT_YET)
        self._subscribers += (subscriber,)
        self._choose_note()
        try:
            while await subscriber.has_more():
                yield self._trace_event(subscriber.rows.popleft())
        finally:
            self._subscribers = tuple(other for other in self._subscribers if other is not subscriber)
            self._choose_note()

    def summary(self) -> str:
        """Give what happened as a text for a person: each event type, each handler, and what failed."""
        rows = self.kept()
        if not rows:
            return "Nothing is in the trace."
        # What happened outside of all handlers is in no flow.
        flows = len({row[1] for row in rows if row[0] in _OF_FLOWS})
        lines = [f"{len(rows)} trace events of {flows} flow{'' if flows == 1 else 's'}", "", "events:"]
        emitted = Counter(row[4] for row in rows if row[0] == EMITTED)
        unrouted = {row[4] for row in rows if row[0] == UNROUTED}
        for name, count in emitted.most_common():
            lines.append(f"  {name}: {count}" + (" (no handler takes it)" if name in unrouted else ""))
        lines += ["", "handlers:", *_handler_lines(rows)]
        lines += _model_lines(rows)
        failed = Counter((row[5], row[4], row[8]) for row in rows if row[0] == DEAD)
        if failed:
            lines += ["", "failed:"]
            lines += [
                f"  {handler} on {kind}: {error}" + (f" ({count} times)" if count > 1 else "")
                for (handler, kind, error), count in failed.most_common(20)
            ]
        return "\n".join(lines)

    def _trace_event(self, row: Row) -> TraceEvent:
        kind, flow_id, event_id, parent_id, event_type, handler, at, duration_s, error = row
        content = None
        if kind in _WITH_CONTENT:
            # It travels in the place of an error, as nothing went wrong there.
            content, error = error, None
        return TraceEvent(
            content=content,
            kind=kind,
            flow_id=flow_id,
            event_id=event_id,
            parent_id=parent_id,
            event_type=event_type,
            handler=handler,
            at=datetime.fromtimestamp(at + self._wall_offset_s, tz=UTC),
            duration_s=duration_s,
            error=error,
        )


class _Subscriber:
    """What one who reads along has not read yet. Rows may come from any thread."""

    __slots__ = ("_is_ended", "_loop", "_waiter", "rows")

    def __init__(self, most: int) -> None:
        self.rows: deque[Row] = deque(maxlen=most)
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._is_ended = False

    def take(self, row: Row) -> None:
        """Add a row."""
        self.rows.append(row)
        self._wake()

    def end(self) -> None:
        """Add nothing more."""
        self._is_ended = True
        self._wake()

    def _wake(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            with contextlib.suppress(RuntimeError):
                # Raised if its loop has ended, and with it whoever was reading.
                self._loop.call_soon_threadsafe(_settle, waiter)

    async def has_more(self) -> bool:
        """Wait for the next row; false if none will come."""
        while not self.rows:
            if self._is_ended:
                return False
            waiter = self._waiter = self._loop.create_future()
            # What came before the waiter was there has told nobody.
            if not self.rows and not self._is_ended:
                await waiter
        return True


def _settle(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def _check(name: str, value: object, is_fine: bool, what: str) -> None:  # noqa: FBT001 - what was found out
    if not is_fine:
        raise TypeError(f"`{name}` of `query()` is {what}, not {shown(value)}.")


def _has_prefix(name: str | None, prefix: str | None) -> bool:
    return prefix is not None and name is not None and name.startswith(prefix)


def _names_of(kind: type[Any]) -> set[str]:
    """Give the names of a class and of all below it."""
    names = {kind.__name__}
    for below in kind.__subclasses__():
        names |= _names_of(below)
    return names


def _handler_lines(rows: list[Row]) -> Iterator[str]:
    names = dict.fromkeys(row[5] for row in rows if row[0] in (HANDLED, DEAD))
    for name in names:
        mine = [row for row in rows if row[5] == name]
        durations = [row[7] for row in mine if row[0] == HANDLED and row[7] is not None]
        failed = sum(row[0] == DEAD for row in mine)
        line = f"  {name}: {len(durations)} handled"
        if durations:
            line += f", {sum(durations) / len(durations):.3f} s on average, {max(durations):.3f} s at most"
        yield line + (f", {failed} failed" if failed else "")


def _model_lines(rows: list[Row]) -> list[str]:
    called = Counter(row[8] for row in rows if row[0] == MODEL_CALLED)
    if not called:
        return []
    answered = [row for row in rows if row[0] == MODEL_ANSWERED]
    durations = [row[7] for row in answered if row[7] is not None]
    failed = sum(row[8] is not None for row in answered)
    line = f"  {len(answered) - failed} answered"
    if durations:
        line += f", {sum(durations) / len(durations):.3f} s on average, {max(durations):.3f} s at most"
    asked = [f"  {model}: {count} call{'' if count == 1 else 's'}" for model, count in called.most_common()]
    return ["", "models:", *asked, line + (f", {failed} failed" if failed else "")]


def handler_name(handler: Any) -> str:
    """Give the name by which a handler is known: an agent's alias, or the name of a function or class."""
    alias = getattr(handler, "alias", None)
    if isinstance(alias, str):
        return alias
    function = getattr(handler, "func", handler)
    return str(getattr(function, "__name__", type(function).__name__))


__all__ = ["Trace", "TraceEvent"]
