"""For providers whose models only say text: a request as a `Prompt`, and tokens as events."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from miniagents.ext.llms._common.message_parts import text_of
from miniagents.ext.llms._common.streams import checked_stream, closed_at_the_end
from miniagents.ext.llms.llm_messages import ToolResultMessage
from miniagents.ext.llms.model_events import ModelEvent, ModelRequest, TurnEnded
from miniagents.ext.llms.prompt import Prompt, Turn
from miniagents.promising.ext.frozen import Frozen
from miniagents.usage import TokenUsage

if TYPE_CHECKING:
    from miniagents.ext.llms.llm_common import LLMAgent


def prompt_of(request: ModelRequest) -> Prompt:
    """Give the request as plain texts, those of tools' results among them; what is no text is left out."""
    turns: list[Turn] = []
    for turn in request.turns:
        parts = turn.joined(request.delimiter)
        texts = [text_of(part) if isinstance(part, ToolResultMessage) else part for part in parts]
        text = request.delimiter.join([text for text in texts if isinstance(text, str) and text.strip()])
        if text and turns and turns[-1].role == turn.role:
            # Between them was a turn without any text.
            turns[-1] = Turn(turn.role, f"{turns[-1].text}{request.delimiter}{text}")
        elif text:
            turns.append(Turn(turn.role, text))
    return Prompt(request.system, tuple(turns), request.system_blocks)


async def events_of_tokens(agent: "LLMAgent", request: ModelRequest) -> AsyncIterator[ModelEvent]:
    """Ask by way of `stream_answer`, and yield its tokens and the end of the turn."""
    answer_fields: dict[str, Any] = {}
    method = f"{type(agent).__name__}.stream_answer"
    tokens = checked_stream(agent.stream_answer(prompt_of(request), answer_fields), method)
    async with closed_at_the_end(tokens):
        async for token in tokens:
            yield token
    yield end_of(answer_fields)


def end_of(answer_fields: dict[str, Any]) -> TurnEnded:
    """Give the end of a turn with these fields, of which some have a meaning of their own."""
    fields = dict(answer_fields)
    usage = fields.pop("usage", None)
    if isinstance(usage, Frozen) and not isinstance(usage, TokenUsage):
        usage = usage.as_kwargs()
    if isinstance(usage, dict):
        usage = TokenUsage(**usage)
    return TurnEnded(
        finish_reason=fields.pop("finish_reason", None),
        usage=usage,
        raw_usage=fields.pop("raw_usage", None),
        model=fields.pop("model", None),
        request_id=fields.pop("request_id", None),
        refusal=fields.pop("refusal", None),
        fields=fields,
    )
