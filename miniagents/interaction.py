"""One call of an agent, seen from inside (`InteractionContext`) and from outside (`AgentCall`).

`AgentRun` is the producer between the two: the task in which the agent's function runs and fills its replies.

    called --the next task switch, or the first reader of a lazy call--> running --the function, then all subtasks
    end--> replies closed
"""

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import Any, Protocol, TypeVar

from miniagents._reordering import SequenceBuffer
from miniagents.errors import CallFinishedError
from miniagents.message_sequence import MessageSequencePromise, append_messages, append_out_of_order
from miniagents.promising._buffer import Buffer
from miniagents.promising._producer import Producer, current_producer, current_task
from miniagents.promising._waiting import AnyTask, check_thread
from miniagents.promising.errors import AppenderClosedError, NoActiveContextError
from miniagents.promising.promising import PromisingContext
from miniagents.promising.sentinels import Sentinel

T = TypeVar("T")


class Agent(Protocol):
    """What can be called, as the code of an agent sees it: a `MiniAgent`."""

    @property
    def alias(self) -> str:
        """The name in upper snake case."""
        ...

    @property
    def description(self) -> str | None:
        """What it does."""
        ...

    def inquire(self, messages: object = None, **settings: Any) -> MessageSequencePromise:
        """Call it and give its replies; see `MiniAgent.inquire`."""
        ...

    def kick_off(self, messages: object = None, **settings: Any) -> None:
        """Call it and ignore its replies; see `MiniAgent.kick_off`."""
        ...

    def initiate_inquiry(self, **settings: Any) -> "AgentCall":
        """Begin a call whose messages are sent one after another; see `MiniAgent.initiate_inquiry`."""
        ...

    def fork(self, **settings: Any) -> "Agent":
        """Give a new agent with these settings on top; see `MiniAgent.fork`."""
        ...


class InteractionContext:
    """What an agent gets as its first argument: its input, and the way to reply.

    The agent may read `message_promises` and call `reply` as often as it likes, in any order, and call other agents.
    Its reply sequence is closed when its function has returned and all its subtasks are done.
    """

    __slots__ = ("__weakref__", "_run", "message_promises", "this_agent")

    this_agent: Agent
    """The agent that is running."""
    message_promises: MessageSequencePromise
    """The messages that it was called with; they may still be coming."""

    def __init__(self, run: "AgentRun", agent: Agent, message_promises: MessageSequencePromise) -> None:
        self._run = run
        self.this_agent = agent
        self.message_promises = message_promises

    @classmethod
    def get_current(cls) -> "InteractionContext":
        """Give the context of the agent that this code runs in.

        Raises:
            NoActiveContextError: it does not run in an agent.
        """
        run = find_current_run()
        if run is None or run.interaction is None:
            raise NoActiveContextError(cls.__name__)
        return run.interaction

    def reply(self, messages: object) -> "GiveWay":
        """Send replies, whatever kind of `MessageType` they are; they keep the order in which they were sent.

        Returns at once and need not be awaited. `await ctx.reply(...)` lets the readers run and, where the replies have
        a `read_ahead` bound, waits until they have come close enough.

        Raises:
            NotAMessageError: something in it cannot become a message.
            AppenderClosedError: the replies are closed already.
        """
        buffer = self._writable("reply")
        append_messages(buffer, messages, self._run)
        return GiveWay(buffer)

    def reply_out_of_order(self, messages: object) -> "GiveWay":
        """Send replies that are delivered as soon as they are there, ahead of earlier ones that are not.

        Raises:
            NotAMessageError, AppenderClosedError: as for `reply`.
        """
        buffer = self._writable("reply")
        append_out_of_order(buffer, messages, self._run)
        return GiveWay(buffer)

    def wait_for(self, awaitable: Awaitable[T], start_asap_if_coroutine: bool = True) -> Awaitable[T]:  # noqa: FBT001, FBT002
        """Make `awaitable` a subtask: the agent does not end, and its replies do not close, before it is done.

        A coroutine is started at once (unless told otherwise) and its task given back. An error in a subtask becomes
        an error of the agent, unless somebody else awaits it and handles it.
        """
        if asyncio.iscoroutine(awaitable):
            awaitable = self._run.context.start_subtask(awaitable) if start_asap_if_coroutine else _Later(awaitable)
        self._run.add_subtask(awaitable)
        return awaitable

    async def await_for_subtasks(self) -> None:
        """Wait until all subtasks are done; raise the first error among them that was not raised here before."""
        await self._run.await_for_subtasks()

    async def afinish_early(self, await_for_subtasks: bool = True) -> None:  # noqa: FBT001, FBT002
        """Close the replies now, while the agent goes on. Open calls are finished and subtasks awaited before."""
        await self._run.finish_replies(await_for_subtasks=await_for_subtasks)

    def get_agent_trace(self) -> list[Agent]:
        """Give the agents from this one up to the first: who called it, who called that one, and so on."""
        return self._run.trace()

    def _writable(self, action: str) -> SequenceBuffer:
        buffer = self._run.replies
        check_thread(buffer.thread_id, action)
        if buffer.end is not None and isinstance(buffer.end, Sentinel):
            raise AppenderClosedError(f"InteractionContext of {self.this_agent.alias}", action)
        return buffer


