"""`Silence`: a connection whose server says nothing for too long is cut, so that whoever waits for it hears of it."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self


class Silence:
    """Around the use of a connection: `with Silence(connection.terminate, 10.0) as silence:`.

    A timeout would not do: what it cancels first tells the silent server of it, and waits for the answer.

    A timer that is late by `late_s` says nothing of the server.

    Attributes:
        was_cut: whether it was too long.
    """

    def __init__(self, cut: Callable[[], object], longest_s: float, *, late_s: float = 1.0) -> None:
        self.was_cut = False
        self._cut = cut
        self._longest_s = longest_s
        self._late_s = late_s
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._wait()
        return self

    def __exit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self._longest_s, self._look)

    def _look(self) -> None:
        timer = self._timer
        if timer is not None and asyncio.get_running_loop().time() - timer.when() > self._late_s:
            # The event loop was busy, and the answer may be there by now.
            self._wait()
            return
        self._timer = None
        self.was_cut = True
        self._cut()
