"""Spans of work that is no call of an agent, for the packages above this one."""

import sys
from collections.abc import Mapping
from typing import Any, Final

_CALLS: Final = "miniagents.tracing._calls"


class OpenSpan:
    """A span that has begun and is the current one."""

    __slots__ = ("_shows_text", "_span")

    def __init__(self, span: Any, *, shows_text: bool) -> None:
        self._span = span
        self._shows_text = shows_text

    def end(self, error: BaseException | None) -> None:
        """End it; with the error that the work failed with, if it did."""
        if error is not None and self._span.is_recording():
            from miniagents.tracing._faults import show_error

            show_error(self._span, error, with_text=self._shows_text)
        self._span.end()


class SpanMaker:
    """Makes spans where the telemetry of a context wants them."""

    __slots__ = ("_tracer",)

    def __init__(self, tracer: Any) -> None:
        self._tracer = tracer

    def begin(self, name: str, attributes: Mapping[str, Any]) -> OpenSpan:
        """Begin a span below the current one, and make it the current one of these variables."""
        from miniagents.tracing._otel import make_current

        span = self._tracer.otel.start_span(name, attributes)
        make_current(span)
        return OpenSpan(span, shows_text=self._tracer.captures_content)


def span_maker(context: Any) -> SpanMaker | None:
    """Give what makes spans in `context`; None if neither it nor one further out has telemetry."""
    # Loaded by the setting itself, or not at all.
    calls = sys.modules.get(_CALLS)
    while calls is not None and context is not None:
        for interceptor in getattr(context, "interceptors", ()):
            if isinstance(interceptor, calls.CallTracer):
                return SpanMaker(interceptor)
        context = context.parent
    return None


__all__ = ["OpenSpan", "SpanMaker", "span_maker"]
