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
from typing import Any, TypeVar, cast

from miniagents.promising._shutdown import abandoned, cancel_and_wait
from miniagents.promising._waiting import AnyTask
from miniagents.promising.errors import ExitInBackgroundError, LoopIsRunningError

T = TypeVar("T")
SIGTERM_EXIT_CODE = 128 + signal.SIGTERM
MAX_EXITS_AT_THE_END = 10


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
    interruption = _Interruption()
    # The handlers come first: a signal that comes while the loop is being made is noted like any other.
    with interruption.handled():
        try:
            loop = (loop_factory or asyncio.new_event_loop)()
            try:
                result, error = _run_on(loop, _outcome(wrap, awaitable, interruption), interruption, grace_s)
            finally:
                asyncio.set_event_loop(None)
                loop.close()
        finally:
            # Does nothing to a coroutine that has run; one that has not is never awaited any more.
            discard(awaitable)
    # Behind the handlers, so that no signal that they noted can be lost.
    interruption.raise_if_any(error)
    if error is not None:
        raise error
    return result


def _run_on(
    loop: asyncio.AbstractEventLoop,
    coroutine: Coroutine[Any, Any, tuple[T, BaseException | None]],
    interruption: "_Interruption",
    grace_s: float,
) -> tuple[T, BaseException | None]:
    asyncio.set_event_loop(loop)
    main = loop.create_task(coroutine)
    runner_tasks.add(main)
    interruption.watch(loop, main)
    try:
        result, error = loop.run_until_complete(main)
    except asyncio.CancelledError as cancellation:
        # A signal in the very last step of the task.
        result, error = cast("T", None), cancellation
    except BaseException:
        # A second Ctrl-C, or an exit raised right through the loop: what runs still gets to clean up.
        _end_loop(loop, grace_s if interruption.count < 2 else 0.0)
        raise
    _end_loop(loop, grace_s)
    return result, error


runner_tasks: "weakref.WeakSet[AnyTask]" = weakref.WeakSet()
"""The tasks of the runner itself, which no context may cancel."""


def _end_loop(loop: asyncio.AbstractEventLoop, grace_s: float) -> None:
    exits: list[BaseException] = []
    # Tasks of the user's own may raise exits through the loop even now; each of them ends by that.
    while len(exits) < MAX_EXITS_AT_THE_END:
        task = loop.create_task(_end_all(grace_s))
        runner_tasks.add(task)
        try:
            loop.run_until_complete(task)
        except (KeyboardInterrupt, SystemExit) as error:
            exits.append(error)
        else:
            break
    if exits:
        raise exits[0]


async def _outcome(
    wrap: Callable[[Awaitable[T]], Coroutine[Any, Any, T]], awaitable: Awaitable[T], interruption: "_Interruption"
) -> tuple[Any, BaseException | None]:
    if not interruption.begin():
        discard(awaitable)
        return None, asyncio.CancelledError()
    # Returned rather than raised: asyncio lets exits break out of the loop in the middle of things.
    try:
        return await wrap(awaitable), None
    except BaseException as error:  # noqa: BLE001 - raised again by the caller, when the loop has ended
        return None, error


async def without_exits(awaitable: Awaitable[T], on_exit: Callable[[BaseException], None]) -> T:
    """Await `awaitable` for a background task; hand an exit in it to `on_exit`, which asyncio would let break the loop.

    Raises:
        PromisingError: in place of the exit, to whoever awaits the task.
    """
    try:
        return await awaitable
    except (KeyboardInterrupt, SystemExit) as error:
        on_exit(error)
        raise ExitInBackgroundError(error) from error


async def _end_all(grace_s: float) -> None:
    """End what the program itself left running on this loop, and what the loop needs to have ended."""
    me = asyncio.current_task()
    others = {task: None for task in asyncio.all_tasks() if task is not me and task not in abandoned}
    await cancel_and_wait(others, grace_s, logging.getLogger("miniagents"))
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    with contextlib.suppress(TimeoutError):
        # A thread cannot be cancelled; the interpreter waits for it anyway when it ends.
        await asyncio.wait_for(loop.shutdown_default_executor(), grace_s)


def discard(awaitable: object) -> None:
    """Close a coroutine that will not be run."""
    if inspect.iscoroutine(awaitable):
        # Else Python warns that it was never awaited, which is not what is wrong.
        awaitable.close()


class _Interruption:
    """Turns the first Ctrl-C or SIGTERM into a cancellation of the main task, and a second one into an interrupt.

    A signal that comes before the main task has begun, or when it is done already, is noted and raised at the end: what
    has to be ended is ended in good order all the same.
    """

    def __init__(self) -> None:
        self.count = 0
        self._main: asyncio.Task[Any] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._signal: int | None = None
        self._has_begun = False
        self._is_delivered = False

    def watch(self, loop: asyncio.AbstractEventLoop, main: asyncio.Task[Any]) -> None:
        """Cancel `main` on `loop` when a signal comes."""
        self._loop = loop
        self._main = main

    def begin(self) -> bool:
        """The main task takes its first step; `False` if it is not to go on, as a signal came before."""
        self._has_begun = True
        return self._signal is None

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
        if self._signal is not None:
            raise KeyboardInterrupt
        self._signal = number
        if self._main is None or self._loop is None or not self._has_begun:
            return
        self._is_delivered = self._main.cancel()
        if not self._loop.is_closed():
            # The loop may be asleep in `select`, where it would not notice.
            self._loop.call_soon_threadsafe(lambda: None)

    def raise_if_any(self, error: BaseException | None) -> None:
        """Raise what the signal asks for, unless the program was told and chose to end in another way."""
        if self._signal is None or (self._is_delivered and not isinstance(error, asyncio.CancelledError)):
            return
        if self._signal == signal.SIGTERM:
            raise SystemExit(SIGTERM_EXIT_CODE)
        raise KeyboardInterrupt
