"""Structured output: answers that are a pydantic model, a dataclass, a list of these, or any other typed value.

`LLMAgent` does all of it by itself when it is given `response_model=`; these are the parts that it is made of, and how
one gets at the result:

```python
replies = OpenAIAgent.inquire("What did we buy?", model="gpt-5-mini", response_model=Invoice)

invoice = await parse_reply(replies, Invoice)

async for partial in stream_parsed(replies, Invoice):  # dicts that grow, and at last the `Invoice`
    print(partial)
```
"""

import contextlib
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, overload

from pydantic import ValidationError

from miniagents.ext.llms._structured.json_in_text import json_candidates
from miniagents.ext.llms._structured.output_types import NotAnOutputTypeError, OutputType, output_type
from miniagents.ext.llms._structured.partial_json import PartialJSON
from miniagents.ext.llms.errors import LLMError, RefusalError, StructuredOutputError, TruncatedOutputError
from miniagents.ext.llms.llm_messages import AssistantMessage, LLMMessage, ModelMessage
from miniagents.ext.llms.model_events import OutputSchema
from miniagents.message_sequence import MessageSequence, MessageSequencePromise
from miniagents.messages import Message, MessagePromise
from miniagents.promising.sentinels import NO_VALUE

__all__ = ["NotAnOutputTypeError", "output_schema", "parse_reply", "retry_message", "stream_parsed", "validated"]

T = TypeVar("T")

_MAX_PROBLEMS: Final = 20
_SHOWN_LENGTH: Final = 200
_NOTHING_YET: Final[tuple[Any, ...]] = ({}, [], "")


def output_schema(model: Any) -> OutputSchema:
    """Give what a provider is told that the answer has to be; made once for each type.

    `model` is a pydantic model, a dataclass, a `TypedDict`, or a list, union or plain type. What is no object by itself
    is asked for as an object with the one key `value`; `validated` takes that off again. `strict` is False where the
    schema cannot say all of it in the form that providers enforce, as with a dict of any keys.

    Raises:
        NotAnOutputTypeError: the type has no JSON form.
    """
    return output_type(model).schema


@overload
def validated(text: str, model: type[T], /, finish_reason: str | None = None, **details: Any) -> T: ...
@overload
def validated(text: str, model: Any, /, finish_reason: str | None = None, **details: Any) -> Any: ...
def validated(text: str, model: Any, /, finish_reason: str | None = None, **details: Any) -> Any:
    """Give the answer `text` as a `model`. A fenced block, or words, around the JSON do no harm.

    `finish_reason` is why the model ended; `details` are attributes of the error (`provider`, `model`, ...).

    Raises:
        RefusalError: the model refused, or a filter of the provider's stopped it; `partial_text` are its words.
        TruncatedOutputError: the text is not usable, because it was cut off; `partial_text` is what there is.
        StructuredOutputError: the text is not what `model` wants; `raw_text` is the text, the cause says why.
        NotAnOutputTypeError: the type has no JSON form.
    """
    kind = output_type(model)
    if finish_reason in ("refusal", "content_filter"):
        why = "the model refused" if finish_reason == "refusal" else "a content filter stopped the answer"
        raise RefusalError(
            f"There is no `{kind.name}`: {why}. It said: {_shortened(text)}", partial_text=text, **details
        )
    is_cut = finish_reason == "length"
    # Cut off, the first digits of a number are a number; only what is closed is all there.
    found = _first_fit(text, kind, allow_bare=not is_cut)
    if isinstance(found, _Fit):
        return found.value
    if is_cut:
        raise TruncatedOutputError(
            f"There is no complete `{kind.name}`: the answer was cut off at its longest length, after {len(text)} "
            "characters. Allow more output tokens, or ask for less.",
            partial_text=text,
            **details,
        ) from found
    raise StructuredOutputError(
        f"The answer is not a valid `{kind.name}`: {'; '.join(_problems(found))}. It was: {_shortened(text)}",
        raw_text=text,
        **details,
    ) from found


def retry_message(error: Exception) -> str:
    """Give the text of the user's turn that asks a model again, saying what is wrong with its answer."""
    cause = error.__cause__
    problems = _problems(cause) if isinstance(cause, ValueError) else [str(error)]
    listed = "\n".join(f"- {problem}" for problem in problems)
    return (
        f"Your answer could not be used:\n{listed}\n\nAnswer again, in full, with nothing but JSON that fits the "
        "schema: no words around it, no code block."
    )


@overload
async def parse_reply(replies: object, model: type[T]) -> T: ...
@overload
async def parse_reply(replies: object, model: Any) -> Any: ...
async def parse_reply(replies: object, model: Any) -> Any:
    """Give what the model answered as a `model`: `message.parsed` where it is one, else its text, validated.

    `replies` is what an agent replied, a message promise, or whatever else messages can be made of. The answer is the
    last message with text of the model's; thoughts and tools do not count.

    Raises:
        StructuredOutputError, TruncatedOutputError, RefusalError: as `validated`; the first also if there is no answer.
        NotAnOutputTypeError: the type has no JSON form.
        Exception: whatever went wrong with the replies.
    """
    messages = await MessageSequence.turn_into_sequence_promise(replies)
    return _parsed(messages, model)


