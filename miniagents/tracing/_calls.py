"""Spans of agent calls: `invoke_agent` of agents, `execute_tool` of those that a model called as its tools.

    called --the agent's function begins, in its own task--> open --its work is done--> ended

A span begins and ends with the agent's own work, so a lazy call that never runs has none, and a slow reader of the
replies makes none longer. It is the current span in the agent's task, whose context variables are its own and end with
it, so nothing needs to be put back.
"""

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import ContextVar
from functools import partial
from typing import Any, Final, cast

from miniagents._interception import InterceptedCall, Proceed
from miniagents._mini_agents import MiniAgents
from miniagents._segments import SequenceBuffer
from miniagents._tool_marks import current_tool_call
from miniagents.interaction import AgentRun, InteractionContext
from miniagents.message_sequence import MessageSequencePromise
from miniagents.promising._failure import Failure
from miniagents.promising._producer import Producer, current_producer
from miniagents.tracing import _names
from miniagents.tracing._chats import ChatSpan, NoSpan
from miniagents.tracing._contents import outcomes_there, text_there
from miniagents.tracing._faults import error_type, show_error
from miniagents.tracing._otel import OpenTelemetry, Span, make_current


class CallTracer:
    """A `CallInterceptor` that makes a span of every call, and one of every request to a model."""

    def __init__(self, otel: OpenTelemetry, *, captures_content: bool) -> None:
        self.otel = otel
        self.captures_content = captures_content

    async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[Any]:
        """Give the replies as they are: one link to all of them, so that no reader waits for anything here."""
        producer = current_producer.get()
        span = CallSpan(self, call.agent, is_kicked_off=_is_kicked_off(producer, call))
        if self._is_innermost(producer):
            replies = proceed()
            run = replies.buffer().producer
            if isinstance(run, AgentRun) and run.invoke is not None:
                # Only scheduled so far, be it lazy or not.
                run.invoke = partial(span.run, run.invoke, replies)
                # An error of what nobody will read is told at once, as it would be without a span.
                run.fired = span.is_kicked_off
        else:
            # What another interceptor does inside is part of the call, and may be all of it.
            span.begin()
            replies = proceed()
            buffer = cast("SequenceBuffer", replies.buffer())
            buffer.when_ended(partial(span.end_with, buffer))
        yield replies

    def observe_turn(self, agent: Any, request: Any) -> "ChatSpan | NoSpan":
        """Begin the span of one request to a model."""
        if not self._is_nearest():
            return NoSpan()
        call = current_call.get()
        if call is not None and (call.agent is not agent.ctx.this_agent or call.tracer is not self):
            call = None
        return ChatSpan(self.otel, agent, request, call, captures_content=self.captures_content)

    def _is_innermost(self, producer: Producer | None) -> bool:
        interceptors: list[Any] = getattr(getattr(producer, "context", None), "interceptors", [])
        return bool(interceptors) and interceptors[-1] is self

    def _is_nearest(self) -> bool:
        """Whether no context further in has telemetry of its own: a request is one span."""
        context: Any = MiniAgents.get_current()
        while context is not None:
            for interceptor in getattr(context, "interceptors", ()):
                if isinstance(interceptor, CallTracer):
                    return interceptor is self
            context = context.parent
        return True


