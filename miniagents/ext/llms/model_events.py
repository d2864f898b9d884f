"""What passes between `LLMAgent` and the adapter of a provider: one request, and the events of its answer.

An adapter is an async generator from a `ModelRequest` to events, in the order in which the model made its answer:

    str                     a token of the answer's text
    BlockStarted            a thinking block, a tool call, or (only needed between two of them) a text block begins
    BlockToken              a token of the block with that key: a thought, or a piece of a tool call's arguments
    BlockEnded              the block is complete; fields that became known only now
    UsageKnown              what the turn has cost so far
    TurnEnded               the answer is complete

Whatever the adapter raises in between ends the turn; `LLMAgent` makes it an `LLMError`, retries it or passes it on.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from miniagents.ext.llms.llm_messages import MediaMessage, ThinkingMessage, ToolCallMessage, ToolResultMessage
from miniagents.messages import Message
from miniagents.usage import TokenUsage

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "refusal"]
_CHARACTERS_PER_TOKEN = 4
ThinkingLevel: TypeAlias = Literal["off", "low", "medium", "high"]
Role: TypeAlias = Literal["user", "assistant"]


@dataclass(slots=True)
class ToolSchema:
    """A tool as a model sees it.

    Attributes:
        name: how the model calls it.
        description: what it does.
        parameters: the JSON schema of its arguments, an object.
        strict: whether the schema is one that providers can enforce (every property required, no others allowed).
    """

    name: str
    description: str
    parameters: Mapping[str, Any]
    strict: bool = False


@dataclass(slots=True)
class OutputSchema:
    """What the answer's text has to be: JSON of this schema.

    `strict` says whether the schema is one that providers can enforce, as with `ToolSchema`.
    """

    name: str
    schema: Mapping[str, Any]
    strict: bool = True


@dataclass(slots=True)
class RequestTurn:
    """What one side says at a stretch. Roles alternate; results of tools belong to the user's side.

    `parts` are messages: texts (any `Message` with text), `ImageMessage`, `FileMessage`, `ThinkingMessage`,
    `ToolCallMessage`, `ToolResultMessage`, in the order in which they were said.
    """

    role: Role
    parts: tuple[Message, ...]

    def joined(self, delimiter: str) -> list[str | Message]:
        """Give the parts, neighbouring plain texts joined into one `str`; every other part as it is.

        The text of a picture or file, if it has one, comes after it, as a text.
        """
        joined: list[str | Message] = []
        for part in self.parts:
            if not is_plain_text(part):
                joined.append(part)
                if not isinstance(part, MediaMessage) or not (part.content or part.content_template):
                    continue
            if joined and isinstance(joined[-1], str):
                joined[-1] += delimiter + str(part)
            else:
                joined.append(str(part))
        return joined


def is_plain_text(part: Message) -> bool:
    """Whether a part of a turn is nothing but its text: no media, thought, tool call or result."""
    return not isinstance(part, MediaMessage | ThinkingMessage | ToolCallMessage | ToolResultMessage)


@dataclass(slots=True)
class ModelRequest:
    """One request to a model, in no provider's form yet.

    Attributes:
        model: the provider's name of the model.
        turns: the conversation, oldest first; roles alternate.
        system: the system prompt, `""` if there is none.
        system_blocks: content blocks that were given as `system=[{...}, ...]`; they go before `system`.
        tools: what the model may call.
        output: what its text has to be, None for any text.
        thinking: how much it shall think, None for what the provider does by default.
        stream: whether the answer is asked for token by token.
        cache: whether the stable beginning of the prompt is marked for the provider's cache, where it needs a mark.
        parameters: further options of the provider's API, as plain JSON, under the provider's own names.
        max_retries: how often the adapter sends a request again that failed before its first byte.
        is_sent_once: whether it must not, whatever its client was told: each request counts, and `LLMAgent` sends it
            again. `max_retries` is 0 then.
        delimiter: goes between texts that have to be joined into one.
    """

    model: str
    turns: tuple[RequestTurn, ...]
    system: str = ""
    system_blocks: tuple[dict[str, Any], ...] = ()
    tools: tuple[ToolSchema, ...] = ()
    output: OutputSchema | None = None
    thinking: ThinkingLevel | None = None
    stream: bool = True
    cache: bool = True
    parameters: dict[str, Any] = field(default_factory=dict[str, Any])
    max_retries: int = 2
    delimiter: str = "\n\n"
    is_sent_once: bool = False

    def estimated_tokens(self) -> int:
        """Give about how many tokens the prompt has: a quarter of its characters, pictures and files left aside."""
        parts = [part for turn in self.turns for part in turn.parts if not isinstance(part, MediaMessage)]
        return (len(self.system) + sum(len(str(part)) for part in parts)) // _CHARACTERS_PER_TOKEN


@dataclass(slots=True)
class BlockStarted:
    """A block begins. `fields` go to its message: `tool_name` and `tool_call_id` of a tool call at least."""

    key: Hashable
    kind: Literal["text", "thinking", "tool_call"]
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(slots=True)
class BlockToken:
    """A token of the open block `key`. Blocks may take turns."""

    key: Hashable
    text: str


@dataclass(slots=True)
class BlockEnded:
    """The block `key` is complete. `fields` go to its message: the `signature` of a thought, for example.

    A block that an adapter leaves open ends with the turn.
    """

    key: Hashable
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(slots=True)
class UsageKnown:
    """What the turn has cost so far: totals, not differences; None where the provider has not said yet."""

    usage: TokenUsage


@dataclass(slots=True)
class TurnEnded:
    """The answer is complete.

    Attributes:
        finish_reason: why it ended, alike for all providers.
        usage: what it cost; None if the provider did not say.
        raw_usage: the provider's own count, as plain JSON.
        model: the model that answered, as the provider names it.
        request_id: by which the provider finds this request in its logs.
        fields: whatever else the provider sent, as plain JSON; fields of the turn's last message.
        refusal: the provider's words where `finish_reason` is `"refusal"` and it gave any.
        goes_on: whether the model only paused, and is to be asked again with what it said so far.
    """

    finish_reason: FinishReason | None = None
    usage: TokenUsage | None = None
    raw_usage: Mapping[str, Any] | None = None
    model: str | None = None
    request_id: str | None = None
    fields: Mapping[str, Any] = field(default_factory=dict[str, Any])
    refusal: str | None = None
    goes_on: bool = False


ModelEvent: TypeAlias = str | BlockStarted | BlockToken | BlockEnded | UsageKnown | TurnEnded
"""What an adapter yields."""
