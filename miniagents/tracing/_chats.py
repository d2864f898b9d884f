"""Spans of requests to models, `chat`: one for each request that an agent sends, from when it is sent to its end."""

import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from miniagents.messages import MessagePromise
from miniagents.tracing import _names
from miniagents.tracing._contents import input_messages, output_messages, system_instructions, tool_definitions
from miniagents.tracing._faults import error_type, show_error
from miniagents.tracing._otel import OpenTelemetry, make_current, restore

if TYPE_CHECKING:
    from miniagents.tracing._calls import CallSpan

_USAGE_ATTRIBUTES = {
    "input_tokens": _names.INPUT_TOKENS,
    "output_tokens": _names.OUTPUT_TOKENS,
    "cache_read_tokens": _names.CACHE_READ_TOKENS,
    "cache_write_tokens": _names.CACHE_WRITE_TOKENS,
    "reasoning_tokens": _names.REASONING_TOKENS,
}


class NoSpan:
    """Sees a request of which somebody else makes the span."""

    def message(self, promise: MessagePromise) -> None:
        """Do nothing."""

    def block_began(self) -> None:
        """Do nothing."""

    def usage_known(self, usage: Any) -> None:
        """Do nothing."""

    def ended(self, end: Any, error: BaseException | None) -> None:
        """Do nothing."""


class ChatSpan:
    """The span of one request to a model. All its methods are called in the task of the model's agent."""

    def __init__(
        self, otel: OpenTelemetry, agent: Any, request: Any, call: "CallSpan | None", *, captures_content: bool
    ) -> None:
        self._otel = otel
        self._request = request
        self._call = call
        self._captures_content = captures_content
        self._promises: list[MessagePromise] = []
        self._usage: Any = None
        self._first_chunk_s: float | None = None
        self._attributes: dict[str, Any] = {
            _names.OPERATION_NAME: _names.CHAT,
            _names.PROVIDER_NAME: _names.PROVIDERS.get(agent.provider, agent.provider),
            _names.REQUEST_MODEL: request.model,
            **_server(getattr(agent, "base_url", None)),
        }
        if call is not None:
            call.asks(request.model)
        self._began = time.perf_counter()
        self._span = otel.start_span(f"{_names.CHAT} {request.model}", self._attributes, is_client=True)
        # What is sent meanwhile, such as the HTTP request, is part of it.
        self._before = make_current(self._span)
        if self._span.is_recording():
            self._span.set_attributes(_options(request))
            if captures_content:
                self._show_prompt()

    def _show_prompt(self) -> None:
        request = self._request
        shown = {
            _names.INPUT_MESSAGES: input_messages(request.turns),
            _names.SYSTEM_INSTRUCTIONS: system_instructions(request),
            _names.TOOL_DEFINITIONS: tool_definitions(request.tools),
        }
        self._span.set_attributes({name: text for name, text in shown.items() if text is not None})

    def block_began(self) -> None:
        """A block of the answer begins to be visible."""
        if self._first_chunk_s is None and self._request.stream:
            self._first_chunk_s = time.perf_counter() - self._began

    def message(self, promise: MessagePromise) -> None:
        """A block of the answer begins; `promise` is its message."""
        if self._captures_content:
            self._promises.append(promise)

    def usage_known(self, usage: Any) -> None:
        """The request has used so much so far."""
        self._usage = usage

    def ended(self, end: Any, error: BaseException | None) -> None:
        """The request has ended."""
        restore(self._before)
        duration_s = time.perf_counter() - self._began
        if end is not None and end.usage is not None:
            self._usage = end.usage
        if self._call is not None:
            # One that is sent again, with success, leaves no error on the agent.
            self._call.error = error
        attributes = dict(self._attributes)
        if end is not None and end.model:
            attributes[_names.RESPONSE_MODEL] = end.model
        if error is not None:
            attributes[_names.ERROR_TYPE] = error_type(error)
        if self._span.is_recording():
            self._show_answer(end, error)
        self._span.end()
        self._record(duration_s, attributes)

    def _show_answer(self, end: Any, error: BaseException | None) -> None:
        span = self._span
        if self._first_chunk_s is not None:
            span.set_attribute(_names.TIME_TO_FIRST_CHUNK, self._first_chunk_s)
        for field, name in _USAGE_ATTRIBUTES.items():
            count = getattr(self._usage, field, None)
            if count is not None:
                span.set_attribute(name, count)
        if end is not None:
            known = {
                _names.RESPONSE_MODEL: end.model,
                _names.RESPONSE_ID: end.fields.get("id"),
                _names.FINISH_REASONS: None if end.finish_reason is None else [end.finish_reason],
            }
            span.set_attributes({name: value for name, value in known.items() if value is not None})
        if error is not None:
            span.set_attribute(_names.FINISH_REASONS, ["error"])
            show_error(span, error, with_text=self._captures_content)
        if self._promises:
            span.set_attribute(_names.OUTPUT_MESSAGES, output_messages(self._promises))

    def _record(self, duration_s: float, attributes: dict[str, Any]) -> None:
        otel = self._otel
        otel.chat_duration.record(duration_s, attributes)
        if self._first_chunk_s is not None:
            otel.time_to_first_chunk.record(self._first_chunk_s, attributes)
        without_error = {name: value for name, value in attributes.items() if name != _names.ERROR_TYPE}
        by_modality = {**without_error, _names.TOKEN_MODALITY: "unknown"}
        for field, counter in otel.used.items():
            count = getattr(self._usage, field, None)
            if count is not None:
                counter.add(count, by_modality)
        for field, histogram in otel.used_by_one.items():
            count = getattr(self._usage, field, None)
            if count is not None:
                histogram.record(count, without_error)


def _server(base_url: str | None) -> dict[str, Any]:
    """Give the server of an agent, if it was told one. A URL may hold a password, so no more of it than that."""
    try:
        parts = urlsplit(base_url or "")
        host, port = parts.hostname, parts.port
    except ValueError:
        return {}
    if not host:
        return {}
    return {_names.SERVER_ADDRESS: host, _names.SERVER_PORT: port or (80 if parts.scheme == "http" else 443)}


def _options(request: Any) -> dict[str, Any]:
    """Give the options of a request that the conventions have names for."""
    options: dict[str, Any] = {}
    if request.stream:
        options[_names.REQUEST_STREAM] = True
    if request.thinking is not None:
        options[_names.REASONING_LEVEL] = request.thinking
    if request.output is not None:
        options[_names.OUTPUT_TYPE] = "json"
    parameters: dict[str, Any] = request.parameters
    for given, (name, kind) in _names.REQUEST_PARAMETERS.items():
        value = parameters.get(given)
        if isinstance(value, (int, float) if kind is float else kind) and not isinstance(value, bool):
            options[name] = kind(value)
    for given in _names.STOP_PARAMETERS:
        stops: Any = parameters.get(given)
        stops = [stops] if isinstance(stops, str) else stops
        if isinstance(stops, list | tuple) and stops:
            options[_names.STOP_SEQUENCES] = [str(stop) for stop in stops]  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
    return options
