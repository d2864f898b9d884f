"""What an MCP tool answers, as messages."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from pydantic_core import to_json

from miniagents.ext.llms._tools.toolbox import ToolFailedError
from miniagents.ext.llms.llm_messages import FileMessage, ImageMessage
from miniagents.messages import Message


def messages_of(result: Any, tool_name: str) -> list[Message]:
    """Give the messages of a `CallToolResult`: texts, pictures, files; what it holds as data if there is no other.

    Raises:
        ToolFailedError: the server says that the tool failed; its words are the text.
    """
    messages = [message for block in result.content for message in _messages_of_block(block)]
    if result.is_error:
        said = "\n\n".join(message.content for message in messages if message.content)
        raise ToolFailedError(said or f"The tool `{tool_name}` failed, and its server does not say why.")
    if not messages and result.structured_content is not None:
        messages.append(Message(to_json(result.structured_content).decode()))
    return messages


def _messages_of_block(block: Any) -> Iterator[Message]:
    match block.type:
        case "text":
            yield Message(block.text)
        case "image":
            yield ImageMessage(data=block.data, media_type=block.mime_type)
        case "audio":
            yield FileMessage(data=block.data, media_type=block.mime_type, name="audio")
        case "resource":
            yield _message_of_resource(block.resource)
        case "resource_link":
            yield Message(f"{block.name}: {block.uri}")
        case _:
            yield Message(block.model_dump_json())


def _message_of_resource(resource: Any) -> Message:
    text = getattr(resource, "text", None)
    if text is not None:
        return Message(text)
    media_type = resource.mime_type or "application/octet-stream"
    if media_type.startswith("image/"):
        return ImageMessage(data=resource.blob, media_type=media_type)
    name = urlsplit(str(resource.uri)).path.rpartition("/")[2]
    return FileMessage(data=resource.blob, media_type=media_type, name=name or None)
