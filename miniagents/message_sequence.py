"""`MessageSequencePromise`: message promises in a row, flat however they were handed over.

A sequence holds segments: texts, messages, message promises, and links to other sequences. A link is not copied: a
reader walks down to where the messages are and reads there, so that forwarding through fifty agents costs what
forwarding through one costs.
"""

import itertools
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any, cast

from miniagents._flattening import Flattener
from miniagents._reordering import SequenceReader, keep_what_is_there, put_in_front
from miniagents._segments import (
    SequenceBuffer,
    announced,
    flat_parts,
    is_complete,
    is_nested,
    message_at,
    pending_parts,
    receive_shown_errors,
    somebody_listens,
)
from miniagents._sequence_parts import AsyncPart, ErrorsAsMessages, OutOfOrderPart
from miniagents._usage_values import UsageTotals
from miniagents.messages import Message, MessagePromise, checked_text
from miniagents.promising._buffer import ENDED, Buffer
from miniagents.promising._failure import Failure
from miniagents.promising._producer import Producer
from miniagents.promising._pumping import as_async_iterator
from miniagents.promising.appender import StreamAppender
from miniagents.promising.promise_typing import PromiseStreamer
from miniagents.promising.promising import PromisingContext, StreamedPromise
from miniagents.promising.sentinels import NO_VALUE

AT_ONCE = 500
"""How many segments of a sequence are put together in one go."""


class MessageSequencePromise(StreamedPromise[MessagePromise, tuple[Message, ...]]):
    """A promise of zero or more messages.

    `async for message_promise in sequence` gives the promises of the messages, from the first, as soon as each is there
    (its tokens may still be coming); `await sequence` waits for all and gives a tuple of `Message`. Any number of
    readers, at any time. An error is raised at its place; a reader that asks for more gets what follows it.

    `async with agent.inquire(...) as replies:` cancels what is unfinished when the block is left, however it is left.
    """

    __slots__ = ()

    @classmethod
    def of_buffer(cls, buffer: "SequenceBuffer") -> "MessageSequencePromise":
        """Give a promise that reads `buffer` (for this package)."""
        promise = cls.__new__(cls)
        promise.waiters = None
        promise._thread_id = buffer.thread_id
        promise._value = NO_VALUE
        promise._buffer = buffer
        promise._resolver_function = promise._streamer_function = None
        promise._producer = promise._readers = promise._done_callbacks = None
        context = promise._context = PromisingContext.find_current()
        if context is not None:
            context.promise_was_made(promise)
        return promise

    # -- what users call -----------------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[MessagePromise]:
        buffer = self._buffer
        if not buffer.had_reader:
            buffer.mark_read()
        return SequenceReader(buffer)

    async def __aenter__(self) -> "MessageSequencePromise":
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel("The `async with` block of these replies was left.")

    def as_single_promise(
        self,
        delimiter: str = "\n\n",
        strip_leading_newlines: bool = False,  # noqa: FBT001, FBT002 - the published signature
        reference_original_messages: bool = True,  # noqa: FBT001, FBT002
        start_asap: bool | None = False,  # noqa: FBT001, FBT002
        message_class: type[Message] | None = None,
        **preliminary_metadata: Any,
    ) -> MessagePromise:
        """Give one message that streams the tokens of all, with `delimiter` in between.

        The messages themselves are kept in its field `original_messages` (unless `reference_original_messages` is
        false). No messages make an empty text. `strip_leading_newlines` takes newlines from the beginning of each. It
        is lazy unless `start_asap` says otherwise. An error in the sequence is raised at its place among the tokens.
        """

        async def join(metadata_so_far: dict[str, Any]) -> AsyncIterator[str]:
            if start_asap is False:
                # It was begun because somebody reads it, and with it these messages.
                self._buffer.mark_read()
            originals: list[Message] = []
            is_first = True
            async for promise in SequenceReader(self._buffer, raises=False):
                if isinstance(promise, Failure):
                    # From here on the joined message answers for it.
                    raise promise.receive()
                if not is_first and delimiter:
                    yield delimiter
                is_first = False
                async for token in _tokens(promise, strip=strip_leading_newlines):
                    yield token
                originals.append(await promise)
            if reference_original_messages:
                metadata_so_far["original_messages"] = tuple(originals)

        return (message_class or Message).promise(
            message_token_streamer=join, start_asap=start_asap, **preliminary_metadata
        )

    @property
    def usage(self) -> UsageTotals:
        """What the call behind these replies, and all that it has started, has used so far; see `UsageTotals`.

        Sequences that are not the replies of a call have used nothing.
        """
        return cast("SequenceBuffer", self._buffer).usage_totals()

    def _is_all_there(self) -> bool:
        return next(pending_parts(self._buffer), None) is None

    def _before_cancelling(self) -> None:
        keep_what_is_there(cast("SequenceBuffer", self._buffer))

    # -- for the package -----------------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, Any, tuple[Message, ...]]:
        if self._value is NO_VALUE and len(self._buffer.pieces) > AT_ONCE:
            # So many that putting them together must let others run in between.
            if not self._buffer.had_reader:
                self._buffer.mark_read()
            yield from self._outcome().__await__()
        messages = yield from super().__await__()
        receive_shown_errors(self._buffer)
        return messages

    def done(self) -> bool:
        """Whether `await` would give the messages, or an error, without waiting."""
        return self._value is not NO_VALUE or self._is_all_there()

    def outcome_if_done(self) -> Any:
        """Give the tuple of messages, the `Failure`, or `NO_VALUE`, without waiting."""
        value = self._value
        if value is NO_VALUE and self._buffer.end is not None:
            value = self._collect()
            if value is not NO_VALUE:
                self._settle(value)
        return value

    def _collect(self) -> Any:
        """Put the whole together if all of it is there."""
        messages: list[Message] = []
        for part in flat_parts(self._buffer, message_at):
            if isinstance(part, Buffer):
                return NO_VALUE
            outcome = part.outcome_if_done() if isinstance(part, MessagePromise) else part
            if isinstance(outcome, Failure) or outcome is NO_VALUE:
                return outcome
            messages.append(outcome)
        return tuple(messages)

    async def _outcome(self) -> Any:
        messages: list[Message] = []
        # Messages, promises of those that are still coming, and failures.
        reader: Any = SequenceReader(self._buffer, raises=False, part_at=message_at)
        async for first in reader:
            for part in itertools.chain((first,), reader.rest_of_lot()):
                outcome = part
                if isinstance(part, MessagePromise):
                    outcome = part.outcome_if_done()
                    if outcome is NO_VALUE:
                        outcome = await part.outcome()
                if outcome.__class__ is Failure:
                    self._settle(outcome)
                    return outcome
                messages.append(outcome)
        if self._value is NO_VALUE:
            self._settle(tuple(messages))
        return self._value

    def when_done(self, callback: Callable[[], None]) -> None:
        """Call `callback` when every message is there, at once if they are; never makes anything start."""
        _WhenAllThere(pending_parts(self._buffer), callback).step()


