"""The questions that one run with a cassette has put, and their answers."""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime

from miniagents.journal._cassette_file import RecordedQuestion
from miniagents.journal._cassette_forms import Json
from miniagents.journal._cassette_tape import Tape
from miniagents.journal.errors import JournalError


@dataclass(slots=True, eq=False)
class Asked:
    """A question of this run, as it is, while what stands in the file for it may be masked."""

    text: str
    recorded: RecordedQuestion
    at: datetime
    answer: Json = None
    """None until it is answered."""
    answered_at: datetime | None = None
    is_answered: asyncio.Event = field(default_factory=asyncio.Event)


class Questions:
    """The questions of one run, by their keys, in the order in which they were asked."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self.asked: dict[str, Asked] = {}

    def ask(self, key: str, text: str, shown: str) -> Asked:
        """Put a question, unless it is there; `shown` is what stands in the file for its text.

        Raises:
            CassetteMissError: it is not in the file, and nobody is asked.
            JournalError: another question of this run has the key.
        """
        asked = self.asked.get(key)
        if asked is None:
            recorded = self._tape.find_question(key, shown)
            now = datetime.now(UTC)
            asked = self.asked[key] = Asked(text, recorded, now, recorded.answer)
            asked.answered_at = None if recorded.answer is None else now
        elif asked.text != text:
            raise self._error(
                f"The question {key!r} was asked with another text: {asked.text!r}, and now {text!r}. Give each "
                "question a key of its own",
                key,
            )
        return asked

    def answer(self, key: str, answer: Json, shown: Json) -> None:
        """Answer a question; `shown` is what stands in the file for the answer.

        Raises:
            JournalError: nothing was asked there, or it has another answer already.
        """
        asked = self.question(key)
        if asked.answer is None:
            asked.answer, asked.answered_at = answer, datetime.now(UTC)
            asked.recorded.answer = shown
            asked.is_answered.set()
        elif asked.answer != answer:
            raise self._error(f"The question {key!r} has another answer already", key)

    def question(self, key: str) -> Asked:
        """Give a question that was put.

        Raises:
            JournalError: nothing was asked there.
        """
        if key not in self.asked:
            open_ones = ", ".join(repr(known) for known, asked in self.asked.items() if asked.answer is None)
            raise self._error(f"Nothing was asked under the key {key!r}. Open questions: {open_ones or 'none'}", key)
        return self.asked[key]

    def _error(self, what: str, key: str) -> JournalError:
        return JournalError(what, place=self._tape.place, row=f"question {key}")
