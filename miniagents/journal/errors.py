"""Errors of the journal. Each names the file or server, and the row where there is one.

JournalError (a MiniAgentsError)       catch this to catch all of them
+-- JournalVersionError                the file or database is of another version, or of something else
+-- JournalCorruptError                a row, or the file, does not hold what was written
+-- JournalLockedError                 somebody else held the file for too long
+-- JournalUnreachableError            the server cannot be reached, or does not answer
+-- RunBusyError                       another process has this run, or has taken it over
+-- UncertainCallError                 a call was cut off, and is not to be made again
+-- UnstorableValueError               a value that JSON, or the journal, cannot hold
"""

from miniagents.errors import MiniAgentsError


class JournalError(MiniAgentsError):
    """The journal cannot do what it was asked to.

    Attributes:
        place: the file or server, without passwords.
        row: the row, such as ``message 4de5cb30...``; None where the error is not about one.
    """

    def __init__(self, what: str, *, place: str, row: str | None = None) -> None:
        self.place = place
        self.row = row
        super().__init__(f"{what} (journal: {place})")


class JournalVersionError(JournalError):
    """The file or database has another version than this one can read, or belongs to something else."""


class JournalCorruptError(JournalError):
    """A row does not hold what was written, or the file is damaged."""


class JournalLockedError(JournalError):
    """Another process held the journal for longer than we wait."""


class JournalUnreachableError(JournalError):
    """The server cannot be reached, or does not answer.

    Once that is known, each further read and write fails with this at once, until the server is found again.
    """


class RunBusyError(JournalError):
    """Another process works on the run, or has taken it over since.

    Attributes:
        run_id: the run.
    """

    def __init__(self, what: str, *, place: str, run_id: str) -> None:
        self.run_id = run_id
        super().__init__(what, place=place, row=f"run {run_id}")


class UncertainCallError(JournalError):
    """A durable call had started when its process was cut off, so that what it does may have been done already.

    Attributes:
        agent: the alias of the agent.
        key: the key of the call.
        answer: what a person has said who was asked whether it is to be made again; None if nobody was.
    """

    def __init__(self, agent: str, key: str, *, place: str, answer: object = None) -> None:
        self.agent = agent
        self.key = key
        self.answer = answer
        cut_off = f"A call of `{agent}` was cut off before its result was recorded, and is not made again"
        fix = (
            ': look whether it has done what it does, then begin a new run, or mark the agent with `on_uncertain="ask"`'
            ' or `on_uncertain="retry"`'
        )
        if answer is not None:
            fix = (
                f", as the answer was {answer!r}. If that was a mistake, start the program again: you are asked once "
                "more. If it was not, begin a new run"
            )
        super().__init__(cut_off + fix, place=place, row=f"call {key}")


class UnstorableValueError(JournalError, ValueError):
    """A value cannot be stored.

    Attributes:
        field: where it is, such as ``price`` or ``lines[2].text``.
    """

    def __init__(self, what: str, *, place: str, field: str) -> None:
        self.field = field
        super().__init__(f"`{field}` cannot be stored: {what}", place=place)
