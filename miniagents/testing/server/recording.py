"""What the server remembers of a request: how it came, how it was understood, how it ended."""

import concurrent.futures
import time
from dataclasses import dataclass, field
from typing import Any

from miniagents.testing.server.parts import done_in_any_thread


@dataclass
class RecordedRequest:
    """One request as it arrived; `bytes_sent` and how it ended are filled in while it is answered.

    `client_port` tells connections apart. `protocol`, `model`, `streamed` and `dialog` say how the server understood
    it: `dialog` holds `(role, text)` of every message, the system prompt aside.
    """

    method: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    query: dict[str, str] = field(default_factory=dict[str, str])
    client_port: int = 0
    protocol: str = ""
    model: str = ""
    streamed: bool = False
    dialog: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    began_at: float = field(default_factory=time.monotonic)
    sent: list[bytes] = field(default_factory=list[bytes])
    bytes_sent: int = 0
    how_ended: str | None = None
    ended_at: float | None = None
    _end: concurrent.futures.Future[str] = field(default_factory=concurrent.futures.Future[str], repr=False)

    @property
    def last_user_text(self) -> str:
        """What the user said last."""
        return next((text for role, text in reversed(self.dialog) if role == "user"), "")

    @property
    def first_user_text(self) -> str:
        """What the user said first: the same in every request of a conversation."""
        return next((text for role, text in self.dialog if role == "user"), "")

    async def ended(self) -> str:
        """How it ended, once it has: `"complete"`, `"dropped"` by the script, or `"closed by the client"`."""
        return await done_in_any_thread(self._end)

    def wait_for_end(self, timeout_s: float) -> bool:
        """Block the thread until it has ended, so many seconds at most; whether it has."""
        return not concurrent.futures.wait([self._end], max(0.0, timeout_s)).not_done

    def end(self, how: str) -> None:
        """Note how it ended, and when (`ended_at`, on the clock of `time.monotonic()`); the first note counts."""
        if not self._end.done():
            self.how_ended, self.ended_at = how, time.monotonic()
            self._end.set_result(how)

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what belongs to this process."""
        return {name: value for name, value in vars(self).items() if name != "_end"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Be a copy in another process: how it ended is known there only if it had ended before."""
        vars(self).update(state)
        self._end = concurrent.futures.Future()
        if self.how_ended is not None:
            self._end.set_result(self.how_ended)
