"""`Looking`: what is read of a journal for those who look: runs, calls, messages, questions and values.

A row that cannot be read hides no other one: the others come first, and then the error that names it.
"""

from collections.abc import AsyncIterator
from functools import partial
from typing import Any, TypeVar

from miniagents.journal import _reading_steps
from miniagents.journal._bad_rows import CAUSES, BadRows, unreadable
from miniagents.journal._bodies import Row
from miniagents.journal._classes import SameNameError
from miniagents.journal._record_rows import doctored_sequence, name_of_question, question_record
from miniagents.journal._restoring import body_of, restore_rows, usable
from miniagents.journal._sequences import DoctoredSequenceError
from miniagents.journal._store import Operation, Store, fetch_messages
from miniagents.journal._values import check_text, decode_value, hashes_in
from miniagents.journal.errors import JournalCorruptError, JournalError
from miniagents.journal.records import CallRecord, Question, RunRecord, StoredMessage
from miniagents.promising.ext.frozen import Frozen

T = TypeVar("T")

_KEPT_SEQUENCES = 16


class Looking:
    """Reads what is committed; see the methods of `Journal` of the same names."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._place = store.place

    async def runs(self) -> AsyncIterator[RunRecord]:
        after: tuple[float, str] | None = None
        bad = BadRows()
        while True:
            page, after = await self.read(partial(_reading_steps.runs_page, after, self._place))
            for record in page:
                if isinstance(record, JournalCorruptError):
                    bad.note(record)
                else:
                    yield record
            if after is None:
                break
        bad.raise_first()

    async def log(self, run_id: str) -> AsyncIterator[CallRecord]:
        check_text(run_id, "run_id", self._place)
        sequences: dict[str, tuple[str, ...]] = {}
        after = 0
        bad = BadRows()
        while page := await self.read(
            lambda after=after: _reading_steps.calls_page(run_id, after, sequences, self._place)
        ):
            for _, record in page:
                if isinstance(record, JournalCorruptError):
                    bad.note(record)
                else:
                    yield record
            after = page[-1][0]
            for old in list(sequences)[:-_KEPT_SEQUENCES]:
                del sequences[old]
        bad.raise_first()

    async def why(self, hash_prefix: str) -> AsyncIterator[CallRecord]:
        row = await self._find(hash_prefix)
        sequences: dict[str, tuple[str, ...]] = {}
        run_id: str | None = None
        pending: list[str] = [row.hash]
        asked: set[str] = set()
        told: set[str] = set()
        bad = BadRows()
        while pending:
            asked.update(pending)
            makers, inside = await self.read(partial(_reading_steps.makers_of, pending, run_id, sequences, self._place))
            # Messages are made of others that are inside them, as `as_single_promise()` does it.
            nearer: list[str] = [one for one in inside if one not in asked]
            for maker in makers:
                if isinstance(maker, JournalCorruptError):
                    bad.note(maker)
                elif maker.key not in told:
                    run_id = maker.run_id
                    told.add(maker.key)
                    yield maker
                    nearer += [one for one in maker.inputs or () if one not in asked]
            pending = list(dict.fromkeys(nearer))
        bad.raise_first()

    async def show(self, hash_prefix: str) -> Frozen:
        found = (await self._find(hash_prefix)).hash
        return (await self._restored([found]))[found]

    async def stored(self, hash_prefix: str) -> StoredMessage:
        row = await self._find(hash_prefix)
        body = body_of(row, self._place)
        return StoredMessage(row.hash, str(body.get("class_")), body, tuple((row.refs or "").split()))

    async def questions(self, run_id: str | None) -> AsyncIterator[Question]:
        if run_id is not None:
            check_text(run_id, "run_id", self._place)
        after: tuple[float, str, str] | None = None
        bad = BadRows()
        while page := await self.read(lambda after=after: _reading_steps.questions_page(run_id, after, self._place)):
            for row in page:
                try:
                    question = await self.question(row)
                except JournalCorruptError as error:
                    bad.note(error)
                else:
                    yield question
            last = page[-1]
            after = (last[3], last[0], last[1])
        bad.raise_first()

    # -- making values again -------------------------------------------------------------------------------------

    async def question(self, row: Any) -> Question:
        """Make the record of a question of its row.

        Raises:
            JournalCorruptError: the row, or a message in the answer, cannot be read.
        """
        what = f"The answer to {name_of_question(row).replace('The', 'the', 1)}"
        answer = None if row[4] is None else await self.value(row[4], what, row=f"question {row[1]}")
        return question_record(row, answer, self._place)

    async def value(self, stored: str, what: str, *, row: str) -> Any:
        """Make a stored value again; `what` it is, and `row`, are for errors.

        Raises:
            JournalCorruptError: the row, or a message in the value, cannot be read.
        """
        try:
            return decode_value(stored, await self._restored(hashes_in(stored)))
        except JournalError:
            raise
        except CAUSES as error:
            raise unreadable(what, error, place=self._place, row=row) from error

    async def _restored(self, hashes: list[str]) -> dict[str, Frozen]:
        if not hashes:
            return {}
        rows = await self.read(lambda: fetch_messages(hashes))
        restored = restore_rows(rows.values(), self._place)
        return {one: usable(restored, one, self._place) for one in hashes}

    async def _find(self, hash_prefix: str) -> Row:
        check_text(hash_prefix, "hash_prefix", self._place, may_be_empty=True)
        return await self.read(lambda: _reading_steps.find_message(hash_prefix.lower(), self._place))

    async def read(self, operation: Operation[T]) -> T:
        """Read, with errors that are those of the journal."""
        try:
            return await self._store.read(operation)
        except DoctoredSequenceError as error:
            raise doctored_sequence(error.sequence_id, self._place) from error
        except SameNameError as error:
            raise JournalError(str(error), place=self._place) from error
        except JournalError:
            raise
        except ValueError as error:
            raise JournalCorruptError(f"A row cannot be read: {error}", place=self._place) from error
