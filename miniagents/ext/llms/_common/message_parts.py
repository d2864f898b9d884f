"""What every adapter takes out of a message: its text, and the arguments of a call."""

import json
from collections.abc import Mapping
from typing import Any, cast

from miniagents.ext.llms._common.parameters import thawed
from miniagents.ext.llms._common.plain_json import from_plain_json
from miniagents.ext.llms.llm_messages import MediaMessage, ThinkingMessage, ToolCallMessage, ToolResultMessage
from miniagents.messages import Message


def text_of(message: Message) -> str:
    """Give the text of a message; `""` for media, a thought or a result without one.

    As a string a message without a text is all of its fields: right for data that is given to a model, not for these.
    """
    is_ours = isinstance(message, MediaMessage | ThinkingMessage | ToolResultMessage)
    return "" if is_ours and message.content is None and message.content_template is None else str(message)


def arguments_of(call: ToolCallMessage) -> dict[str, Any]:
    """Give the arguments of a call as an object; an empty one where the model wrote none.

    The text counts before the field: a call that was put together by hand, or stored elsewhere, may have either.
    """
    try:
        found: Any = from_plain_json(call.content or "")
    except ValueError:
        found = thawed(call.arguments)
    # An object is all that providers take; if it is none, the result of the call has told the model so.
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


def arguments_text(call: ToolCallMessage) -> str:
    """Give the arguments of a call as JSON: the model's own text, if there is one."""
    if call.content and call.content.strip():
        return call.content
    return json.dumps(thawed(call.arguments) or {}, ensure_ascii=False)


def as_mapping(value: Any) -> Mapping[str, Any]:
    """Give a mapping of a JSON object; an empty one for anything else."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}
