"""What came of a call, and of storing it."""

import time
from typing import Any, Literal, cast

from miniagents._segments import flat_parts
from miniagents.journal._call_nodes import Reply, Run
from miniagents.journal.errors import (
    JournalCorruptError,
    JournalError,
    JournalLockedError,
    JournalUnreachableError,
    RunBusyError,
    UnstorableValueError,
)
from miniagents.message_sequence import MessageSequencePromise
from miniagents.messages import MessagePromise
from miniagents.promising._buffer import Buffer
from miniagents.promising._failure import Failure
from miniagents.promising.promising import PromisingContext
from miniagents.promising.sentinels import NO_VALUE

OnStoreError = Literal["report", "raise"]
_ALWAYS_RAISED = (UnstorableValueError, RunBusyError, JournalCorruptError)
"""Mistakes of the program, and what would mix two programs' records: nothing may go on as if they had not happened."""

_LOST = (JournalLockedError, JournalUnreachableError)
"""What all writes fail with, until it is over."""


class StoreTrouble:
    """What becomes of an error of the journal in one run, while the program's own work is well.

    Attributes:
        is_at_end: whether the context is about to end the run.
    """

    def __init__(self, context: PromisingContext, on_store_error: OnStoreError) -> None:
        self._context = context
        self._raises = on_store_error == "raise"
        self._told: set[str] = set()
        self._put_off: JournalError | None = None
        self._run: Run | None = None
        self._lost_at = ""
        self._told_of_loss: set[str] = set()
        self.is_at_end = False

    def watch(self, run: Run) -> None:
        """Hear from a run what fails in the background, and when it can be written again after that."""
        self._run = run
        run.on_failure = self.put_off

    def is_grave(self, error: JournalError) -> bool:
        """Whether it is to be raised where the program waits."""
        return self._raises or isinstance(error, _ALWAYS_RAISED)

    def judge(self, error: JournalError) -> None:
        """Raise it, or report it."""
        if self.is_grave(error):
            raise error
        self.report(error)

    def put_off(self, error: JournalError) -> None:
        """Report it, as nobody waits for what has failed; `raise_the_rest` raises it if it is grave."""
        self.report(error)
        if self._put_off is None and self.is_grave(error):
            self._put_off = error

    def raise_the_rest(self) -> None:
        """Raise the first error that was put off, when the run ends."""
        if self._put_off is not None:
            raise self._put_off

    def report(self, error: JournalError) -> None:
        """Tell the log, once for errors of the same text."""
        if not self.is_at_end and self._run is not None and self._run.has_ended:
            # The journal was closed before its time. An interruption does that, maybe, and then it is not worth a word.
            self._put_off = self._put_off or error
            return
        text = str(error)
        if self._run is not None and isinstance(error, _LOST):
            self._lost_at = self._lost_at or time.strftime("%H:%M:%S")
            self._told_of_loss.add(text)
            self._run.on_success = self._tell_of_return
        if text not in self._told and len(self._told) < 100:
            self._told.add(text)
            # What is raised ends the program, or a part of it.
            goes_on = "" if self.is_grave(error) else "; the program goes on without its record"
            self._context.logger.error("The journal failed%s: %s", goes_on, text)

    def _tell_of_return(self) -> None:
        assert self._run is not None
        self._context.logger.warning(
            "The journal can be written again, and what comes now is recorded. Of what happened since %s the record is "
            "missing, so that calls which ended meanwhile are made again where the run %r is resumed (journal: %s)",
            self._lost_at,
            self._run.run_id,
            self._run.place,
        )
        # When it happens once more, that is told once more.
        self._told -= self._told_of_loss
        self._told_of_loss.clear()
        self._lost_at = ""


def replies_so_far(replies: MessageSequencePromise) -> tuple[list[Reply], BaseException | None]:
    """Give the messages that are there, with their tokens, and the first error; makes nothing start."""
    found: list[Reply] = []
    failure: BaseException | None = None
    for part in flat_parts(replies.buffer()):
        if isinstance(part, Buffer):
            break
        outcome: Any = part.outcome_if_done() if isinstance(part, MessagePromise) else part
        if isinstance(outcome, Failure):
            failure = failure or outcome.error
        elif outcome is not NO_VALUE:
            pieces = cast("MessagePromise", part).buffer().pieces
            found.append((outcome, None if len(pieces) == 1 else tuple(pieces)))
    return found, failure