class _WhenAllThere:
    """Calls back when nothing of a sequence is missing any more. A class, as a closure would refer to itself."""

    __slots__ = ("_callback", "_parts")

    def __init__(self, parts: Iterator[Any], callback: Callable[[], None]) -> None:
        self._parts = parts
        self._callback = callback

    def step(self) -> None:
        part = next(self._parts, None)
        if part is None:
            self._callback()
        elif isinstance(part, Buffer):
            part.when_ended(self.step)
        else:
            part.when_done(self.step)


async def _tokens(promise: MessagePromise, *, strip: bool) -> AsyncIterator[str]:
    is_start = strip
    async for token in promise:
        kept = token.lstrip("\r\n") if is_start else token
        if kept:
            is_start = False
            yield kept


class MessageSequenceAppender(StreamAppender[Any]):
    """Writes into a message sequence whatever can become messages; see `MessageType`."""

    __slots__ = ()

    def _make_buffer(self) -> Buffer[Any]:
        return SequenceBuffer()

    def _write(self, piece: Any) -> None:
        append_messages(cast("SequenceBuffer", self._buffer), piece)


class MessageSequence:
    """A sequence of messages that is filled from outside, through `message_appender`, or by a streamer.

    Everything that is appended is made flat, see `MessageType`. `sequence_promise` is what to read.

    With `errors_to_messages` an error in the sequence arrives as a message with `is_error=True` whose text is the
    error's; one inside a message's tokens as the tokens so far, a newline and the error's text.
    """

    message_appender: MessageSequenceAppender | None
    """What to append to, to be opened first; `None` where an `incoming_streamer` fills the sequence."""
    sequence_promise: MessageSequencePromise

    def __init__(
        self,
        appender_capture_errors: bool | None = None,  # noqa: FBT001 - the published signature
        start_asap: bool | None = None,  # noqa: FBT001
        incoming_streamer: PromiseStreamer[Any] | None = None,
        errors_to_messages: bool = False,  # noqa: FBT001, FBT002
        read_ahead: int | None = None,
    ) -> None:
        if incoming_streamer is None:
            self.message_appender = MessageSequenceAppender(appender_capture_errors)
            buffer = cast("SequenceBuffer", self.message_appender.unopened_stream())
            context = PromisingContext.find_current()
            buffer.bound = read_ahead if context is None or read_ahead is not None else context.read_ahead_by_default
            promise = MessageSequencePromise.of_buffer(buffer)
        else:
            self.message_appender = None
            promise = streamed_sequence(incoming_streamer, start_asap, after=[], read_ahead=read_ahead)
        self.sequence_promise = errors_as_messages(promise) if errors_to_messages else promise

    @staticmethod
    def turn_into_sequence_promise(messages: object) -> MessageSequencePromise:
        """Give a sequence promise of `messages`, whatever kind of `MessageType` they are."""
        if isinstance(messages, MessageSequencePromise):
            return messages
        return closed_sequence(messages)


