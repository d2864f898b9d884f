"""`CallInterceptor`: the one way in which upper layers act inside the core."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

from miniagents._segments import SequenceBuffer
from miniagents._sequence_parts import AsyncPart
from miniagents.errors import UnknownSettingError
from miniagents.interaction import call_failure_line
from miniagents.message_sequence import MessageSequencePromise, append_messages
from miniagents.promising.ext.frozen import Frozen

EXTENSION_GROUP = "miniagents.extensions"
Proceed = Callable[[], MessageSequencePromise]


class InterceptedCall(NamedTuple):
    """One agent call, as an interceptor sees it."""

    agent: Any
    """The `MiniAgent` that is called."""
    settings: Frozen
    """All its settings, in the form in which they are recorded."""
    message_promises: MessageSequencePromise
    """What it is called with; may still be coming. Reading it takes nothing from the agent."""


@runtime_checkable
class CallInterceptor(Protocol):
    """Acts around every agent call of the context that it is given to: `MiniAgents(interceptors=[...])`."""

    def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[Any]:
        """Give the replies that the caller gets; an async generator, run in a task of its own.

        `proceed()` makes the call (or asks the next interceptor) and gives the replies, which no reader sees before
        this generator yields them: `async for reply in proceed(): yield reply`. One that does not call it answers by
        itself. Message promises may be yielded while their tokens are still coming. The iteration raises an error at
        its place and goes on behind it if it is asked for more; an exception that is yielded is raised to the caller at
        its place.
        """
        ...


def intercepted_replies(
    context: Any, call: InterceptedCall, run: Proceed, *, is_lazy: bool, is_fired: bool
) -> MessageSequencePromise:
    """Give what the interceptors of `context`, the first outermost, make of the call that `run` would start."""
    proceed = run
    for depth, interceptor in enumerate(reversed(context.interceptors)):
        is_outermost = depth == len(context.interceptors) - 1
        proceed = _step(context, call, interceptor, proceed, is_lazy=is_lazy, is_fired=is_fired and is_outermost)
    return proceed()


def _step(
    context: Any, call: InterceptedCall, interceptor: CallInterceptor, inner: Proceed, *, is_lazy: bool, is_fired: bool
) -> Proceed:
    def proceed() -> MessageSequencePromise:
        buffer = SequenceBuffer(context.read_ahead_by_default)
        producer = _Interception(context, buffer, is_lazy=is_lazy)
        producer.streamer = lambda _: interceptor.intercept_call(call, inner)
        producer.after = []
        producer.append = append_messages
        producer.call = call
        producer.fired = is_fired
        buffer.producer = producer
        promise = MessageSequencePromise.of_buffer(buffer)
        if not is_lazy:
            producer.launch()
        return promise

    return proceed


class _Interception(AsyncPart):
    """Runs one interceptor around one call."""

    __slots__ = ("call", "fired")

    call: InterceptedCall
    fired: bool

    def is_unread_call(self) -> bool:
        return self.target is None or not cast("SequenceBuffer", self.target).had_reader

    def is_fired(self) -> bool:
        return self.fired

    def describe(self) -> str:
        return f"the agent `{self.call.agent.alias}`"

    def failure_line(self) -> str:
        return call_failure_line(self.call.agent.alias, self.owner)


def load_extensions(settings: Mapping[str, Any], mini_agents: Any) -> Iterator[CallInterceptor]:
    """Give the interceptors that installed extensions make of their settings.

    Each setting is looked up, by its name, among the entry points of the group `miniagents.extensions`, and what it
    points to is called with the value and the context.

    Raises:
        UnknownSettingError: there is no such extension.
    """
    if not settings:
        return
    # Loaded when used: it is slow to import.
    from importlib.metadata import entry_points

    for name, value in settings.items():
        found = list(entry_points(group=EXTENSION_GROUP, name=name))
        if not found:
            known = sorted(entry.name for entry in entry_points(group=EXTENSION_GROUP))
            extensions = f"Installed extensions: {', '.join(known)}." if known else "No extensions are installed."
            raise UnknownSettingError(f"`MiniAgents` does not take `{name}` (given: {value!r}). {extensions}")
        yield found[0].load()(value, mini_agents)
