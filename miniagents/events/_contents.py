"""What the fields of an event may hold beyond what a message may: promises of messages, and errors.

Neither has a JSON of its own. A promise stands for the messages that it resolves to, an error for its class and text.
"""

from collections.abc import Iterator, Mapping
from typing import Any, cast, get_args

from pydantic import ConfigDict, SerializationInfo, TypeAdapter

from miniagents.events.errors import RestoredError
from miniagents.message_sequence import MessageSequence, MessageSequencePromise
from miniagents.messages import Message, MessagePromise
from miniagents.promising._failure import Failure
from miniagents.promising._wording import shown, text_of
from miniagents.promising.ext._thawing import thawed
from miniagents.promising.ext.frozen import Frozen
from miniagents.promising.sentinels import NO_VALUE

SPECIAL_CLASSES = (MessagePromise, MessageSequencePromise, BaseException)


def is_special(value: object) -> bool:
    """Whether `value` is a promise or an error."""
    return isinstance(value, SPECIAL_CLASSES)


def is_pending(value: object) -> bool:
    """Whether `value` is a promise whose messages are not all there."""
    return isinstance(value, MessagePromise | MessageSequencePromise) and value.outcome_if_done() is NO_VALUE


def plain_value(value: Any) -> Any:
    """Give the frozen value that a promise or an error stands for; a pending promise, and anything else, as it is.

    Raises:
        BaseException: the promise has failed; its own error.
    """
    if isinstance(value, MessagePromise | MessageSequencePromise):
        outcome = value.outcome_if_done()
        if isinstance(outcome, Failure):
            raise outcome.receive()
        return value if outcome is NO_VALUE else outcome
    if isinstance(value, RestoredError):
        return Frozen(error_type=value.error_type, text=value.text)
    if isinstance(value, BaseException):
        return Frozen(error_type=type(value).__name__, text=text_of(value))
    return value


def special_value(value: Any, annotation: Any) -> Any:
    """Give the promise, or the error, that `value` stands for in a field of such a type; anything else as it is."""
    kinds = set(_classes_in(annotation))
    if any(issubclass(kind, BaseException) for kind in kinds) and isinstance(value, Mapping | Frozen):
        fields = cast("Mapping[str, Any]", value)
        error_type, text = fields.get("error_type"), fields.get("text")
        return fields if error_type is None else RestoredError(str(error_type), str(text))
    if MessagePromise in kinds:
        if isinstance(value, str):
            return value if str in kinds else Message(value).as_promise
        return value.as_promise if isinstance(value, Message) and type(value) not in kinds else value
    if MessageSequencePromise in kinds and isinstance(value, list | tuple):
        return MessageSequence.turn_into_sequence_promise(cast("list[object]", value))
    return value


def value_from_json(value: Any, annotation: Any) -> Any:
    """Give what a value in JSON stands for in a field of such a type."""
    if bytes not in set(_classes_in(annotation)):
        return _restored(value)
    adapter: TypeAdapter[Any] = TypeAdapter(
        annotation, config=ConfigDict(val_json_bytes="base64", arbitrary_types_allowed=True)
    )
    # Loaded when used: not every program reads JSON.
    import json

    return adapter.validate_json(json.dumps(thawed(value, Frozen)))


def _restored(value: Any) -> Any:
    """Give what JSON stands for: objects that name a class of this process as objects of that class."""
    if isinstance(value, list):
        return [_restored(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    fields = {name: _restored(item) for name, item in cast("dict[str, Any]", value).items()}
    kind = class_named(Frozen, fields.get("class_"))
    return fields if kind is None else kind(**fields)


def class_named(base: type[Frozen], name: object) -> type[Frozen] | None:
    """Give the class below `base` (or itself) of this name, the one that was defined last where there are several."""
    found: type[Frozen] | None = None
    pending: list[type[Frozen]] = [base]
    while pending and isinstance(name, str):
        kind = pending.pop()
        if kind.__name__ == name:
            found = kind
            if kind is base:
                return kind
        pending.extend(reversed(kind.__subclasses__()))
    return found


def check_stamps(**stamps: Any) -> None:
    """Refuse stamps that are no texts; the source may be a class.

    Raises:
        TypeError: one is something else.
    """
    for name, value in stamps.items():
        if value is None or isinstance(value, str) or (name == "source" and isinstance(value, type)):
            continue
        what = "a string or a class" if name == "source" else "a string"
        raise TypeError(f"`{name}` of an event is {what}, not {shown(value)}.")


def is_wanted(stamp: str, info: SerializationInfo) -> bool:
    """Whether what pydantic dumps is to have this stamp: in JSON, unless somebody wants a part of it alone."""
    include, exclude = info.include, info.exclude
    return info.mode == "json" and (include is None or stamp in include) and (exclude is None or stamp not in exclude)


def _classes_in(annotation: Any) -> Iterator[type[Any]]:
    if isinstance(annotation, type):
        yield annotation
    for argument in get_args(annotation):
        yield from _classes_in(argument)


__all__ = [
    "check_stamps",
    "class_named",
    "is_pending",
    "is_special",
    "is_wanted",
    "plain_value",
    "special_value",
    "value_from_json",
]