def closed_sequence(messages: object) -> MessageSequencePromise:
    """Give a sequence of exactly `messages`, to which nothing can be added."""
    buffer = SequenceBuffer()
    if messages is not None:
        append_messages(buffer, messages)
    buffer.end = ENDED
    buffer.was_given = True
    return MessageSequencePromise.of_buffer(buffer)


def append_messages(buffer: SequenceBuffer, messages: object, producer: Producer | None = None) -> None:
    """Add `messages`, made flat, to a sequence; `producer` is who answers for errors among them.

    Raises:
        NotAMessageError: something in it cannot become a message; nothing is added then.
    """
    if buffer.end is not None:
        return
    if messages.__class__ is str:
        buffer.append(checked_text(cast("str", messages)))
        added = 1
    elif messages.__class__ is MessagePromise:
        buffer.append(messages)
        added = 1
    elif type(messages) is MessageSequencePromise and messages.buffer() is not buffer:
        buffer.extend([messages], [messages])
        added = 1
    else:
        flat = _flattened(messages, buffer, producer)
        added = len(flat.pieces)
        is_circle = any(nested.buffer() is buffer for nested in flat.nested)
        buffer.extend(
            buffer.without_itself(flat.pieces) if is_circle else flat.pieces,
            [nested for nested in flat.nested if nested.buffer() is not buffer] if is_circle else flat.nested,
        )
    if somebody_listens():
        # Whoever listens hears of every promise, also of those that nobody reads.
        for index in range(len(buffer.pieces) - added, len(buffer.pieces)):
            if not is_nested(buffer.pieces[index]) and not isinstance(buffer.pieces[index], Failure):
                announced(buffer.pieces, index)


def append_out_of_order(buffer: SequenceBuffer, messages: object, producer: Producer | None) -> None:
    """Add `messages`, each as soon as it is there, ahead of what is in the sequence and not there yet.

    Raises:
        NotAMessageError: something in it cannot become a message; nothing is added then.
    """
    for piece in _flattened(messages, SequenceBuffer(), producer).pieces:
        if not is_nested(piece) or is_complete(piece.buffer()):
            put_in_front(buffer, [piece])
            continue
        inserting = OutOfOrderPart(PromisingContext.get_current(), SequenceBuffer(), is_lazy=False)
        inserting.source = piece.buffer()
        inserting.into = buffer
        if buffer.inserting is None:
            buffer.inserting = set()
        buffer.inserting.add(inserting)
        inserting.launch()


def _flattened(messages: object, buffer: SequenceBuffer, producer: Producer | None) -> Flattener:
    """Give what `messages` stand for; an async iterable among them waits for what `buffer` has before it."""
    context = PromisingContext.find_current()

    def make_failure(error: BaseException) -> Failure:
        return Failure(error) if context is None else context.failure(error, producer)

    def make_async_part(flattener: Flattener, iterable: Any) -> MessageSequencePromise:
        earlier = itertools.chain(reversed(flattener.nested), filter(is_nested, reversed(buffer.pieces)))
        after = [piece.buffer() for piece in itertools.islice(earlier, 1)]
        return streamed_sequence(lambda _: as_async_iterator(iterable), None, after=after)

    flattener = Flattener(
        is_sequence=lambda item: isinstance(item, MessageSequencePromise),
        make_failure=make_failure,
        make_async_part=make_async_part,
    )
    flattener.flatten(messages)
    return flattener


def streamed_sequence(
    streamer: PromiseStreamer[Any],
    start_asap: bool | None,  # noqa: FBT001 - passed on as it came
    after: list[SequenceBuffer],
    read_ahead: int | None = None,
) -> MessageSequencePromise:
    """Give a sequence of what `streamer` gives, to begin when the sequences in `after` are there."""
    context = PromisingContext.get_current()
    eager = context.start_everything_asap_by_default if start_asap is None else start_asap
    bound = context.read_ahead_by_default if read_ahead is None else read_ahead
    buffer = SequenceBuffer(bound if eager else bound or 0)
    producer = AsyncPart(context, buffer, is_lazy=not eager)
    producer.streamer = streamer
    producer.after = after
    producer.append = append_messages
    buffer.producer = producer
    promise = MessageSequencePromise.of_buffer(buffer)
    if eager:
        producer.launch()
    return promise


def errors_as_messages(sequence: MessageSequencePromise, *, is_lazy: bool = False) -> MessageSequencePromise:
    """Give a view of `sequence` in which errors are messages; whoever reads `sequence` itself gets the exceptions.

    What makes the sequence belongs to the view from now on, and is cancelled with it.
    """
    source = sequence.buffer()
    buffer = SequenceBuffer(source.bound)
    producer = ErrorsAsMessages(PromisingContext.get_current(), buffer, is_lazy=is_lazy)
    if source.producer is not None:
        source.producer.belong_to(producer)
    # Who reads the view reads what it shows.
    buffer.link_all([sequence])
    producer.source = cast("SequenceBuffer", sequence.buffer())
    producer.replies = buffer
    buffer.producer = producer
    if not is_lazy:
        producer.launch()
    return MessageSequencePromise.of_buffer(buffer)
