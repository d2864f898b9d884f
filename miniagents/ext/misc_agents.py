"""Agents at the edge of the program: the person at the console, a file that takes what is said."""

import asyncio
import sys
import threading
import time
from collections import deque
from pathlib import Path
from typing import Literal

from miniagents.ext._console import (
    GREETING,
    ask_person,
    is_terminal,
    read_to_the_end,
    show,
    show_error,
    show_greeting,
)
from miniagents.ext._dialog import Dialog, current_dialog
from miniagents.ext._received import (
    Received,
    Trouble,
    pieces_and_troubles,
    receive,
    tokens_without_errors,
    with_errors_told,
)
from miniagents.ext.history_agents import in_memory_history_agent
from miniagents.ext.llms.llm_common import UserMessage
from miniagents.interaction import InteractionContext
from miniagents.messages import Message, MessagePromise
from miniagents.miniagents import MiniAgent, MiniAgents, miniagent

_SECONDS_BETWEEN_WRITES = 0.2


@miniagent
async def user_agent(
    ctx: InteractionContext,
    output_agent: MiniAgent,
    input_agent: MiniAgent,
    history_agent: MiniAgent | None = in_memory_history_agent,
) -> None:
    """Show what came, let the user answer, and reply with the whole conversation so far.

    `output_agent` shows the messages as they arrive. `history_agent` takes them down before the user is asked, and the
    user's answer before it is passed on; its reply to that, all that was ever said, is the reply of this agent.
    Without a history agent (`None`) the reply is the answer alone. A message without a role is the assistant's if it
    was shown, and the user's if the user gave it.

    A failure among the messages does not end the conversation: the output agent shows a message with `is_error=True`
    that tells it in one line, and the history keeps what had been received, with `interrupted=True` on a message that
    was cut short. `EOFError` and `KeyboardInterrupt` come out of this agent, as does a Ctrl+C that interrupted the
    messages; an `agent_loop` ends then.
    """
    dialog = current_dialog()
    # Also where errors become messages by default, those of the agents behind this one must not be taken for messages:
    # the end of input would be something that the user has said.
    to_show = with_errors_told(ctx.message_promises, is_over=lambda: dialog.interrupted)
    await output_agent.inquire(to_show, errors_to_messages=False)
    received = await receive(ctx.message_promises)
    if received.errors or any(message.get("is_error") for message in received.messages):
        dialog.failed = True
    if history_agent is not None:
        heard = [_with_role(message, "assistant") for message in received.messages]
        await history_agent.inquire(heard, errors_to_messages=False)
    _stop_if_ended(received, dialog)

    answer = [_with_role(message, "user") for message in await input_agent.inquire(errors_to_messages=False)]
    ctx.reply(answer if history_agent is None else history_agent.inquire(answer, errors_to_messages=False))


def _with_role(message: Message, role: Literal["assistant", "user"]) -> Message:
    """Say whose the message is, as the two sides of a conversation must be told apart later."""
    if message.get("role") is not None:
        return message
    return type(message)(**{**message.as_kwargs(), "role": role})


def _stop_if_ended(received: Received, dialog: Dialog) -> None:
    if received.ended_by is not None:
        raise received.ended_by
    if dialog.interrupted:
        raise KeyboardInterrupt


@miniagent
async def console_input_agent(ctx: InteractionContext, greeting: str | None = GREETING) -> None:
    """Pass on what came, then let the person at the console type a message, and reply with it.

    Enter sends, Ctrl+Space (or Alt+Enter, or Ctrl+J) begins a new line. Ctrl+C is a `KeyboardInterrupt`; "exit", or
    Ctrl+D on an empty line, an `EOFError`. Before it asks for the first time in a dialog it shows `greeting`, if any.

    Where standard input is no terminal but a pipe or a file, nothing is shown, and all of it is one message. Asked
    again, there is an `EOFError`; or, if an answer in the dialog has failed, `SystemExit(1)`. (If a dialog of this kind
    is interrupted by Ctrl+C, it ends with `SystemExit(130)`.)
    """
    ctx.reply(ctx.message_promises)
    received = await receive(ctx.message_promises)
    if received.errors or received.ended_by:
        return  # Whoever reads the replies meets the error there.
    dialog = current_dialog()
    if is_terminal(sys.stdin):
        text = await _from_person(dialog, greeting)
    else:
        text = await _from_pipe(dialog)
    if text.strip() == "exit":
        raise EOFError("The user has left the dialog.")
    ctx.reply(UserMessage(text))


async def _from_person(dialog: Dialog, greeting: str | None) -> str:
    if greeting and not dialog.greeted:
        dialog.greeted = True
        show_greeting(greeting)
    text = ""
    while not text.strip():  # Models refuse an empty message; so does a polite listener.
        with MiniAgents.get_current().waits_for_outside("a person at the console"):
            text = await ask_person(dialog)
    return text


