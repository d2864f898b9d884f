"""`Tracer`: the trace of dispatchers, with queries."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from miniagents.events._options import whole_number
from miniagents.events.trace import Trace, TraceEvent


class Tracer(Trace):
    """The last things that happened on the dispatchers, and in the `LLMBroker`s, that it is given to.

    It is a `Trace`: `query`, `subscribe` and `summary` are there as well.

    Args:
        max_trace_events: how many of the last trace events are kept, at least 1.
        enabled: whether it takes any; see `enable` and `disable`.

    Raises:
        RegistrationError: `max_trace_events` is no such number.
    """

    def __init__(self, max_trace_events: int = 10_000, *, enabled: bool = True) -> None:
        super().__init__(whole_number(max_trace_events, "max_trace_events", type(self).__name__, at_least=1))
        if not enabled:
            self.disable()

    def get_events(
        self,
        event_type: Any = None,
        start_time: datetime | float | None = None,
        end_time: datetime | float | None = None,
        filter_func: Callable[[TraceEvent], object] | None = None,
    ) -> list[TraceEvent]:
        """Give the trace events that fit all that is given, in the order in which they happened.

        Args:
            event_type: a class of events, subclasses included, or its name, or a kind of trace events such as `"dead"`.
            start_time: the earliest time, as seconds since 1970 or a `datetime` (without a time zone it is local time).
            end_time: the latest time.
            filter_func: takes a trace event, and gives whether it is wanted.
        """
        earliest, latest = _moment(start_time), _moment(end_time)
        return [
            event
            for event in self.query(type=event_type, since=earliest)
            if (latest is None or event.at <= latest) and (filter_func is None or filter_func(event))
        ]

    def get_last_n_tracer_events(self, n: int, event_type: Any = None) -> list[TraceEvent]:
        """Give the last `n` trace events, of this type if one is given, in the order in which they happened."""
        found = self.query(type=event_type)
        return found[-n:] if n > 0 else []

    def clear(self) -> None:
        """Forget everything so far."""
        if self.rows is not None:
            self.rows.clear()

    def enable(self) -> None:
        """Take what happens from now on."""
        self.set_enabled(True)

    def disable(self) -> None:
        """Take nothing from now on; what is there stays."""
        self.set_enabled(False)


def _moment(time: datetime | float | None) -> datetime | None:
    if time is None:
        return None
    if isinstance(time, datetime):
        return time.astimezone(UTC)
    return datetime.fromtimestamp(time, tz=UTC)


__all__ = ["Tracer"]
