"""The two conversations of `miniagents chat`: one answer on standard output, or a dialog at the terminal."""

import os
from pathlib import Path
from typing import Literal

from miniagents.cli.consent import consent_file
from miniagents.cli.dialog_screen import Screen
from miniagents.cli.model_choice import ModelChoice
from miniagents.cli.talk_history import TalkHistory
from miniagents.cli.terminal import Look, log_goes_to
from miniagents.cli.turn import ask
from miniagents.ext._interrupts import GRACE_S
from miniagents.ext.llms.llm_messages import SystemMessage, UserMessage
from miniagents.messages import Message
from miniagents.miniagents import MiniAgent, MiniAgents

Outcome = Literal["answered", "interrupted"]


def hold_dialog(
    choice: ModelChoice,
    *,
    look: Look,
    system: str | None,
    history_file: Path | None,
    assistant: MiniAgent | None = None,
) -> None:
    """Let the person at the terminal talk to the model until they leave (`/exit`, Ctrl+C, Ctrl+D); blocking.

    The history is in memory, or in the Markdown file `history_file`, from which an earlier conversation goes on. An
    answer that fails is told in one line, and the dialog goes on. `assistant` takes the place of the agent that belongs
    to `choice`, until the person chooses another model.

    Raises:
        HistoryFileError: the file cannot be read.
        KeyboardInterrupt: Ctrl+C for a second time, while an answer was being stopped.
    """
    from miniagents.cli.dialog import ChatDialog

    async def hold() -> None:
        dialog = ChatDialog(choice, screen, system=system, history_file=history_file, assistant=assistant)
        await dialog.hold()

    screen = Screen(look)
    with log_goes_to(consent_file(os.environ).with_name("chat.log")):
        MiniAgents(interceptors=[screen], shutdown_grace_s=GRACE_S).run(hold())


def answer_once(
    assistant: MiniAgent, question: str, *, look: Look, system: str | None, history_file: Path | None
) -> Outcome:
    """Write the answer to `question` to standard output, as it comes; nothing else goes there (blocking).

    With a `history_file` the question is asked as the next turn of the conversation in it, and both are added to it;
    of an answer that fails or is interrupted, what there is. Ctrl+C cancels the answer.

    Raises:
        Exception: whatever the answer ended in, after what came before it has been written.
    """

    async def answer() -> Outcome:
        history = TalkHistory(history_file)
        # Noted down before it is sent: a question is not lost because its answer fails.
        await history.add([UserMessage(question)])
        prompt: list[Message] = [SystemMessage(system)] if system else []
        turn = await ask(assistant, [*prompt, *history.messages], screen)
        await history.add(turn.messages)
        if turn.error is not None:
            raise turn.error
        return "interrupted" if turn.was_stopped else "answered"

    screen = Screen(look)
    return MiniAgents(interceptors=[screen], shutdown_grace_s=GRACE_S).run(answer())