async def _from_pipe(dialog: Dialog) -> str:
    if dialog.reads_pipe and dialog.failed:
        raise SystemExit(1)
    text = ""
    if not dialog.reads_pipe:
        dialog.reads_pipe = True
        with MiniAgents.get_current().waits_for_outside("standard input"):
            text = await read_to_the_end()
    if not text.strip():
        raise EOFError("Standard input is at its end.")
    return text


@miniagent
async def console_output_agent(
    ctx: InteractionContext,
    assistant_style: str = "92;1",
    mention_aliases: bool = True,  # noqa: FBT001, FBT002 - a setting of the agent: always given by name
    default_role: str = "assistant",
) -> None:
    """Show the messages on standard output, each token as it arrives, and pass them on.

    Before a message stands the alias of the agent that wrote it, as `ANTHROPIC_AGENT: `, else the alias of the dialog's
    assistant, else its role or `default_role` in capitals; not so with `mention_aliases=False`. A message with
    `is_error=True` goes to standard error, and has a line of its own.

    `assistant_style` holds the numbers of an ANSI sequence ("92;1" is bright green, bold). There are no colours if
    standard output is no terminal, or `NO_COLOR` is set.
    """
    ctx.reply(ctx.message_promises)
    line_is_open = False
    async for promise in pieces_and_troubles(ctx.message_promises):
        if isinstance(promise, Trouble):
            continue  # Whoever reads the replies meets it there.
        if promise.preliminary_metadata.get("is_error"):
            show_error("".join([token async for token in tokens_without_errors(promise)]))
            line_is_open = False
            continue
        if line_is_open:
            show("\n")
        name = _announcement(promise, default_role) if mention_aliases else ""
        line_is_open = await _show_message(promise, name, assistant_style)
    if line_is_open:
        show("\n")


async def _show_message(promise: MessagePromise, name: str, style: str) -> bool:
    """Show a message in its own lines; true if it is empty, and so the line with its name is still open."""
    # A person sees at once who is about to speak; a file gets no name without words.
    name_is_shown = bool(name) and is_terminal(sys.stdout)
    if name_is_shown:
        show(name, style)
    is_empty = True
    async for token in tokens_without_errors(promise):
        if is_empty and not name_is_shown:
            show(name, style)
        is_empty = False
        show(token, style)
    if not is_empty:
        show("\n")
    return is_empty and name_is_shown


def _announcement(promise: MessagePromise, default_role: str) -> str:
    known = promise.preliminary_metadata
    role = known.get("role")
    alias = known.get("agent_alias")
    if alias is None and role in (None, "assistant"):
        alias = current_dialog().assistant_alias
    return f"{alias or str(role or default_role).upper()}: "


console_user_agent = user_agent.fork(
    alias="CONSOLE_USER_AGENT", output_agent=console_output_agent, input_agent=console_input_agent
)
"""`user_agent` at the console: shows what came, reads what the person types, replies with the whole conversation."""


@miniagent
async def file_output_agent(ctx: InteractionContext, file: str | Path) -> None:
    """Write the text of the messages to `file` as they arrive, and pass them on.

    The file is UTF-8, its folder is made if need be, and what it held before is replaced. An empty line separates two
    messages. Of messages that end in an error the file has what came before it.
    """
    ctx.reply(ctx.message_promises)
    writer = _FileWriter(Path(file))
    await asyncio.to_thread(writer.begin)
    try:
        separator = ""
        async for promise in pieces_and_troubles(ctx.message_promises):
            if isinstance(promise, Trouble):
                continue  # Whoever reads the replies meets it there.
            writer.add(separator)
            separator = "\n\n"
            async for token in tokens_without_errors(promise):
                writer.add(token)
                if writer.is_due():
                    await asyncio.to_thread(writer.flush)
    finally:
        await asyncio.to_thread(writer.flush)


class _FileWriter:
    """Collects tokens, as a trip to another thread for each of them would cost more than the token."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unwritten: deque[str] = deque()
        self._written_at = 0.0
        # A cancelled agent flushes while the thread of an earlier flush may still be at work.
        self._in_order = threading.Lock()

    def begin(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._path.write_text("", encoding="utf-8")

    def add(self, text: str) -> None:
        self._unwritten.append(text)

    def is_due(self) -> bool:
        return time.monotonic() - self._written_at > _SECONDS_BETWEEN_WRITES

    def flush(self) -> None:
        with self._in_order, self._path.open("a", encoding="utf-8", newline="") as file:
            while self._unwritten:
                file.write(self._unwritten.popleft())
        self._written_at = time.monotonic()
