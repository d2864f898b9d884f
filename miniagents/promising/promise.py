"""`Promise`: a value that is computed once, in the background, and given to everybody who awaits it.

    pending, not launched --first await, or at once if eager--> pending, running --> settled (a value or a Failure)

- The work runs in a task of its own that the context owns. An awaiter only waits: one that is cancelled or times out
  changes nothing for the others, and a `CancelledError` is never the result.
- `_value` leaves `NO_VALUE` once and never changes again. It is set before the waiters are woken.
- `cancel()` settles the promise with `PromiseCancelledError` at once; the task hears of it at its next step.
"""

import threading
from collections.abc import Callable, Generator, Iterable
from typing import Any, Generic, TypeVar, cast

from miniagents.promising._failure import Failure
from miniagents.promising._producer import Producer, current_producer, current_task
from miniagents.promising._waiting import AnyTask, Source, check_thread
from miniagents.promising.context import PromisingContext
from miniagents.promising.errors import FunctionNotProvidedError, PromiseCancelledError
from miniagents.promising.promise_typing import PromiseResolver
from miniagents.promising.sentinels import NO_VALUE

T_co = TypeVar("T_co", covariant=True)


class Promise(Source, Generic[T_co]):
    """A value that may not be there yet.

    `await promise` (or `await promise.aresolve()`) gives the value, or raises the very same exception to every awaiter.
    Any number of tasks may await it, at any time, again and again; `resolver(promise)` runs at most once.

    With `start_asap` true (by default what the context says) the resolver is scheduled at once and starts at the next
    task switch; false: it starts when the promise is first awaited. It runs in a task that the current
    `PromisingContext` owns, and sees the context variables of the place where the promise was made.

    In place of a resolver there may be a `prefill_result`, or a subclass that overrides `async def _resolver(self)`.

    Raises:
        FunctionNotProvidedError: there is neither of the three, or both a resolver and a result.
        NoActiveContextError: no context is active (one with a `prefill_result` needs none).
    """

    __slots__ = ("_context", "_done_callbacks", "_producer", "_readers", "_resolver_function", "_thread_id", "_value")

    def __init__(
        self,
        start_asap: bool | None = None,  # noqa: FBT001 - the published signature
        resolver: PromiseResolver[T_co] | None = None,
        prefill_result: T_co | Any = NO_VALUE,
    ) -> None:
        has_own_resolver = overrides(self, Promise, "_resolver")
        if resolver is not None and prefill_result is not NO_VALUE:
            raise FunctionNotProvidedError(
                f"Give `{type(self).__name__}` either a `resolver` or a `prefill_result`, not both: "
                f"with {prefill_result!r} there already, the resolver would never run."
            )
        require_callable(resolver, "resolver", "an async function that is called with the promise")
        if resolver is None and prefill_result is NO_VALUE and not has_own_resolver:
            raise FunctionNotProvidedError(
                f"`{type(self).__name__}` has no way to get its value. Give it `resolver=` (an async function that is "
                "called with the promise) or `prefill_result=`, or override `async def _resolver(self)` in a subclass."
            )
        self._set_up(resolver, prefill_result, needs_context=prefill_result is NO_VALUE)
        if prefill_result is NO_VALUE:
            self._prepare(start_asap)
        elif self._context is not None:
            self._context.promise_was_made(self)

    def _set_up(self, resolver: PromiseResolver[Any] | None, value: Any, *, needs_context: bool) -> None:
        self.waiters = None
        self._value: Any = value
        self._thread_id = threading.get_ident()
        self._resolver_function = resolver
        self._producer: Producer | None = None
        self._readers: list[AnyTask] | None = None
        self._done_callbacks: list[Callable[[], None]] | None = None
        self._context = PromisingContext.get_current() if needs_context else PromisingContext.find_current()

    def _needed_context(self) -> PromisingContext:
        return self._context if self._context is not None else PromisingContext.get_current()

    def _prepare(self, start_asap: bool | None) -> None:  # noqa: FBT001 - passed on as it came
        context = self._needed_context()
        eager = context.start_everything_asap_by_default if start_asap is None else start_asap
        self._producer = _Resolving(context, self, is_lazy=not eager)
        context.promise_was_made(self)
        if eager:
            self._producer.launch()

    # -- what users call -----------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, Any, T_co]:
        value = self._value
        if value is NO_VALUE:
            value = yield from self._outcome().__await__()
        if value.__class__ is Failure:
            raise value.receive()
        return value

    async def aresolve(self) -> T_co:
        """Give what `await promise` gives."""
        return await self

    def done(self) -> bool:
        """Whether `await promise` would give its result, or its error, without waiting."""
        return self._value is not NO_VALUE

    def cancel(self, msg: str | None = None) -> bool:
        """Stop the work behind this promise; `True` unless it was finished already.

        The promise is done at once: whoever awaits it now or later gets `PromiseCancelledError` (with `msg`). The task
        behind it is cancelled at its next step and runs its `finally` blocks; the calls that it made are cancelled with
        it, recursively, but for those that somebody outside is reading and those that were kicked off.
        """
        check_thread(self._thread_id, "cancel a promise")
        if self.done():
            return False
        message = msg or "The promise was cancelled."
        producer = self._producer
        self._settle(Failure(PromiseCancelledError(message)))
        if producer is not None:
            producer.cancel(message)
        return True

    async def _resolver(self) -> T_co:
        """Compute the value; for subclasses that override it instead of being given a `resolver`."""
        if self._resolver_function is None:
            raise FunctionNotProvidedError(f"`{type(self).__name__}` has no resolver.")
        return await self._resolver_function(self)

    # -- for the package -----------------------------------------------------------------------------------------

    async def outcome(self) -> Any:
        """Wait for the value, without counting as a reader; give it, or the `Failure`."""
        return await self._outcome()

    async def _outcome(self) -> Any:
        """Wait for the value, launching the work if need be; give the value or the `Failure`."""
        check_thread(self._thread_id, "wait for a promise")
        if self._producer is not None:
            self._producer.launch()
        task = current_task()
        readers = self._readers
        if readers is None:
            readers = self._readers = []
        if task is not None:
            readers.append(task)
        try:
            while self._value is NO_VALUE:
                await self.add_waiter()
        finally:
            if task is not None:
                readers.remove(task)
        return self._value

    def _settle(self, value: Any) -> None:
        if self._value is not NO_VALUE:
            return
        # Set before waking: whoever is woken first must find it.
        self._value = value
        self._resolver_function = None
        self.wake()
        callbacks, self._done_callbacks = self._done_callbacks, None
        for callback in callbacks or ():
            callback()

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call `callback` when the promise is done, at once if it is; never makes anything start."""
        if self._value is not NO_VALUE:
            callback()
        elif self._done_callbacks is None:
            self._done_callbacks = [callback]
        else:
            self._done_callbacks.append(callback)

    def outcome_if_done(self) -> Any:
        """Give the value, the `Failure`, or `NO_VALUE`, without waiting and without counting as a reader."""
        return self._value

    # -- as the target of a producer, and for those who look for deadlocks -----------------------------------------

    def is_settled(self) -> bool:
        """Whether the value is there."""
        return self._value is not NO_VALUE

    def fail(self, failure: Failure) -> None:
        """Settle with an error."""
        self._settle(failure)

    def settle(self, value: Any) -> None:
        """Settle with a value, unless cancelled meanwhile."""
        self._settle(value)

    def forget_producer(self) -> None:
        """Drop the producer, which has nothing more to do."""
        self._producer = None

    def reading_tasks(self) -> Iterable[AnyTask]:
        """Give the tasks that await this now."""
        return self._readers or ()

    def writers(self) -> Iterable[AnyTask] | None:
        """Give the task that computes the value."""
        producer = self._producer
        return None if producer is None or producer.task is None else [producer.task]

    def describe(self) -> str:
        """Name what is waited for."""
        return "a promise" if self._producer is None else self._producer.describe()

    def advice(self) -> str:
        """Say what mends a wait for this promise that cannot end."""
        return "Await it from outside of the function that computes it."

    def __repr__(self) -> str:
        value = self.outcome_if_done()
        state = "pending" if value is NO_VALUE else repr(value.error) if isinstance(value, Failure) else "done"
        return f"<{type(self).__name__} {state}>"


def require_callable(function: object, name: str, what: str) -> None:
    """Refuse what cannot be called where the mistake is made, and not in the background."""
    if function is not None and not callable(function):
        raise TypeError(f"`{name}` is {what}, not {function!r}.")


def overrides(instance: object, base: type[Any], name: str) -> bool:
    """Whether the class of `instance` has its own version of a method of `base`."""
    return getattr(type(instance), name) is not getattr(base, name)


class _Resolving(Producer):
    """Runs the resolver of one promise."""

    __slots__ = ()

    async def main(self) -> None:
        promise = cast("Promise[Any]", self.target)
        current_producer.set(self)
        try:
            value = await promise._resolver()
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            promise.fail(self.context.failure(error, self))
        else:
            promise.settle(value)

    def describe(self) -> str:
        promise = cast("Promise[Any] | None", self.target)
        function = None if promise is None else promise._resolver_function
        return f"a promise of `{getattr(function, '__qualname__', type(promise).__name__)}`"
