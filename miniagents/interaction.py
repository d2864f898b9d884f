"""One call of an agent, seen from inside (`InteractionContext`) and from outside (`AgentCall`).

`AgentRun` is the producer between the two: the task in which the agent's function runs and fills its replies.

    called --the next task switch, or the first reader of a lazy call--> running --the function, then all subtasks
    end--> replies closed
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Generator, Iterable, Iterator
from typing import Any, TypeVar

from miniagents._agent_call import Agent, AgentCall, GiveWay
from miniagents._call_marks import JournaledCall, current_journaled_call
from miniagents._segments import SequenceBuffer
from miniagents.errors import NoJournalError, NotInAgentError, RepliesClosedError
from miniagents.message_sequence import MessageSequencePromise, append_messages, append_out_of_order
from miniagents.promising._failure import Failure
from miniagents.promising._producer import Producer, chain_of, current_producer, current_task
from miniagents.promising._runner import discard
from miniagents.promising._waiting import AnyTask, check_thread, wait_for_end
from miniagents.promising.promise import Promise

T = TypeVar("T")


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
            NotInAgentError: it does not run in an agent.
        """
        run = find_current_run()
        if run is None or run.interaction is None:
            raise NotInAgentError
        return run.interaction

    def reply(self, messages: object) -> "GiveWay":
        """Send replies, whatever kind of `MessageType` they are; they keep the order in which they were sent.

        Returns at once and need not be awaited. `await ctx.reply(...)` lets the readers run and, where the replies have
        a `read_ahead` bound, waits until they have come close enough.

        Raises:
            NotAMessageError: something in it cannot become a message.
            RepliesClosedError: the replies are closed already.
        """
        buffer = self._writable("reply")
        append_messages(buffer, messages, self._run)
        return GiveWay(buffer)

    def reply_out_of_order(self, messages: object) -> "GiveWay":
        """Send replies that are delivered as soon as they are there, ahead of earlier ones that are not.

        Raises:
            NotAMessageError, RepliesClosedError: as for `reply`.
        """
        buffer = self._writable("reply")
        append_out_of_order(buffer, messages, self._run)
        return GiveWay(buffer)

    def wait_for(self, awaitable: Awaitable[T], start_asap_if_coroutine: bool = True) -> Awaitable[T]:  # noqa: FBT001, FBT002
        """Make `awaitable` a subtask: the agent does not end, and its replies do not close, before it is done.

        A coroutine is started at once (unless told otherwise) and its task given back. An error in a subtask becomes
        an error of the agent, unless somebody else awaits it and handles it.

        Raises:
            RepliesClosedError: the agent has ended already.
        """
        if self._run.requests is None:
            discard(awaitable)
            raise RepliesClosedError(self.this_agent.alias, "wait for a subtask")
        if asyncio.iscoroutine(awaitable):
            awaitable = self._run.start_subtask(awaitable) if start_asap_if_coroutine else _Later(self._run, awaitable)
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

    async def call_key(self) -> str:
        """Give the name of this call in the journal: the same one each time that the run is resumed.

        Good for telling a service outside which requests are one, as its idempotency key.

        Raises:
            NoJournalError: the context has no journal.
        """
        return await self._journaled("call_key()").call_key()

    async def once(self, name: str, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Give what `function(*args, **kwargs)` returns, which runs once for this call, however often that is resumed.

        A later attempt gets what the first one got. `name` is unique in the call. The function may be async; one that
        is not runs in a thread. What it returns is what JSON can hold, with `Frozen` objects such as messages anywhere
        in it; a tuple comes back as a list. An error is not kept. What happened right before the process was killed may
        not be recorded, and happens again.

        The function, async or not, goes on when whoever awaits this is cancelled or has had enough: what it returns is
        recorded, and is what the next `once` of this name gets. The context waits for it at its end.

        Raises:
            NoJournalError: the context has no journal.
            JournalError: the function itself asks for what happens once under this name.
            UnstorableValueError: the result cannot be stored; the field is named.
        """
        return await self._journaled("once(...)").once(name, function, args, kwargs)

    async def ask(self, text: str, key: str | None = None) -> Any:
        """Ask a person, and give the answer, however long that takes and however often the run is resumed meanwhile.

        Answered by `miniagents ask RUN KEY ANSWER`, or by `journal.answer(run_id, key, answer)`, in this process or
        another one. `key` is unique in the run, by default made of the text; who asks the same under it shares the
        answer. Only the code that awaits this waits.

        Raises:
            NoJournalError: the context has no journal.
            JournalError: another text was asked under this key.
        """
        return await self._journaled("ask(...)").ask(text, key)

    def _journaled(self, what: str) -> JournaledCall:
        call = current_journaled_call.get()
        if call is None:
            raise NoJournalError(f"ctx.{what}")
        return call

    def _writable(self, action: str) -> SequenceBuffer:
        buffer = self._run.replies
        check_thread(buffer.thread_id, action)
        if buffer.is_settled() and not isinstance(buffer.end, Failure):
            raise RepliesClosedError(self.this_agent.alias, action)
        return buffer


async def _unreceived_error(subtask: Awaitable[Any]) -> BaseException | None:
    """Wait until `subtask` is done; give its error unless somebody else has received that."""
    if isinstance(subtask, asyncio.Task):
        task = subtask
        # Neither cancels the task when this is cancelled, nor takes its exception.
        await wait_for_end(task)
        # One of asyncio's own names: whether nobody has asked for the exception yet.
        is_received = not getattr(task, "_log_traceback", True)
        return None if task.cancelled() or is_received else task.exception()
    if isinstance(subtask, Promise):
        outcome = await subtask.outcome()
        return outcome.receive() if isinstance(outcome, Failure) and not outcome.received else None
    try:
        await subtask
    except BaseException as error:
        if isinstance(error, asyncio.CancelledError):
            raise
        return error
    return None


def _is_well_over(subtask: Awaitable[Any]) -> bool:
    """Whether a subtask has ended without an error that somebody must still hear of."""
    if isinstance(subtask, asyncio.Task):
        task = subtask
        return task.done() and not getattr(task, "_log_traceback", True)
    return isinstance(subtask, Promise) and not isinstance(subtask.outcome_if_done(), Failure) and subtask.done()


class _Later:
    """A coroutine that starts when it is first awaited, and may be awaited again."""

    __slots__ = ("_coroutine", "_run", "_task")

    def __init__(self, run: "AgentRun", coroutine: Any) -> None:
        self._run = run
        self._coroutine = coroutine
        self._task: AnyTask | None = None

    def __await__(self) -> Generator[Any, Any, Any]:
        task = self._task
        if task is None:
            task = self._task = self._run.start_subtask(self._coroutine)
        return (yield from asyncio.shield(task).__await__())


class AgentRun(Producer):
    """The running side of one call."""

    __slots__ = (
        "agent",
        "fired",
        "interaction",
        "invoke",
        "open_calls",
        "replies",
        "requests",
        "started_tasks",
        "subtasks",
    )

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
        self.subtasks: deque[Awaitable[Any]] | None = None
        self.started_tasks: list[AnyTask] | None = None

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
            failure = self.context.failure(error, self)
            # The replies may have been closed early; the error is then for the log, if they were read.
            failure.had_reader = self.replies.had_reader
            if isinstance(error, asyncio.CancelledError):
                self._cancel_subtasks()
            elif self.subtasks:
                # The error comes at its place and at once; the replies close when the subtasks are done.
                self.replies.append(failure)
                await self._drain_subtasks()
                self.replies.close()
            self.replies.close(failure)
        else:
            self.replies.close()
        finally:
            # What a finished call no longer needs must not live as long as somebody keeps its replies.
            self.interaction = self.invoke = self.requests = self.subtasks = self.started_tasks = None
        self.retire()

    async def finish_replies(self, *, await_for_subtasks: bool) -> None:
        """Finish open calls, wait for the subtasks if asked to, and close the replies."""
        finish_calls(self.open_calls)
        if await_for_subtasks:
            await self.await_for_subtasks()
            finish_calls(self.open_calls)
        self.replies.close()

    def start_subtask(self, coroutine: Any) -> AnyTask:
        """Start `coroutine` in a task that is cancelled with the agent; its error is for whoever awaits it."""
        task = self.context.start_subtask(coroutine)
        self.started_tasks = [kept for kept in self.started_tasks or () if not kept.done()]
        self.started_tasks.append(task)
        return task

    def _cancel_subtasks(self) -> None:
        for task in self.started_tasks or ():
            task.cancel()

    def add_subtask(self, awaitable: Awaitable[Any]) -> None:
        """Wait for `awaitable` before the replies are closed."""
        if self.subtasks is None:
            self.subtasks = deque()
        self.subtasks.append(awaitable)
        if not len(self.subtasks) & 63:
            # An agent that lives for months must not keep every subtask that it ever had.
            self.subtasks = deque(kept for kept in self.subtasks if not _is_well_over(kept))

    async def await_for_subtasks(self) -> None:
        """Wait for the subtasks, those added meanwhile included, but not for the calling task itself."""
        me = current_task()
        mine: list[Awaitable[Any]] = []
        while self.subtasks:
            subtask = self.subtasks.popleft()
            if subtask is me:
                mine.append(subtask)
                continue
            error = await _unreceived_error(subtask)
            if error is not None:
                raise error
        if mine:
            self.subtasks = deque(mine)

    async def _drain_subtasks(self) -> None:
        """Wait for what is left after the agent has failed; its own error is the one that its readers get."""
        try:
            while self.subtasks:
                error = await _unreceived_error(self.subtasks.popleft())
                if error is not None:
                    # Reported like any error that nobody received.
                    self.context.failure(error, self)
        except asyncio.CancelledError:
            self._cancel_subtasks()
            raise

    def helpers(self) -> Iterable[AnyTask]:
        """Give the subtasks, which may reply too."""
        waited_for = [subtask for subtask in self.subtasks or () if isinstance(subtask, asyncio.Task)]
        return [*waited_for, *(self.started_tasks or ())]

    def trace(self) -> list[Agent]:
        """Give the agents from this one up to the first."""
        return [self.agent, *agents_above(self.owner)]

    def is_unread_call(self) -> bool:
        """Whether nobody has begun to read the replies."""
        return not self.replies.had_reader

    def is_fired(self) -> bool:
        """Whether it was kicked off."""
        return self.fired

    def describe(self) -> str:
        """Name the agent."""
        return f"the agent `{self.agent.alias}`"

    def describe_product(self) -> str:
        """Name its replies."""
        return f"the replies of the agent `{self.agent.alias}`"

    def failure_line(self) -> str:
        """Say who failed and who had called it."""
        return call_failure_line(self.agent.alias, self.owner)


def agents_above(producer: Producer | None) -> Iterator[Agent]:
    """Give the agents that `producer` works for, the nearest first."""
    while producer is not None:
        if isinstance(producer, AgentRun):
            yield producer.agent
        producer = producer.owner


def call_failure_line(alias: str, owner: Producer | None) -> str:
    """Say that a call failed, and who had called."""
    callers = chain_of([agent.alias for agent in agents_above(owner)])
    called_by = f" (called by {callers})" if callers else ""
    return f"The agent `{alias}`{called_by} failed and nobody received its error"


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


__all__ = ["Agent", "AgentCall", "AgentRun", "GiveWay", "InteractionContext", "find_current_run", "finish_calls"]
