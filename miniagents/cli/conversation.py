"""The two conversations of `miniagents chat`: one answer on standard output, or a dialog at the terminal."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from miniagents.ext import MarkdownHistoryAgent, console_user_agent, dialog_loop, in_memory_history_agent
from miniagents.ext._console import show
from miniagents.ext._interrupts import ctrl_c_calls
from miniagents.ext.llms import SystemMessage, UserMessage
from miniagents.message_sequence import MessageSequencePromise
from miniagents.messages import Message, MessagePromise
from miniagents.miniagents import MiniAgent

Outcome = Literal["answered", "interrupted"]


async def hold_dialog(assistant: MiniAgent, *, system: str | None, history_file: Path | None) -> None:
    """Let the person at the terminal talk to `assistant` until they leave (`exit`, Ctrl+C, Ctrl+D).

    The history is in memory, or in the Markdown file `history_file`, from which an earlier conversation goes on. An
    answer that fails is told in one line, and the dialog goes on.
    """
    history = in_memory_history_agent if history_file is None else _history_in(history_file)
    user = console_user_agent.fork(history_agent=history)
    await dialog_loop.inquire(_prompt(system), user_agent=user, assistant_agent=assistant)


async def answer_once(assistant: MiniAgent, question: str, *, system: str | None, history_file: Path | None) -> Outcome:
    """Write the answer to `question` to standard output, token by token; nothing else goes there.

    With a `history_file` the question is asked as the next turn of the conversation in it, and both are added to it;
    of an answer that fails or is interrupted, what there is. Ctrl+C cancels the answer.

    Raises:
        Exception: whatever the answer ended in, after what came before it has been written.
    """
    asked = UserMessage(question)
    if history_file is None:
        conversation: Sequence[Message] = (asked,)
    else:
        # Noted down before it is sent: a question is not lost because its answer fails.
        conversation = await _history_in(history_file).inquire(asked)
    answer = assistant.inquire([*_prompt(system), *conversation])
    parts: list[MessagePromise] = []
    interrupted = asyncio.Event()

    def stop() -> None:
        interrupted.set()
        # Not the answer alone: of what it made, cancelling it spares whatever somebody is reading, as we are.
        for promise in (*parts, answer):
            promise.cancel("interrupted at the terminal")

    readers: list[Any] = [_show(answer, parts)]
    if history_file is not None:
        readers.append(_history_in(history_file).inquire(answer))
    with ctrl_c_calls(stop):
        # Both read to the end, also of a failed answer: the history keeps what there is of it.
        results = await asyncio.gather(*map(_completed, readers), return_exceptions=True)
    if interrupted.is_set():
        return "interrupted"
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return "answered"


async def _completed(reader: Any) -> None:
    await reader


async def _show(answer: MessageSequencePromise, parts: list[MessagePromise]) -> None:
    """Write the messages as they arrive, and put each into `parts` before it is read."""
    separator = ""
    last_token = "\n"
    try:
        async for message in answer:
            parts.append(message)
            show(separator)
            separator = "\n\n"
            async for token in message:
                show(token)
                last_token = token or last_token
    finally:
        # Also before the error message: it begins on a line of its own.
        if not last_token.endswith("\n"):
            show("\n")


def _prompt(system: str | None) -> Sequence[Message]:
    return [SystemMessage(system)] if system else []


def _history_in(file: Path) -> MiniAgent:
    return MarkdownHistoryAgent.fork(history_md_file=file)
