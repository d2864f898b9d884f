"""An event loop whose clock jumps: a test of an hour of waiting takes a millisecond.

Time stands still while anything can run, and jumps to the next timer as soon as nothing can. So timeouts, retries and
pauses happen in their true order and at their exact times, and nothing depends on how fast the machine is.

What follows the virtual clock: everything that asks the loop, such as `asyncio.sleep()`, `asyncio.timeout()`,
`loop.call_later()` and `loop.time()`. What does not: `time.monotonic()`, `time.time()` and `time.sleep()`.

Two things go on outside of the loop, where it cannot see whether they still run:

- Work in threads: while a call of `asyncio.to_thread()` or `loop.run_in_executor()` is at work, time runs as on the
  wall, so that it is not overtaken by a timeout. Threads that were started in another way are not noticed.
- Other processes, and servers in other threads or on other machines: while the loop waits for their answer it jumps to
  the next timer, so a timeout around such a call expires at once. Servers on the same loop are fine.

A program in which nothing will ever happen any more waits for ever here too: give your tests a real time limit.
"""

import asyncio
import math
import selectors
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

__all__ = ["VirtualTimeLoop", "run_with_virtual_clock"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

# The loop runs a timer when `when < now + resolution`, where the resolution is that of the system's clock.
_CLOCK_RESOLUTION_S = 1e-9


class _JumpingSelector(selectors.DefaultSelector):
    """Where the loop sleeps when it has nothing to do; instead of sleeping it moves `now`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.threads_at_work = 0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            # No timer is set, so there is nowhere to jump to (or something is ready to run): as any loop does.
            return super().select(timeout)
        if self.threads_at_work:
            began = time.monotonic()
            events = super().select(timeout)
            self._move_to(self.now + (time.monotonic() - began if events else timeout))
            return events
        events = super().select(0)
        if not events:
            self._move_to(self.now + timeout)
        return events

    def _move_to(self, moment: float) -> None:
        # After some months the resolution is less than a float can tell from nothing, and the loop would never find
        # the timer due: go one step beyond it.
        is_too_coarse = moment + _CLOCK_RESOLUTION_S == moment
        self.now = math.nextafter(moment, math.inf) if is_too_coarse else moment


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An asyncio event loop on virtual time; `loop.time()` starts at 0 and is in seconds.

    Use it through `run_with_virtual_clock()`, the marker `@pytest.mark.virtual_clock` of `miniagents.testing.fixtures`,
    or `asyncio.Runner(loop_factory=VirtualTimeLoop)`. Its limits are described at the top of this module.
    """

    def __init__(self) -> None:
        self._clock = _JumpingSelector()
        super().__init__(self._clock)

    def time(self) -> float:
        """Return the virtual time: seconds since this loop was made, those that were jumped over included."""
        return self._clock.now

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run `func(*args)` in a thread, as asyncio does; until it ends, time runs as on the wall."""
        future = super().run_in_executor(executor, func, *args)
        self._clock.threads_at_work += 1
        future.add_done_callback(self._on_thread_done)
        return future

    async def shutdown_default_executor(self, *timeout_s: Any, **timeout_by_name_s: Any) -> None:
        """Wait for the threads of `run_in_executor()`, as asyncio does at the end of a program, in real time."""
        # Since Python 3.12 this has a time limit, which virtual time would reach before any thread can end.
        self._clock.threads_at_work += 1
        try:
            await super().shutdown_default_executor(*timeout_s, **timeout_by_name_s)
        finally:
            self._clock.threads_at_work -= 1

    def _on_thread_done(self, _future: asyncio.Future[Any]) -> None:
        self._clock.threads_at_work -= 1


def run_with_virtual_clock(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run the coroutine to its end on a new `VirtualTimeLoop` and return its result: `asyncio.run()` without waiting.

    For a program with agents: `run_with_virtual_clock(MiniAgents().arun(main()))`.

    Raises:
        RuntimeError: an event loop already runs in this thread, so this would block it.
    """
    if _is_a_loop_running():
        coroutine.close()  # else Python warns, in some other place, that it was never awaited
        raise RuntimeError(
            "`run_with_virtual_clock()` cannot be called from a running event loop, here from an async function: "
            "call it from a plain function, or mark the async test with `@pytest.mark.virtual_clock`."
        )
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        return runner.run(coroutine)


def _is_a_loop_running() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True
