"""The messages of a conversation with a model, told apart by their role, and what an answer cost."""

from typing import Any

from miniagents.messages import Message
from miniagents.promising.ext.frozen import Frozen


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


class AssistantMessage(LLMMessage):
    """What a model said, or is made to have said.

    An answer of an LLM agent also has the fields of the provider's response (`id`, `choices` or `stop_reason`, ...)
    and these:

    Attributes:
        model: the model that answered, as the provider names it (in `preliminary_metadata`: the model that was asked).
        agent_alias: the alias of the agent that answered.
        usage: (on answers only) a `TokenUsage`, alike for all providers.
        raw_usage: (on answers only) the provider's own count, None if it reported none.
    """

    role: str = "assistant"
    model: str | None = None
    agent_alias: str | None = None

    def __init__(self, content: str | None = None, **fields: Any) -> None:
        super().__init__(content=content, **fields)


class TokenUsage(Frozen):
    """What an answer cost, in tokens, counted alike for all providers. None where the provider did not say.

    Attributes:
        input_tokens: all of the prompt, with what was read from and written to the provider's cache.
        output_tokens: all of the answer, with the reasoning.
        cache_read_tokens: the part of `input_tokens` that came from the cache.
        cache_write_tokens: the part of `input_tokens` that was written to the cache.
        reasoning_tokens: the part of `output_tokens` that is reasoning.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
