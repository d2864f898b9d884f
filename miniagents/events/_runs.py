"""One handler at work on one event: its attempts, its replies, how it is stopped.

    called --each attempt: the handler's function, then all that it replied with and that is still coming--> over

The run is the `Producer` above everything that the handler starts, so that cancelling it stops the calls that it made.
It has no task of its own: the worker that attends to it is lent for the time.
"""

import asyncio
import contextvars
from collections.abc import Generator
from types import coroutine
from typing import TYPE_CHECKING, Any, cast

from miniagents._segments import SequenceBuffer, is_nested
from miniagents.errors import DeadlockError, RepliesClosedError
from miniagents.events._registration import AGENT, FUNCTION, GENERATOR
from miniagents.events._relays import Relay
from miniagents.events._slots import SlotHolder, Slots
from miniagents.events._subscriptions import Delivery, Subscription
from miniagents.events._variables import Variables, in_variables
from miniagents.events.dead_letter import DeadLetter
from miniagents.events.errors import HandlerTimeoutError
from miniagents.events.event import Event
from miniagents.events.flow import Flow
from miniagents.events.handler_context import HandlerContext
from miniagents.message_sequence import MessageSequence, MessageSequencePromise, SequenceReader
from miniagents.messages import MessagePromise, checked_text
from miniagents.promising._failure import Failure
from miniagents.promising._producer import current_producer, current_task
from miniagents.promising._waiting import AnyTask, wait_for_end
from miniagents.promising.sentinels import NO_VALUE

if TYPE_CHECKING:
    from miniagents.events._engine import Engine
    from miniagents.events.bus import EventBus