class AgentCall:
    """A call that is still being made: messages are sent one after another, while replies may be read already.

    `finish()` (or `reply_sequence()`, by default) tells the agent that no more messages will come. A call that is left
    open is finished when the agent, or the context, in which it was made ends.
    """

    __slots__ = ("__weakref__", "_alias", "_finish", "_replies", "_requests")

    def __init__(
        self, alias: str, requests: SequenceBuffer, replies: MessageSequencePromise, finish: Callable[[], None]
    ) -> None:
        self._alias = alias
        self._requests = requests
        self._replies = replies
        self._finish = finish
        # Weakly: whether anybody can still send anything depends on who holds this object.
        requests.handle = weakref.ref(self)
        task = current_task()
        requests.opener = None if task is None else weakref.ref(task)

    @property
    def is_finished(self) -> bool:
        """Whether no more messages can be sent."""
        return self._requests.end is not None

    def send_message(self, messages: object) -> "AgentCall":
        """Send messages, whatever kind of `MessageType` they are; gives the call itself.

        `await call.send_message(...)` lets the agent run, and waits for it where there is a `read_ahead` bound.

        Raises:
            CallFinishedError: the call is finished.
            NotAMessageError: something in it cannot become a message.
        """
        append_messages(self._writable(), messages)
        return self

    def send_out_of_order(self, messages: object) -> "AgentCall":
        """Send messages that are delivered as soon as they are there, ahead of earlier ones that are not.

        Raises:
            CallFinishedError, NotAMessageError: as for `send_message`.
        """
        append_out_of_order(self._writable(), messages, None)
        return self

    def reply_sequence(self, close_request_sequence: bool = True) -> MessageSequencePromise:  # noqa: FBT001, FBT002
        """Give the replies, the same promise each time, and (unless told otherwise) finish the call."""
        if close_request_sequence:
            self.finish()
        return self._replies

    def finish(self) -> "AgentCall":
        """Tell the agent that no more messages will come; does nothing if it was told already."""
        self._finish()
        return self

    def _writable(self) -> SequenceBuffer:
        check_thread(self._requests.thread_id, "send a message")
        if isinstance(self._requests.end, Sentinel) or self._requests.close_later is not None:
            raise CallFinishedError(self._alias)
        return self._requests

    def __await__(self) -> "Generator[Any, Any, AgentCall]":
        yield from GiveWay(self._requests).__await__()
        return self


class GiveWay:
    """What `reply` gives: may be awaited, to let readers run and to keep within a `read_ahead` bound."""

    __slots__ = ("_buffer",)

    def __init__(self, buffer: Buffer[Any]) -> None:
        self._buffer = buffer

    def __await__(self) -> Generator[Any, Any, None]:
        # A bare yield is how a task lets all others that are ready run first.
        yield
        if not self._buffer.has_room():
            context = PromisingContext.find_current()
            yield from self._buffer.wait_for_room(None if context is None else context.background).__await__()


class _Later:
    """A coroutine that starts when it is first awaited, and may be awaited again."""

    __slots__ = ("_coroutine", "_task")

    def __init__(self, coroutine: Any) -> None:
        self._coroutine = coroutine
        self._task: AnyTask | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        task = self._task
        if task is None:
            run = find_current_run()
            assert run is not None
            task = self._task = run.context.start_subtask(self._coroutine)
        return (yield from asyncio.shield(task).__await__())


