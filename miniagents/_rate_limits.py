"""Waiting until a rate limit lets a request through: one gate for each model of each provider, in each scope.

    arrived --all its gates have room--> let through --leave()--> gone
       |-- one has none: in the queues of all of them, until then; whoever is cancelled there just leaves them

- A request takes from all of its gates at one moment, and holds nothing while it waits. So waiting can neither end in a
  circle nor keep from others what it does not use yet, and a request that gives up leaves no hole.
- Who has come first goes first, except that a request which another of its gates holds back does not hold up those
  behind it.
- A gate is looked at when something about it changes: a request arrives, leaves or reports its tokens, or the moment
  comes at which its bucket has enough again. That moment is known, so that there is one timer and no polling.
- A bucket is kept as the moment at which it will be full again (the "theoretical arrival time" of the generic cell rate
  algorithm of ATM networks, ITU-T I.371), which is exact however long nobody looks.
"""

import asyncio
import contextvars
from collections import OrderedDict
from collections.abc import Sequence

MINUTE_S = 60.0
_TOLERANCE_S = 1e-6
"""A timer may be so much too early, by the rounding of its moment."""


class Bucket:
    """So many units a minute: it holds a minute's worth, is full at first, and fills evenly."""

    __slots__ = ("_capacity", "_full_at", "_unit_s")

    def __init__(self, units_per_minute: float) -> None:
        # At least one unit fits in, or none could ever be taken out.
        self._capacity = max(1.0, units_per_minute)
        self._unit_s = MINUTE_S / units_per_minute
        self._full_at = float("-inf")

    def has_one_at(self) -> float:
        """Give the moment from which on at least one unit is in it."""
        return self._full_at - (self._capacity - 1) * self._unit_s

    def take(self, units: float, now: float) -> None:
        """Take units out, more than there are if need be; a negative number puts them back in."""
        self._full_at = max(self._full_at, now) + units * self._unit_s


class Waiting:
    """One request that wants to be let through."""

    __slots__ = ("future", "gates", "tokens")

    def __init__(self, gates: "Sequence[Gate]", tokens: int) -> None:
        self.gates = gates
        self.tokens = tokens
        self.future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def leaves_the_queue(self, now: float) -> bool:
        """Go through if all gates have room now; whether this need not be waited for any more."""
        if self.future.done():
            # Cancelled, and its task has not run since.
            return True
        if not all(gate.has_room(now) for gate in self.gates):
            return False
        for gate in self.gates:
            gate.enter(self, now)
        self.future.set_result(None)
        return True


class Gate:
    """Lets the requests to one model through as one rate limit allows."""

    __slots__ = ("_concurrency", "_inside", "_loop", "_queue", "_requests", "_timer", "_tokens")

    def __init__(
        self,
        *,
        requests_per_minute: float | None,
        tokens_per_minute: float | None,
        concurrency: int | None,
    ) -> None:
        self._requests = None if requests_per_minute is None else Bucket(requests_per_minute)
        self._tokens = None if tokens_per_minute is None else Bucket(tokens_per_minute)
        self._concurrency = concurrency
        self._inside = 0
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        # Ordered by arrival; one that gives up is taken out of the middle.
        self._queue: OrderedDict[Waiting, None] = OrderedDict()

    def has_room(self, now: float) -> bool:
        """Whether a request may enter at this moment."""
        if self._concurrency is not None and self._inside >= self._concurrency:
            return False
        return self._opens_at() <= now + _TOLERANCE_S

    def _opens_at(self) -> float:
        return max((bucket.has_one_at() for bucket in (self._requests, self._tokens) if bucket), default=float("-inf"))

    def enter(self, waiting: Waiting, now: float) -> None:
        """Count a request that goes through."""
        self._queue.pop(waiting, None)
        self._inside += 1
        if self._requests is not None:
            self._requests.take(1, now)
        if self._tokens is not None:
            self._tokens.take(waiting.tokens, now)

    def queue_up(self, waiting: Waiting) -> None:
        """Put a request behind all others."""
        self._queue[waiting] = None

    def give_up(self, waiting: Waiting) -> None:
        """Take a request out of the queue, for which the others need not wait any more."""
        self._queue.pop(waiting, None)
        self.look()

    def leave(self) -> None:
        """A request that went through has ended."""
        self._inside -= 1
        self.look()

    def undo(self, tokens: int) -> None:
        """A request that was let through is not sent after all."""
        now = self._loop.time()
        if self._requests is not None:
            self._requests.take(-1, now)
        if self._tokens is not None:
            self._tokens.take(-tokens, now)
        self.leave()

    def charge(self, tokens: int) -> None:
        """Take out tokens that became known; a negative number is what was taken out too much."""
        if self._tokens is not None:
            self._tokens.take(tokens, self._loop.time())
            if tokens < 0:
                self.look()

    def look(self) -> None:
        """Let through who can go, and see to it that somebody looks again when the next one can."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._queue or self._loop.is_closed():
            return
        now = self._loop.time()
        while self._queue and self.has_room(now):
            first = next(iter(self._queue))
            if not first.leaves_the_queue(now):
                self._look_behind_the_first(now)
                break
            self._queue.pop(first, None)
        # With all places taken it is the one who leaves who looks.
        opens_at = self._opens_at()
        is_full = self._concurrency is not None and self._inside >= self._concurrency
        if self._queue and not is_full and opens_at > now:
            # In an empty context, as a timer would keep alive whatever the variables of this task lead to.
            self._timer = self._loop.call_at(opens_at, self.look, context=contextvars.Context())

    def _look_behind_the_first(self, now: float) -> None:
        """Let through who can go, though another gate holds back the one who has come first."""
        for waiting in list(self._queue):
            if not self.has_room(now):
                break
            if waiting.leaves_the_queue(now):
                self._queue.pop(waiting, None)


async def go_through(gates: Sequence[Gate], tokens: int) -> None:
    """Wait until all `gates` let a request through that will presumably use so many `tokens`.

    The caller must call `leave()` on each of them when the request has ended; not if this raises.
    """
    waiting = Waiting(gates, tokens)
    for gate in gates:
        gate.queue_up(waiting)
    for gate in gates:
        gate.look()
    if waiting.future.done():
        return
    try:
        await waiting.future
    except BaseException:
        if waiting.future.done() and not waiting.future.cancelled():
            # Let through and cancelled in the same step of the loop.
            for gate in gates:
                gate.undo(tokens)
        else:
            for gate in gates:
                gate.give_up(waiting)
        raise
