"""`MiniAgents`: the context that agents run in."""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from miniagents._interception import CallInterceptor, ContextListener, load_extensions
from miniagents._segments import SequenceBuffer
from miniagents._usage_scopes import UsageScope
from miniagents.errors import UsageLimitExceededError
from miniagents.interaction import Agent, finish_calls
from miniagents.messages import Message
from miniagents.miniagent_typing import PersistMessageHandler
from miniagents.promising import _checked, _current
from miniagents.promising._failure import Failure
from miniagents.promising._reporting import add_notes
from miniagents.promising._waiting import AnyTask
from miniagents.promising.promise_typing import PromiseResolvedHandler
from miniagents.promising.promising import PromisingContext
from miniagents.usage import ContextUsage, RateLimit, UsageLimits

if TYPE_CHECKING:
    from miniagents._records import CallRecorder, MessagePersister
    from miniagents.promising._producer import Producer

HANDLER = TypeVar("HANDLER", bound=PersistMessageHandler)


class MiniAgents(PromisingContext):
    """The context that agents run in. It owns all their tasks and ends with none left.

    There are three ways in: `MiniAgents().run(main())`, `async with MiniAgents():`, and `activate()` ... `await
    afinalize()`. When it ends, open calls are finished and all background work is awaited; on an error, Ctrl-C or
    cancellation of the main function everything that still runs is cancelled and awaited.

    Args:
        stream_llm_tokens_by_default: whether model agents stream their tokens where a call does not say.
        llm_logger_agent: `True`, or an agent, to log every prompt and response of the model agents.
        on_persist_message: async handlers, see `on_persist_message()`.
        errors_to_messages: whether errors of agents arrive as messages by default.
        log_reduced_tracebacks: whether logged tracebacks leave out the frames of this package.
        interceptors: what acts around every agent call, the outermost first; see `CallInterceptor`.
        usage_limits: how much everything in the context together may use, from one activation to the next.
        rate_limit: how fast requests may be sent to models.
        start_everything_asap_by_default, appenders_capture_errors_by_default, longer_hash_keys, logger,
        log_level_for_errors, on_promise_resolved, background_errors, read_ahead_by_default, shutdown_grace_s,
        stall_report_s: see `PromisingContext`.
        extensions: settings of installed extensions, such as `journal="sqlite:///runs.db"`, each found by its name
            among the entry points of the group `miniagents.extensions`.

    Raises:
        UnknownSettingError: no installed extension has that name.
    """

    def __init__(
        self,
        *,
        stream_llm_tokens_by_default: bool = True,
        llm_logger_agent: bool | Agent = False,
        on_persist_message: PersistMessageHandler | Iterable[PersistMessageHandler] = (),
        errors_to_messages: bool = False,
        log_reduced_tracebacks: bool = True,
        interceptors: Iterable[CallInterceptor] = (),
        usage_limits: UsageLimits | None = None,
        rate_limit: RateLimit | None = None,
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
        **extensions: Any,
    ) -> None:
        self.stream_llm_tokens_by_default = stream_llm_tokens_by_default
        if not isinstance(llm_logger_agent, bool) and not hasattr(llm_logger_agent, "inquire"):
            raise TypeError(f"`llm_logger_agent` is `True`, `False` or an agent, not {llm_logger_agent!r}.")
        self.llm_logger_agent = llm_logger_agent
        self.errors_to_messages = errors_to_messages
        self.log_reduced_tracebacks = log_reduced_tracebacks
        self.interceptors: list[CallInterceptor] = [_checked_interceptor(interceptor) for interceptor in interceptors]
        self.usage_limits = usage_limits
        self.rate_limit = rate_limit
        # Made when the first handler comes.
        self._persister: MessagePersister | None = None
        self._recorder: CallRecorder | None = None
        super().__init__(
            start_everything_asap_by_default=start_everything_asap_by_default,
            appenders_capture_errors_by_default=appenders_capture_errors_by_default,
            longer_hash_keys=longer_hash_keys,
            logger=logger,
            log_level_for_errors=log_level_for_errors,
            on_promise_resolved=on_promise_resolved,
            background_errors=background_errors,
            read_ahead_by_default=read_ahead_by_default,
            shutdown_grace_s=shutdown_grace_s,
            stall_report_s=stall_report_s,
        )
        _checked.handlers(on_persist_message, "on_persist_message", self.on_persist_message)
        self.interceptors.extend(load_extensions(extensions, self))

    def _start_afresh(self) -> None:
        super()._start_afresh()
        self._open_calls: set[SequenceBuffer] = set()
        self._usage = ContextUsage()
        self._usage_scope = UsageScope.of_context(self.usage_limits, self.rate_limit)
        if self._recorder is not None:
            self._recorder.forget_all()

    @property
    def usage(self) -> ContextUsage:
        """What everything in this context has used since it was last activated; readable at any time, also after."""
        return self._usage

    @property
    def usage_scope(self) -> UsageScope | None:
        """What counts the usage for the limits of this context, if it has any (for this package)."""
        return self._usage_scope

    def failure(self, error: BaseException, producer: "Producer | None", what: str | None = None) -> Failure:
        """Keep `error`, to be reported if nobody receives it; see `PromisingContext` (for this package)."""
        if isinstance(error, asyncio.CancelledError) and error.args:
            # A crossed limit cancels with its error as the message; see `ModelRequest`.
            reason: object = error.args[0]
            error = reason if isinstance(reason, UsageLimitExceededError) else error
        return super().failure(error, producer, what)

    def on_persist_message(self, handler: HANDLER) -> HANDLER:
        """Register an async `handler(_, message)`; may be used as a decorator.

        It is called in the background, once for every message object that gets resolved (two equal ones count as two),
        for the messages inside one before that one, and for the `AgentCallNode` and `AgentReplyNode` of each call. A
        handler that fails is reported, and its message is offered again the next time it is resolved.

        Raises:
            TypeError: the handler is not an async function.
        """
        _current.require_async_handler(handler, "on_persist_message", "_, message")
        if self._persister is None:
            from miniagents._records import CallRecorder, MessagePersister

            self._persister = MessagePersister(self)
            self._recorder = CallRecorder(self._persister)
        self._persister.handlers.append(handler)
        PromisingContext.handlers_exist = True
        return handler

    def listens(self) -> bool:
        """Whether anybody wants to hear of resolved promises."""
        return self._persister is not None or super().listens()

    def _announce(self, promise: Any) -> None:
        self.value_was_sent(promise.outcome_if_done())
        super()._announce(promise)

    def value_was_sent(self, value: object) -> None:
        """Offer a message that was resolved before once more, in case its handler failed then (for this package)."""
        context: PromisingContext | None = self
        while context is not None:
            persister = context._persister if isinstance(context, MiniAgents) else None
            if persister is not None and isinstance(value, Message):
                persister.offer(value)
            context = context.parent

    def recorder(self) -> "CallRecorder | None":
        """Give what records calls, if anybody wants records (for this package)."""
        return self._recorder

    def reduces_tracebacks(self) -> bool:
        """Whether logged tracebacks leave out the frames of this package."""
        return self.log_reduced_tracebacks

    async def _after_entering(self) -> None:
        entered: list[ContextListener] = []
        try:
            for interceptor in self.interceptors:
                if isinstance(interceptor, ContextListener):
                    await interceptor.context_entered()
                    entered.append(interceptor)
        except BaseException as error:
            # What those before it hold, such as a run of a journal, nobody else would let go of.
            add_notes(error, await self._tell_of_the_end(entered, error))
            raise

    async def _after_all_work(self, error: BaseException | None) -> None:
        listeners = [interceptor for interceptor in self.interceptors if isinstance(interceptor, ContextListener)]
        errors = await self._tell_of_the_end(listeners, error)
        if errors:
            add_notes(errors[0], errors[1:])
            raise errors[0]

    async def _tell_of_the_end(
        self, listeners: Sequence[ContextListener], error: BaseException | None
    ) -> list[BaseException]:
        """Tell all of them, the last one first, whatever goes wrong with one; what went wrong."""
        errors: list[BaseException] = []
        for listener in reversed(listeners):
            has_failed = error is not None or bool(errors) or self.errors.has_any
            try:
                await listener.context_left(error, has_failed=has_failed)
            except BaseException as trouble:  # noqa: BLE001 - raised by the caller, when all have been told
                errors.append(trouble)
        return errors

    async def _before_waiting(self) -> None:
        finish_calls(self._open_calls)

    async def _before_leaving(self) -> None:
        if self._recorder is not None:
            self._recorder.record_the_rest()

    def open_calls(self) -> set[SequenceBuffer]:
        """Give the open calls that this context must finish (for this package)."""
        return self._open_calls

    def start_subtask(self, coroutine: Any) -> AnyTask:
        """Start `coroutine` in a task of this context; its error is for whoever awaits the task (for this package)."""
        return self.start_asap(coroutine, suppress_errors=False)


def _checked_interceptor(interceptor: object) -> CallInterceptor:
    if not isinstance(interceptor, CallInterceptor):
        raise TypeError(
            f"{interceptor!r} is no `CallInterceptor`: it has no `intercept_call(call, proceed)`, an async generator "
            "that yields the replies."
        )
    return interceptor
