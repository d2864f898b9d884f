"""Whether an agent's answer lives: the wait for its first token, and copies of messages that may be torn.

Reading here does not count as reading: an error that comes later is still for whoever the replies are passed on to.
"""

import asyncio
import enum
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from miniagents._reordering import SequenceReader
from miniagents.message_sequence import MessageSequencePromise
from miniagents.messages import Message, MessagePromise
from miniagents.promising._failure import Failure
from miniagents.promising._reading import StreamReader


class Sign(enum.Enum):
    """What was seen first of an agent's replies, if it was no error."""

    SHOWN = "SHOWN"
    """A token, or a whole message without any."""
    NOTHING = "NOTHING"
    """Their end: the agent had nothing to say."""


async def first_sign(replies: MessageSequencePromise) -> Sign | Exception:
    """Wait until something of `replies` is there; give the error if it comes before everything else."""
    async for promise in SequenceReader(replies.buffer(), raises=False):
        if isinstance(promise, Failure):
            return _received(promise)
        return await first_sign_of_message(promise)
    return Sign.NOTHING


async def first_sign_of_message(promise: MessagePromise) -> Sign | Exception:
    """Wait for the first token of a message, or for its end; give the error if that comes before."""
    tokens: StreamReader[str] = StreamReader(promise.buffer())
    try:
        async for token in tokens:
            if token:
                break
    except Exception as error:  # noqa: BLE001 - which errors are whose business is for the caller to say
        return error
    return Sign.SHOWN


@dataclass(frozen=True, slots=True)
class Fault:
    """Where replies failed.

    Attributes:
        error: the error.
        is_shown: whether it is an error inside of a message that was handed over.
    """

    error: Exception
    is_shown: bool = False


async def fault_of(replies: MessageSequencePromise, hand_over: Callable[[MessagePromise], object]) -> Fault | None:
    """Read `replies` to their end, and hand each message over when its first token is there.

    Gives the first error, None if there is none. A message that failed before its first token is not handed over.
    """
    begun: list[MessagePromise] = []
    fault: Fault | None = None
    async for promise in SequenceReader(replies.buffer(), raises=False):
        if isinstance(promise, Failure):
            fault = Fault(_received(promise))
            break
        sign = await first_sign_of_message(promise)
        if isinstance(sign, Exception):
            fault = Fault(sign)
            break
        hand_over(promise)
        begun.append(promise)
    for promise in begun:
        outcome = await promise.outcome()
        if isinstance(outcome, Failure):
            return Fault(_received(outcome), is_shown=True)
    return fault


def copy_of(promise: MessagePromise, instead_of: Callable[[Exception], Exception | None]) -> MessagePromise:
    """Give a promise of the same message in which another error stands for the one that tears it.

    `instead_of` gives that error; None means that the message ends as it is, with `interrupted=True`.
    """
    if isinstance(promise.outcome_if_done(), Message):
        return promise

    async def tokens(metadata_so_far: dict[str, Any]) -> AsyncIterator[str]:
        try:
            async for token in promise:
                yield token
        except asyncio.CancelledError:
            # Who cancels a message wants no more of it from whoever makes it.
            promise.cancel("The message was cancelled.")
            raise
        except Exception as error:
            shown = instead_of(error)
            if shown is error:
                raise
            if shown is not None:
                raise shown from None
            metadata_so_far.update(promise.metadata_so_far, interrupted=True)

    known = promise.preliminary_metadata.as_kwargs()
    copy = _Copy(message_token_streamer=tokens, message_class=promise.message_class, **known)
    copy.original = promise
    return copy


class _Copy(MessagePromise):
    """A promise of another one's message; of that very object, if it comes to be."""

    __slots__ = ("original",)

    original: MessagePromise

    def _package(self, pieces: list[Any]) -> Message:
        outcome = self.original.outcome_if_done()
        return outcome if isinstance(outcome, Message) else super()._package(pieces)


def _received(failure: Failure) -> Exception:
    error = failure.receive()
    if not isinstance(error, Exception):
        # An exit, such as Ctrl+C: nobody is to go on from here.
        raise error
    return error
