"""One turn of a model: the request is sent, the events of the answer become messages, faults are retried or told.

    asked --nothing visible yet, a transient fault--> asked again (`max_retries` times, waiting in between)
      |---something visible, a fault--> raised at its place, or (`on_midstream_failure="restart"`) torn and asked again
      `---the end of the turn--> the turn's messages, the last of which says what it cost

Everything happens in the task of the model agent, which owns the messages while they are written.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from miniagents.ext.llms._common.faults import LONGEST_TOLD_WAIT_S
from miniagents.ext.llms._common.secrets import hide_secrets, secrets_in
from miniagents.ext.llms._common.streams import checked_stream, closed_at_the_end
from miniagents.ext.llms._turns.turn_writer import TurnWriter
from miniagents.ext.llms.errors import LLMError, TransientError, UsageLimitExceededError
from miniagents.ext.llms.llm_messages import ToolCallMessage
from miniagents.ext.llms.model_events import ModelRequest, TurnEnded, UsageKnown
from miniagents.ext.llms.prices import check_prices, cost_of
from miniagents.interaction import find_current_run
from miniagents.messages import Message, MessagePromise
from miniagents.miniagents import MiniAgents
from miniagents.promising._buffer import UNBOUNDED_DEMAND, Buffer
from miniagents.promising._waiting import give_way
from miniagents.promising.errors import PromiseCancelledError
from miniagents.usage import RequestAccount, TokenUsage, model_request

if TYPE_CHECKING:
    from miniagents.ext.llms.llm_common import LLMAgent

_TOKENS_IN_ONE_GO: Final = 64
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 30.0
# Told by the provider, as `Retry-After`; the SDKs of OpenAI and Anthropic draw the line there, too.


@dataclass(frozen=True, slots=True)
class TurnResult:
    """What a turn came to.

    Attributes:
        messages: what the model said, thought and called, in order.
        promises: those of the messages, which know in which tokens these came.
        parsed: its text, validated, if a `check` was given and it passed.
        invalid: why the check did not pass, else None.
        failed: whether an error stands at the end of the messages, so that nothing can follow.
        goes_on: whether the model only paused, and is to be asked again.
    """

    messages: tuple[Message, ...] = ()
    parsed: Any = None
    invalid: Exception | None = None
    failed: bool = False
    goes_on: bool = False
    promises: Sequence[MessagePromise] = ()


class TurnObserver(Protocol):
    """Sees one request to a model; a `CallInterceptor` gives it by `observe_turn(agent, request)`.

    It is asked for when the request may be sent, after the wait for a rate limit. Everything is called in the task of
    the model agent.
    """

    def block_began(self) -> None:
        """Something became visible: called once for each block that begins, so the first call is the first token."""
        ...

    def message(self, promise: MessagePromise) -> None:
        """The message of a block that begins; its tokens are still to come."""
        ...

    def usage_known(self, usage: TokenUsage) -> None:
        """What the request has cost so far."""
        ...

    def ended(self, end: TurnEnded | None, error: BaseException | None) -> None:
        """The request has ended: with the end of the turn, or with an error, a cancellation among them."""
        ...


Check = Callable[[str, TurnEnded], Any]
"""Validates the text of an answer: gives what it stands for, or raises `StructuredOutputError`."""


class ModelTurn:
    """Runs one turn in the task of the model agent."""

    def __init__(self, agent: "LLMAgent", request: ModelRequest, check: Check | None = None) -> None:
        self._agent = agent
        self._request = request
        self._check = check
        self._run = find_current_run()
        self._task = asyncio.current_task()
        self._is_unwanted = False
        self.promises: list[MessagePromise] = []
        """The messages so far, those of torn attempts included."""
        context = MiniAgents.get_current()
        is_lazy = not context.start_everything_asap_by_default
        # A lazy message makes a token when somebody waits for it, unless it was told how far ahead it may be.
        self._read_ahead = 0 if is_lazy and context.read_ahead_by_default is None else context.read_ahead_by_default
        if self._run is not None and self._run.fired:
            # Nobody will ever read it, and the work is to be done all the same.
            self._read_ahead = None
        self._is_bounded = self._read_ahead is not None
        if self._is_bounded and self._run is not None and self._run.replies.bound is None:
            # So that whoever waits for the next message is noticed.
            self._run.replies.bound = UNBOUNDED_DEMAND
        self._observers: list[TurnObserver] = []
        self._usage_so_far: TokenUsage | None = None
        self.fault: BaseException | None = None
        """What stands at the end of the messages, if the turn failed after something was visible."""

    async def run(self) -> TurnResult:
        """Ask until the turn is complete, and give what it came to.

        Raises:
            LLMError: it failed before anything was visible. A later fault stands at its place in the messages.
        """
        attempt = 0
        fault: Exception | None = None
        while True:
            writer = self._new_writer()
            try:
                return await self._attempt(writer)
            except asyncio.CancelledError as error:
                writer.cancel(error)
                self.fault = error
                if self._is_unwanted and self._task is not None and not self._task.uncancel():
                    # The message has ended already, and so do the replies, after it.
                    return TurnResult(failed=True)
                raise
            except Exception as error:
                if isinstance(error, UsageLimitExceededError) and error.__cause__ is None:
                    # Why it was to be sent again.
                    error.__cause__ = fault
                fault = self._fault(error, writer)
                if not self._goes_on(fault, writer, attempt):
                    if not writer.has_shown:
                        if fault is error:
                            raise
                        raise fault from error
                    self.fault = fault
                    writer.fail(MiniAgents.get_current().failure(fault, self._run))
                    return TurnResult(failed=True)
                if writer.has_shown:
                    writer.tear()
            attempt += 1
            await asyncio.sleep(_wait_s(fault, attempt))

    async def _attempt(self, writer: TurnWriter) -> TurnResult:
        self._observers = []
        try:
            result, end = await self._ask(writer)
        except BaseException as error:
            if self._observers:
                told = self._fault(error, writer) if isinstance(error, Exception) else error
                for observer in self._observers:
                    observer.ended(None, told)
            raise
        for observer in self._observers:
            observer.ended(end, None)
        return result

    async def _ask(self, writer: TurnWriter) -> tuple[TurnResult, TurnEnded]:
        agent = self._agent
        check_prices(agent.provider)
        self._usage_so_far = None
        async with model_request(
            model=agent.model,
            agent_alias=agent.agent_alias,
            provider=agent.provider,
            estimated_tokens=self._request.estimated_tokens,
        ) as accounting:
            self._observers = [observe(agent, self._request) for observe in observing_contexts()]
            try:
                end = await self._move(writer, accounting)
            except BaseException:
                if self._usage_so_far is not None:
                    # What was torn has cost something all the same.
                    cost = cost_of(agent.provider, agent.model, self._usage_so_far)
                    accounting.known(self._usage_so_far, cost=cost, is_final=False)
                raise
            end.usage = end.usage or self._usage_so_far
            cost = cost_of(agent.provider, end.model or agent.model, end.usage) if end.usage is not None else None
            if end.usage is not None:
                accounting.known(end.usage, cost=cost)
        return await self._finished(writer, end, cost), end

    async def _move(self, writer: TurnWriter, accounting: RequestAccount) -> TurnEnded:
        """Write the events of one request as they come; give its end."""
        end: TurnEnded | None = None
        agent = self._agent
        events = checked_stream(agent.stream_turn(self._request), f"{type(agent).__name__}.stream_turn")
        async with closed_at_the_end(events):
            token, take = writer.token, writer.take
            count = 0
            async for event in events:
                if event.__class__ is str:
                    if event:
                        token(event)
                elif isinstance(event, TurnEnded):
                    end = event
                elif isinstance(event, UsageKnown):
                    self._usage_so_far = event.usage
                    # A stream that breaks off here has cost more than this.
                    accounting.known(event.usage, is_final=False)
                    for observer in self._observers:
                        observer.usage_known(event.usage)
                else:
                    take(event)
                count += 1
                if not count & (_TOKENS_IN_ONE_GO - 1):
                    await give_way()
                if self._is_bounded and (buffer := writer.unfinished()) is not None:
                    # Before the next event is asked for: it costs as soon as it is made.
                    await self._wait_for_room(buffer, writer)
        return end or TurnEnded()

    async def _finished(self, writer: TurnWriter, end: TurnEnded, cost: float | None) -> TurnResult:
        fields = _fields_of(end, self._agent.model, cost)
        parsed, invalid = None, None
        calls_tools = any(issubclass(promise.message_class, ToolCallMessage) for promise in writer.promises)
        if self._check is not None and not calls_tools and not end.goes_on:
            try:
                parsed = self._check(writer.text_so_far(), end)
            except LLMError as error:
                invalid = error
                fields["output_error"] = str(error)
        writer.finish(fields, parsed=parsed)
        messages = tuple([await promise for promise in writer.promises])
        return TurnResult(messages, parsed, invalid, goes_on=end.goes_on, promises=writer.promises)

    async def _wait_for_room(self, buffer: Buffer[str], writer: TurnWriter) -> None:
        """Wait for the readers of a message, but not for one that nobody reads while more of the turn is waited for."""
        # The next message, or the end of an earlier one: blocks of a turn may be open side by side.
        others = [other for other in writer.open_buffers() if other is not buffer]
        if self._run is not None:
            others.append(self._run.replies)
        for other in others:
            buffer.share_room(other)

        def is_in_the_way() -> bool:
            return not buffer.is_being_read() and any(other.is_waited_for() for other in others)

        await buffer.wait_for_room(MiniAgents.get_current().background, unless=is_in_the_way)

    def _new_writer(self) -> TurnWriter:
        agent = self._agent
        return TurnWriter(
            self._reply,
            self._stop,
            known=agent.known_fields(),
            text_class=agent.answer_class,
            stream=bool(agent.stream),
            read_ahead=self._read_ahead,
            producer=self._run,
        )

    def _reply(self, promise: MessagePromise) -> None:
        self.promises.append(promise)
        for observer in self._observers:
            observer.block_began()
            observer.message(promise)
        self._agent.ctx.reply(promise)

    def _stop(self) -> None:
        """A reader cancelled one of the messages: nobody wants the rest of the turn."""
        self._is_unwanted = True
        if self._task is not None and not self._task.done():
            self._task.cancel()

    def _fault(self, error: Exception, writer: TurnWriter) -> Exception:
        if not isinstance(error, LLMError | PromiseCancelledError):
            fault = self._agent.fault_of(error)
            if fault is None:
                return error
            # Known from here on: by it the agent tells whether the SDK has tried again already.
            fault.__cause__ = error
        else:
            fault = error
        if isinstance(fault, LLMError):
            hide_secrets(fault, secrets_in(self._agent))
            if fault.partial_text is None:
                fault.partial_text = writer.text_so_far()
        return fault

    def _goes_on(self, fault: Exception, writer: TurnWriter, attempt: int) -> bool:
        if not isinstance(fault, TransientError) or attempt >= self._most_retries():
            return False
        if fault.raw_text is not None:
            # What is no answer at all, such as a login page, will be none the next time.
            return False
        if fault.retry_after_s is not None and fault.retry_after_s > LONGEST_TOLD_WAIT_S:
            # Nobody wants to sit in silence for so long: whoever gets the error decides.
            return False
        if writer.has_shown:
            return self._agent.on_midstream_failure == "restart"
        if self._request.is_sent_once:
            # The provider's own word, which its SDK heeds as well.
            response = getattr(fault.__cause__, "response", None)
            return response is None or response.headers.get("x-should-retry") != "false"
        return not self._agent.was_retried(fault)

    def _most_retries(self) -> int:
        agent = self._agent
        if self._request.is_sent_once and "max_retries" not in agent.model_fields_set:
            # Whoever handed over a client has told it how often to try.
            return getattr(getattr(agent, "async_client", None), "max_retries", agent.max_retries)
        return agent.max_retries


def _fields_of(end: TurnEnded, asked_model: str, cost: float | None) -> dict[str, Any]:
    return {
        **end.fields,
        "finish_reason": end.finish_reason,
        "usage": end.usage or TokenUsage(),
        "raw_usage": end.raw_usage,
        "model": end.model or asked_model,
        "request_id": end.request_id,
        "refusal": end.refusal,
        "cost": cost,
    }


def _wait_s(fault: Exception, attempt: int) -> float:
    told = fault.retry_after_s if isinstance(fault, LLMError) else None
    if told is not None:
        return told
    # "Full jitter", as in Brooker, "Exponential Backoff and Jitter" (2015), but never less than half of it.
    longest = min(_LONGEST_WAIT_S, _FIRST_WAIT_S * 2 ** (attempt - 1))
    return longest * (0.5 + random.random() / 2)


def observing_contexts() -> list[Callable[["LLMAgent", ModelRequest], TurnObserver]]:
    """Give what wants to see every request to a model: interceptors of the contexts here that have `observe_turn`."""
    observing: list[Any] = []
    context: Any = MiniAgents.get_current()
    while context is not None:
        observing += [
            observe
            for interceptor in getattr(context, "interceptors", ())
            if (observe := getattr(interceptor, "observe_turn", None)) is not None
        ]
        context = context.parent
    return observing


def tool_calls_of(messages: Sequence[Message]) -> list[ToolCallMessage]:
    """Give the complete calls of tools among the messages of a turn."""
    return [message for message in messages if isinstance(message, ToolCallMessage) and not message.interrupted]