@overload
def stream_parsed(
    replies: MessagePromise | MessageSequencePromise, model: type[T]
) -> AsyncGenerator[dict[str, Any] | T, None]: ...
@overload
def stream_parsed(replies: MessagePromise | MessageSequencePromise, model: Any) -> AsyncGenerator[Any, None]: ...
async def stream_parsed(replies: MessagePromise | MessageSequencePromise, model: Any) -> AsyncGenerator[Any, None]:
    """Give what is there so far of an answer, again and again as it grows, and at last the validated `model`.

    What is there so far is a plain dict (of a list or another type that is no object: the part of it that is there),
    each different from the one before; strings grow, numbers appear when they are complete. It is not validated, and
    text that is no JSON raises nothing. Finished parts of one dict are used in the next: do not change them. A reader
    that is slower than the model skips what it had no time for. Where an answer is asked for again, or thoughts and
    tool calls come before it, the dicts begin anew with each message of the answer's text.

    Raises:
        StructuredOutputError, TruncatedOutputError, RefusalError: at the end, as `parse_reply`.
        NotAnOutputTypeError: the type has no JSON form.
        Exception: whatever went wrong with the replies, at its place.
    """
    kind = output_type(model)
    shown: Any = NO_VALUE
    async for promise in MessageSequence.turn_into_sequence_promise(replies):
        if not issubclass(promise.message_class, AssistantMessage) and promise.message_class is not Message:
            continue
        partial = PartialJSON("{[" if kind.is_wrapped else "{")
        buffer = promise.buffer()
        taken = 0
        async for token in promise:
            partial.add(token)
            taken += 1
            # What came while the reader was busy is looked at in one go.
            if taken < len(buffer.pieces):
                continue
            value = kind.unwrapped_part(partial.value())
            if value is NO_VALUE or value == shown or (shown is NO_VALUE and value in _NOTHING_YET):
                continue
            shown = value
            yield value
    yield await parse_reply(replies, model)


def complete_answer(messages: Sequence[Message], model: Any) -> None:
    """Give the answer among messages that come from a journal its `parsed`, which is not stored; if it is valid."""
    answer = _answer_among(messages)
    if isinstance(answer, AssistantMessage):
        with contextlib.suppress(LLMError):
            answer.with_parsed(_validated(answer, messages, model))


def _parsed(messages: Sequence[Message], model: Any) -> Any:
    kind = output_type(model)
    answer = _answer_among(messages)
    if answer is None:
        raise StructuredOutputError(
            f"There is no `{kind.name}` in these {len(messages)} messages, as none of them is an answer with text."
        )
    if isinstance(answer, AssistantMessage) and answer.parsed is not None and kind.has(answer.parsed):
        return answer.parsed
    return _validated(answer, messages, model)


def _validated(answer: Message, messages: Sequence[Message], model: Any) -> Any:
    # Why the model ended stands on the last message of its turn, which need not be this one.
    later = list(messages)[next(place for place, found in enumerate(messages) if found is answer) :]
    ended = [found.finish_reason for found in later if isinstance(found, ModelMessage) and found.finish_reason]
    details = {name: answer.get(name) for name in ("provider", "model", "request_id") if answer.get(name)}
    return validated(str(answer), model, ended[-1] if ended else None, **details)


def _answer_among(messages: Sequence[Message]) -> Message | None:
    """Give the last message that a model said; without one the last that is of no special kind."""
    said = [message for message in messages if isinstance(message, AssistantMessage)]
    said = said or [message for message in messages if not isinstance(message, LLMMessage)]
    return said[-1] if said else None


@dataclass(frozen=True, slots=True)
class _Fit:
    value: Any


def _first_fit(text: str, kind: OutputType, *, allow_bare: bool) -> "_Fit | ValueError":
    """Give the one part of `text` that validates, else what is wrong with the likeliest part."""
    problem: ValueError | None = None
    fits: dict[str, _Fit] = {}
    for number, candidate in enumerate(json_candidates(text)):
        try:
            fits[candidate] = _Fit(kind.from_json(candidate, allow_bare=allow_bare))
        except ValueError as error:
            # A part that is JSON, though the wrong one, says more than the whole that is none.
            if problem is None or (_is_no_json(problem) and not _is_no_json(error)):
                problem = error
        if number == 0 and fits:
            break
    if len(fits) == 1:
        return next(iter(fits.values()))
    if fits:
        return ValueError(f"it holds {len(fits)} different JSON values that fit; give one")
    return problem or ValueError("it is empty")


def _is_no_json(error: ValueError) -> bool:
    return isinstance(error, ValidationError) and error.errors(include_url=False)[0]["type"] == "json_invalid"


def _problems(error: BaseException) -> list[str]:
    """Say what is wrong, one line for each place, in words for a person and for a model."""
    if not isinstance(error, ValidationError):
        return [str(error)]
    found = error.errors(include_url=False, include_context=False)
    lines = [_line_for(one) for one in found[:_MAX_PROBLEMS]]
    return lines if len(found) <= _MAX_PROBLEMS else [*lines, f"and {len(found) - _MAX_PROBLEMS} more"]


def _line_for(problem: Any) -> str:
    if problem["type"] == "json_invalid":
        return f"it is not JSON: {problem['msg'].removeprefix('Invalid JSON: ')}"
    place = ".".join(str(part) for part in problem["loc"])
    given = "" if problem["type"] == "missing" else f" (given: {_shortened(repr(problem['input']))})"
    return f"{place + ': ' if place else ''}{problem['msg']}{given}"


def _shortened(text: str) -> str:
    return text if len(text) <= _SHOWN_LENGTH else f"{text[:_SHOWN_LENGTH]}..."
