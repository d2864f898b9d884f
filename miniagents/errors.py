"""Every error that a user of miniagents can meet, as one tree.

MiniAgentsError (= PromisingError)     catch this to catch all of them
+-- everything in `miniagents.promising.errors`: deadlocks, cancelled promises, contexts, appenders
+-- NotAMessageError                   a value that cannot become a message
+-- NotAnAgentError                    what was decorated cannot be an agent
+-- UnknownSettingError                a setting that the agent, or the context, does not take
+-- CallFinishedError                  a message was sent on a call that is finished
+-- NotInAgentError                    there is no `InteractionContext` here (a `NoActiveContextError`)
+-- RepliesClosedError                 a reply came too late (an `AppenderClosedError`)
+-- MissingExtraError                  an optional package is not installed
+-- NoJournalError                     the context of an agent that needs a journal has none
+-- JournalError                       what goes wrong with a journal; it and those below it are in `miniagents.journal`
+-- EventError                         what goes wrong with events; it and those below it are in `miniagents.events`
+-- LLMError                          what goes wrong with models; the rest of it is in `miniagents.ext.llms.errors`
    +-- UsageLimitExceededError       a limit on requests, tokens, cost or tool calls is reached
"""

from decimal import Decimal

from miniagents.promising.errors import (
    AppenderClosedError,
    AppenderNotOpenError,
    ContextAlreadyActiveError,
    DeadlockError,
    ExitInBackgroundError,
    FunctionNotProvidedError,
    LoopIsRunningError,
    NoActiveContextError,
    NoRunningLoopError,
    PromiseCancelledError,
    PromisingContextError,
    PromisingError,
    SyncWithError,
    WrongActiveContextError,
    WrongThreadError,
)

MiniAgentsError = PromisingError
"""The root of every error of this package; one root under two names, as promises are usable without agents."""


class NotAMessageError(MiniAgentsError, TypeError):
    """A value that cannot become a message was sent, replied or given as input."""

    def __init__(self, value: object) -> None:
        kind = type(value).__name__
        hint = ""
        if hasattr(value, "close") and hasattr(value, "cr_frame"):
            hint = " Did you forget to `await` it?"
        elif hasattr(value, "add_done_callback"):
            hint = " Await it and send its result."
        elif kind in ("bytes", "bytearray", "memoryview"):
            hint = " Decode it: `value.decode()`."
        elif isinstance(value, int | float | complex):
            hint = f" Send it as text: `str({value!r})`."
        super().__init__(
            f"{_shortened(value)} is of type `{kind}`, which cannot become a message.{hint} Allowed are `str`, `dict`, "
            "pydantic models, `Message`, `MessagePromise`, `MessageSequencePromise`, exceptions, `None`, and (async) "
            "iterables of these, nested as deep as you like."
        )


class NotAnAgentError(MiniAgentsError, TypeError):
    """What was given to `@miniagent` can be no agent, or declares a name that has a meaning of its own."""


class UnknownSettingError(MiniAgentsError, TypeError):
    """A keyword argument that nothing takes."""


