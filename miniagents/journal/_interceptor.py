"""`JournalInterceptor`: records the calls of a context in a run, and answers those that the run knows already."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, Protocol, cast

from miniagents._call_marks import current_journaled_call
from miniagents._interception import InterceptedCall, Proceed
from miniagents._mini_agents import MiniAgents
from miniagents._reordering import SequenceReader
from miniagents._segments import SequenceBuffer
from miniagents.journal._call_nodes import CallNode, Run
from miniagents.journal._call_steps import equality_of
from miniagents.journal._held_run import Durability
from miniagents.journal._identities import Origins
from miniagents.journal._keys import likeness, version_of
from miniagents.journal._leaf_calls import LeafCall
from miniagents.journal._memoizing import InFlight
from miniagents.journal._outcomes import OnStoreError, StoreTrouble, replies_so_far
from miniagents.journal._promises import ReplayedPromise
from miniagents.journal._work_records import WorkRecords, note_call
from miniagents.journal.errors import JournalError
from miniagents.journal.records import EndState, FailedCall, FinishedCall, StartedCall
from miniagents.message_sequence import MessageSequencePromise
from miniagents.messages import Message
from miniagents.promising._failure import Failure
from miniagents.promising._producer import current_producer
from miniagents.promising.sentinels import NO_VALUE


class OpenRun(Protocol):
    """A run that is held, and what it is kept in."""

    @property
    def run(self) -> Run:
        """The run."""
        ...

    @property
    def in_flight(self) -> InFlight:
        """The memoised calls that go on now, in all contexts that use what the run is kept in."""
        ...

    async def find_memoized(self, call: StartedCall, max_age: timedelta | None) -> FinishedCall | None:
        """Give the latest answer to an equal call of any run."""
        ...

    async def end(self, state: EndState) -> None:
        """Commit everything, and let go of the run and of what was opened for it."""
        ...


class JournalInterceptor:
    """Stands around every call of a context that was given a journal."""

    def __init__(
        self,
        mini_agents: MiniAgents,
        begin_run: Callable[[str], Awaitable[OpenRun]],
        *,
        run_id: str | None,
        durability: Durability,
        on_store_error: OnStoreError,
    ) -> None:
        self._mini_agents = mini_agents
        self._begin_run = begin_run
        self._run_id = run_id
        self._durability: Durability = durability
        self._on_store_error: OnStoreError = on_store_error
        self._trouble = StoreTrouble(mini_agents, on_store_error)
        self._open: OpenRun | None = None
        self._root: CallNode | None = None
        self._opening: asyncio.Lock | None = None
        self._going_on: dict[CallNode, tuple[InterceptedCall, MessageSequencePromise]] = {}
        self._in_flight = InFlight()
        self._origins = Origins()

    # -- the run -------------------------------------------------------------------------------------------------

    async def context_entered(self) -> None:
        """Open the journal and take hold of the run.

        Raises:
            JournalError: that cannot be done.
        """
        await self._opened()

    async def _opened(self) -> CallNode:
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._root is None:
                self._open = await self._begin_run(self._run_id or _new_run_id())
                self._root = CallNode(self._open.run)
                self._in_flight = self._open.in_flight
                self._trouble = StoreTrouble(self._mini_agents, self._on_store_error)
                self._trouble.watch(self._open.run)
            return self._root

    async def context_left(self, error: BaseException | None, *, has_failed: bool) -> None:
        """End the run.

        Raises:
            JournalError: something could not be stored (with `on_store_error="raise"`).
        """
        opened, self._open = self._open, None
        self._root = self._opening = None
        if opened is None:
            return
        was_interrupted = isinstance(error, asyncio.CancelledError | KeyboardInterrupt)
        # By who has opened the journal, and was interrupted, too: there is nothing left to be told.
        was_closed = was_interrupted and opened.run.has_ended
        state: EndState = "interrupted" if was_interrupted else "failed" if has_failed else "finished"
        try:
            try:
                for node in list(self._going_on):
                    await self._record_end(node)
            finally:
                self._trouble.is_at_end = True
                await opened.end(state)
            self._trouble.raise_the_rest()
        except JournalError as trouble:
            # The program's own error, if there is one, is the one to be heard of.
            if error is None:
                self._trouble.judge(trouble)
            elif not was_closed:
                self._trouble.report(trouble)

    async def work_records(self) -> WorkRecords:
        """Give what records the work of others than agents."""
        return WorkRecords(await self._opened(), self._trouble)

    # -- calls ---------------------------------------------------------------------------------------------------

    async def intercept_call(self, call: InterceptedCall, proceed: Proceed) -> AsyncIterator[Any]:
        """Give the replies that are recorded, or those of the call, which is recorded then."""
        root = self._root or await self._opened()
        node, started, leaf = await self._identified(call, root)
        if leaf is None:
            yield await self._watch(call, node, started, proceed)
            return
        found = await leaf.find() or await self._find_memoized(leaf, started, call.marks.memoize)
        if found is not None:
            if call.complete is not None:
                call.complete([reply.message for reply in found.replies])
            for position, reply in enumerate(found.replies):
                replayed = ReplayedPromise(reply.message, reply.tokens)
                self._origins.note(replayed, node.origin, position)
                yield replayed
            if isinstance(found, FailedCall):
                raise found.error
            return
        await leaf.start()
        current_journaled_call.set(node)
        equal = equality_of(started) if call.marks.memoize is not False else None
        shared = await self._in_flight.shared(equal)
        replies = shared or proceed()
        try:
            self._in_flight.begin(equal, replies)
            if shared is None:
                # What a shared call uses is recorded where it is made.
                node.begins(replies)
            position = 0
            async for part in SequenceReader(replies.buffer(), raises=False):
                if isinstance(part, Failure):
                    leaf.failure = leaf.failure or part.error
                    yield part.receive()
                else:
                    taken = leaf.take(part)
                    self._origins.note(taken, node.origin, position)
                    position += 1
                    yield taken
            await leaf.finish()
        finally:
            # Where it was cancelled, nothing is recorded, and nobody may wait for that.
            leaf.release()
            if shared is None:
                self._in_flight.end(equal, replies)

    async def _identified(self, call: InterceptedCall, root: CallNode) -> tuple[CallNode, StartedCall, LeafCall | None]:
        """Give what the call is known by, and what finds and records it if it is a leaf, whose input is waited for."""
        marks, run = call.marks, root.run
        above = current_journaled_call.get()
        parent = above if isinstance(above, CallNode) and above.run is run else root
        agent, version = call.agent.alias, version_of(marks.version, call.journal_key, run.place)
        identity = self._origins.identity_of(cast("SequenceBuffer", call.message_promises.buffer()))
        like = likeness(agent, version, call.settings, identity.text)
        node = CallNode(run, parent, like, is_certain=identity.is_certain)
        _mark_replies(call, node.origin)
        note_call(node)
        inputs = call.message_promises.outcome_if_done()
        if inputs is NO_VALUE and marks.is_leaf:
            inputs = await call.message_promises.outcome()
        # Whoever gets messages with an error among them is not told apart by these, and is no leaf.
        messages = None if inputs is NO_VALUE or isinstance(inputs, Failure) else cast("tuple[Message, ...]", inputs)
        is_leaf = marks.is_leaf and messages is not None
        if is_leaf and messages is not None and not identity.is_content:
            node.be_known_by_content(likeness(agent, version, call.settings, identity.content_of(messages)))
        started = StartedCall(node.key, node.parent_key, agent, version, call.settings, messages)
        if not is_leaf:
            return node, started, None
        leaf = LeafCall(node, started, marks, self._durability, self._trouble)
        leaf.has_others_replies = not identity.is_content
        return node, started, leaf

    async def _find_memoized(
        self,
        leaf: LeafCall,
        started: StartedCall,
        memoize: bool | timedelta,  # noqa: FBT001 - passed on as it came
    ) -> FinishedCall | None:
        """Give the answer to an equal call of any run, recorded as this call's own; None while one is going on."""
        equal = None if memoize is False else equality_of(started)
        while equal is not None and self._in_flight.find(equal) is None and self._open is not None:
            ended = self._in_flight.ended
            found = await self._open.find_memoized(started, memoize if isinstance(memoize, timedelta) else None)
            if found is not None:
                await leaf.record_replayed(found)
                return found
            if self._in_flight.ended == ended:
                break
        return None

    async def _watch(
        self, call: InterceptedCall, node: CallNode, started: StartedCall, proceed: Proceed
    ) -> MessageSequencePromise:
        """Make a call that is not answered from the journal, and record it in the background."""
        try:
            await node.run.call_started(started)
        except JournalError as error:
            self._trouble.judge(error)
        current_journaled_call.set(node)
        replies = proceed()
        node.begins(replies)
        self._going_on[node] = call, replies
        replies.when_done(_End(self, node).note)
        return replies

    def call_ended(self, node: CallNode) -> None:
        """Record the end of a call in the background (for `_End`)."""
        if self._mini_agents.is_active and node in self._going_on:
            self._mini_agents.start_asap(self._record_end(node))

    async def _record_end(self, node: CallNode) -> None:
        entry = self._going_on.pop(node, None)
        if entry is None:
            return
        call, replies = entry
        inputs = call.message_promises.outcome_if_done()
        messages = cast("tuple[Message, ...]", inputs) if isinstance(inputs, tuple) else None
        found, failure = replies_so_far(replies)
        usage = node.ends()
        try:
            if failure is None and replies.buffer().end is not None:
                await node.run.call_finished(node.key, found, usage=usage, inputs=messages, passes_on=True)
            elif failure is not None:
                await node.run.call_failed(node.key, failure, found, usage=usage, inputs=messages, passes_on=True)
        except JournalError as error:
            self._trouble.put_off(error)


class _End:
    """Tells the interceptor that a call is over. A class, as a closure would keep more than it needs."""

    __slots__ = ("_interceptor", "_node")

    def __init__(self, interceptor: JournalInterceptor, node: CallNode) -> None:
        self._interceptor = interceptor
        self._node = node

    def note(self) -> None:
        self._interceptor.call_ended(self._node)


def _mark_replies(call: InterceptedCall, origin: str) -> None:
    """Let everybody who is handed the replies of this call know whose they are."""
    # Each interceptor further out has replies of its own.
    producer: Any = current_producer.get()
    while getattr(producer, "call", None) is call:
        producer.replies.origin = origin
        producer = producer.owner


def _new_run_id() -> str:
    return f"{datetime.now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}"
