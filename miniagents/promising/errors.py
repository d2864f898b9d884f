"""Every error that promises and their context raise, as one tree.

    PromisingError
    +-- FunctionNotProvidedError      a promise was built without the function that makes its value
    +-- PromiseCancelledError         what readers of a cancelled promise get
    +-- DeadlockError                 a wait that can never end
    +-- AppenderNotOpenError          used before `open()`
    +-- AppenderClosedError           used after `close()`
    +-- ExitInBackgroundError         a background task asked for the end of the program
    +-- WrongThreadError              touched from another thread than its event loop's
    +-- NoRunningLoopError            asyncio is not running here
    +-- LoopIsRunningError            asyncio is running here already
    +-- PromisingContextError
        +-- NoActiveContextError      nothing is active here
        +-- WrongActiveContextError   something of another kind is active here
        +-- ContextAlreadyActiveError activated twice
        +-- SyncWithError             `with` where `async with` is meant

The errors of messages and agents are below the same root, see `miniagents.errors`.
"""


class PromisingError(Exception):
    """The root of every error that this package raises by itself."""


class FunctionNotProvidedError(PromisingError, TypeError):
    """A promise was built with no function to compute it, or with two ways to get its value."""


class PromiseCancelledError(PromisingError):
    """The promise was cancelled; readers get the pieces so far and then this.

    It is an ordinary `Exception` on purpose: the reader was not cancelled, the promise was.
    """


class DeadlockError(PromisingError):
    """Nobody is left who could end this wait: tasks wait in a circle, or a writer went without closing its stream."""


class ExitInBackgroundError(PromisingError):
    """What whoever awaits a background task gets when that task asked for the end of the program."""

    def __init__(self, exit_error: BaseException) -> None:
        super().__init__(
            f"The background task raised {exit_error!r}, which asks for the end of the program; it is raised as it is "
            "when the context ends."
        )


class AppenderNotOpenError(PromisingError):
    """An appender was used before it was opened."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"This `{name}` is not open yet. Open it first: `with {name}() as appender: appender.append(...)`, "
            "or call `appender.open()` and, when all is written, `appender.close()`."
        )


class AppenderClosedError(PromisingError):
    """An appender was used, or opened again, after it had been closed."""

    def __init__(self, name: str, action: str, *, is_open: bool = False) -> None:
        if is_open:
            super().__init__(f"Cannot {action}: this `{name}` is open already. Just append to it.")
            return
        super().__init__(
            f"Cannot {action}: this `{name}` is closed, and its readers may already have seen the end. "
            f"Do it before `close()` (or inside the `with` block), or make a new `{name}`."
        )


class WrongThreadError(PromisingError, RuntimeError):
    """A stream or a context was touched from a thread that does not run its event loop."""

    def __init__(self, action: str) -> None:
        super().__init__(
            f"Cannot {action} from this thread: the stream belongs to an event loop that runs in another one. "
            "Call `mini_agents.run_from_thread(func, *args)`, which runs `func` on that loop."
        )


class NoRunningLoopError(PromisingError, RuntimeError):
    """Something was asked for that needs a running event loop, and none runs in this thread."""

    def __init__(self, action: str) -> None:
        super().__init__(
            f"Cannot {action} here, as no event loop runs in this thread. Do it inside the coroutine that you give to "
            "`MiniAgents().run(main())`; from another thread call `mini_agents.run_from_thread(func, *args)`."
        )


class LoopIsRunningError(PromisingError, RuntimeError):
    """Something that blocks was called in a thread whose event loop would then stand still."""


class PromisingContextError(PromisingError):
    """Something is wrong with the context that promises and agents need around them."""


class NoActiveContextError(PromisingContextError):
    """No context is active where one is needed."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"No `{name}` context is active here. Run your program with `{name}().run(main())`, put the code into "
            f"`async with {name}():`, or call `{name}().activate()` once, for example in a server's start-up hook."
        )


class WrongActiveContextError(PromisingContextError):
    """A context is active, but one of another class than is needed."""

    def __init__(self, wanted: str, found: str) -> None:
        super().__init__(
            f"A `{wanted}` context is needed here, but the active one is a `{found}`. "
            f"Open a `{wanted}` in place of the `{found}`, or inside it: `async with {wanted}():`."
        )


class ContextAlreadyActiveError(PromisingContextError, RuntimeError):
    """A context was activated while it was active."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"This `{name}` is active already. Leave its `async with` block (or `await afinalize()`) before it is "
            f"activated again, or make a second one: `{name}()`; contexts may be nested."
        )


class SyncWithError(PromisingContextError, TypeError):
    """A plain `with` was used where only `async with` can wait for the background work."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Use `async with {name}():` instead of `with {name}():`. Leaving the block waits for background work, "
            "and only `async with` can wait."
        )