class CallSpan:
    """The span of one call, from when the agent's work begins until it ends."""

    __slots__ = ("_attributes", "_began", "_span", "_tool_call", "agent", "error", "is_kicked_off", "tracer")

    def __init__(self, tracer: CallTracer, agent: Any, *, is_kicked_off: bool) -> None:
        self.tracer = tracer
        self.agent = agent
        self.is_kicked_off = is_kicked_off
        self.error: BaseException | None = None
        """What the work failed with, be it raised or at its place in the replies."""
        self._tool_call: Any = None
        self._began = 0.0
        self._span: Span | None = None
        self._attributes: dict[str, Any] = {}

    async def run(
        self,
        invoke: Callable[[InteractionContext], Awaitable[None]],
        replies: MessageSequencePromise,
        interaction: InteractionContext,
    ) -> None:
        """Do the agent's work, in its own task."""
        self.begin()
        try:
            await invoke(interaction)
        except BaseException as error:
            self.error = error
            raise
        finally:
            run = current_producer.get()
            buffer = cast("SequenceBuffer", replies.buffer())
            if self._tool_call is not None:
                # The model waits for the whole result, which may still be streaming.
                replies.when_done(partial(self.end_with, buffer))
            elif isinstance(run, AgentRun) and run.task is not None and (run.subtasks or run.open_calls):
                # The end of the replies is the end of the work, unless they were closed before, or wait for late ones.
                if buffer.end is None:
                    buffer.when_ended(partial(self.end_with, buffer))
                run.task.add_done_callback(lambda _: self.end_with(buffer))
            else:
                self._end()

    def begin(self) -> None:
        """Begin the span and make it the current one of this task."""
        agent, otel = self.agent, self.tracer.otel
        self._tool_call = tool_call = _tool_call_of_this_call()
        if tool_call is None:
            name = f"{_names.INVOKE_AGENT} {agent.alias}"
            attributes = {_names.OPERATION_NAME: _names.INVOKE_AGENT, _names.AGENT_NAME: agent.alias}
        else:
            _answered_tool_call.set(tool_call)
            name = f"{_names.EXECUTE_TOOL} {tool_call.tool_name}"
            attributes = {
                _names.OPERATION_NAME: _names.EXECUTE_TOOL,
                _names.TOOL_NAME: tool_call.tool_name,
                _names.TOOL_CALL_ID: tool_call.tool_call_id,
                _names.TOOL_TYPE: "function",
                _names.AGENT_NAME: agent.alias,
            }
        self._attributes = attributes
        self._began = time.perf_counter()
        start = otel.start_linked_span if self.is_kicked_off else otel.start_span
        self._span = span = start(name, attributes)
        make_current(span)
        current_call.set(self)
        if span.is_recording():
            self._describe(span)

    def _describe(self, span: Span) -> None:
        description = self.agent.description
        if self._tool_call is None:
            if description:
                span.set_attribute(_names.AGENT_DESCRIPTION, description)
            return
        if description:
            span.set_attribute(_names.TOOL_DESCRIPTION, description)
        if self.tracer.captures_content:
            span.set_attribute(_names.TOOL_CALL_ARGUMENTS, str(self._tool_call))

    def asks(self, model: str) -> None:
        """Take note that the agent asks `model`."""
        if self._span is not None and self._tool_call is None and self._span.is_recording():
            self._span.set_attribute(_names.REQUEST_MODEL, model)

    def end_with(self, buffer: SequenceBuffer) -> None:
        """End the span, once; `buffer` has the replies, an error of which is the call's own if it ended them."""
        if self._span is None:
            return
        if self.error is None:
            failure = buffer.end
            if not isinstance(failure, Failure) and self._tool_call is not None:
                failure = next((part for part in outcomes_there(buffer) if isinstance(part, Failure)), None)
            self.error = failure.error if isinstance(failure, Failure) else None
        if self._tool_call is not None and self.tracer.captures_content:
            result = text_there(buffer)
            if result is not None:
                self._span.set_attribute(_names.TOOL_CALL_RESULT, result)
        self._end()

    def _end(self) -> None:
        span, self._span = self._span, None
        if span is None:
            return
        error = self.error
        attributes = {name: value for name, value in self._attributes.items() if name in _OF_METRICS}
        if error is not None:
            attributes[_names.ERROR_TYPE] = error_type(error)
            if span.is_recording():
                show_error(span, error, with_text=self.tracer.captures_content)
        otel = self.tracer.otel
        duration = otel.agent_duration if self._tool_call is None else otel.tool_duration
        duration.record(time.perf_counter() - self._began, attributes)
        span.end()
        # What the agent has started keeps its context variables, and with them this.
        self.error = self._tool_call = None


_OF_METRICS: Final = frozenset({_names.AGENT_NAME, _names.TOOL_NAME, _names.TOOL_TYPE})

current_call: ContextVar[CallSpan | None] = ContextVar("miniagents_traced_call", default=None)
"""The innermost call that this code is part of."""

_answered_tool_call: ContextVar[Any] = ContextVar("miniagents_traced_tool_call", default=None)
"""The call of a tool that has its span already; what the tool calls is no tool."""


def _tool_call_of_this_call() -> Any:
    """Give the `ToolCallMessage` that this call is the answer to; None if no model called this agent as a tool."""
    tool_call = current_tool_call.get()
    return None if tool_call is None or tool_call is _answered_tool_call.get() else tool_call


def _is_kicked_off(producer: Producer | None, call: InterceptedCall) -> bool:
    """Whether nobody will read the replies; the outermost of the interceptions of a call knows."""
    while producer is not None and getattr(producer, "call", None) is call:
        if producer.is_fired():
            return True
        producer = producer.owner
    return False
