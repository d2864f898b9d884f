"""One question and its answer: shown while it comes, stopped by Ctrl+C, kept as far as it came."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from miniagents.cli.terminal import quiet_keys
from miniagents.errors import MiniAgentsError
from miniagents.ext._interrupts import ctrl_c_calls
from miniagents.ext._received import describe, tokens_without_errors
from miniagents.message_sequence import MessageSequencePromise
from miniagents.messages import Message, MessagePromise
from miniagents.miniagents import MiniAgent
from miniagents.promising._wording import text_of

if TYPE_CHECKING:
    from miniagents.cli.dialog_screen import Screen

_WHY = "interrupted at the terminal"


@dataclass
class Turn:
    """What came of a question.

    Attributes:
        messages: the answer as far as it came; what was cut off has `interrupted=True`.
        error: what it ended in, if it failed.
        was_stopped: whether the person has stopped it.
    """

    messages: list[Message] = field(default_factory=list[Message])
    error: Exception | None = None
    was_stopped: bool = False


def sentence(error: BaseException) -> str:
    """Say in one line what went wrong, for a person; the package's own errors say it themselves."""
    text = " ".join(text_of(error).split())
    return text if isinstance(error, MiniAgentsError) and text else describe(error)


async def ask(assistant: MiniAgent, conversation: Sequence[Message], screen: "Screen") -> Turn:
    """Ask, show the answer while it comes, and give what came. Ctrl+C stops it; a second one ends the program."""
    turn = Turn()
    replies = assistant.inquire(conversation, errors_to_messages=False)
    parts: list[MessagePromise] = []

    def stop() -> None:
        turn.was_stopped = True
        # Not the answer alone: of what it made, cancelling it spares whatever somebody is reading, as we are.
        for promise in (*parts, replies):
            promise.cancel(_WHY)

    screen.on_stop = stop
    with ctrl_c_calls(stop), quiet_keys():
        try:
            await screen.show(replies, parts)
        except BaseException:
            # Nobody can see the rest: standard output is closed, for example.
            stop()
            raise
    await _keep(turn, replies, parts)
    return turn


async def _keep(turn: Turn, replies: MessageSequencePromise, parts: Sequence[MessagePromise]) -> None:
    for promise in parts:
        try:
            turn.messages.append(await promise)
        except Exception as error:  # noqa: BLE001 - whatever the answer ended in is told, and the dialog goes on
            turn.error = turn.error or error
            torn = await _torn(promise)
            if torn is not None:
                turn.messages.append(torn)
    if turn.error is None:
        try:
            await replies
        except Exception as error:  # noqa: BLE001 - as above
            turn.error = error
    if turn.was_stopped:
        turn.error = None


async def _torn(promise: MessagePromise) -> Message | None:
    """Give what there is of a message that was cut off; None if nothing is."""
    text = "".join([token async for token in tokens_without_errors(promise)])
    if not text:
        return None
    known: dict[str, Any] = {**promise.preliminary_metadata.as_kwargs(), **promise.metadata_so_far}
    known.pop("content", None)
    return promise.message_class(text, **{**known, "interrupted": True})
