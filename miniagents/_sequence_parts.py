"""The producers behind message sequences: async iterables, late parts sent out of order, and errors shown as messages.

Each is one task that fills one sequence; what a plain list or text turns into needs none of them.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any, cast

from miniagents._reordering import SequenceReader, put_in_front
from miniagents._segments import SequenceBuffer, ShownError, pending_parts
from miniagents.errors import NotAMessageError
from miniagents.messages import Message, MessagePromise
from miniagents.promising._buffer import Buffer
from miniagents.promising._failure import Failure
from miniagents.promising._producer import Producer, current_producer
from miniagents.promising._pumping import BURST_PIECES, as_async_iterator
from miniagents.promising._waiting import give_way
from miniagents.promising._wording import class_and_text
from miniagents.promising.promise_typing import PromiseStreamer

Append = Callable[[SequenceBuffer, object, Producer], None]


class AsyncPart(Producer):
    """Moves what an async iterable gives into a sequence, when its turn has come."""

    __slots__ = ("after", "append", "streamer")

    streamer: PromiseStreamer[Any]
    after: list[SequenceBuffer]
    """The sequences that come before it: it begins when they are there."""
    append: Append

    async def main(self) -> None:
        """Produce."""
        current_producer.set(self)
        buffer = cast("SequenceBuffer", self.target)
        try:
            for earlier in self.after:
                await self._wait_for_all_parts(earlier)
            self.after = []
            await self._move(as_async_iterator(self.streamer(None)), buffer)
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            buffer.close(self.context.failure(error, self))
        else:
            buffer.close()
        self.retire()

    async def _wait_for_all_parts(self, sequence: SequenceBuffer) -> None:
        # Waits without asking for anything: what nobody else wants must not be made because of this.
        for part in pending_parts(sequence, with_messages=False):
            while part.end is None:
                await self._wait_parked(part)

    async def _wait_parked(self, part: Buffer[Any]) -> None:
        task = self.task
        assert task is not None
        self.context.background.park(task)
        try:
            await part.add_end_waiter()
        finally:
            self.context.background.unpark(task)

    async def _move(self, items: AsyncIterator[Any], buffer: SequenceBuffer) -> None:
        count = 0
        try:
            if buffer.bound is not None:
                await buffer.wait_for_room(self.context.background)
            async for item in items:
                if buffer.end is not None:
                    # Nobody wants the rest: it was cancelled.
                    break
                try:
                    self.append(buffer, item, self)
                except NotAMessageError as error:
                    buffer.append(self.context.failure(error, self))
                count += 1
                if count % BURST_PIECES == 0:
                    await give_way()
                if buffer.bound is not None:
                    await buffer.wait_for_room(self.context.background)
        finally:
            # Ended in the middle, a generator is still open, with `finally` blocks to run.
            if hasattr(items, "aclose"):
                await cast("Any", items).aclose()

    def describe(self) -> str:
        """Name the producer."""
        return "messages of an async iterable"


class OutOfOrderPart(Producer):
    """Puts the messages of one sequence into another as they come, ahead of what is not there yet."""

    __slots__ = ("into", "source")

    source: SequenceBuffer
    into: SequenceBuffer

    async def main(self) -> None:
        """Produce."""
        current_producer.set(self)
        buffer = self.into
        try:
            async for promise in SequenceReader(self.source, raises=False):
                if isinstance(promise, Failure):
                    # From here on the sequence that it is put into answers for it.
                    promise = self.context.failure(promise.receive(), self)  # noqa: PLW2901
                put_in_front(buffer, [promise])
                await buffer.wait_for_room(self.context.background)
        finally:
            cast("SequenceBuffer", self.target).close()
            inserting = buffer.inserting
            if inserting is not None:
                inserting.discard(self)
                if not inserting and buffer.close_later is not None:
                    buffer.close(buffer.close_later if isinstance(buffer.close_later, Failure) else None)

    def describe(self) -> str:
        """Name the producer."""
        return "messages that are sent out of order"


class ErrorsAsMessages(Producer):
    """Copies a sequence, turning the errors in it into messages."""

    __slots__ = ("replies", "source")

    replies: SequenceBuffer
    """Its target, kept beyond the end: what the call kicked off shows its usage there."""
    source: SequenceBuffer

    async def main(self) -> None:
        """Produce."""
        current_producer.set(self)
        buffer = cast("SequenceBuffer", self.target)
        try:
            async for promise in SequenceReader(self.source, raises=False):
                if isinstance(promise, Failure) and not isinstance(promise.error, Exception):
                    # An exit is no text for a person: the program is to end.
                    buffer.append(self.context.failure(promise.receive(), self))
                elif isinstance(promise, Failure):
                    buffer.append(ShownError.of(promise, Message(class_and_text(promise.error), is_error=True)))
                else:
                    buffer.append(_tolerant(promise, buffer))
                await buffer.wait_for_room(self.context.background)
        except BaseException as error:  # noqa: BLE001 - whatever it is, those who wait must hear of it
            buffer.close(self.context.failure(error, self))
        else:
            buffer.close()

    def describe(self) -> str:
        """Name the producer."""
        return "replies whose errors are shown as messages"


def _tolerant(promise: MessagePromise, buffer: SequenceBuffer) -> MessagePromise:
    """Give a message like the one promised that ends with the text of its error, if there is one."""
    if isinstance(promise.outcome_if_done(), Message):
        return promise

    async def tokens(metadata_so_far: dict[str, Any]) -> AsyncIterator[str]:
        has_tokens = False
        reader = aiter(promise)
        while True:
            try:
                token = await anext(reader)
            except StopAsyncIteration:
                break
            except Exception as error:  # noqa: BLE001 - turning it into text is what this is for
                yield f"\n{class_and_text(error)}" if has_tokens else class_and_text(error)
                metadata_so_far.update(promise.metadata_so_far)
                metadata_so_far["is_error"] = True
            else:
                has_tokens = True
                yield token
        outcome = promise.outcome_if_done()
        if isinstance(outcome, Message):
            metadata_so_far.update({name: value for name, value in outcome.as_kwargs().items() if name != "content"})

    # Lazy, as it only repeats what is made elsewhere; a message that nobody reads is not made because of this.
    return promise.message_class.promise(
        message_token_streamer=tokens, start_asap=False, **promise.preliminary_metadata.as_kwargs()
    )
