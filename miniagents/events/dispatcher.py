"""`Dispatcher`: an `AsyncDispatcher` for programs without coroutines, at work in a thread of its own.

dispatcher = Dispatcher(router)
dispatcher.dispatch(TextEvent(text="..."))
dispatcher.wait_for_empty_queue()
dispatcher.stop()
"""

import asyncio
import atexit
import contextlib
import functools
import importlib
import logging
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from miniagents.errors import DeadlockError
from miniagents.events._options import seconds
from miniagents.events._thread_calls import OwnThread
from miniagents.events.async_dispatcher import AsyncDispatcher
from miniagents.events.dead_letter import DeadLetter
from miniagents.events.errors import BusStoppedError
from miniagents.events.event import Event
from miniagents.events.flow import Flow
from miniagents.events.router import Router
from miniagents.events.shared_memory import SharedMemory
from miniagents.events.stats import BusStats
from miniagents.events.tracer import Tracer
from miniagents.miniagents import MiniAgents
from miniagents.promising._failure import storable
from miniagents.promising.errors import NoActiveContextError

T = TypeVar("T")
_THREAD_NAME: Final = "miniagents dispatcher"


class _HostContext(MiniAgents, OwnThread):
    """The context of one dispatcher."""


class Dispatcher:
    """Hands events to the agents that a router names; see `AsyncDispatcher`, which does it in a thread of this one's.

    It takes events as soon as it is made. All its methods may be called in any thread, and none in a coroutine that
    must not block. A program that ends without stopping it first waits until everything that was dispatched is done.

    It is made as an `AsyncDispatcher` is.

    Raises:
        RegistrationError: an argument is not what it should be, or an agent of the router cannot be called.
    """

    def __init__(
        self,
        router: Router,
        shared_working_memory: SharedMemory | None = None,
        batch_size: int = 5,
        tracer: Tracer | None = None,
        *,
        max_pending: int = 100_000,
        max_hops: int = 100,
    ) -> None:
        self._dispatcher = AsyncDispatcher(
            router, shared_working_memory, batch_size, tracer, max_pending=max_pending, max_hops=max_hops
        )
        self._host = _Host(self._dispatcher)
        self._host.start()
        _finish_all_at_exit()
        _running.add(self)

    def dispatch(self, event: Event) -> Flow:
        """Send an event on its way; see `AsyncDispatcher.dispatch`. Does not wait for anything that follows.

        Raises:
            BusStoppedError: the dispatcher is stopped; the cause says why, if that was an error.
            QueueFullError: `max_pending` deliveries wait already.
            TypeError: it is no event.
        """
        if self._host.is_here():
            return self._dispatcher.dispatch(event)

        async def dispatch() -> list[Flow]:
            # Not the flow by itself, which can be awaited.
            return [self._dispatcher.dispatch(event)]

        return self._host.run(dispatch)[0]

    def wait_for_empty_queue(self, timeout: float | None = None) -> bool:
        """Block until everything that was dispatched, and all that followed, was handled or is a dead letter.

        Gives False if that took longer than `timeout` seconds, else True.

        Raises:
            DeadlockError: an agent of the dispatcher would wait for its own end.
        """
        if self._host.is_over():
            return True
        if self._host.is_here():
            raise DeadlockError(
                "`wait_for_empty_queue()` blocks, and was called in the thread of the dispatcher, where it would "
                "wait for ever. Call it in another thread; agents return events instead."
            )
        return self._host.run(lambda: self._dispatcher.wait_for_empty_queue(timeout))

    def stop(self, drain: bool = False, timeout: float | None = None) -> None:  # noqa: FBT001, FBT002 - as `bus.stop`
        """Take no more events, let what is in work end, end the thread, and block until that is done.

        The options are those of `AsyncDispatcher.stop`.

        Raises:
            DeadlockError: an agent of the dispatcher would wait for its own end; return a `TerminateEvent` there.
            BaseException: what ended the thread before its time, such as a `SystemExit` of an agent.
        """
        limit_s = None if timeout is None else seconds(timeout, "timeout", "stop", zero_is_fine=True)
        if self._dispatcher.bus.is_in_handler() or self._host.is_here():
            raise DeadlockError(
                "An agent waits for the end of its own dispatcher, which waits for the agent. Return a "
                "`TerminateEvent`, which stops it without waiting."
            )
        _running.discard(self)
        self._host.end(drain=drain, timeout_s=limit_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop(drain=error is None)

    @property
    def shared_working_memory(self) -> SharedMemory:
        """What the agents know together."""
        return self._dispatcher.shared_working_memory

    @property
    def dead_letters(self) -> tuple[DeadLetter, ...]:
        """What failed, and what was not delivered: the last ten thousand of these; `stats.dead` counts all."""
        return self._dispatcher.dead_letters

    @property
    def stats(self) -> BusStats:
        """The counts at this moment."""
        return self._dispatcher.stats


class _Host:
    """The thread, and the event loop in it."""

    def __init__(self, dispatcher: AsyncDispatcher) -> None:
        self._dispatcher = dispatcher
        # A daemon, as what agents do need not end; that a program waits for it is seen to below.
        self._thread = threading.Thread(target=self._main, name=_THREAD_NAME, daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wanted_end: asyncio.Future[tuple[bool, float | None]] | None = None
        self._is_ready = threading.Event()
        self._error: BaseException | None = None
        self._lock = threading.Lock()
        self._is_closed = False
        self._unanswered: set[Future[Any]] = set()

    def start(self) -> None:
        """Start the thread, and wait until events are taken."""
        self._thread.start()
        self._is_ready.wait()
        self._raise_error()

    def is_over(self) -> bool:
        """Whether the thread has ended."""
        return not self._thread.is_alive()

    def is_here(self) -> bool:
        """Whether this code is in that thread."""
        return threading.current_thread() is self._thread

    def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run a coroutine function on the loop, with the variables of the caller, and give its result.

        Raises:
            BusStoppedError: the thread has ended; the cause says why, if that was an error.
        """
        done: Future[T] = Future()

        async def answer() -> None:
            try:
                done.set_result(await work())
            except BaseException as error:  # noqa: BLE001 - raised for the caller
                done.set_exception(storable(error))

        def begin() -> None:
            coroutine = answer()
            try:
                MiniAgents.get_current().start_asap(coroutine)
            except NoActiveContextError:
                # Its context ended at this moment.
                coroutine.close()
                done.set_exception(BusStoppedError("The dispatcher was stopped at this moment."))

        with self._lock:
            if self._loop is None or self._is_closed:
                raise BusStoppedError("The dispatcher takes no events: it is stopped.") from self._error
            self._unanswered.add(done)
            try:
                self._loop.call_soon_threadsafe(begin)
            except RuntimeError:
                # The loop was closed at this moment.
                self._unanswered.discard(done)
                raise BusStoppedError("The dispatcher was stopped at this moment.") from self._error
        try:
            return done.result()
        finally:
            self._unanswered.discard(done)

    def end(self, *, drain: bool, timeout_s: float | None) -> None:
        """End the thread, and wait for that.

        Raises:
            BaseException: it has ended with an error.
        """
        loop, wanted = self._loop, self._wanted_end
        assert loop is not None
        assert wanted is not None

        def tell() -> None:
            if not wanted.done():
                wanted.set_result((drain, timeout_s))

        if not loop.is_closed():
            # It may be closed at this moment.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(tell)
        self._thread.join()
        self._raise_error()

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _main(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:  # noqa: BLE001 - raised in `stop`
            self._error = error
        with self._lock:
            self._is_closed = True
            unanswered = [done for done in self._unanswered if not done.done()]
        for done in unanswered:
            # Whoever asked at the very end must not wait for ever.
            done.set_exception(BusStoppedError("The dispatcher was stopped at this moment."))
        self._is_ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wanted_end = self._loop.create_future()
        # Not by a block: whatever is called for another thread is to find it.
        context = _HostContext().activate()
        # Loaded when a dispatcher is made, and not with the package.
        from miniagents.ext.llms._tools.threads import threads_here

        try:
            # For agents that have something to do yet when the program ends.
            with threads_here().one_kept():
                await self._dispatcher.start()
                self._is_ready.set()
                drain, timeout_s = await self._wanted_end
                await self._dispatcher.stop(drain, timeout_s)
        finally:
            await context.afinalize()


_running: set[Dispatcher] = set()
"""Those that were not stopped: strongly, as the program may have let go of one that still has events."""


@functools.cache
def _finish_all_at_exit() -> None:
    # Before the threads of other libraries end, which agents may need for what they still have to do: what is
    # registered last is called first. What `atexit` knows is called after that.
    importlib.import_module("concurrent.futures.thread")
    register: Callable[[Callable[[], None]], object] = getattr(threading, "_register_atexit", atexit.register)
    register(_finish_all)


def _finish_all() -> None:
    """Let all dispatchers that were not stopped do what they have; the program ends then."""
    for dispatcher in list(_running):
        try:
            dispatcher.wait_for_empty_queue()
            dispatcher.stop()
        except Exception:
            logging.getLogger("miniagents").exception("A dispatcher that was not stopped ended with an error")


__all__ = ["Dispatcher"]
