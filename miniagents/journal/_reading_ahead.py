"""`Answers`: what a resumed run has from before, read in as few questions to the database as may be.

Calls that are made again mostly ask in the order in which they were made before. So with the answer that is asked for
those come along that are probably asked for next; and calls that ask while something is being read are answered
together. What is not there, or not to be had that way, is read by itself.
"""

import asyncio
from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import islice
from typing import Final, Literal

from miniagents.journal._answer_steps import PlainAnswer, read_finished, read_plain, restored_answer
from miniagents.journal._store import CHUNK, Store
from miniagents.journal.records import FinishedCall

MOST_AHEAD: Final = 1000
"""So many answers are kept that nobody has asked for yet."""
MOST_CHARACTERS_AHEAD: Final = 4_000_000
"""So long they are, all together."""
_FIRST_PAGE = 8
_LONGEST_PAUSE = 64
"""After so many answers that were read by themselves it is tried again whether others are of use."""


class _Turn(Enum):
    TO_READ = "to read"


_Found = PlainAnswer | None | Literal[_Turn.TO_READ]
"""What a call that waits is told: its answer, None where that is to be read by itself, or that it is to read now."""


class Answers:
    """The answers of the calls of one run that had finished before it was resumed."""

    def __init__(self, store: Store, run_id: str, finished: Mapping[str, str | None]) -> None:
        """`finished` are these calls in the order in which they were started, and what each has in common with others.

        See `_call_steps.equality`.
        """
        self._store = store
        self._run_id = run_id
        self._finished = finished
        self._alike: dict[str, list[str]] | None = None
        self._keys = tuple(finished)
        self._places = {key: place for place, key in enumerate(self._keys)}
        """Where those stand that nobody has asked for, and that were not written once more."""
        self._ahead: dict[str, PlainAnswer] = {}
        self._characters = 0
        self._is_reading = False
        """Whether somebody reads, or has been told to."""
        self._waiting: dict[str, asyncio.Future[_Found]] = {}
        self._last_asked = -1
        self._page = _FIRST_PAGE
        self._brought = self._used = 0
        """For how many answers the last question asked beforehand, and how many of any were used since."""
        self._pause = self._left_of_pause = 0

    async def read(self, key: str) -> FinishedCall | None:
        """Give the answer of a call, once; None if it has none that can be replayed.

        Raises:
            JournalCorruptError: a reply does not match its hash, or cannot be made again.
            JournalError: it cannot be read.
        """
        place = self._places.pop(key, None)
        answer = self._taken(key)
        if answer is not None:
            self._used += 1
        elif place is not None and self._asks_for_others():
            self._last_asked = place
            told: _Found = _Turn.TO_READ
            if self._is_reading:
                # No coroutine of its own: thousands may wait here at once.
                future = self._waiting[key] = asyncio.get_running_loop().create_future()
                try:
                    told = await future
                except BaseException:
                    self._give_up(key, future)
                    raise
            answer = await self._read_for_all(key) if told is _Turn.TO_READ else told
        if answer is None:
            return await self._store.read(lambda: read_finished(self._run_id, key, self._store.place))
        return restored_answer(answer, self._store.place)

    async def check(self, key: str) -> None:
        """Look at an answer that nobody is going to get.

        Raises:
            JournalCorruptError: it is not what was written.
        """
        await self._store.read(lambda: read_finished(self._run_id, key, self._store.place))

    def of_calls_like(self, equal: str) -> Sequence[str]:
        """Give the keys of calls that have this in common, answered or not, in the order in which they were started."""
        if self._alike is None:
            # Few programs are edited before they are resumed.
            self._alike = {}
            for key, has in self._finished.items():
                if has is not None:
                    self._alike.setdefault(has, []).append(key)
        return self._alike.get(equal, ())

    def forget(self, key: str) -> None:
        """Take note that a call is written once more: what was read of it is not its answer any longer."""
        self._places.pop(key, None)
        self._taken(key)

    def _taken(self, key: str) -> PlainAnswer | None:
        answer = self._ahead.pop(key, None)
        if answer is not None:
            self._characters -= answer.length
        return answer

    # -- several at once -----------------------------------------------------------------------------------------

    async def _read_for_all(self, key: str) -> PlainAnswer | None:
        """Read what is asked for under this key, and for those that wait."""
        self._is_reading = True
        waiting = list(islice(self._waiting, CHUNK - 1))
        try:
            found = await self._read([key, *waiting])
        except Exception as error:
            for one in waiting:
                self._tell(one, error)
            raise
        else:
            # Some may have begun to ask for what was read beforehand.
            for one in (*waiting, *found):
                self._tell(one, found.get(one))
            self._keep(found)
            return found.get(key)
        finally:
            # Also where this was cancelled: the others are not to wait for ever.
            self._pass_turn_on()

    def _give_up(self, key: str, future: "asyncio.Future[_Found]") -> None:
        """Wait no longer, because of an error, which may be that of the reading."""
        self._waiting.pop(key, None)
        if future.done() and not future.cancelled() and not future.exception() and future.result() is _Turn.TO_READ:
            self._pass_turn_on()

    def _tell(self, key: str, found: "_Found | Exception") -> None:
        future = self._waiting.pop(key, None)
        if future is None or future.done():
            return
        if isinstance(found, Exception):
            future.set_exception(found)
        else:
            future.set_result(found)

    def _pass_turn_on(self) -> None:
        self._is_reading = False
        while self._waiting and not self._is_reading:
            future = self._waiting.pop(next(iter(self._waiting)))
            if not future.done():
                self._is_reading = True
                future.set_result(_Turn.TO_READ)

    # -- beforehand ----------------------------------------------------------------------------------------------

    def _asks_for_others(self) -> bool:
        if not self._left_of_pause or self._is_reading:
            return True
        self._left_of_pause -= 1
        return False

    async def _read(self, keys: list[str]) -> dict[str, PlainAnswer]:
        self._judge()
        room = min(self._page, CHUNK - len(keys))
        # Some of those behind have been asked for already.
        behind = self._keys[self._last_asked + 1 : self._last_asked + 1 + 4 * room]
        ahead = [key for key in behind if key in self._places and key not in self._ahead][:room]
        self._brought, self._used = len(ahead), 0
        return await self._store.read(lambda: read_plain(self._run_id, [*keys, *ahead]))

    def _judge(self) -> None:
        """Ask for more beforehand if much of it was used, and for less if it was not."""
        if self._used * 4 >= self._brought:
            self._page, self._pause = min(CHUNK, self._page * 2), 0
            return
        self._page = max(_FIRST_PAGE, self._page // 2)
        if not self._used:
            self._pause = self._left_of_pause = min(_LONGEST_PAUSE, self._pause * 2 or 1)

    def _keep(self, found: dict[str, PlainAnswer]) -> None:
        for key, answer in found.items():
            # Not what was written once more since it was read.
            if key in self._places:
                self._ahead[key] = answer
                self._characters += answer.length
        while len(self._ahead) > MOST_AHEAD or self._characters > MOST_CHARACTERS_AHEAD:
            oldest = self._ahead.pop(next(iter(self._ahead)))
            self._characters -= oldest.length
