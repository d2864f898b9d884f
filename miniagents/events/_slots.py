"""Places for running handlers: at most so many at once, not counting those that wait for the bus itself.

A handler that asks the bus for something, or waits for a flow, gives its place back until it has its answer. So however
deep handlers wait for each other, there is a place for those at the bottom.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, TypeVar

from miniagents.promising._producer import Producer, current_producer

T = TypeVar("T")


class Slots:
    """The places of one bus."""

    __slots__ = ("_on_free", "_returning", "limit", "taken")

    def __init__(self, limit: int, on_free: Callable[[], None]) -> None:
        self.limit = limit
        self.taken = 0
        # Those who gave their place back and want one again; they come before everything that has not begun.
        self._returning: deque[asyncio.Future[None]] = deque()
        self._on_free = on_free

    def holds(self, event: Any) -> bool:
        """Whether a handler of `event` needs no further place."""
        del event
        return False

    def take(self, event: Any) -> None:
        """Take a place for a handler of `event`, which is free."""
        del event
        self.taken += 1

    def give_back(self, event: Any) -> None:
        """Give the place of a handler of `event` back."""
        del event
        self._free()

    def _free(self) -> None:
        """Give a place to whoever is first in line, if anybody is."""
        while self._returning:
            waiter = self._returning.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self.taken -= 1
        self._on_free()

    async def take_again(self, event: Any) -> None:
        """Wait for a place for a handler of `event`, ahead of everything that has not begun."""
        del event
        await self._wait_for_place()

    async def _wait_for_place(self) -> None:
        if self.taken < self.limit:
            self.taken += 1
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._returning.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                # The place came at the same moment: it is for somebody else then.
                self._free()
            raise


class EventSlots(Slots):
    """Places for events: all handlers that are at work on one have one place together."""

    __slots__ = ("_handlers",)

    def __init__(self, limit: int, on_free: Callable[[], None]) -> None:
        super().__init__(limit, on_free)
        # How many handlers are at work on each, by its identity: they keep it alive.
        self._handlers: dict[int, int] = {}

    def holds(self, event: Any) -> bool:
        """Whether `event` is in work."""
        return id(event) in self._handlers

    def take(self, event: Any) -> None:
        """Count a handler of `event`; the first of them takes a place."""
        before = self._handlers.get(id(event), 0)
        self._handlers[id(event)] = before + 1
        if not before:
            self.taken += 1

    def give_back(self, event: Any) -> None:
        """Count a handler of `event` less; the last of them gives the place back."""
        left = self._handlers[id(event)] - 1
        if left:
            self._handlers[id(event)] = left
            return
        del self._handlers[id(event)]
        self._free()

    async def take_again(self, event: Any) -> None:
        """Count a handler of `event` again, waiting for a place if the event has none."""
        if not self.holds(event):
            await self._wait_for_place()
            if self.holds(event):
                # Another handler of it came back at the same time: one place is enough.
                self._free()
        self._handlers[id(event)] = self._handlers.get(id(event), 0) + 1


class SlotHolder(Producer):
    """A producer that holds a place while it runs; see `HandlerRun`."""

    __slots__ = ("has_place", "waits")

    waits: int
    """How many waits for the bus are under way in it; it has a place while there are none."""
    has_place: bool | None
    """Whether it has one; None before its first wait for anything, until when it needs none."""
    event: Any
    """What it handles."""

    @property
    def slots(self) -> Slots:
        """The places of the bus."""
        raise NotImplementedError

    def outside(self) -> "OutsideOfSlot":
        """`async with run.outside():` gives the place back while the block waits for the bus."""
        return OutsideOfSlot(self)


class OutsideOfSlot:
    """The block of `SlotHolder.outside`."""

    __slots__ = ("_run",)

    def __init__(self, run: SlotHolder) -> None:
        self._run = run

    async def __aenter__(self) -> None:
        run = self._run
        run.waits += 1
        if run.waits == 1 and run.has_place:
            run.has_place = False
            run.slots.give_back(run.event)

    async def __aexit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        run = self._run
        if run.waits == 1 and run.has_place is False and not run.is_over:
            # It counts as waiting until it has its place, as it may be cancelled before.
            await run.slots.take_again(run.event)
            if run.is_over:
                run.slots.give_back(run.event)
            else:
                run.has_place = True
        run.waits -= 1


async def outside_of_handler(awaitable: Awaitable[T]) -> T:
    """Wait for the bus; a handler gives its place back meanwhile."""
    run = find_run()
    if run is None:
        return await awaitable
    async with run.outside():
        return await awaitable


def find_run() -> SlotHolder | None:
    """Give the run of the handler that this code is part of, if it is part of one."""
    producer = current_producer.get()
    while producer is not None and not isinstance(producer, SlotHolder):
        producer = producer.owner
    return producer


__all__ = ["EventSlots", "SlotHolder", "Slots", "find_run", "outside_of_handler"]