class AgentRun(Producer):
    """The running side of one call."""

    __slots__ = ("agent", "fired", "interaction", "invoke", "open_calls", "replies", "requests", "subtasks")

    context: Any

    def __init__(
        self,
        context: Any,
        agent: Agent,
        requests: MessageSequencePromise,
        invoke: Callable[[InteractionContext], Awaitable[None]],
        *,
        bound: int | None,
        is_lazy: bool,
        is_fired: bool,
    ) -> None:
        self.replies = SequenceBuffer(bound)
        super().__init__(context, self.replies, is_lazy=is_lazy)
        self.replies.producer = self
        self.agent = agent
        self.requests: MessageSequencePromise | None = requests
        self.invoke: Callable[[InteractionContext], Awaitable[None]] | None = invoke
        self.fired = is_fired
        self.interaction: InteractionContext | None = None
        self.open_calls: set[SequenceBuffer] | None = None
        self.subtasks: list[Awaitable[Any]] | None = None

    async def main(self) -> None:
        """Run the agent's function, wait for its subtasks, close its replies."""
        current_producer.set(self)
        invoke, requests = self.invoke, self.requests
        assert invoke is not None
        assert requests is not None
        self.interaction = InteractionContext(self, self.agent, requests)
        try:
            await invoke(self.interaction)
            if self.open_calls or self.subtasks:
                await self.finish_replies(await_for_subtasks=True)
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who read the replies must hear of it
            finish_calls(self.open_calls)
            self.replies.close(self.context.failure(error, self))
            if self.subtasks and not isinstance(error, asyncio.CancelledError):
                await self._drain_subtasks()
        else:
            self.replies.close()
        finally:
            # What a finished call no longer needs must not live as long as somebody keeps its replies.
            self.interaction = self.invoke = self.requests = self.subtasks = None

    async def finish_replies(self, *, await_for_subtasks: bool) -> None:
        """Finish open calls, wait for the subtasks if asked to, and close the replies."""
        finish_calls(self.open_calls)
        if await_for_subtasks:
            await self.await_for_subtasks()
            finish_calls(self.open_calls)
        self.replies.close()

    def add_subtask(self, awaitable: Awaitable[Any]) -> None:
        """Wait for `awaitable` before the replies are closed."""
        if self.subtasks is None:
            self.subtasks = []
        self.subtasks.append(awaitable)

    async def await_for_subtasks(self) -> None:
        """Wait for the subtasks, those added meanwhile included, but not for the calling task itself."""
        me = current_task()
        mine: list[Awaitable[Any]] = []
        while self.subtasks:
            subtask = self.subtasks.pop(0)
            if subtask is me:
                mine.append(subtask)
                continue
            await (asyncio.shield(subtask) if isinstance(subtask, asyncio.Future) else subtask)
        if mine:
            self.subtasks = mine

    async def _drain_subtasks(self) -> None:
        """Wait for what is left after the agent has failed; its own error is the one that its readers get."""
        while self.subtasks:
            subtask = self.subtasks.pop(0)
            try:
                await subtask
            except Exception as error:  # noqa: BLE001 - reported like any error that nobody received
                self.context.failure(error, self)

    def helpers(self) -> Iterable[AnyTask]:
        """Give the subtasks, which may reply too."""
        return [subtask for subtask in self.subtasks or () if isinstance(subtask, asyncio.Task)]

    def trace(self) -> list[Agent]:
        """Give the agents from this one up to the first."""
        agents: list[Agent] = []
        producer: Producer | None = self
        while producer is not None:
            if isinstance(producer, AgentRun):
                agents.append(producer.agent)
            producer = producer.owner
        return agents

    def is_call(self) -> bool:
        """It is an agent at work."""
        return True

    def is_fired(self) -> bool:
        """Whether it was kicked off."""
        return self.fired

    def describe(self) -> str:
        """Name the agent."""
        return f"the agent `{self.agent.alias}`"

    def failure_line(self) -> str:
        """Say who failed and who had called it."""
        callers = [agent.alias for agent in self.trace()[1:]]
        called_by = f" (called by {' < '.join(callers)})" if callers else ""
        return f"The agent `{self.agent.alias}`{called_by} failed and nobody received its error"


def find_current_run() -> AgentRun | None:
    """Give the run of the agent that this code is part of, if it is part of one."""
    producer = current_producer.get()
    while producer is not None and not isinstance(producer, AgentRun):
        producer = producer.owner
    return producer


def finish_calls(open_calls: set[SequenceBuffer] | None) -> None:
    """Tell the agents of calls that were left open that no more messages will come."""
    while open_calls:
        open_calls.pop().close()
