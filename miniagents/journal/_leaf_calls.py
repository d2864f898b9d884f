"""`LeafCall`: a call that is answered from the journal if it can be, and recorded if it cannot.

asked --found--> replayed
      --not found--> (uncertain: a person is asked, or it fails) --start recorded--> running --replies recorded--> over

While it runs, tokens go to the readers as they come; with the durability "step" each message resolves when it is
committed.
"""

import asyncio
from collections.abc import Sequence

from miniagents._call_marks import CallMarks
from miniagents.journal._call_nodes import CallNode, Reply, ask_person
from miniagents.journal._held_run import Durability
from miniagents.journal._outcomes import StoreTrouble
from miniagents.journal._promises import HeldPromise
from miniagents.journal.errors import JournalError, UncertainCallError
from miniagents.journal.records import FinishedCall, StartedCall
from miniagents.messages import Message, MessagePromise
from miniagents.promising._failure import Failure
from miniagents.promising._producer import current_producer
from miniagents.promising.promising import PromisingContext
from miniagents.promising.sentinels import NO_VALUE

_TURNS_TO_END = 3
"""So many turns of the event loop a call may need from its last message to its end, to be recorded with it at once."""


class LeafCall:
    """One call of an agent whose answers are kept whole."""

    __slots__ = (
        "_arrived",
        "_durability",
        "_held",
        "_is_ending",
        "_marks",
        "_node",
        "_producer",
        "_sources",
        "_started",
        "_trouble",
        "failure",
        "has_others_replies",
    )

    def __init__(
        self, node: CallNode, started: StartedCall, marks: CallMarks, durability: Durability, trouble: StoreTrouble
    ) -> None:
        self._node = node
        self._started = started
        self._marks = marks
        self._durability: Durability = durability
        self._trouble = trouble
        self._sources: list[MessagePromise] = []
        self._held: list[HeldPromise] = []
        self._arrived: list[tuple[HeldPromise, int]] = []
        """Messages that are there, and not yet recorded."""
        self._is_ending = False
        self._producer = current_producer.get()
        self.has_others_replies = False
        """Whether some of its input comes from other calls, so that it is known by these as well."""
        self.failure: BaseException | None = None
        """The first error that stood among its replies."""

    async def find(self) -> FinishedCall | None:
        """Give the answer that is there already; None if there is none.

        Raises:
            JournalError: they cannot be read, or are not what was stored.
            UncertainCallError: the call was cut off, and is not to be made again.
        """
        node, run = self._node, self._node.run
        if not run.is_resumed and not run.answers_by_content:
            return None
        found = await run.find_call(node.key, self._started)
        if found is None:
            if run.answers_by_content or node.may_be_another:
                found = await run.find_equal_call(self._started)
            elif self.has_others_replies and run.state_of(node.key) is None:
                # Those others may have been changed. What is below another parent is found by that one.
                found = await run.find_equal_call(self._started, same_parent=True)
        if found is None and self._marks.on_uncertain != "retry" and run.state_of(node.key) == "started":
            await self._settle_uncertainty()
        return found

    async def _settle_uncertainty(self) -> None:
        node, run, agent = self._node, self._node.run, self._started.agent
        answer = None
        if self._marks.on_uncertain == "ask":
            text = (
                f"A call of `{agent}` was cut off before its result was recorded, so what it does may have been done. "
                "Run it again? (yes / no)"
            )
            first = key = f"uncertain-{node.key[:12]}-{run.attempts_of(node.key)}"
            # A "no" counts once, for the start of the program that it has ended: it may have been a mistake.
            times = 1
            while await run.recall(f"{node.key}/refused {key}") is not None:
                times += 1
                key = f"{first}-{times}"
            answer = await ask_person(run, text, key)
            if answer is True or str(answer).strip().lower() in ("yes", "y", "retry", "true"):
                return
            await run.remember(f"{node.key}/refused {key}", True)  # noqa: FBT003 - a value like any other
        raise UncertainCallError(agent, node.key, place=run.place, answer=answer)

    async def start(self) -> None:
        """Record that it begins."""
        # What must not happen twice must not happen before it is known that it may have.
        durability: Durability | None = None if self._marks.on_uncertain == "retry" else "step"
        try:
            await self._node.run.call_started(self._started, durability=durability)
        except JournalError as error:
            if durability is not None:
                raise
            self._trouble.judge(error)

    def take(self, promise: MessagePromise) -> MessagePromise:
        """Take a reply to be recorded, and give what the caller gets in its place."""
        self._sources.append(promise)
        if self._durability != "step":
            return promise
        held = HeldPromise(promise)
        self._held.append(held)
        promise.when_done(_Arrival(self, held, len(self._sources) - 1).note)
        return held

    def message_arrived(self, held: HeldPromise, position: int) -> None:
        """A message is there whole; if the call is over it is recorded with its end, else by itself."""
        if isinstance(held.source.outcome_if_done(), Failure):
            held.release()
        elif not self._is_ending:
            self._arrived.append((held, position))
            if len(self._arrived) == 1:
                self._record_unless_over(_TURNS_TO_END)

    def _record_unless_over(self, turns: int) -> None:
        if self._is_ending:
            return
        if turns:
            # No task for that: most calls end within these turns.
            asyncio.get_running_loop().call_soon(self._record_unless_over, turns - 1)
            return
        arrived, self._arrived = self._arrived, []
        for held, position in arrived:
            PromisingContext.get_current().start_asap(self._record_alone(held, position))

    async def _record_alone(self, held: HeldPromise, position: int) -> None:
        try:
            await self._node.run.call_replied(self._node.key, position, reply_of(held.source))
        except JournalError as error:
            if self._trouble.is_grave(error):
                self._fail(error, [held])
                return
            self._trouble.report(error)
        held.release()

    async def finish(self) -> None:
        """Record how it has ended, and let the messages resolve.

        Raises:
            JournalError: it could not be recorded, and that is to be raised.
        """
        messages: list[Reply] = []
        for source in self._sources:
            outcome = source.outcome_if_done()
            if outcome is NO_VALUE:
                outcome = await source.outcome()
            if isinstance(outcome, Failure):
                self.failure = self.failure or outcome.error
            else:
                messages.append(reply_of(source))
        self._is_ending = True
        node, run = self._node, self._node.run
        usage = node.ends()
        try:
            if self.failure is None:
                await run.call_finished(node.key, messages, usage=usage)
            else:
                await run.call_failed(node.key, self.failure, messages, usage=usage)
        except JournalError as error:
            if not self._trouble.is_grave(error):
                self._trouble.report(error)
            elif not self._fail(error, self._held):
                raise
        self.release()

    async def record_replayed(self, found: FinishedCall) -> None:
        """Record an answer that comes from another run, or another call, as this call's own."""
        run = self._node.run
        replies: list[Reply] = [(reply.message, reply.tokens) for reply in found.replies]
        try:
            await run.call_started(self._started)
            await run.call_finished(self._node.key, replies, ended_at=found.ended_at)
        except JournalError as error:
            self._trouble.judge(error)

    def _fail(self, error: JournalError, messages: Sequence[HeldPromise]) -> bool:
        """Let messages that wait for being recorded fail; `False` if none does, so that nobody hears of it there."""
        waiting = [held for held in messages if not held.done()]
        if waiting:
            # One for all: who has got it from one of them has got it.
            failure = PromisingContext.get_current().failure(error, self._producer)
            for held in waiting:
                held.settle(failure)
        return bool(waiting)

    def release(self) -> None:
        """Let all messages resolve, recorded or not, as soon as they are there."""
        self._is_ending = True
        self._node.is_over()
        for held in self._held:
            held.release()


class _Arrival:
    """Tells a call that one of its messages is there. A class, as a closure would keep more than it needs."""

    __slots__ = ("_call", "_held", "_position")

    def __init__(self, call: LeafCall, held: HeldPromise, position: int) -> None:
        self._call = call
        self._held = held
        self._position = position

    def note(self) -> None:
        self._call.message_arrived(self._held, self._position)


def reply_of(promise: MessagePromise) -> Reply:
    """Give a message that is there, and the tokens that it came in; None for these if it is one."""
    message: Message = promise.outcome_if_done()
    pieces = promise.buffer().pieces
    return message, None if len(pieces) == 1 else tuple(pieces)
