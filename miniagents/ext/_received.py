"""Reading messages so that nothing which was received is lost.

What there is of a message whose tokens ended in an error is kept, and so are the error and what follows it.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from miniagents.message_sequence import MessageSequencePromise
from miniagents.messages import Message, MessagePromise
from miniagents.miniagent_typing import MessageType
from miniagents.promising._wording import text_of

PieceT = TypeVar("PieceT")


@dataclass(frozen=True)
class Trouble:
    """An error at its place in a stream. `KeyboardInterrupt` and `EOFError` are the end of a dialog."""

    error: Exception | KeyboardInterrupt


async def pieces_and_troubles(stream: AsyncIterable[PieceT]) -> AsyncIterator[PieceT | Trouble]:
    """Give what the stream holds, errors as `Trouble`, up to its very end."""
    reader = aiter(stream)
    while True:
        try:
            piece = await anext(reader)
        except StopAsyncIteration:
            return
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - passed on as a value
            yield Trouble(error)
        else:
            yield piece


@dataclass
class Received:
    """All that came."""

    messages: list[Message] = field(default_factory=list[Message])
    """In order. One whose tokens ended in an error holds those that came, and has `interrupted=True`."""
    errors: list[Exception] = field(default_factory=list[Exception])
    """In order: the failures of whoever wrote the messages."""
    ended_by: KeyboardInterrupt | EOFError | None = None
    """Raised by whoever wrote the messages, to end the dialog."""

    def note(self, error: Exception | KeyboardInterrupt) -> None:
        """Put an error where it belongs."""
        if isinstance(error, KeyboardInterrupt | EOFError):
            self.ended_by = self.ended_by or error
        else:
            self.errors.append(error)

    def raise_first_error(self) -> None:
        """Raise what an ordinary reader of the messages would have met, if there was an error."""
        for error in (*self.errors, self.ended_by):
            if error is not None:
                raise error


def worth_keeping(received: Received) -> list[Message]:
    """Give what a history keeps of it: what was said; a thought, or a call of a tool, would come back as a text."""
    return [message for message in received.messages if not message.get("no_history") and _is_said(message)]


def _is_said(message: Message) -> bool:
    return not {"tool_call_id", "signature"} & {name for name, _ in message}


async def receive(promises: MessageSequencePromise) -> Received:
    """Wait for all the messages."""
    received = Received()
    async for promise in pieces_and_troubles(promises):
        if isinstance(promise, Trouble):
            received.note(promise.error)
            continue
        try:
            received.messages.append(await promise)
        except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - kept for the caller
            received.note(error)
            if text := "".join([token async for token in tokens_without_errors(promise)]):
                metadata = promise.preliminary_metadata.as_kwargs()
                received.messages.append(Message(text, **{**metadata, "interrupted": True}))
    return received


async def tokens_without_errors(promise: MessagePromise) -> AsyncIterator[str]:
    """Give the tokens of a message as they arrive, as if nothing had gone wrong; empty ones are left out."""
    async for token in pieces_and_troubles(promise):
        if token and not isinstance(token, Trouble):
            yield token


async def with_errors_told(
    promises: MessageSequencePromise, *, is_over: Callable[[], bool]
) -> AsyncIterator[MessageType]:
    """Give the messages as they arrive, for a person to look at: an error is told by a message with `is_error=True`.

    What ends the dialog is left out, and so is what it breaks (when `is_over`): it is no news to the person.
    """
    async for promise in pieces_and_troubles(promises):
        if isinstance(promise, Trouble):
            error = promise.error
        else:
            yield _copy_without_errors(promise)
            try:
                await promise
                continue
            except (Exception, KeyboardInterrupt) as error_in_message:  # noqa: BLE001 - told
                error = error_in_message
        if not isinstance(error, KeyboardInterrupt | EOFError) and not is_over():
            yield Message(describe(error), is_error=True)


def _copy_without_errors(promise: MessagePromise) -> MessagePromise:
    def tokens(_metadata_so_far: dict[str, Any]) -> AsyncIterator[str]:
        return tokens_without_errors(promise)

    return Message.promise(message_token_streamer=tokens, **promise.preliminary_metadata.as_kwargs())


def describe(error: BaseException) -> str:
    """Say in one line what went wrong, for a person."""
    text = " ".join(text_of(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
