"""`PromisingContext`: owns every background task and ends with none left.

    fresh --activate / async with / run--> active --afinalize / leaving the block / end of run--> fresh again

- On success it awaits all background work, and cancels producers that are parked (nobody waits for what they would
  make). On an error, Ctrl-C or cancellation it cancels everything and awaits that, for `shutdown_grace_s` at most.
- A task finds its context through a context variable, or, after `activate()`, through its event loop.
"""

import asyncio
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, TypeVar

from miniagents.promising import _checked, _current
from miniagents.promising._background import BackgroundTasks
from miniagents.promising._failure import Failure
from miniagents.promising._producer import current_task
from miniagents.promising._reporting import BackgroundErrors
from miniagents.promising._runner import discard, run_in_new_loop, runner_tasks, without_exits
from miniagents.promising._shutdown import cancel_and_wait
from miniagents.promising._waiting import AnyTask, check_loop, running_loop
from miniagents.promising.errors import ContextAlreadyActiveError, ExitInBackgroundError, SyncWithError
from miniagents.promising.promise_typing import PromiseResolvedHandler, T

if TYPE_CHECKING:
    from miniagents.promising._producer import Producer

HANDLER = TypeVar("HANDLER", bound=Callable[..., Awaitable[None]])


class PromisingContext:
    """The context that promises need around them; it owns their background tasks.

    There are three ways in: `.run(main())` with an event loop of its own, `async with`, and `activate()` ... `await
    afinalize()` where no single function encloses the work, as in a web server.

    Args:
        start_everything_asap_by_default: whether promises start at the next task switch, or when first asked for.
        appenders_capture_errors_by_default: whether an error in an appender's `with` block goes into its stream.
        longer_hash_keys: whether hash keys have all 64 hexadecimal digits instead of the first 40.
        logger: where errors and stall reports go; by default the logger named like the package.
        log_level_for_errors: at which level errors that nobody received are logged.
        on_promise_resolved: async handlers, `async def handler(promise, result)`, see `on_promise_resolved()`.
        background_errors: what becomes of an error in an agent call whose replies nobody read. `"raise"`: logged in one
            line, and raised in an `ExceptionGroup` when the context ends. `"log"`: logged with its traceback.
        read_ahead_by_default: how many pieces a producer may be ahead of its furthest reader; `None`: any number.
        shutdown_grace_s: how long cancelled work may take to end, in seconds, before it is named and left behind.
        stall_report_s: after how many seconds without progress one log line tells who waits for whom.
    """

    def __init__(
        self,
        *,
        start_everything_asap_by_default: bool = True,
        appenders_capture_errors_by_default: bool = False,
        longer_hash_keys: bool = False,
        logger: logging.Logger | None = None,
        log_level_for_errors: int = logging.ERROR,
        on_promise_resolved: PromiseResolvedHandler | Iterable[PromiseResolvedHandler] = (),
        background_errors: Literal["raise", "log"] = "raise",
        read_ahead_by_default: int | None = None,
        shutdown_grace_s: float = 10.0,
        stall_report_s: float = 30.0,
    ) -> None:
        if background_errors not in ("raise", "log"):
            raise ValueError(f"`background_errors` is 'raise' or 'log', not {background_errors!r}.")
        self.start_everything_asap_by_default = start_everything_asap_by_default
        self.appenders_capture_errors_by_default = appenders_capture_errors_by_default
        self.longer_hash_keys = longer_hash_keys
        self.logger = _checked.logger(logger, "logger")
        self.log_level_for_errors = _checked.log_level(log_level_for_errors, "log_level_for_errors")
        self.background_errors: Literal["raise", "log"] = background_errors
        self.read_ahead_by_default = _checked.count_or_none(read_ahead_by_default, "read_ahead_by_default")
        self.shutdown_grace_s = _checked.seconds(shutdown_grace_s, "shutdown_grace_s")
        self.stall_report_s = _checked.seconds(stall_report_s, "stall_report_s")
        self.parent: PromisingContext | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.is_active = False
        self._owns_loop = False
        self._resolved_handlers: list[PromiseResolvedHandler] = []
        _checked.handlers(on_promise_resolved, "on_promise_resolved", self.on_promise_resolved)
        self._start_afresh()

    handlers_exist = False
    """Whether any context of this process ever got a handler; while it has not, promises need not ask."""

    def _start_afresh(self) -> None:
        self.background = BackgroundTasks(self.bind_to_loop)
        """The tasks of this context (for this package)."""
        self.errors = BackgroundErrors(self)
        """The errors that nobody has received (for this package)."""
        self.is_cancelling = False
        """Whether everything here is being cancelled (for this package)."""

    # -- the current context ---------------------------------------------------------------------------------------

    @classmethod
    def get_current(cls) -> Self:
        """Give the context that is active here.

        Raises:
            NoActiveContextError: none is.
            WrongActiveContextError: the nearest one is not a `cls`.
        """
        return _current.get_current(cls)

    @classmethod
    def find_current(cls) -> "PromisingContext | None":
        """Give the context that is active here, of whatever class, or `None`."""
        return _current.find()

    def activate(self) -> Self:
        """Make this the current context, until `await afinalize()`.

        Besides the calling task and those that it starts, every task of the running event loop that has no nearer
        context finds this one; called without a running loop, those of the next loop that asks. A process that never
        finalizes ends all the same.

        Raises:
            ContextAlreadyActiveError: it is active already.
        """
        self._enter()
        _current.activate_for_loop(self)
        return self

    def _enter(self) -> None:
        if self.is_active:
            raise ContextAlreadyActiveError(type(self).__name__)
        self.parent = _current.find()
        self.loop = asyncio.get_running_loop() if current_task() is not None else None
        self._start_afresh()
        self.is_active = True
        _current.enter(self)
        if self.loop is not None:
            self._be_watched()

    def _be_watched(self) -> None:
        # Loaded when a context is first used, like all that programs need and importing does not.
        from miniagents.promising._deadlock import watch_context

        watch_context(self)

    def bind_to_loop(self, loop: asyncio.AbstractEventLoop) -> None:
        """Take `loop` as the one of this context, if it has none yet (for this package)."""
        if self.loop is None:
            self.loop = loop
            self._be_watched()

    async def afinalize(self) -> None:
        """Await all background work and end the context; may be called from any task of the loop.

        Raises:
            ExceptionGroup: agents failed whose replies nobody read (with `background_errors="raise"`).
        """
        await self._finish(None)

    async def __aenter__(self) -> Self:
        await self._enter_and_prepare()
        return self

    async def _enter_and_prepare(self) -> None:
        self._enter()
        try:
            await self._after_entering()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(
        self, error_class: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._finish(error)

    def __enter__(self) -> NoReturn:
        raise SyncWithError(type(self).__name__)

    def __exit__(self, *_: object) -> None:
        """Never reached, as `__enter__` raises; it is here so that `with` gets as far as that."""

    async def arun(self, awaitable: Awaitable[T]) -> T:
        """Await `awaitable` inside this context, on the running loop; give its result when all work is done."""
        try:
            await self._enter_and_prepare()
        except BaseException:
            discard(awaitable)
            raise
        try:
            result = await awaitable
        except BaseException as error:
            await self._finish(error)
            raise
        await self._finish(None)
        return result

    def run(self, awaitable: Awaitable[T], *, loop_factory: Callable[[], Any] | None = None) -> T:
        """Run `awaitable` in an event loop of its own and give its result when all background work is done.

        Ctrl-C and SIGTERM cancel everything that runs, let it clean up and then raise `KeyboardInterrupt` or
        `SystemExit`; a second Ctrl-C interrupts at once. `loop_factory` makes the loop, for example
        `uvloop.new_event_loop`.

        Raises:
            NoRunningLoopError: a loop runs here already; use `await arun(...)`.
            ExceptionGroup: agents failed whose replies nobody read (with `background_errors="raise"`).
        """
        return run_in_new_loop(
            self._arun_alone,
            awaitable,
            name=type(self).__name__,
            grace_s=self.shutdown_grace_s,
            loop_factory=loop_factory,
        )

    async def _arun_alone(self, awaitable: Awaitable[T]) -> T:
        self._owns_loop = True
        try:
            return await self.arun(awaitable)
        finally:
            self._owns_loop = False

    def run_from_thread(self, func: Callable[..., Any], *args: Any) -> Any:
        """Run `func(*args)` on the loop of this context, from another thread, and give its result.

        `func` may be a coroutine function. Blocks the calling thread until the result is there.

        Raises:
            NoRunningLoopError: the context's loop does not run, or runs in this very thread.
        """
        return _current.run_from_thread(self, func, args)

    # -- background tasks --------------------------------------------------------------------------------------------

    def start_asap(self, awaitable: Awaitable[T], suppress_errors: bool = True) -> "asyncio.Task[T]":  # noqa: FBT001, FBT002
        """Run `awaitable` in a background task that this context owns: awaited at its end, cancelled when it must.

        An error in it is logged; with `suppress_errors` false it is left to whoever awaits the task (asyncio reports it
        if nobody does).
        """
        if not inspect.isawaitable(awaitable):
            raise TypeError(f"`start_asap()` takes a coroutine or another awaitable, not {awaitable!r}.")
        try:
            loop = running_loop("start a background task")
            check_loop(loop, self.loop, "start a background task")
        except BaseException:
            discard(awaitable)
            raise
        # Named after the user's coroutine, not after what it is wrapped in.
        name: str | None = getattr(awaitable, "__qualname__", None)
        task = loop.create_task(without_exits(awaitable, self.errors.add), name=name)
        self.background.adopt(task, None)
        task.add_done_callback(functools.partial(self._background_task_ended, suppress_errors))
        # One that is cancelled before its first step would else be reported as never awaited.
        task.add_done_callback(lambda _: discard(awaitable))
        return task

    def _background_task_ended(self, suppress_errors: bool, task: AnyTask) -> None:  # noqa: FBT001 - partially applied
        self.background.release(task)
        if task.cancelled() or not (suppress_errors or self.is_cancelling):
            return
        # Asking for the exception keeps asyncio from reporting it once more.
        error = task.exception()
        if error is not None and not self.is_cancelling and not isinstance(error, ExitInBackgroundError):
            self.errors.log(error, f"The background task `{task.get_name()}` failed")
            if not isinstance(error, Exception):
                self.errors.add(error)

    async def aflush_tasks(self) -> None:
        """Wait until no background task of this context is left, those started meanwhile included.

        Parked producers (which wait for a reader that is not there) and the calling task itself do not count.
        """
        await self.background.flush()

    # -- the end -----------------------------------------------------------------------------------------------------

    # For subclasses: before anything runs (not after a bare `activate()`), before background work can come to its end,
    # when it has, and when nothing runs any more, cancelled because of `error` or not.

    async def _after_entering(self) -> None: ...
    async def _before_waiting(self) -> None: ...
    async def _before_leaving(self) -> None: ...
    async def _after_all_work(self, error: BaseException | None) -> None: ...

    async def _finish(self, error: BaseException | None) -> None:
        if not self.is_active:
            return
        try:
            if error is None:
                await self._await_background()
        except BaseException as interruption:
            error = interruption
            raise
        finally:
            try:
                if error is not None:
                    self.is_cancelling = True
                    await self._cancel_background()
                self.errors.report_the_rest()
                await self._after_all_work(error)
            finally:
                self._leave()
        self.errors.raise_or_note(error)

    async def _await_background(self) -> None:
        while True:
            await self._before_waiting()
            await self.background.flush(with_doomed=False)
            if await self.background.cancel_parked(self.shutdown_grace_s, self.logger):
                continue
            await self._before_leaving()
            # Whoever ends the context may be one of its own tasks.
            if not self.background.tasks.keys() - {current_task()}:
                return

    async def _cancel_background(self) -> None:
        if self._owns_loop:
            # Tasks of the user's own on this loop end with the program. They must hear of it first: one that reads a
            # promise would else die of that promise's cancellation, and asyncio would report it.
            for task in asyncio.all_tasks():
                if task not in self.background.tasks and task not in runner_tasks:
                    task.cancel()
        await cancel_and_wait(self.background.tasks, self.shutdown_grace_s, self.logger)

    def _leave(self) -> None:
        self.errors.report_the_rest()
        self.is_active = False
        from miniagents.promising._deadlock import forget_context

        forget_context(self)
        _current.leave(self)

    # -- errors ------------------------------------------------------------------------------------------------------

    def failure(self, error: BaseException, producer: "Producer | None", what: str | None = None) -> Failure:
        """Keep `error`, to be reported if nobody receives it; `what` failed, if not `producer` (for this package)."""
        if isinstance(error, asyncio.CancelledError) or self.is_cancelling:
            return Failure(error)
        return self.errors.failure(error, producer, what)

    def reduces_tracebacks(self) -> bool:
        """Whether logged tracebacks leave out the frames of this package; for subclasses."""
        return True

    # -- handlers ----------------------------------------------------------------------------------------------------

    def on_promise_resolved(self, handler: HANDLER) -> HANDLER:
        """Register an async `handler(promise, result)`; may be used as a decorator.

        It is called in a background task, once for every promise that gets its value in this context or in one inside
        it, prefilled ones too.

        Raises:
            TypeError: the handler is not an async function.
        """
        _current.require_async_handler(handler, "on_promise_resolved", "promise, result")
        self._resolved_handlers.append(handler)
        PromisingContext.handlers_exist = True
        return handler

    def value_was_sent(self, value: object) -> None:
        """Take note that a value that is there already was handed on; for subclasses."""

    def listens(self) -> bool:
        """Whether anybody wants to hear of resolved promises, here or further out."""
        return bool(self._resolved_handlers) or (self.parent is not None and self.parent.listens())

    def promise_was_made(self, promise: Any) -> None:
        """Tell the handlers as soon as `promise` has its value, if there are any (for this package)."""
        if PromisingContext.handlers_exist and self.listens():
            promise.when_done(functools.partial(self._announce, promise))

    def _announce(self, promise: Any) -> None:
        result = promise.outcome_if_done()
        if isinstance(result, Failure) or (current_task() is None and not self._loop_runs()):
            return
        context: PromisingContext | None = self
        while context is not None:
            if context.is_active:
                for handler in context._resolved_handlers:
                    context.start_asap(handler(promise, result))
            context = context.parent

    def _loop_runs(self) -> bool:
        return self.loop is not None and self.loop.is_running()

    # -- looking -----------------------------------------------------------------------------------------------------

    def who_waits(self) -> str:
        """Give a tree of who waits for whom at this moment, one task a line; for a person to read."""
        from miniagents.promising._deadlock import who_waits

        return who_waits(self.loop)

    def waits_for_outside(self, reason: str) -> "_current.OutsideWait":
        """`with context.waits_for_outside("a person"):` keeps the stall report silent about a wait, and names it."""
        return _current.OutsideWait(reason)
