"""`RunJournal`: the writing end of one run, and the answers that are there already."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Literal, TypeVar

from miniagents.journal import _call_steps, _run_steps
from miniagents.journal._claims import Claims
from miniagents.journal._held_run import Durability, HeldRun
from miniagents.journal._journal_of_run import JournalOfRun
from miniagents.journal._reading_ahead import Answers
from miniagents.journal._reply_steps import store_reply, store_usage
from miniagents.journal._run_steps import Begun, Known
from miniagents.journal._seals import Identity, equality, seal
from miniagents.journal._sequences import NewSequence
from miniagents.journal._store import Fence, Needs, Operation
from miniagents.journal._to_rows import ToRows, encoded, error_as_text
from miniagents.journal._usage_json import with_earlier
from miniagents.journal._values import check_text
from miniagents.journal.errors import JournalError
from miniagents.journal.records import CallFailure, FinishedCall, Question, StartedCall
from miniagents.messages import Message
from miniagents.usage import UsageTotals

T = TypeVar("T")


class RunJournal(HeldRun):
    """One run that this process holds: `run = await journal.begin_run("my-run")`.

    Every write is refused with `RunBusyError` once another process has taken the run over. A write that failed in the
    background (`durability` "lazy" or "end") is raised by the next one, by `flush()` or by `end()`.

    Attributes:
        run_id: its name.
        is_resumed: whether there was a run of this name before.
        place: the file or server.
        token: the fencing token; it grows with each process that takes hold of the run.
    """

    answers_by_content = False
    """A call is known by its key first; see `find_call`."""

    def __init__(self, journal: JournalOfRun, run_id: str, begun: Begun, durability: Durability) -> None:
        super().__init__(journal.store, Fence(run_id, begun.token), durability, journal.now)
        self.run_id = run_id
        self.place, self.url = journal.store.place, journal.store.url
        self.is_resumed = begun.is_resumed
        self.token = begun.token
        self._journal = journal
        self._calls = begun.calls
        finished = {key: call.equal for key, call in begun.calls.items() if call.state == "finished"}
        self._claims = Claims(Answers(journal.store, run_id, finished), begun.calls)
        self._from_before = frozenset(begun.calls)
        self._going_on: dict[str, tuple[StartedCall, Identity]] = {}
        self._to_rows = ToRows(self.place)
        self._replied: set[str] = set()
        self._suspect: set[str] = set()
        """Calls that go on whose beginning may not be stored."""
        self.has_ended = False

    # -- what is there already -----------------------------------------------------------------------------------

    def state_of(self, key: str) -> Literal["started", "finished", "failed"] | None:
        """What is known of a call from before the run was begun here; None if nothing is.

        `"started"`: it was going on when the run was cut off, and may have had an effect.
        """
        known = self._calls.get(key)
        return None if known is None else known.state

    def attempts_of(self, key: str) -> int:
        """How often a call was started, as far as `state_of` knows it; 0 if it does not."""
        known = self._calls.get(key)
        return 0 if known is None else known.attempts

    async def find_call(self, key: str, call: StartedCall | None = None) -> FinishedCall | None:
        """Give the answer of the call of this key, and claim it; None if it has none, or it was given away.

        Also None if `call`, the one that asks, is not equal to it (agent, version, settings, inputs). A call that has
        passed on what others had replied with (`passes_on` at its end) may have none.

        Raises:
            JournalCorruptError: the call, or a reply, is not what was written, or cannot be made again.
        """
        return self._noted(await self._claims.by_key(key, call))

    def _noted(self, found: FinishedCall | None) -> FinishedCall | None:
        if found is not None:
            self._to_rows.were_replied([reply.message.hash_key for reply in found.replies])
        return found

    async def find_equal_call(self, call: StartedCall, *, same_parent: bool = False) -> FinishedCall | None:
        """Give an unclaimed answer of this run to an equal call (agent, version, settings, inputs), and claim it.

        For a program that was edited, so that the keys of its calls are others; with `same_parent` only of calls below
        the same parent. The answer is recorded for `call`, too, so that the next time it is found by the key.
        """
        found = self._noted(await self._claims.of_equal_call(call, same_parent=same_parent))
        if found is None:
            return None
        try:
            await self.call_started(call)
            # What the other one has used is not used twice.
            replies = [(reply.message, reply.tokens) for reply in found.replies]
            await self.call_finished(call.key, replies, ended_at=found.ended_at)
        except JournalError as error:
            # The answer is there all the same.
            self._tell_failure(error)
        return found

    # -- calls ---------------------------------------------------------------------------------------------------

    async def call_started(self, call: StartedCall, *, durability: Durability | None = None) -> None:
        """Record that a call begins. By default nothing waits for it: it is committed with, or before, its end.

        With `durability="step"` it is committed when this returns: for a call whose effects must not happen twice.

        Raises:
            UnstorableValueError: its settings or inputs cannot be stored.
        """
        start = self._start_of(call, self._to_rows.inputs(call.inputs))
        known = self._calls.get(call.key)
        self._calls[call.key] = Known(None, "started", start.attempts, call.parent, known and known.usage)
        self._going_on[call.key] = call, start.identity

        due = durability or ("end" if self._durability == "end" else "lazy")
        await self._write(start, durability=due)
        self._to_rows.has_begun(start)

    async def call_replied(self, key: str, position: int, reply: tuple[Message, Sequence[str] | None]) -> None:
        """Record one reply, counted from 0, of a call that goes on: it outlives the process, and answers nothing yet.

        Raises:
            UnstorableValueError: it cannot be stored.
        """
        stored = self._to_rows.reply(position, *reply)
        # At the end there is something to be replaced.
        self._replied.add(key)
        await self._write(lambda: store_reply(self.run_id, key, position, stored))

    async def call_used(self, key: str, usage: UsageTotals) -> None:
        """Record what a call that goes on has used so far, with what is written next: its end may not come."""
        used = self._used(key, usage)
        await self._write(lambda: store_usage(self.run_id, key, used), durability="end")

    def _used(self, key: str, usage: UsageTotals | None) -> str | None:
        known = self._calls.get(key)
        return with_earlier(usage, known and known.usage)

    async def call_finished(
        self,
        key: str,
        replies: Sequence[tuple[Message, Sequence[str] | None]],
        *,
        usage: UsageTotals | None = None,
        inputs: Sequence[Message] | None = None,
        ended_at: datetime | None = None,
        passes_on: bool = False,
    ) -> None:
        """Record the answer of a call: its messages, each with the tokens it came in (None: in one).

        `usage` is what the call itself has used, without the calls that it made. `inputs` are given here if they were
        not known at the start, `ended_at` if the answer is older than this moment. With `passes_on` its replies are
        mostly those of other calls, which are not stored once more: such a call is not answered by them later on.

        Raises:
            UnstorableValueError: a reply cannot be stored.
            JournalError: the call was never started.
        """
        await self._end_call(key, "finished", replies, None, usage, inputs, ended_at, passes_on=passes_on)

    async def call_failed(
        self,
        key: str,
        error: BaseException,
        replies: Sequence[tuple[Message, Sequence[str] | None]] = (),
        *,
        usage: UsageTotals | None = None,
        inputs: Sequence[Message] | None = None,
        passes_on: bool = False,
    ) -> None:
        """Record with what a call has failed, and what it had replied before that. A resumed run makes it again."""
        await self._end_call(key, "failed", replies, error_as_text(error), usage, inputs, passes_on=passes_on)

    async def _end_call(
        self,
        key: str,
        state: Literal["finished", "failed"],
        replies: Sequence[tuple[Message, Sequence[str] | None]],
        error: CallFailure | None,
        usage: UsageTotals | None,
        inputs: Sequence[Message] | None,
        ended_at: datetime | None = None,
        *,
        passes_on: bool,
    ) -> None:
        started, identity = self._going_on.get(key, (None, None))
        sequence = self._to_rows.inputs(inputs)
        equal = None
        if identity is not None and sequence is not None:
            identity = (*identity[:6], sequence.id)
            equal = equality(*identity[3:])
        known = self._calls.get(key)
        stored, outputs = self._to_rows.replies(replies, passes_on=passes_on)
        used = self._used(key, usage)
        is_answer = state == "finished" and outputs is None
        end = _call_steps.End(
            self.run_id,
            key,
            state,
            self._now() if ended_at is None else ended_at.timestamp(),
            used,
            error,
            stored,
            sequence,
            equal,
            key in self._replied or (known is not None and known.attempts > 1),
            outputs,
            seal(identity, used, [reply[:3] for reply in stored]) if is_answer and identity is not None else None,
        )

        if key in self._suspect and started is not None and known is not None:
            self._suspect.discard(key)
            again = self._start_of(started, self._to_rows.inputs(started.inputs))
            await self._write(again._replace(attempts=known.attempts), durability="end")
        await self._write(end)
        self._to_rows.has_ended(end)
        self._going_on.pop(key, None)
        self._replied.discard(key)
        if known is not None and (key in self._from_before or state == "failed"):
            self._calls[key] = known._replace(state=state)
        else:
            self._calls.pop(key, None)

    def _start_of(self, call: StartedCall, inputs: NewSequence | None) -> _call_steps.Start:
        self._claims.take(call.key)
        settings, settings_rows = self._to_rows.settings(call.settings)
        known = self._calls.get(call.key)
        return _call_steps.Start(
            self.run_id,
            call.key,
            call.parent,
            call.agent,
            call.version,
            settings,
            settings_rows,
            inputs,
            1 if known is None else known.attempts + 1,
            self._now(),
        )

    # -- once, questions -----------------------------------------------------------------------------------------

    async def recall(self, key: str) -> tuple[Any] | None:
        """Give what `remember` has stored under this key, in a tuple of one; None if nothing is."""
        check_text(key, "name", self.place)
        stored = await self._write(lambda: _run_steps.recall(self.run_id, key), durability="step")
        return None if stored is None else (await self._restored_value(stored, key),)

    async def remember(self, key: str, value: Any, *, field: str | None = None) -> Any:
        """Store what came of something that is to happen only once; give it as a later run will get it.

        `value` is what JSON can hold, with `Frozen` objects anywhere in it; a tuple comes back as a list. What is there
        already is kept, and given. It is committed when this returns, whatever the durability of the run is. `field` is
        what an error calls the value, by default the key.

        Raises:
            UnstorableValueError: something in it is neither JSON nor a `Frozen`; the field is named.
        """
        check_text(key, "name", self.place)
        text, rows = encoded(value, field or key, self._store.place)
        stored = await self.write_now(lambda: _run_steps.remember(self.run_id, key, text, rows, self._now()))
        return await self._restored_value(stored, key)

    async def _restored_value(self, stored: str, key: str) -> Any:
        what = f"What is stored under {key!r} in the run {self.run_id!r}"
        return await self._journal.looking.value(stored, what, row=f"once {key} of run {self.run_id}")

    async def ask(self, key: str, text: str) -> Question:
        """Put a question, unless it is there from before; it may be answered already.

        Raises:
            JournalError: another question has this key.
        """
        row = await self._write(
            lambda: _run_steps.ask(self.run_id, key, text, self._now(), self._store.place),
            durability="step",
            needs=Needs.TO_TELL,
        )
        return await self._journal.looking.question(row)

    async def wait_for_answer(self, key: str) -> Question:
        """Wait until a question is answered, by this process or another one; any number of readers may wait.

        An answer of another process is seen within about a quarter of a second (SQLite) or at once (Postgres).

        Raises:
            JournalError: nothing was asked under this key.
        """
        return await self._journal.wait_for_answer(self.run_id, key)

    # -- the end -------------------------------------------------------------------------------------------------

    async def flush(self) -> None:
        """Wait until everything so far is committed.

        Raises:
            JournalError: a write in the background has failed.
        """
        await self._store.flush()
        self._raise_failure()

    async def end(self, state: Literal["finished", "failed", "interrupted"] = "finished") -> None:
        """Commit everything, record how the run has ended, and let go of it.

        Raises:
            JournalError: a write in the background has failed; the run is let go of all the same.
        """
        self.has_ended = True
        await self._journal.let_go(self, state)
        self._raise_failure()

    def _was_lost(self) -> None:
        # What was to be stored is not there to be built upon.
        self._to_rows.forget_what_was_stored()
        # Their beginnings may have been among it.
        self._suspect.update(self._going_on)

    # -- histories -----------------------------------------------------------------------------------------------

    def now(self) -> float:
        """The time, by the clock of the database (for this package)."""
        return self._now()

    async def read_now(self, operation: Operation[T]) -> T:
        """Read what is committed (for this package)."""
        return await self._store.read(operation)

    async def write_now(self, operation: Operation[T]) -> T:
        """Write; committed when this returns, whatever the durability of the run is (for this package)."""
        return await self._write(operation, durability="step")
