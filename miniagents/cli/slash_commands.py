"""The commands of a dialog, such as `/model NAME`: their names, what they take, and how a line becomes one."""

import difflib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class About:
    """What a command takes, and what it is for."""

    argument: str
    purpose: str


COMMANDS: Final[Mapping[str, About]] = {
    "help": About("", "show the commands and keys"),
    "clear": About("", "forget the conversation and begin a new one"),
    "model": About("NAME", "talk to another model, which gets the conversation so far; without NAME: which it is"),
    "system": About("TEXT", "give the model instructions; without TEXT: show them; `off`: take them away"),
    "save": About("FILE", "write the conversation to a file, with thoughts and calls of tools"),
    "load": About("FILE", "go on with the conversation in such a file, in place of this one"),
    "usage": About("", "show tokens and cost by model"),
    "retry": About("", "ask again without the last answer"),
    "exit": About("", "leave"),
}

KEYS: Final[Mapping[str, str]] = {
    "Enter": "send",
    "Alt+Enter, Ctrl+J": "begin a new line",
    "Up, Down, Ctrl+R": "what you typed earlier; Ctrl+R searches",
    "Tab": "complete a command, a file",
    "Ctrl+C": "stop the answer; clear what you have typed; leave, if there is nothing to clear",
    "Ctrl+D": "leave",
}

# A path such as /etc/hosts, or a word with a dot, is no command.
_COMMAND = re.compile(r"/([a-zA-Z?][\w-]*)(?:\s+(.*))?", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Command:
    """What a person typed as a command; `name` need not be one of `COMMANDS`."""

    name: str
    argument: str = ""


def command_in(text: str) -> Command | None:
    """Give the command that `text` is, if it is one; a blank in front makes it a message."""
    if text.strip() == "exit":
        return Command("exit")
    found = _COMMAND.fullmatch(text.rstrip())
    return None if found is None else Command(found[1].lower(), (found[2] or "").strip())


def unknown_command(name: str, others: Collection[str] = ()) -> str:
    """Say that there is no such command, and which one was perhaps meant."""
    known = [*(f"/{command}" for command in COMMANDS), *others]
    near = difflib.get_close_matches(f"/{name}", known, n=1, cutoff=0.5)
    near = near or [command for command in known if command.startswith(f"/{name[:2]}")][:1]
    guess = f"Did you mean `{near[0]}`?" if near else "`/help` lists them."
    return f"No command is called `/{name}`. {guess} (To send it as a message, put a blank in front.)"


def help_text(others: Mapping[str, str]) -> str:
    """List commands and keys, and the commands that the present model itself knows."""
    commands = {f"/{name} {about.argument}".rstrip(): about.purpose for name, about in COMMANDS.items()}
    parts: list[tuple[str, Mapping[str, str]]] = [("Commands", commands), ("Keys", KEYS)]
    if others:
        parts.insert(1, ("Commands of the guide", others))
    width = max(len(name) for _, rows in parts for name in rows)
    return "\n".join(
        line
        for title, rows in parts
        for line in (f"{title}:", *(f"  {name:<{width}}  {purpose}" for name, purpose in rows.items()))
    )
