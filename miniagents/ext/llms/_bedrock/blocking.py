"""A blocking iteration in a thread of its own, read by a coroutine; for SDKs that cannot do otherwise."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import closing
from typing import Generic, TypeVar

T = TypeVar("T")

# Of a thread that is asked to stop; one that cannot be reached, since it is just connecting, is left to its timeout.
_LONGEST_WAIT_FOR_THE_END_S = 0.25


class BlockingCall(Generic[T]):
    """Iterates in a thread, and hands over what came in lots: the loop is woken once for all that it finds then.

    Args:
        iterate: a generator of the items; called, iterated and closed in the thread.
        interrupt: called on the loop, when the reader leaves early: makes whatever the thread waits for end at once.
        name: of the thread.
    """

    def __init__(self, iterate: Callable[[], Generator[T]], interrupt: Callable[[], object], *, name: str) -> None:
        self._iterate = iterate
        self._interrupt = interrupt
        self._name = name
        self._items: deque[T] = deque()
        self._error: BaseException | None = None
        self._is_over = False
        self._is_unwanted = False
        # Set by the thread before it has the loop woken, cleared by the loop before it looks: an item that is added in
        # between is found, or wakes the loop again. No lock, on which the loop would have to wait.
        self._is_waking = False
        self._ready = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def lots(self) -> AsyncGenerator[list[T], None]:
        """Start the thread and yield what it makes, in lots of at least one; may be called once.

        Raises:
            BaseException: whatever the iteration raised, after everything that came before it.
        """
        threading.Thread(target=self._run, name=self._name, daemon=True).start()
        try:
            while True:
                await self._ready.wait()
                self._ready.clear()
                is_over = self._is_over
                lot = [self._items.popleft() for _ in range(len(self._items))]
                if lot:
                    yield lot
                if is_over:
                    break
        finally:
            if not self._is_over:
                await self._stop()
        if self._error is not None:
            raise self._error

    async def _stop(self) -> None:
        self._is_unwanted = True
        self._interrupt()
        try:
            async with asyncio.timeout(_LONGEST_WAIT_FOR_THE_END_S):
                while not self._is_over:
                    await self._ready.wait()
                    self._ready.clear()
        except TimeoutError:
            return

    # -- in the thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            # Closed here, in the thread that it runs in.
            with closing(self._iterate()) as items:
                for item in items:
                    if self._is_unwanted:
                        break
                    self._items.append(item)
                    self._wake()
        # Handed over to the reader, whatever it is.
        except BaseException as error:  # noqa: BLE001
            self._error = error
        self._is_over = True
        self._wake()

    def _wake(self) -> None:
        if self._is_waking:
            return
        self._is_waking = True
        try:
            self._loop.call_soon_threadsafe(self._woken)
        except RuntimeError:
            # The loop is closed: nobody is there to read.
            self._is_unwanted = True

    def _woken(self) -> None:
        self._is_waking = False
        self._ready.set()
