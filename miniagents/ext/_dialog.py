"""What the agents of one dialog share: its history in memory, and the news that the person has pressed Ctrl+C.

`agent_loop` opens a `Dialog` and makes it current; the agents that it calls, and those that they call, find it as
`current_dialog()`, since an agent sees the context variables of the place where it was called. So two dialogs in one
program never mix. Outside of any loop there is one dialog for each `MiniAgents` context.
"""

import asyncio
from contextvars import ContextVar
from typing import Any

from miniagents._call_marks import JournaledCall, current_journaled_call
from miniagents.ext._interrupts import GRACE_S
from miniagents.ext._received import Trouble, pieces_and_troubles
from miniagents.message_sequence import MessageSequencePromise
from miniagents.messages import Message
from miniagents.miniagents import MiniAgents

_WHY = "The dialog has ended."


class Dialog:
    """One conversation, from its first turn to its last."""

    def __init__(self, assistant_alias: str | None = None) -> None:
        self.assistant_alias = assistant_alias
        """How messages that do not name their agent are announced."""
        self.message_list: list[Message] = []
        """What `in_memory_history_agent` remembers."""
        self.call: JournaledCall | None = None
        """The call of the loop, where a journal knows of it; its key is the same each time that its run is resumed."""
        self.histories: dict[str | None, Any] = {}
        """What `journal_history_agent` has read of its histories, by name."""
        self.greeted = False
        """Whether the person has seen the banner."""
        self.reads_pipe = False
        """Whether standard input, no terminal, was read as a whole: there is no second turn."""
        self.failed = False
        """Whether an answer ended in an error, so that a pipe's exit code tells it."""
        self.interrupted = False
        """Whether the person wants the dialog to end, now."""
        self._begun_files: set[str] = set()
        self._in_flight: list[MessageSequencePromise] = []
        self._grace: asyncio.TimerHandle | None = None
        self._context: MiniAgents | None = None

    def make_current(self) -> None:
        """Let every agent that the running one calls from now on find this dialog."""
        self._context = MiniAgents.get_current()
        self.call = current_journaled_call.get()
        _current.set(self)

    def begins_file(self, path: str) -> bool:
        """Tell, once per file, that this dialog has not written to it before."""
        if path in self._begun_files:
            return False
        self._begun_files.add(path)
        return True

    def watch(self, replies: MessageSequencePromise) -> None:
        """Remember replies that are under way, so that `interrupt()` finds them."""
        self._in_flight = [promise for promise in self._in_flight if not promise.done()]
        self._in_flight.append(replies)

    def interrupt(self) -> None:
        """End the dialog in good order: to be called on its event loop.

        What is being said is cut off first, so that the agent that shows it sees its end, and may note down what there
        is. Only then, or if nothing is being said, the agent that the loop waits for is stopped too (it may be waiting
        for a person).
        """
        if self.interrupted:
            return
        self.interrupted = True
        unfinished = [promise for promise in self._in_flight if not promise.done()]
        if not unfinished or self._context is None:
            return
        *heard, waited_for = unfinished
        for replies in heard:
            self._context.start_asap(_cut_off(replies))
        if heard:
            # Time to note down the answer that was interrupted.
            self._grace = asyncio.get_running_loop().call_later(GRACE_S, waited_for.cancel, _WHY)
        else:
            waited_for.cancel(_WHY)

    def close(self) -> None:
        """Stop what the dialog has left unfinished."""
        if self._grace is not None:
            self._grace.cancel()
        for replies in self._in_flight:
            replies.cancel(_WHY)


async def _cut_off(replies: MessageSequencePromise) -> None:
    """Stop those who reply, and also the messages that they have replied and that are still being written."""
    replies.cancel(_WHY)
    async for promise in pieces_and_troubles(replies):
        if not isinstance(promise, Trouble):
            promise.cancel(_WHY)


_current: ContextVar[Dialog] = ContextVar("miniagents_current_dialog")
_KEY_OUTSIDE_OF_LOOPS = "dialog of ext"


def current_dialog() -> Dialog:
    """Give the dialog that the running agent takes part in: its loop's, else that of its `MiniAgents` context."""
    if (dialog := _current.get(None)) is not None:
        return dialog
    # Kept by the context itself, so that it goes with it: messages refer to the context that they were made in, and a
    # table from contexts to messages, be it a weak one, would keep every context for ever.
    return vars(MiniAgents.get_current()).setdefault(_KEY_OUTSIDE_OF_LOOPS, Dialog())
