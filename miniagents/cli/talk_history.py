"""What has been said in a dialog: in memory, and if wished in a Markdown file that a person can read and edit."""

import asyncio
from collections.abc import Iterable, Sequence
from pathlib import Path

from miniagents.ext._chat_markdown import to_markdown
from miniagents.ext.history_agents import HistoryFileError, MarkdownHistoryAgent
from miniagents.ext.llms.llm_messages import ThinkingMessage, ToolCallMessage, ToolResultMessage
from miniagents.messages import Message

# A file that a person reads holds what was said.
_NOT_SAID = (ThinkingMessage, ToolCallMessage, ToolResultMessage)


class TalkHistory:
    """The messages of a dialog, in order.

    With a `file`, what is said is added to it at once, and what a person changes in it counts from the next message on.
    Thoughts and calls of tools are kept in memory alone.

    Raises (all methods):
        HistoryFileError: the file cannot be read or written.
    """

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self._messages: list[Message] = []

    @property
    def messages(self) -> Sequence[Message]:
        """All of them."""
        return tuple(self._messages)

    async def add(self, messages: Iterable[Message] = ()) -> None:
        """Keep these too; with none of them, just look into the file."""
        new = list(messages)
        self._messages += new
        if self.file is None:
            return
        in_file = await MarkdownHistoryAgent.fork(history_md_file=self.file).inquire(_said(new))
        if _texts(in_file) != _texts(_said(self._messages)):
            self._messages = list(in_file)

    async def drop_last_answer(self) -> bool:
        """Forget what follows the last message of the user; false if the user has not said anything yet."""
        places = [place for place, message in enumerate(self._messages) if message.get("role") == "user"]
        if not places:
            return False
        kept, dropped = self._messages[: places[-1] + 1], self._messages[places[-1] + 1 :]
        self._messages = kept
        if self.file is not None and _said(dropped):
            await asyncio.to_thread(_cut, self.file, kept, dropped)
        return True

    async def replace(self, messages: Iterable[Message] = ()) -> Path | None:
        """Begin anew with these. A file that held something is kept under another name, which is returned."""
        self._messages = []
        moved = None if self.file is None else await asyncio.to_thread(_moved_away, self.file)
        await self.add(messages)
        return moved


def _said(messages: Iterable[Message]) -> list[Message]:
    return [message for message in messages if not isinstance(message, _NOT_SAID) and str(message).strip()]


def _texts(messages: Iterable[Message]) -> list[tuple[object, str]]:
    # Blank edges are not compared: they are the business of the file.
    return [(message.get("role"), str(message).strip()) for message in messages]


def _cut(file: Path, kept: Sequence[Message], dropped: Sequence[Message]) -> None:
    """Take the last messages out of the file; what else a person has written there stays, if it can be told apart."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
        tail = to_markdown(_said(dropped), "assistant")
        rest = text.removesuffix(tail) if text.endswith(tail) else to_markdown(_said(kept), "assistant")
        partial = file.with_name(f"{file.name}.new")
        partial.write_bytes(rest.encode())
        partial.replace(file)
    except (OSError, UnicodeDecodeError) as error:
        raise HistoryFileError(file, f"cannot be changed ({error})") from error


def _moved_away(file: Path) -> Path | None:
    try:
        if not file.exists() or not file.read_bytes().strip():
            return None
        number = 1
        while (aside := file.with_name(f"{file.stem}.{number}{file.suffix}")).exists():
            number += 1
        file.rename(aside)
    except OSError as error:
        raise HistoryFileError(file, f"cannot be renamed ({error.strerror})") from error
    return aside
