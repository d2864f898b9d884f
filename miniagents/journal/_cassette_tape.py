"""What a cassette holds while it is used: what stands in its file, what of that was asked for, and what is new."""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from miniagents.journal import _cassette_file as file
from miniagents.journal._cassette_calls import agent_in, value_for
from miniagents.journal._cassette_diff import diff_of, nearest
from miniagents.journal._cassette_errors import CassetteMissError
from miniagents.journal._cassette_file import Item, RecordedCall, RecordedQuestion, RecordedValue
from miniagents.journal.errors import JournalError

_logger = logging.getLogger("miniagents.journal")

CassetteMode = Literal["record", "replay", "auto"]
"""`record`: everything is executed, and replaces the file if the program does not fail; `replay`: nothing is executed,
everything is answered from the file; `auto`: what the file has is answered from there, the rest is executed and added
to it."""


class Tape:
    """The content of one cassette; shared by all runs that are made with it."""

    def __init__(self, path: Path, mode: CassetteMode) -> None:
        self.path = path
        self.mode: CassetteMode = mode
        self.place = str(path)
        self.misses: list[CassetteMissError] = []
        self._is_open = False
        self._in_file: str | None = None
        self._written: str | None = None
        self._lines = ""
        self._merges = False
        self._recorded: list[RecordedCall] = []
        self._waiting: dict[str, deque[RecordedCall]] = {}
        self._values: dict[str, deque[RecordedValue]] = {}
        self._questions: dict[str, list[RecordedQuestion]] = {}
        self._new: list[Item] = []
        self._lock = asyncio.Lock()

    # -- the file ------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Read the file, once.

        Raises:
            JournalError: there is none to replay, or it cannot be used; see `Cassette.begin_run`.
        """
        async with self._lock:
            if self._is_open:
                return
            text = await asyncio.to_thread(file.read_text, self.path)
            if self.mode == "record":
                # Never the place of something else; what is damaged, or older, is replaced.
                file.check_is_cassette(text or "", self.place, any_version=True)
            elif text is None and self.mode == "replay":
                raise JournalError(
                    f'There is no cassette {self.place} to replay. Record it with `mode="record"`, or '
                    "`pytest --cassette-mode=record`, where the models can be reached",
                    place=self.place,
                )
            else:
                for item in file.items_of(text or "", self.place):
                    self._take(item)
            self._in_file = self._written = text
            self._is_open = True

    def _take(self, item: Item) -> None:
        match item:
            case RecordedCall():
                self._recorded.append(item)
                self._waiting.setdefault(item.matched_by, deque()).append(item)
            case RecordedValue():
                self._values.setdefault(item.name, deque()).append(item)
            case RecordedQuestion():
                self._questions.setdefault(item.key, []).append(item)

    async def save(self, *, has_failed: bool = False) -> None:
        """Write what is new, if anything is; beside the file where that would replace it and the program has failed.

        Raises:
            JournalError: the file cannot be written.
        """
        async with self._lock:
            lines = file.text_of(self._new)
            if has_failed and self.mode == "record" and (self._in_file or "").strip() and not self._lines:
                await self._keep_beside(lines)
                return
            before = "" if self.mode == "record" else self._in_file or ""
            if self.mode == "replay" or (not lines and before.strip()):
                return
            if file.joined(before, lines) != self._written or self._merges:
                await asyncio.to_thread(file.change, self.path, lambda there: self._text_to_write(there, before, lines))

    async def _keep_beside(self, lines: str) -> None:
        """Keep what may be a half of a recording, and what is whole in the file as well."""
        recorded = "nothing was recorded until then"
        if lines:
            beside = self.path.with_name(f"{self.path.stem}.failed{self.path.suffix}")
            await asyncio.to_thread(file.write_text, beside, file.joined("", lines))
            recorded = f"what was recorded until then is in {beside}: put that in its place if it is what you want"
        _logger.warning("The program failed, so that the cassette %s stays as it was; %s", self.place, recorded)

    def _text_to_write(self, there: str | None, before: str, lines: str) -> str:
        """Give what is to stand in the file, in which another run may have written since it was read."""
        text = file.joined(before, lines)
        if there is not None and there != self._written:
            file.check_is_cassette(there, self.place)
            if self.mode == "record" or self._lines not in there:
                raise JournalError(
                    "The cassette was changed while this run was recorded, and what was recorded here is not in it: "
                    "another context or process has written it, or somebody has edited it. Give each of two that run "
                    "at the same time a cassette of its own, or one `Cassette` to both; then record again",
                    place=self.place,
                )
            # What this run has written before is a part of that.
            text = there.replace(self._lines, lines, 1) if self._lines else file.joined(there, lines)
            self._merges = True
        self._written, self._lines = text, lines
        return text

    # -- calls ---------------------------------------------------------------------------------------------------

    def find(self, asked: RecordedCall) -> RecordedCall | None:
        """Give the recorded call that answers `asked`, the first that was not given yet; None if it is to be executed.

        Raises:
            CassetteMissError: nothing answers it, and nothing is executed.
        """
        waiting = self._waiting.get(asked.matched_by)
        if waiting:
            found = waiting.popleft()
            found.is_used = True
            return found
        if self.mode == "replay":
            raise self._missed(asked)
        self._new.append(asked)
        return None

    def _missed(self, asked: RecordedCall) -> CassetteMissError:
        same = [call for call in self._recorded if call.matched_by == asked.matched_by]
        if same:
            times = "once" if len(same) == 1 else f"{len(same)} times"
            return self.miss(f"`{asked.agent}` was asked this {times} when it was recorded, and now once more")
        near = nearest(asked, self._recorded)
        if near is None:
            return self.miss(f"`{asked.agent}` is asked something, and the cassette has no call at all")
        return self.miss(
            f"`{asked.agent}` is asked something that is not in the cassette. The nearest recorded call differs in",
            diff_of(asked, near, self.place),
        )

    def miss(self, what: str, diff: str = "", *, row: str | None = None) -> CassetteMissError:
        """Give the error of something that is not there, and keep it in mind."""
        error = CassetteMissError(what, place=self.place, diff=diff, row=row)
        self.misses.append(error)
        return error

    # -- values and questions ------------------------------------------------------------------------------------

    def find_value(self, name: str, of: str | None = None) -> RecordedValue:
        """Give the next recorded value of a name for such a call; one that is not there keeps its place in the file.

        Raises:
            CassetteMissError: there is none, and nothing is executed.
        """
        waiting = self._values.get(name, deque())
        found = value_for(of, waiting)
        if found is not None:
            waiting.remove(found)
            return found
        if self.mode == "replay":
            what = f"Nothing that happens once was recorded as {name!r}"
            if name in self._values:
                what = f"What happens once as {name!r} happens more often than when it was recorded"
                if of is not None:
                    what = (
                        f"What happens once as {name!r} in a call of `{agent_in(of)}` with these settings and this "
                        "input happens more often than when it was recorded, or failed then"
                    )
            raise self.miss(f"{what}. {_listed(self._values)}", row=f"value {name}")
        new = RecordedValue(name, of=of)
        self._new.append(new)
        return new

    def find_question(self, key: str, text: str) -> RecordedQuestion:
        """Give the next recorded question of a key and this text; an open one, where a person is to be asked.

        Raises:
            CassetteMissError: there is none, and nobody is asked.
        """
        waiting = self._questions.get(key, ())
        found = next((question for question in waiting if question.text == text), None)
        if found is not None:
            self._questions[key].remove(found)
            return found
        if self.mode == "replay":
            others = [question.text for question in waiting]
            was = f"It was {others[0]!r} then." if others else _listed(self._questions)
            raise self.miss(
                f"The question {text!r}, under the key {key!r}, was not asked when this was recorded. {was}",
                row=f"question {key}",
            )
        new = RecordedQuestion(key, text)
        self._new.append(new)
        return new


def _listed(keys: Iterable[str]) -> str:
    return f"Recorded are: {', '.join(map(repr, sorted(keys))) or 'none'}."
