r"""A conversation as Markdown that a person can read and edit, and back, exactly.

    ## USER

    hi

    ## ASSISTANT (ANTHROPIC_AGENT)

    Hello! How can I help?

A heading names the role, and in brackets, if known, the agent, and whether the message was cut short ("interrupted").
Roles other than the usual ones are written as `## role: critic`. Blank lines around a message do not count, and text
before the first heading is a note of the person, which is no message.

A line of a message that would be taken for such a heading gets a backslash in front, and so does a blank line at the
message's start or end; a line that looks as if this had been done to it gets one more. Code fences are not looked at:
an answer that was cut off inside one must not swallow what follows.
"""

import re
from collections.abc import Iterable, Iterator

from miniagents.ext.llms.llm_common import AssistantMessage, SystemMessage, UserMessage
from miniagents.messages import Message

_USUAL_ROLES = ("user", "assistant", "system", "developer", "tool")
_MESSAGE_CLASSES: dict[str, type[Message]] = {
    "user": UserMessage,
    "assistant": AssistantMessage,
    "system": SystemMessage,
}
_INTERRUPTED = "interrupted"

_HEADING = re.compile(
    rf"##[ ](?:(?P<usual>{'|'.join(_USUAL_ROLES).upper()})|role:[ ](?P<other>\S+))(?:[ ]\((?P<details>[^()]*)\))?\s*"
)
_PLAIN_DETAIL = re.compile(r"[^(),\s]+(?: [^(),\s]+)*")


def to_markdown(messages: Iterable[Message], default_role: str) -> str:
    """Write messages as they stand in the file; `default_role` for those that have none."""
    return "".join(f"{_heading(message, default_role)}\n\n{_escaped(str(message))}\n\n" for message in messages)


def from_markdown(text: str) -> list[Message]:
    """Read the messages that stand in the file."""
    messages: list[Message] = []
    for heading, lines in _sections(text):
        role = (heading["usual"] or "").lower() or heading["other"]
        details = [detail.strip() for detail in (heading["details"] or "").split(",")]
        fields: dict[str, object] = {"role": role}
        if _INTERRUPTED in details:
            fields["interrupted"] = True
        if aliases := [detail for detail in details if detail and detail != _INTERRUPTED]:
            fields["agent_alias"] = aliases[0]
        messages.append(_MESSAGE_CLASSES.get(role, Message)(_unescaped(lines), **fields))
    return messages


def _heading(message: Message, default_role: str) -> str:
    # A heading needs a word; a role of nothing but blanks counts as none.
    role = str(message.get("role") or "").strip() or default_role.strip() or "user"
    title = role.upper() if role in _USUAL_ROLES else f"role: {'_'.join(role.split())}"
    alias = message.get("agent_alias")
    details: list[str] = []
    if isinstance(alias, str) and _PLAIN_DETAIL.fullmatch(alias) and alias != _INTERRUPTED:
        details.append(alias)
    if message.get("interrupted"):
        details.append(_INTERRUPTED)
    return f"## {title} ({', '.join(details)})" if details else f"## {title}"


def _sections(text: str) -> Iterator[tuple[re.Match[str], list[str]]]:
    heading: re.Match[str] | None = None
    lines: list[str] = []
    for line in text.split("\n"):
        # An editor that saves with Windows' line ends does so in headings too; a message of ours never does.
        if (found := _HEADING.fullmatch(line)) is None:
            from_windows = heading is not None and heading.string.endswith("\r")
            lines.append(line.removesuffix("\r") if from_windows else line)
            continue
        if heading is not None:
            yield heading, lines
        heading, lines = found, []
    if heading is not None:
        yield heading, lines


def _escaped(text: str) -> str:
    lines = text.split("\n")
    first = next((number for number, line in enumerate(lines) if line.strip()), len(lines))
    last = next((number for number in range(len(lines) - 1, -1, -1) if lines[number].strip()), -1)
    for number, line in enumerate(lines):
        bare = line.lstrip("\\")
        is_blank_edge = not line.strip() and not first <= number <= last
        looks_escaped = bare != line and not bare.strip()
        if is_blank_edge or looks_escaped or _HEADING.fullmatch(bare):
            lines[number] = f"\\{line}"
    return "\n".join(lines)


def _unescaped(lines: list[str]) -> str:
    while lines and not lines[0].strip():
        lines = lines[1:]
    while lines and not lines[-1].strip():
        lines = lines[:-1]
    return "\n".join(_without_escape(line) for line in lines)


def _without_escape(line: str) -> str:
    bare = line.lstrip("\\")
    if bare != line and (not bare.strip() or _HEADING.fullmatch(bare)):
        return line[1:]
    return line
