"""Agents that remember a conversation: in a list, or in a Markdown file that a person can read and edit.

A history agent keeps the messages that it is given, and replies with everything that it has kept; that is all that
`user_agent` asks of one, so your own is a function of a few lines.
"""

import asyncio
import os
from collections.abc import MutableSequence, Sequence
from dataclasses import dataclass
from pathlib import Path

from miniagents.errors import MiniAgentsError
from miniagents.ext._chat_markdown import from_markdown, to_markdown
from miniagents.ext._dialog import current_dialog
from miniagents.ext._received import receive, worth_keeping
from miniagents.interaction import InteractionContext
from miniagents.messages import Message
from miniagents.miniagents import miniagent


class HistoryFileError(MiniAgentsError, OSError):
    """The file of a history cannot be used as it is. It has not been changed."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(
            f"The history file {str(path)!r} {problem}. Nothing was written to it. Mend it or move it away, or keep "
            "the history elsewhere: `MarkdownHistoryAgent.fork(history_md_file=...)`."
        )


@miniagent
async def in_memory_history_agent(
    ctx: InteractionContext,
    message_list: Sequence[Message] | None = None,
    return_full_history: bool = True,  # noqa: FBT001, FBT002 - a setting of the agent: always given by name
) -> None:
    """Keep the messages in a list, and reply with all that it holds (or pass them on: `return_full_history=False`).

    The list is `message_list` if there is one, handed over as `mutable_state={"message_list": [...]}`. Otherwise every
    dialog of `dialog_loop` and `agent_loop` has its own, and what is said outside of them is kept once per `MiniAgents`
    context. Messages with `no_history=True` are not kept. If there is an error among the messages, those that did
    arrive are kept before it is raised.
    """
    kept = current_dialog().message_list if message_list is None else message_list
    if not isinstance(kept, MutableSequence):
        raise TypeError(
            f"`message_list` is {kept!r}, which cannot be added to. What is passed to `fork()` or `inquire()` by its "
            'name is frozen; use `in_memory_history_agent.fork(mutable_state={"message_list": [...]})`.'
        )
    received = await receive(ctx.message_promises)
    kept.extend(worth_keeping(received))
    ctx.reply(kept if return_full_history else received.messages)
    received.raise_first_error()


@miniagent
@dataclass(kw_only=True)
class MarkdownHistoryAgent:
    """Keep the messages in a Markdown file, and reply with all that it holds.

    The file is UTF-8 and can be read and edited by a person, also while the dialog goes on; the texts come back
    exactly as they were, also those with headings of their own. A later program goes on where this one has stopped
    (with `append=False` every dialog begins with an empty file instead). Each message is appended in one write, so that
    a crash loses no more than the last one. Roles and agents' names are kept; other fields are not, and neither are
    thoughts, calls of tools and their results, which are no texts that anybody said.

    `default_role` is for messages without a role; empty ones are left out unless `skip_empty=False`, and so are those
    with `no_history=True`. With `return_full_history=False` the reply is what came in. If there is an error among the
    messages, those that did arrive are written before it is raised.

    Raises:
        HistoryFileError: the file cannot be read or is no text; it is left as it is.
    """

    ctx: InteractionContext
    history_md_file: str | Path = "CHAT.md"
    default_role: str = "assistant"
    return_full_history: bool = True
    append: bool = True
    skip_empty: bool = True

    async def __call__(self) -> None:
        """Keep what came in, then reply."""
        received = await receive(self.ctx.message_promises)
        messages = [message for message in worth_keeping(received) if str(message).strip() or not self.skip_empty]
        path = Path(self.history_md_file)
        begin_anew = not self.append and current_dialog().begins_file(str(path))
        new_text = to_markdown(messages, self.default_role)
        text = await asyncio.to_thread(_begin_anew if begin_anew else _add, path, new_text)
        self.ctx.reply(from_markdown(text) if self.return_full_history else received.messages)
        received.raise_first_error()


def _add(path: Path, new_text: str) -> str:
    """Put `new_text` at the end of the file; returns all that it holds then."""
    text = _read(path)
    if new_text:
        new_text = _gap_after(text) + new_text
        _write(path, new_text, "ab")
    return text + new_text


def _begin_anew(path: Path, new_text: str) -> str:
    """Make `new_text` all that the file holds, if what it holds now is text at all."""
    _read(path)
    _write(path, new_text, "wb")
    return new_text


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return ""
    except UnicodeDecodeError as error:
        raise HistoryFileError(path, f"is no text in UTF-8 ({error.reason} at byte {error.start})") from error
    except OSError as error:
        raise HistoryFileError(path, f"cannot be read ({error.strerror})") from error


def _write(path: Path, text: str, mode: str) -> None:
    data = text.encode()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open(mode, buffering=0) as file:
            size_before = os.fstat(file.fileno()).st_size
            if file.write(data) != len(data):
                file.truncate(size_before)
                raise OSError(0, "the disk is full")
    except OSError as error:
        raise HistoryFileError(path, f"cannot be written ({error.strerror})") from error


def _gap_after(text: str) -> str:
    """Give what must stand between what a person may have left at the end of the file and the next heading."""
    if not text or text.endswith("\n\n"):
        return ""
    return "\n" if text.endswith("\n") else "\n\n"