class NoJournalError(MiniAgentsError, RuntimeError):
    """An agent asked for what only a journal can give, and its context has none."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f'`{what}` needs a journal to keep its result: `MiniAgents(journal="sqlite:///runs.db", run_id=...)`, '
            'or, where nothing is to outlive the program, `MiniAgents(journal="memory://")`.'
        )


class CallFinishedError(MiniAgentsError, RuntimeError):
    """A message was sent on an agent call whose requests are finished."""

    def __init__(self, alias: str) -> None:
        super().__init__(
            f"This call of `{alias}` is finished: its agent may already have seen the end of its input. Send all "
            "messages before `finish()` or `reply_sequence()`; to go on sending while you read, call "
            "`reply_sequence(close_request_sequence=False)` and `finish()` later."
        )


class NotInAgentError(NoActiveContextError):
    """The context of the running agent was asked for where no agent runs."""

    def __init__(self) -> None:
        super(NoActiveContextError, self).__init__(
            "This code does not run inside of an agent, so there is no `InteractionContext`. Ask for it in an agent's "
            "function, or in what that function calls; it is also the first argument of the function."
        )


class RepliesClosedError(AppenderClosedError):
    """A reply, or a subtask, came after the replies of its call had been closed."""

    def __init__(self, alias: str, action: str) -> None:
        super(AppenderClosedError, self).__init__(
            f"Cannot {action}: the replies of `{alias}` are closed. Do it before the agent's function returns, and "
            "before `afinish_early()`; for work that ends later, call `ctx.wait_for(...)` in time."
        )


class MissingExtraError(MiniAgentsError, ImportError):
    """An optional package is needed and not installed."""

    def __init__(self, *, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package `{package}`, which is not installed. Install it with "
            f'`pip install {package}` or `pip install "miniagents[{extra}]"`.'
        )


class LLMError(MiniAgentsError):
    """The root of what goes wrong with models.

    Attributes:
        provider: who was asked, such as `"openai"`.
        model: the model that was asked.
        status_code: the status of the HTTP response.
        code: the provider's code for what went wrong.
        request_id: the provider's name of the request.
        retry_after_s: after how many seconds the provider wants to be asked again.
        partial_text: the text of the answer that came before the error.
        raw_text: what the provider sent, as it came.

    Each is None where it is not known.
    """

    # On the class too, for subclasses that begin with the constructor of another base class.
    provider: str | None = None
    model: str | None = None
    status_code: int | None = None
    code: str | int | None = None
    request_id: str | None = None
    retry_after_s: float | None = None
    partial_text: str | None = None
    raw_text: str | None = None

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        model: str | None = None,
        status_code: int | None = None,
        code: str | int | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        partial_text: str | None = None,
        raw_text: str | None = None,
    ) -> None:
        super().__init__(message)
        self.provider = provider
        self.model = model
        self.status_code = status_code
        self.code = code
        self.request_id = request_id
        self.retry_after_s = retry_after_s
        self.partial_text = partial_text
        self.raw_text = raw_text


class UsageLimitExceededError(LLMError):
    """A limit of a `UsageLimits` is reached, so that nothing more is sent; or crossed, so that what runs is stopped.

    Attributes:
        limit: the name of the limit, such as `"requests"`.
        allowed: how much was allowed.
        used: how much was used, as far as that is known.
    """

    def __init__(
        self,
        limit: str,
        allowed: int | Decimal,
        used: int | Decimal,
        *,
        whose: str,
        raised_with: str,
        provider: str | None = None,
        model: str | None = None,
    ) -> None:
        """`whose` names what has the limit, `raised_with` is the call that sets it, with `{}` for the limits."""
        verb = "exceeded" if used > allowed else "reached"
        advice = raised_with.format(f"usage_limits=UsageLimits({limit}=...)")
        super().__init__(
            f"The limit `{limit}={allowed}` of {whose} is {verb}: {used} used. To allow more, write `{advice}` with a "
            "larger number.",
            provider=provider,
            model=model,
        )
        self.limit = limit
        self.allowed = allowed
        self.used = used


def _shortened(value: object) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a broken `__repr__` must not hide what is wrong with the value
        text = object.__repr__(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


__all__ = [
    "AppenderClosedError",
    "AppenderNotOpenError",
    "CallFinishedError",
    "ContextAlreadyActiveError",
    "DeadlockError",
    "ExitInBackgroundError",
    "FunctionNotProvidedError",
    "LLMError",
    "LoopIsRunningError",
    "MiniAgentsError",
    "MissingExtraError",
    "NoActiveContextError",
    "NoJournalError",
    "NoRunningLoopError",
    "NotAMessageError",
    "NotAnAgentError",
    "NotInAgentError",
    "PromiseCancelledError",
    "PromisingContextError",
    "PromisingError",
    "RepliesClosedError",
    "SyncWithError",
    "UnknownSettingError",
    "UsageLimitExceededError",
    "WrongActiveContextError",
    "WrongThreadError",
]
