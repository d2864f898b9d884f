"""Running a coroutine in an event loop of its own, and ending that loop in good order."""

import asyncio
import contextlib
import inspect
import logging
import signal
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import FrameType
from typing import Any, TypeVar

from miniagents.promising._shutdown import cancel_and_wait
from miniagents.promising._waiting import AnyTask
from miniagents.promising.errors import LoopIsRunningError

T = TypeVar("T")
SIGTERM_EXIT_CODE = 128 + signal.SIGTERM


def run_in_new_loop(
    wrap: Callable[[Awaitable[T]], Coroutine[Any, Any, T]],
    awaitable: Awaitable[T],
    *,
    name: str,
    grace_s: float,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None,
) -> T:
    """Run `wrap(awaitable)` in a new loop; see `PromisingContext.run`."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        pass
    else:
        discard(awaitable)
        raise LoopIsRunningError(
            f"`{name}().run(...)` starts an event loop of its own, and one runs here already (as in a notebook or a "
            f"server). Write `await {name}().arun(...)` or `async with {name}():`."
        )
    if not inspect.isawaitable(awaitable):
        raise TypeError(f"`run()` takes a coroutine, such as `main()`, but got {awaitable!r}.")
    loop = (loop_factory or asyncio.new_event_loop)()
    interruption = _Interruption(loop)
    try:
        asyncio.set_event_loop(loop)
        with interruption.handled():
            main = loop.create_task(_outcome(wrap(awaitable)))
            interruption.main = main
            runner_tasks.add(main)
            try:
                result, error = loop.run_until_complete(main)
            except BaseException:
                # A second Ctrl-C, or an exit raised right through the loop: what runs still gets to clean up.
                _run(loop, _end_all(grace_s if interruption.count < 2 else 0.0))
                raise
            _run(loop, _end_all(grace_s))
            interruption.raise_if_any(error)
        if error is not None:
            raise error
        return result
    finally:
        asyncio.set_event_loop(None)
        loop.close()


runner_tasks: "weakref.WeakSet[AnyTask]" = weakref.WeakSet()
"""The tasks of the runner itself, which no context may cancel."""


def _run(loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, None]) -> None:
    task = loop.create_task(coroutine)
    runner_tasks.add(task)
    loop.run_until_complete(task)


async def _outcome(coroutine: Coroutine[Any, Any, T]) -> tuple[Any, BaseException | None]:
    # Returned rather than raised: asyncio lets exits break out of the loop in the middle of things.
    try:
        return await coroutine, None
    except BaseException as error:  # noqa: BLE001 - raised again by the caller, when the loop has ended
        return None, error


async def _end_all(grace_s: float) -> None:
    """End what the program itself left running on this loop, and what the loop needs to have ended."""
    me = asyncio.current_task()
    others = {task: None for task in asyncio.all_tasks() if task is not me}
    await cancel_and_wait(others, grace_s, logging.getLogger("miniagents"))
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    with contextlib.suppress(TimeoutError):
        # A thread cannot be cancelled; the interpreter waits for it anyway when it ends.
        await asyncio.wait_for(loop.shutdown_default_executor(), grace_s)


async def as_coroutine(awaitable: Awaitable[T]) -> T:
    """Await `awaitable`, for those who insist on a coroutine."""
    return await awaitable


def discard(awaitable: object) -> None:
    """Close a coroutine that will not be run."""
    if inspect.iscoroutine(awaitable):
        # Else Python warns that it was never awaited, which is not what is wrong.
        awaitable.close()


class _Interruption:
    """Turns the first Ctrl-C or SIGTERM into a cancellation of the main task, and a second one into an interrupt."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.main: asyncio.Task[Any] | None = None
        self._loop = loop
        self._signal: int | None = None
        self.count = 0

    @contextlib.contextmanager
    def handled(self) -> Generator[None]:
        """Handle the signals inside this block, unless somebody else does already."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        replaced: dict[int, Any] = {}
        for number, default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGTERM, signal.SIG_DFL)):
            if signal.getsignal(number) is default:
                replaced[number] = signal.signal(number, self._handle)
        try:
            yield
        finally:
            for number, handler in replaced.items():
                if signal.getsignal(number) == self._handle:
                    signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self.count += 1
        if self._signal is None and self.main is not None and not self.main.done():
            self._signal = number
            self.main.cancel()
            # The loop may be asleep in `select`, where it would not notice.
            self._loop.call_soon_threadsafe(lambda: None)
            return
        self._signal = number
        raise KeyboardInterrupt

    def raise_if_any(self, error: BaseException | None) -> None:
        """Raise what the signal asks for, if one came and the program did not end in another way."""
        if self._signal is None or not isinstance(error, asyncio.CancelledError):
            return
        if self._signal == signal.SIGTERM:
            raise SystemExit(SIGTERM_EXIT_CODE)
        raise KeyboardInterrupt
