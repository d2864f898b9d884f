"""The dialog of `miniagents chat` at a terminal: what the person types is answered, or obeyed, until they leave."""

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from miniagents.cli.consent import consent_file
from miniagents.cli.dialog_screen import Screen
from miniagents.cli.model_agents import agent_for
from miniagents.cli.model_choice import ModelChoice, ModelChoiceError, choose_model
from miniagents.cli.prompt_line import PromptLine
from miniagents.cli.slash_commands import COMMANDS, Command, command_in, help_text, unknown_command
from miniagents.cli.talk_history import TalkHistory
from miniagents.cli.turn import ask, sentence
from miniagents.cli.usage_line import usage_line, usage_table
from miniagents.errors import MiniAgentsError
from miniagents.ext.llms.llm_messages import SystemMessage, UserMessage
from miniagents.messages import Message
from miniagents.miniagents import MiniAgent, MiniAgents
from miniagents.usage import TokenUsage

_GREETING: Final = "Enter sends, Alt+Enter begins a new line, /help lists the commands, Ctrl+D leaves."
_TAKES_SYSTEM_AWAY: Final = "off"


class ChatDialog:
    """A dialog between the person at the terminal and a model, which may change on the way."""

    def __init__(
        self,
        choice: ModelChoice,
        screen: Screen,
        *,
        system: str | None,
        history_file: Path | None,
        assistant: MiniAgent | None = None,
    ) -> None:
        self._choice = choice
        self._assistant = assistant or agent_for(choice)
        self._screen = screen
        self._system = system
        self._history = TalkHistory(history_file)
        self._last_usage: TokenUsage | None = None
        self._obey: Mapping[str, Callable[[str], Awaitable[None]]] = {
            "help": self._help,
            "clear": self._clear,
            "model": self._model,
            "system": self._set_system,
            "save": self._save,
            "load": self._load,
            "usage": self._usage,
            "retry": self._retry,
        }

    async def hold(self) -> None:
        """Talk until the person leaves.

        Raises:
            HistoryFileError: the file of the history cannot be used.
        """
        await self._history.add()
        self._screen.say(_GREETING)
        if self._history.messages:
            self._screen.say(f"Going on with {_counted(len(self._history.messages))} from {self._history.file}.")
        line = PromptLine(
            self._screen.look,
            below=self._below,
            history_file=consent_file(os.environ).with_name("chat_input_history"),
            more_commands=lambda: self._guide_commands().items(),
        )
        while True:
            try:
                with MiniAgents.get_current().waits_for_outside("a person at the console"):
                    text = await line.ask()
            except (KeyboardInterrupt, EOFError):
                return
            command = command_in(text)
            if command is not None and command.name == "exit":
                return
            try:
                await self._answer(text) if command is None else await self._carry_out(command, text)
            except MiniAgentsError as error:
                self._screen.error(sentence(error))

    # -- questions -----------------------------------------------------------------------------------------------

    async def _answer(self, text: str) -> None:
        # Noted down before it is sent: a question is not lost because its answer fails.
        await self._history.add([UserMessage(text.strip())])
        await self._ask()

    async def _ask(self) -> None:
        self._screen.say("")
        prompt: list[Message] = [SystemMessage(self._system)] if self._system else []
        turn = await ask(self._assistant, [*prompt, *self._history.messages], self._screen)
        for message in turn.messages:
            usage = message.get("usage")
            self._last_usage = usage if isinstance(usage, TokenUsage) else self._last_usage
        try:
            await self._history.add(turn.messages)
        finally:
            if turn.was_stopped:
                self._screen.say("(stopped)")
            if turn.error is not None:
                self._screen.error(f"Error: {sentence(turn.error)}")
            self._screen.say("")

    def _below(self) -> str:
        return usage_line(MiniAgents.get_current().usage, self._last_usage)

    # -- commands ------------------------------------------------------------------------------------------------

    async def _carry_out(self, command: Command, text: str) -> None:
        obey = self._obey.get(command.name)
        if obey is not None:
            if command.argument and not COMMANDS[command.name].argument:
                self._screen.error(f"`/{command.name}` takes nothing behind it.")
                return
            await obey(command.argument)
        elif f"/{command.name}" in self._guide_commands():
            await self._answer(text)
        else:
            self._screen.error(unknown_command(command.name, self._guide_commands()))

    def _guide_commands(self) -> Mapping[str, str]:
        if self._choice.provider != "guide":
            return {}
        from miniagents.ext._guide_texts import COMMANDS as OF_GUIDE

        return {name: purpose for name, purpose in OF_GUIDE.items() if name.removeprefix("/") not in COMMANDS}

    async def _help(self, _: str) -> None:
        self._screen.say(help_text(self._guide_commands()), "")

    async def _clear(self, _: str) -> None:
        moved = await self._history.replace()
        self._last_usage = None
        kept = f" What was said is kept in {moved}." if moved else ""
        self._screen.say(f"The conversation begins anew.{kept}")

    async def _model(self, name: str) -> None:
        if not name:
            self._screen.say(self._choice.sentence)
            return
        # In a thread: a server on this machine may have to be asked what it offers.
        choice = await asyncio.to_thread(_chosen, name, self._choice)
        self._assistant = agent_for(choice)
        self._choice = choice
        said = self._history.messages
        self._screen.say(f"{choice.sentence}{f' It gets the {_counted(len(said))} so far.' if said else ''}")

    async def _set_system(self, text: str) -> None:
        if not text:
            self._screen.say(f"System: {self._system}" if self._system else "There are no instructions to the model.")
            return
        self._system = None if text == _TAKES_SYSTEM_AWAY else text
        self._screen.say("The model gets these instructions from now on." if self._system else "They are taken away.")

    async def _save(self, file: str) -> None:
        from miniagents.cli.transcript import Transcript, save_transcript

        if not file:
            self._screen.error("Say where: `/save FILE`.")
            return
        path = _path(file)
        messages = self._history.messages
        await asyncio.to_thread(save_transcript, path, Transcript(messages, self._system))
        self._screen.say(f"Saved {_counted(len(messages))} to {path}.")

    async def _load(self, file: str) -> None:
        from miniagents.cli.transcript import load_transcript

        if not file:
            self._screen.error("Say from where: `/load FILE`.")
            return
        path = _path(file)
        transcript = await asyncio.to_thread(load_transcript, path)
        moved = await self._history.replace(transcript.messages)
        self._system = transcript.system
        self._last_usage = None
        kept = f" What was said before is kept in {moved}." if moved else ""
        self._screen.say(f"Going on with {_counted(len(transcript.messages))} from {path}.{kept}")
        self._recall()

    def _recall(self) -> None:
        """Show the last question and what was answered."""
        messages = self._history.messages
        last = max((place for place, message in enumerate(messages) if message.get("role") == "user"), default=None)
        if last is None:
            return
        self._screen.say(f"> {messages[last]}")
        for message in messages[last + 1 :]:
            if type(message).__name__ not in ("ThinkingMessage", "ToolCallMessage", "ToolResultMessage"):
                self._screen.markdown(str(message))

    async def _usage(self, _: str) -> None:
        for line in usage_table(MiniAgents.get_current().usage):
            self._screen.say(line, "")

    async def _retry(self, _: str) -> None:
        if await self._history.drop_last_answer():
            await self._ask()
        else:
            self._screen.error("There is nothing to ask again yet.")


def _chosen(name: str, present: ModelChoice) -> ModelChoice:
    """Give the model of this name; without a prefix that is known, one of the present provider (blocking)."""
    try:
        choice = choose_model(name, os.environ, ask=None)
    except ModelChoiceError:
        if present.provider not in ("openai", "anthropic", "local"):
            raise
        choice = choose_model(f"{present.provider}:{name}", os.environ, ask=None)
    return replace(choice, reason="you chose it")


def _path(file: str) -> Path:
    return Path(file).expanduser()


def _counted(messages: int) -> str:
    return "1 message" if messages == 1 else f"{messages} messages"