class HandlerRun(SlotHolder):
    """The work of one handler on one delivery."""

    __slots__ = (
        "arguments",
        "attempt",
        "base",
        "cancelled_with",
        "engine",
        "event",
        "flow",
        "followed",
        "hops",
        "letter",
        "subscription",
    )

    def __init__(self, engine: "Engine", delivery: Delivery, worker: AnyTask) -> None:
        # All that a producer has that is never launched; it fills no target.
        self.context = engine.context
        self.target = self.owner = self.started = None
        self.task = worker
        self.is_over = False
        self.waits = 0
        self.has_place = None
        self.engine = engine
        self.subscription: Subscription
        self.event: Event
        self.flow: Flow
        self.hops: int
        self.base: Variables
        self.subscription, self.event, self.flow, self.hops, self.base, _, self.arguments = delivery
        self.attempt = 1
        self.cancelled_with: BaseException | None = None
        self.letter: DeadLetter | None = None
        """Its dead letter, if that is there before it has ended."""
        self.followed: list[Relay | MessagePromise] | None = None
        """What it replied with and what is still being made."""

    # -- working -------------------------------------------------------------------------------------------------

    @coroutine
    def attempt_once(self) -> Any:
        """Call the handler, and send all that it replies with. Runs in the variables of the handler.

        A generator that can be awaited, as there is one for each delivery, and a coroutine costs more.

        Raises:
            BaseException: it failed, or something among its replies did.
        """
        current_producer.set(self)
        subscription = self.subscription
        work: Generator[Any, Any, Any]
        if self.arguments is None and subscription.kind == FUNCTION:
            work = subscription.target(HandlerContext(self), self.event)
        else:
            work = cast("Any", self._call_with(self.arguments or (self.event,)))
        value = yield from work
        if value is not None or self.followed is not None:
            yield from self.finish(value)

    async def _call_with(self, arguments: tuple[Any, ...]) -> Any:
        """Call a handler of whatever kind."""
        subscription = self.subscription
        if subscription.kind == AGENT:
            return await self._ask_agent(arguments)
        if subscription.kind == GENERATOR:
            return await self._follow_generator(arguments)
        return await subscription.target(HandlerContext(self), *arguments)

    def variables_for(self, event: Event) -> Variables:
        """Give the context variables as they are here, for whoever gets `event`, a reply.

        Where the handler has set none, those are the ones that it got itself: there may be a great many replies.
        """
        del event
        here, base = contextvars.copy_context(), self.base
        return base if base.are(here) else Variables(here)

    async def attempt_all(self, variables: contextvars.Context) -> None:
        """Work, as often as the subscription says.

        Raises:
            BaseException: the last attempt failed.
        """
        subscription = self.subscription
        while True:
            timeout = asyncio.timeout(subscription.timeout_s)
            try:
                async with timeout:
                    await in_variables(variables, self.attempt_once())
                if timeout.expired() and self.cancelled_with is None:
                    # It has kept the cancellation to itself.
                    raise TimeoutError
                return
            except Exception as raised:  # noqa: BLE001 - raised again, or tried again
                error: Exception = raised
                if isinstance(raised, TimeoutError) and timeout.expired():
                    assert subscription.timeout_s is not None
                    error = HandlerTimeoutError(subscription.name, subscription.timeout_s)
                    error.__cause__ = raised
                    self._stop_what_was_started("The handler took too long.")
                if self.attempt > subscription.retries or self.engine.gives_up(self.flow):
                    raise error from error.__cause__
                self.flow.know_error(error)
                self.engine.note_retry(self, error)
            self.attempt += 1
            # Even without a pause, as a handler that fails at once must not starve the others.
            async with self.outside():
                await asyncio.sleep(subscription.backoff_s * 2 ** (self.attempt - 2))

    async def finish(self, value: object) -> None:
        """Send what the handler returned, and wait for all that it replied with and that is being made.

        Raises:
            BaseException: something among it has failed.
        """
        if value is not None:
            self.reply(value)
        error: BaseException | None = None
        while self.followed:
            followed = self.followed.pop(0)
            if isinstance(followed, Relay):
                if followed.task is not None:
                    await self._wait_for_relay(followed)
                error = error or followed.error
                continue
            outcome = followed.outcome_if_done()
            if outcome is NO_VALUE:
                outcome = await followed.outcome()
            if isinstance(outcome, Failure):
                error = error or outcome.receive()
                self.flow.know_error(outcome.error)
        if error is not None:
            raise error

    async def _wait_for_relay(self, relay: Relay) -> None:
        assert relay.task is not None
        if not relay.is_of_same_bus:
            await wait_for_end(relay.task)
            return
        # Its handlers need places.
        async with self.outside():
            await wait_for_end(relay.task)

    async def _ask_agent(self, arguments: tuple[Any, ...]) -> None:
        error = await self.follow(self._inquire(arguments), None)
        if error is not None:
            raise error

    def _inquire(self, arguments: tuple[Any, ...]) -> MessageSequencePromise:
        event = arguments[0] if len(arguments) == 1 else arguments
        agent = self.subscription.target
        # An error that is a message would be no failure of the handler.
        return agent.inquire(event, errors_to_messages=False) if self._shows_errors() else agent.inquire(event)

    def _shows_errors(self) -> bool:
        return self.engine.context.errors_to_messages

    async def _follow_generator(self, arguments: tuple[Any, ...]) -> None:
        generator = self.subscription.target(HandlerContext(self), *arguments)
        try:
            async for messages in generator:
                self.reply(messages)
        finally:
            await generator.aclose()

    # -- replying ------------------------------------------------------------------------------------------------

    def reply(self, messages: object) -> None:
        """Send replies; see `HandlerContext.reply`."""
        if self.is_over:
            raise RepliesClosedError(self.subscription.name, "reply")
        if isinstance(messages, Event):
            self.engine.take_reply(self, messages)
        elif isinstance(messages, str):
            self.add(checked_text(messages))
        elif isinstance(messages, MessagePromise) and not self._must_be_followed(messages):
            self._place(messages, None)
        elif messages is not None:
            self._reply_in_order(messages)

    def _reply_in_order(self, messages: object) -> None:
        if messages is self.flow:
            raise self._own_flow_error()
        parts: list[Any] = list(cast("list[Any]", messages)) if isinstance(messages, list | tuple) else []
        if any(isinstance(part, Flow) for part in parts):
            # One by one, as a flow is not looked into where it is one of several.
            for part in parts:
                self.reply(part)
            return
        if isinstance(messages, MessageSequencePromise):
            sequence = messages
        else:
            # Refuses what can be no message before anything is sent.
            sequence = MessageSequence.turn_into_sequence_promise(cast("object", messages))
            pieces = sequence.buffer().pieces
            if not any(self._must_be_followed(piece) for piece in pieces):
                for piece in pieces:
                    self._place(piece, None)
                return
        target = SequenceBuffer()
        self.flow.add(MessageSequencePromise.of_buffer(target))
        relay = Relay(self, sequence, target)
        self._wait_for(relay)
        relay.launch()

    def _own_flow_error(self) -> DeadlockError:
        return DeadlockError(
            f"`{self.subscription.name}` replies with its own flow, which is complete when the handler has ended. "
            "Reply with the events or messages that are meant, or with a flow that it has begun itself."
        )

    def _wait_for(self, followed: Relay | MessagePromise) -> None:
        if self.followed is None:
            self.followed = []
        self.followed.append(followed)

    def _must_be_followed(self, piece: object) -> bool:
        """Whether there is something to wait for before it can be routed, or an error to take out of it."""
        if isinstance(piece, MessagePromise):
            return not piece.done() and issubclass(piece.message_class, Event)
        return isinstance(piece, Failure) or is_nested(piece)

    def _place(self, piece: Any, into: SequenceBuffer | None) -> None:
        """Route an event; put anything else into the flow, or into a part of it."""
        if isinstance(piece, MessagePromise):
            outcome = piece.outcome_if_done()
            if isinstance(outcome, Event):
                piece = outcome
            elif isinstance(outcome, Failure) or (not piece.done() and _is_being_made(piece)):
                self._wait_for(piece)
        if isinstance(piece, Event):
            self.engine.take_reply(self, piece, into)
        else:
            self.add(piece, into)

    def add(self, part: Any, into: SequenceBuffer | None = None) -> None:
        """Put something that is no event into the flow."""
        self.flow.add(part, into)

    async def follow(self, sequence: MessageSequencePromise, into: SequenceBuffer | None) -> BaseException | None:
        """Place all of `sequence` as it comes; give the first error in it."""
        error: BaseException | None = None
        buffer = cast("SequenceBuffer", sequence.buffer())
        if not buffer.had_reader:
            buffer.mark_read()
        reader: Any = SequenceReader(buffer, raises=False)
        is_routed = self.has_routed(sequence)
        position = -1
        async for piece in reader:
            position += 1
            if not is_routed and self.flow.is_read_by(reader):
                # It came out of a list or of a generator; it would be sent on again and again.
                raise self._own_flow_error()
            if isinstance(piece, Failure):
                error = error or piece.receive()
                continue
            if self._must_be_followed(piece):
                outcome = await cast("MessagePromise", piece).outcome()
                if isinstance(outcome, Failure):
                    error = error or outcome.receive()
                    continue
            if is_routed:
                self.add(piece, into)
            else:
                self._place(await self._with_stamps(piece, buffer, position), into)
        return error

    def has_routed(self, sequence: MessageSequencePromise) -> bool:
        """Whether the events in it are on their way already, as those of a flow of the same bus."""
        return isinstance(sequence, Flow) and sequence.engine is self.engine

    async def _with_stamps(self, piece: Any, replies: SequenceBuffer, position: int) -> Any:
        """Give an event as it first was, if it comes from somewhere that keeps events without their stamps."""
        del replies, position
        return piece

    def cause_of_letter(self, delivery: Delivery) -> Delivery:
        """Give a delivery that has failed as what its dead letter comes from."""
        return delivery

    # -- being stopped -------------------------------------------------------------------------------------------

    def stop(self, error: BaseException) -> bool:
        """Cancel the handler and the calls that it made; `error` is what it has failed with then.

        False if it has ended, or was cancelled before.
        """
        worker = self.task
        if self.is_over or self.cancelled_with is not None or worker is None:
            return False
        self.cancelled_with = error
        self._stop_what_was_started(str(error))
        worker.cancel(str(error))
        return True

    def _stop_what_was_started(self, message: str) -> None:
        children = list(self.started or ())
        own = {self.task, current_task(), *(child.task for child in children)}
        for child in children:
            readers = () if child.target is None else child.target.reading_tasks()
            # What somebody else is reading is somebody else's by now, but for the tokens of a message.
            if child.goes_with_owner() or all(reader in own for reader in readers):
                child.cancel(message)

    def describe(self) -> str:
        """Name the handler."""
        return f"the handler `{self.subscription.name}`"

    @property
    def slots(self) -> Slots:
        """The places of the bus."""
        return self.engine.slots

    @property
    def bus(self) -> "EventBus":
        """The bus."""
        return self.engine.bus

    @property
    def handler_name(self) -> str:
        """The name of the handler."""
        return self.subscription.name


def _is_being_made(promise: MessagePromise) -> bool:
    """Whether somebody is making its tokens already, wanted or not."""
    producer = promise.buffer().producer
    return producer is None or producer.task is not None


__all__ = ["HandlerRun"]
