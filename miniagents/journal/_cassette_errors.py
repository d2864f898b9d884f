"""What goes wrong with cassettes."""

from miniagents.journal.errors import JournalError


class CassetteModeError(JournalError, ValueError):
    """A `mode` that is none, or one that was given with something else than a cassette."""


class CassetteMissError(JournalError):
    """The program asked for something that is not in the cassette, and nothing is executed in replay.

    Attributes:
        diff: the difference from what comes nearest to it in the file, line by line; empty where there is nothing.
    """

    def __init__(self, what: str, *, place: str, diff: str = "", row: str | None = None) -> None:
        self.diff = diff
        super().__init__(what, place=place, row=row)
        again = (
            f'The cassette is {place}. If the program is right, record it again: `mode="record"`, or '
            "`pytest --cassette-mode=record`; `auto` records only what is new."
        )
        self.args = ("\n\n".join(part for part in (what, diff, again) if part),)


class RecordedCallError(JournalError):
    """A call failed when it was recorded, with an error of a class that is not made again.

    Made again are the errors of `miniagents` and those that are built into Python.

    Attributes:
        type: the name of the error's class, with its module.
        text: the text of the error.
    """

    def __init__(self, agent: str, *, type_: str, text: str, place: str, row: str | None = None) -> None:
        self.type = type_
        self.text = text
        super().__init__(f"`{agent}` failed with {type_} when this was recorded: {text}", place=place, row=row)
