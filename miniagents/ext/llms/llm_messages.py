"""The messages of a conversation with a model: one for each content block, told apart by class and role.

The reply sequence of a model holds its blocks in the order in which the model made them; each streams. Sent back to the
provider that made it, a block is what it was, word for word; neighbours are joined where the provider's API wants it.
"""

import base64
import mimetypes
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from pydantic import model_validator

from miniagents.messages import Message
from miniagents.promising.ext.frozen import Frozen
from miniagents.usage import TokenUsage

__all__ = [
    "AssistantMessage",
    "FileMessage",
    "ImageMessage",
    "LLMMessage",
    "MediaMessage",
    "SystemMessage",
    "ThinkingMessage",
    "TokenUsage",
    "ToolCallMessage",
    "ToolResultMessage",
    "UserMessage",
]


class LLMMessage(Message):
    """A message of a conversation with a model; `role` says who speaks."""

    role: str


class UserMessage(LLMMessage):
    """What the user says. A message without a role counts as one of these."""

    role: str = "user"

    def __init__(self, content: str | None = None, **fields: Any) -> None:
        # Written out for type checkers, which else take `content` for a keyword of classes below `Message`.
        super().__init__(content=content, **fields)


class SystemMessage(LLMMessage):
    """An instruction to the model. Wherever it stands, it is sent before the conversation."""

    role: str = "system"

    def __init__(self, content: str | None = None, **fields: Any) -> None:
        super().__init__(content=content, **fields)


class ModelMessage(LLMMessage):
    """A block that a model made. What the whole turn cost stands on the turn's last message, else it is None.

    Attributes:
        model: the model that answered, as the provider names it (in `preliminary_metadata`: the model that was asked).
        agent_alias: the alias of the agent that answered.
        provider: whose model it was, such as `"openai"`; only that provider gets `provider_data` back.
        provider_data: what the provider must get back word for word beside the text, such as a signature.
        finish_reason: (last message) `"stop"`, `"length"`, `"tool_calls"`, `"content_filter"` or `"refusal"`.
        request_id: (last message) by which the provider finds the request in its logs.
        usage: (last message) a `TokenUsage`, alike for all providers.
        raw_usage: (last message) the provider's own count.
        cost: (last message) in US dollars; None without the extra `prices`, or where the model is not known to it.
        interrupted: True if it was torn by a failure or a cancellation; what follows it in the sequence begins anew.
    """

    role: str = "assistant"
    model: str | None = None
    agent_alias: str | None = None
    provider: str | None = None
    provider_data: Any = None
    finish_reason: str | None = None
    request_id: str | None = None
    usage: TokenUsage | None = None
    raw_usage: Frozen | None = None
    cost: float | None = None
    interrupted: bool | None = None

    def __init__(self, content: str | None = None, **fields: Any) -> None:
        super().__init__(content=content, **fields)


class AssistantMessage(ModelMessage):
    """What a model said, or is made to have said. A text-only answer is exactly one of these.

    An answer of an LLM agent also has the fields of the provider's response (`id`, `choices` or `stop_reason`, ...).
    """

    @property
    def parsed(self) -> Any:
        """The text as the `response_model` that was asked for, validated; None where none was, or where it is not."""
        return self.cached(_PARSED, _nothing)

    def with_parsed(self, value: Any) -> Self:
        """Remember that the text was validated as `value`; it is no field and is not stored."""
        self.cached(_PARSED, lambda: value)
        return self


_PARSED = "parsed"


def _nothing() -> None:
    return None


class ThinkingMessage(ModelMessage):
    """What a model thought before it went on. No part of what it said; sent back to its own provider only.

    Attributes:
        signature: by which the provider recognises the thought as its own.
        redacted: True if the provider shows no text of it; the encrypted form is in `provider_data`.
    """

    signature: str | None = None
    redacted: bool | None = None


class ToolCallMessage(ModelMessage):
    """A call of a tool. Its tokens are the text of the arguments, JSON, as it arrives.

    Attributes:
        tool_name: which tool.
        tool_call_id: by which the result is matched to the call.
        arguments: the arguments; None if the text is not a JSON object.
    """

    tool_name: str
    tool_call_id: str
    arguments: Frozen | None = None


class ToolResultMessage(LLMMessage):
    """What a tool answered to a call; its text goes to the model.

    Attributes:
        tool_call_id: of the call that it answers.
        tool_name: which tool answered.
        is_error: whether the text tells what went wrong.
    """

    role: str = "tool"
    tool_call_id: str
    tool_name: str | None = None
    is_error: bool = False

    def __init__(self, content: str | None = None, **fields: Any) -> None:
        super().__init__(content=content, **fields)


class MediaMessage(LLMMessage):
    """Bytes, or where they are: exactly one of `data` (bytes, or base64 text), `path` and `url`.

    A `path` is read when the message is made, so that the message holds what was there then. The bytes are kept in
    `data` as base64 text.

    Attributes:
        media_type: such as `"image/png"`; may be left out where the name of the file tells it.
        data: the bytes in base64.
        url: from where the provider fetches them.
        name: the file's name.

    Raises:
        ValueError: not exactly one source, or the media type cannot be told.
        OSError: the file cannot be read.
    """

    role: str = "user"
    media_type: str
    data: str | None = None
    url: str | None = None
    name: str | None = None

    def __init__(self, content: str | None = None, **fields: Any) -> None:
        super().__init__(content=content, **fields)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            return fields
        given: dict[str, Any] = dict(fields)  # pyright: ignore[reportUnknownArgumentType]
        sources = [name for name in ("data", "path", "url") if given.get(name) is not None]
        if len(sources) != 1:
            raise ValueError(
                f"`{cls.__name__}` takes exactly one of `data=`, `path=` and `url=`, not "
                f"{' and '.join(f'`{name}`' for name in sources) or 'none of them'}."
            )
        path = given.pop("path", None)
        if path is not None:
            given["data"] = Path(path).read_bytes()
            given.setdefault("name", Path(path).name)
        if isinstance(given.get("data"), bytes | bytearray | memoryview):
            given["data"] = base64.b64encode(given["data"]).decode("ascii")
        if given.get("media_type") is None:
            found = _TYPES.guess_type(given.get("name") or urlsplit(given.get("url") or "").path)[0]
            if found is None:
                raise ValueError(
                    f"`{cls.__name__}` needs `media_type=`, such as 'image/png': nothing else here tells what it is."
                )
            given["media_type"] = found
        return given

    @property
    def raw_bytes(self) -> bytes | None:
        """The bytes; None where there is only a `url`."""
        return None if self.data is None else base64.b64decode(self.data)


# Python's own table: that of the system would be read from a file, which blocks.
_TYPES = mimetypes.MimeTypes()


class ImageMessage(MediaMessage):
    """A picture for the model to see."""


class FileMessage(MediaMessage):
    """A document for the model to read, such as a PDF."""
