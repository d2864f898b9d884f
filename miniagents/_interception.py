"""`CallInterceptor`: the one way in which upper layers act inside the core."""

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

from miniagents._call_marks import NOT_MARKED, CallMarks
from miniagents._segments import SequenceBuffer, somebody_listens
from miniagents._sequence_parts import AsyncPart
from miniagents.errors import UnknownSettingError
from miniagents.interaction import call_failure_line
from miniagents.message_sequence import MessageSequencePromise, append_messages
from miniagents.messages import Message, MessagePromise
from miniagents.promising._producer import Producer
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
    marks: CallMarks = NOT_MARKED
    """How a journal is to treat it."""
    journal_key: str | None = None
    """What tells it apart from equal calls in a journal."""
    complete: Callable[[Sequence[Message]], None] | None = None
    """What gives messages that come from a journal what is not stored; to be called with all replies of the call."""


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


@runtime_checkable
class ContextListener(Protocol):
    """What an interceptor may do besides: hear of the beginning and the end of its context."""

    async def context_entered(self) -> None:
        """The context has begun (not called where it is activated without being awaited); an error ends it at once."""
        ...

    async def context_left(self, error: BaseException | None, *, has_failed: bool) -> None:
        """All work of the context has ended, or was cancelled because of `error`; an error in here is raised.

        `has_failed`: because of that error, or because one will be raised that nobody received.
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
        producer.append = _append_reply
        producer.call = call
        producer.fired = is_fired
        producer.replies = buffer
        buffer.producer = producer
        promise = MessageSequencePromise.of_buffer(buffer)
        if not is_lazy:
            producer.launch()
        return promise

    return proceed


def _append_reply(buffer: SequenceBuffer, reply: object, producer: Producer) -> None:
    # What interceptors yield is mostly what they were given: one promise, which needs no closer look.
    if isinstance(reply, MessagePromise) and not somebody_listens():
        buffer.append(reply)
    else:
        append_messages(buffer, reply, producer)


class _Interception(AsyncPart):
    """Runs one interceptor around one call."""

    __slots__ = ("call", "fired", "replies")

    call: InterceptedCall
    fired: bool
    replies: SequenceBuffer
    """Its target, kept beyond the end: what the call kicked off shows its usage there."""

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

    Each setting is looked up, by its name, among the entry points of the group `miniagents.extensions`. What these
    point to is called once, with a dict of all settings that point to it and the context. One that gives `None` does
    nothing here.

    Raises:
        UnknownSettingError: there is no such extension.
    """
    if not settings:
        return
    # Loaded when used: it is slow to import.
    from importlib.metadata import entry_points

    makers: dict[str, tuple[Any, dict[str, Any]]] = {}
    for name, value in settings.items():
        found = list(entry_points(group=EXTENSION_GROUP, name=name))
        if not found:
            known = sorted(entry.name for entry in entry_points(group=EXTENSION_GROUP))
            extensions = f"Installed extensions: {', '.join(known)}." if known else "No extensions are installed."
            raise UnknownSettingError(f"`MiniAgents` does not take `{name}` (given: {value!r}). {extensions}")
        makers.setdefault(found[0].value, (found[0], {}))[1][name] = value
    for maker, given in makers.values():
        interceptor = maker.load()(given, mini_agents)
        if interceptor is not None:
            yield interceptor
