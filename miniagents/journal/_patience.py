"""`Patience`: how long a connection of SQLite waits for a lock."""

from typing import Any, Final

_SHORT_MS: Final = 20
"""Others that write have done so by then, as a rule."""


class Patience:
    """As long as was wished, until that was in vain once; from then on hardly at all, until a lock was got again.

    Else each write of a program waits that long for a file that somebody else keeps locked. To be used by one thread.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._usual_ms: int | None = None

    def note(self, *, was_locked_out: bool) -> None:
        """Take note of what has become of a transaction."""
        if was_locked_out == (self._usual_ms is not None):
            return
        if self._usual_ms is None:
            (self._usual_ms,) = self._connection.execute("PRAGMA busy_timeout").fetchone()
            self._wait_for(min(self._usual_ms or 0, _SHORT_MS))
        else:
            self._wait_for(self._usual_ms)
            self._usual_ms = None

    def _wait_for(self, milliseconds: int) -> None:
        self._connection.execute(f"PRAGMA busy_timeout = {milliseconds}").fetchall()
