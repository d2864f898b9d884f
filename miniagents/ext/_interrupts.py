"""Ctrl+C as the end of a dialog, instead of the end of the program.

    idle --Ctrl+C--> pressed --the event loop gets to it--> handed over: the listeners are called, and the earlier
      ^                 |                                   handler is back, so that a second Ctrl+C does what it would
      |                 |                                   have done without us
      |                 +--another Ctrl+C, or STUCK_S--> the event loop is stuck in a blocking call, such as `input()`
      |                                                  in an agent, which gets the `KeyboardInterrupt` that it would
      |                                                  get in a program without asyncio; the earlier handler is back
      +---- the next loop of agents

A program that handles Ctrl+C by itself, as a web server does, keeps its handler: only those are replaced that Python,
`asyncio.run()` and `MiniAgents().run()` install. All this is in the main thread, the only one that handles signals.
"""

import asyncio
import functools
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import Any

GRACE_S = 2.0
"""How long what was told to end may take to do so in good order, before it is told in a harsher way."""

STUCK_S = 0.3
"""How long the event loop may take to hear of a Ctrl+C before it counts as stuck."""

_Handler = Callable[[int, FrameType | None], Any] | int | None


@contextmanager
def ctrl_c_calls(listener: Callable[[], None]) -> Generator[None]:
    """While the block runs, the first Ctrl+C calls `listener` on the event loop.

    If the event loop is stuck in a blocking call, that call is interrupted instead, and `listener` is called some time
    later. Outside of the main thread, or where the program has a handler of its own, the block just runs.
    """
    if threading.current_thread() is not threading.main_thread() or not _ctrl_c.take_over():
        yield
        return
    _ctrl_c.listeners.append(listener)
    try:
        yield
    finally:
        _ctrl_c.listeners.remove(listener)
        if not _ctrl_c.listeners:
            _ctrl_c.give_back()


class _CtrlC:
    """The process's one handler of Ctrl+C, as far as it is ours."""

    def __init__(self) -> None:
        self.listeners: list[Callable[[], None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._earlier_handler: _Handler = None
        self._delivery: asyncio.Handle | None = None
        self._alarm: threading.Timer | None = None

    def take_over(self) -> bool:
        """Become the handler, if that is allowed; false if the program has one of its own."""
        self._loop = asyncio.get_running_loop()
        present = signal.getsignal(signal.SIGINT)
        if present == self._handle:
            return True
        if present is not signal.default_int_handler and not _only_cancels_main(present):
            return False
        self._earlier_handler = present
        signal.signal(signal.SIGINT, self._handle)
        return True

    def give_back(self) -> None:
        """Put the earlier handler back, unless somebody else has put one there in the meantime."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = self._delivery = None
        if signal.getsignal(signal.SIGINT) == self._handle:
            signal.signal(signal.SIGINT, self._earlier_handler)

    def _handle(self, _signal_number: int, _frame: FrameType | None) -> None:
        loop = self._loop
        if loop is None or loop.is_closed():
            self.give_back()
            raise KeyboardInterrupt
        if self._delivery is None:
            self._delivery = loop.call_soon_threadsafe(self._deliver)
            if hasattr(signal, "pthread_kill"):
                self._alarm = threading.Timer(STUCK_S, signal.pthread_kill, [threading.get_ident(), signal.SIGINT])
                self._alarm.daemon = True
                self._alarm.start()
        elif asyncio.current_task(loop) is not None:
            self._delivery.cancel()
            for listener in self.listeners:
                # For the case that whoever is stuck survives its `KeyboardInterrupt`.
                loop.call_soon_threadsafe(loop.call_later, GRACE_S, listener)
            self.give_back()
            raise KeyboardInterrupt

    def _deliver(self) -> None:
        self.give_back()
        for listener in self.listeners:
            listener()


_ctrl_c = _CtrlC()


def _only_cancels_main(handler: _Handler) -> bool:
    """Tell whether this is the handler of `MiniAgents().run()` or `asyncio.run()`, which cancel the main function."""
    function = handler.func if isinstance(handler, functools.partial) else handler
    return getattr(function, "__module__", None) in ("asyncio.runners", "miniagents.promising._runner")
