"""Everything that is needed of OpenTelemetry's API; the one file that imports it."""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from opentelemetry import context as current_context
from opentelemetry import metrics, trace
from opentelemetry.context import Context

from miniagents.tracing import _names

Span: TypeAlias = trace.Span
Attributes: TypeAlias = Mapping[str, Any]

_SCOPE: Final = "miniagents"


class OpenTelemetry:
    """A tracer and the instruments. Providers that are None are those that are set for the process, now or later."""

    def __init__(self, tracer_provider: Any, meter_provider: Any) -> None:
        self._tracer = trace.get_tracer(_SCOPE, tracer_provider=tracer_provider)
        meter = metrics.get_meter(_SCOPE, meter_provider=meter_provider)

        def seconds(name: str, description: str, buckets: tuple[float, ...] = _names.DURATION_BUCKETS_S) -> Any:
            return meter.create_histogram(name, "s", description, explicit_bucket_boundaries_advisory=buckets)

        def tokens(name: str, description: str) -> Any:
            return meter.create_counter(name, "{token}", description)

        def tokens_of_one(name: str, description: str) -> Any:
            return meter.create_histogram(
                name, "{token}", description, explicit_bucket_boundaries_advisory=_names.TOKEN_BUCKETS
            )

        self.agent_duration = seconds(_names.INVOKE_AGENT_DURATION, "Duration of calls of agents.")
        self.tool_duration = seconds(_names.EXECUTE_TOOL_DURATION, "Duration of calls of tools.")
        self.chat_duration = seconds(_names.INFERENCE_DURATION, "Duration of requests to models.")
        self.time_to_first_chunk = seconds(
            _names.INFERENCE_TIME_TO_FIRST_CHUNK,
            "Time until a streamed answer begins.",
            _names.FIRST_CHUNK_BUCKETS_S,
        )
        self.used = {
            "input_tokens": tokens(_names.USED_INPUT_TOKENS, "Tokens of prompts, cached ones included."),
            "output_tokens": tokens(_names.USED_OUTPUT_TOKENS, "Tokens of answers, thoughts included."),
            "cache_read_tokens": tokens(_names.USED_CACHE_READ_TOKENS, "Tokens of prompts read from a cache."),
            "cache_write_tokens": tokens(_names.USED_CACHE_WRITE_TOKENS, "Tokens of prompts written to a cache."),
            "reasoning_tokens": tokens(_names.USED_REASONING_TOKENS, "Tokens of thoughts."),
        }
        self.used_by_one = {
            "input_tokens": tokens_of_one(_names.OPERATION_INPUT_TOKENS, "Tokens of one prompt."),
            "output_tokens": tokens_of_one(_names.OPERATION_OUTPUT_TOKENS, "Tokens of one answer."),
        }

    def start_span(self, name: str, attributes: Attributes, *, is_client: bool = False) -> Span:
        """Begin a span below the current one."""
        kind = trace.SpanKind.CLIENT if is_client else trace.SpanKind.INTERNAL
        return self._tracer.start_span(name, kind=kind, attributes=attributes)

    def start_linked_span(self, name: str, attributes: Attributes) -> Span:
        """Begin a span that is the first of a trace of its own, with a link to the current one."""
        here = trace.get_current_span().get_span_context()
        return self._tracer.start_span(
            name,
            # Without a span, but with all else that the context carries, such as baggage.
            context=trace.set_span_in_context(trace.INVALID_SPAN),
            attributes=attributes,
            links=[trace.Link(here)] if here.is_valid else None,
        )


def make_current(span: Span) -> Context:
    """Make `span` the current one of this task from here on, and give what was there before."""
    before = current_context.get_current()
    current_context.attach(trace.set_span_in_context(span, before))
    return before


def restore(before: Context) -> None:
    """Make what was current before current again."""
    # Attached anew rather than detached, which is an error wherever it happens in another task.
    current_context.attach(before)


def mark_failed(span: Span, description: str | None) -> None:
    """Give `span` the status of an error."""
    span.set_status(trace.Status(trace.StatusCode.ERROR, description))
