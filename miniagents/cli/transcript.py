"""A conversation in a file: one message a line, as JSON, with everything that a model needs to go on with it.

The first line tells what the file is, and the instructions to the model. Messages come back as what they were by the
table of classes here: the file names a class, it never names a module, and nothing is imported for it.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, cast

from pydantic import ValidationError

from miniagents.errors import MiniAgentsError
from miniagents.ext.llms.anthropic import AnthropicMessage
from miniagents.ext.llms.bedrock import BedrockMessage
from miniagents.ext.llms.gemini import GeminiMessage
from miniagents.ext.llms.llm_messages import (
    AssistantMessage,
    FileMessage,
    ImageMessage,
    LLMMessage,
    MediaMessage,
    ModelMessage,
    SystemMessage,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
    UserMessage,
)
from miniagents.ext.llms.openai import OpenAIMessage
from miniagents.ext.llms.openai_responses import OpenAIResponseMessage
from miniagents.messages import Message
from miniagents.promising.ext.frozen import Frozen
from miniagents.usage import TokenUsage

_FORMAT: Final = "miniagents conversation"
_VERSION: Final = 1
_CLASSES: Final[Mapping[str, type[Frozen]]] = {
    kind.__name__: kind
    for kind in (
        *(Frozen, TokenUsage),
        *(OpenAIMessage, OpenAIResponseMessage, AnthropicMessage, GeminiMessage, BedrockMessage),
        *(Message, LLMMessage, ModelMessage, UserMessage, SystemMessage, AssistantMessage),
        *(ThinkingMessage, ToolCallMessage, ToolResultMessage, ImageMessage, FileMessage),
    )
}


class TranscriptError(MiniAgentsError):
    """The file of a saved conversation cannot be read or written; nothing has changed."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{str(path)!r} {problem}.")


@dataclass(frozen=True, slots=True)
class Transcript:
    """A conversation: what was said, and the instructions to the model."""

    messages: Sequence[Message]
    system: str | None = None


def save_transcript(path: Path, transcript: Transcript) -> None:
    """Write the conversation to `path` (blocking); a saved conversation that is there is replaced, in one step.

    Raises:
        TranscriptError: something else is in the file, or it cannot be written.
    """
    head = {"format": _FORMAT, "version": _VERSION, "system": transcript.system}
    lines = [json.dumps(head, ensure_ascii=False), *(_line_of(message) for message in transcript.messages)]
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        if path.exists() and not _is_ours(path):
            raise TranscriptError(path, "holds something else than a saved conversation: give another name")
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise TranscriptError(path, f"cannot be written ({error.strerror})") from error


def load_transcript(path: Path) -> Transcript:
    """Read what `save_transcript` has written (blocking).

    Raises:
        TranscriptError: it cannot be read, or is no saved conversation.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise TranscriptError(path, f"cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise TranscriptError(path, "is no text in UTF-8, so it is no saved conversation") from error
    head = _object(lines[0])
    if head is None or head.get("format") != _FORMAT:
        raise TranscriptError(path, "is no saved conversation: `/save FILE` writes one")
    if head.get("version") != _VERSION:
        raise TranscriptError(path, f"was written by another version of miniagents (format {head.get('version')!r})")
    messages = [_message(path, number, line) for number, line in enumerate(lines[1:], start=2) if line.strip()]
    system: Any = head.get("system")
    return Transcript(messages, system if isinstance(system, str) else None)


def _line_of(message: Message) -> str:
    fields: dict[str, Any] = json.loads(message.full_json)
    # A class of somebody's own becomes the nearest of ours that it is one of, with all its fields.
    own_name = next(base.__name__ for base in type(message).__mro__ if base.__name__ in _CLASSES)
    return json.dumps({**_with_known_classes(fields), "class_": own_name}, ensure_ascii=False)


def _with_known_classes(value: Any) -> Any:
    if isinstance(value, dict):
        inner = {name: _with_known_classes(item) for name, item in cast("dict[str, Any]", value).items()}
        return {**inner, "class_": "Frozen"} if inner.get("class_", "Frozen") not in _CLASSES else inner
    if isinstance(value, list):
        return [_with_known_classes(item) for item in cast("list[Any]", value)]
    return value


def _message(path: Path, number: int, line: str) -> Message:
    fields = _object(line)
    if fields is None:
        raise TranscriptError(path, f"is damaged: its line {number} is no JSON object")
    try:
        message = _restored(fields)
    except (ValidationError, ValueError, TypeError, RecursionError) as error:
        raise TranscriptError(path, f"is damaged: its line {number} is no message of a conversation") from error
    if not isinstance(message, Message):
        raise TranscriptError(path, f"is damaged: its line {number} is no message of a conversation")
    return message


def _restored(value: Any) -> Any:
    """Make what is inside of a message what it was; messages may hold messages.

    Raises:
        ValueError: it names a class that is not in the table, or a file to be read.
    """
    if isinstance(value, list):
        return [_restored(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    fields = {name: _restored(item) for name, item in cast("dict[str, Any]", value).items()}
    kind = _CLASSES.get(str(fields.pop("class_", "Frozen")))
    if kind is None:
        raise ValueError("a class that is not in the table")
    if issubclass(kind, MediaMessage) and "path" in fields:
        # Else a file from somebody else could have any file of this machine sent to a model.
        raise ValueError("a file to be read")
    return kind(**fields)


def _object(line: str) -> dict[str, Any] | None:
    try:
        found: Any = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None


def _is_ours(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        head = _object(file.readline())
    return head is not None and head.get("format") == _FORMAT
