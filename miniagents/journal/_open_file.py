"""`OpenFile`: whether the file that is open is still the one that has the name."""

import os
import time
from pathlib import Path
from typing import Final

from miniagents.journal.errors import JournalError

_PAUSE_S: Final = 0.1
"""It is not asked more often."""


class OpenFile:
    """The file of a journal; to be used by one thread."""

    def __init__(self, path: Path, place: str) -> None:
        # The folder that the program works in may become another one.
        self._path = path.absolute()
        self._place = place
        self._asked_at = time.monotonic()
        self._number: tuple[int, int] | None = None
        self._number = self._there()

    def check(self) -> None:
        """Refuse to go on with a file that nobody else will ever find.

        Raises:
            JournalError: it has been removed or replaced since it was opened.
        """
        now = time.monotonic()
        if now - self._asked_at < _PAUSE_S:
            return
        there = self._there()
        if there != self._number:
            how = "replaced by another one" if there else "removed or renamed"
            raise JournalError(
                f"The file has been {how} while it was open, so that what is written now would be lost. Start the "
                "program again, which makes a new file if there is none",
                place=self._place,
            )
        # Only then: one that is gone is not asked for less often.
        self._asked_at = now

    def _there(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        except OSError:
            # Whatever it is, writing will tell.
            return self._number
        return found.st_dev, found.st_ino
