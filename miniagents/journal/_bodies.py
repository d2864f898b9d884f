"""Frozen objects in the form in which they are stored, and back.

The body is `Frozen.serialized`, so that its sha256 is the object's hash key. What JSON cannot tell apart is kept beside
it, as a list of [path, kind]: bytes, dates, numbers and the like, where the text alone would come back as a string.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any, NamedTuple, cast, get_args
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from miniagents.journal._classes import check_name_of, class_named
from miniagents.messages import Message, text_message
from miniagents.promising.ext._plain_fields import declared_fields
from miniagents.promising.ext.frozen import Frozen

_REFERENCE, _REFERENCES = "__hash_key", "__hash_keys"
_PLAIN = frozenset({str, int, float, bool, type(None)})
_KINDS: dict[type[Any], str] = {
    bytes: "bytes", Decimal: "decimal", UUID: "uuid", datetime: "datetime", date: "date", time: "time",
    timedelta: "timedelta", frozenset: "set",
}  # fmt: skip
_HASH_LENGTHS = (40, 64)

Path_ = tuple[str | int, ...]


class Row(NamedTuple):
    """One object as it is stored."""

    hash: str
    body: str
    kinds: str | None
    """What JSON does not tell, as JSON."""
    refs: str | None
    """The hashes of the messages directly inside it, with spaces between."""


class BadRowError(Exception):
    """What is stored does not match its hash, or is no object."""


# ----------------------------------------------------------------------------------------------------------- there


def row_of(frozen: Frozen) -> Row:
    """Give the row of one object, without those inside it.

    Raises:
        ValueError: it has no form in JSON.
        SameNameError: another class has the name of its class, or of one inside it.
    """
    return frozen.cached(f"journal row, {frozen.hash_key}", lambda: _row_of(frozen))


def rows_of(frozen: Frozen) -> Sequence[Row]:
    """Give the rows of all messages inside it, each once, and its own last.

    Raises:
        ValueError: one has no form in JSON.
        SameNameError: another class has the name of the class of one.
    """
    # Most messages are text and nothing else.
    if not (isinstance(frozen, Message) and frozen.is_text):
        for _, value in frozen:
            if value.__class__ not in _PLAIN:
                return list(_rows_inside(frozen))
    check_name_of(type(frozen))
    return (Row(frozen.hash_key, frozen.serialized, None, None),)


def _rows_inside(frozen: Frozen) -> Iterator[Row]:
    # Not `sub_messages()`, which gives what is in two places twice, and what is inside of that four times.
    seen = {id(frozen)}
    pending: list[tuple[Frozen, bool]] = [(frozen, False)]
    while pending:
        current, is_last = pending.pop()
        inside = [] if is_last or not isinstance(current, Message) else _messages_in(current)
        new = [message for message in inside if id(message) not in seen]
        if new:
            pending.append((current, True))
            seen.update(map(id, new))
            pending += [(message, False) for message in reversed(new)]
        else:
            yield row_of(current)


def _messages_in(message: Message) -> list[Message]:
    """Give the messages directly inside of one."""
    found: dict[int, Message] = {}
    pending: list[Any] = [value for _, value in message]
    while pending:
        value = pending.pop()
        if isinstance(value, Message):
            found[id(value)] = value
        elif isinstance(value, tuple):
            pending += cast("tuple[Any, ...]", value)
        elif isinstance(value, Frozen):
            pending += [inner for _, inner in value]
    return list(found.values())


def _row_of(frozen: Frozen) -> Row:
    check_name_of(type(frozen))
    kinds: list[tuple[Path_, str]] = []
    refs: list[str] = []
    in_message = isinstance(frozen, Message)
    for name, value in frozen:
        if value.__class__ not in _PLAIN:
            _look_into(value, (name,), kinds, refs, by_reference=in_message)
    return Row(
        frozen.hash_key,
        frozen.serialized,
        json.dumps(kinds, ensure_ascii=False) if kinds else None,
        " ".join(dict.fromkeys(refs)) or None,
    )


def _look_into(value: Any, path: Path_, kinds: list[tuple[Path_, str]], refs: list[str], *, by_reference: bool) -> None:
    if isinstance(value, Message) and by_reference:
        refs.append(value.hash_key)
        kinds.append((path, "message"))
    elif isinstance(value, Frozen):
        check_name_of(type(value))
        for name, inner in value:
            if inner.__class__ not in _PLAIN:
                _look_into(inner, (*path, name), kinds, refs, by_reference=by_reference)
    elif isinstance(value, tuple):
        for index, item in enumerate(cast("tuple[Any, ...]", value)):
            if item.__class__ not in _PLAIN:
                _look_into(item, (*path, index), kinds, refs, by_reference=by_reference)
    elif isinstance(value, PurePath):
        kinds.append((path, "path"))
    elif value.__class__ is frozenset and any(isinstance(item, Frozen) for item in cast("frozenset[Any]", value)):
        raise ValueError(f"`{path[0]}` holds `Frozen` objects in a frozenset; put them into a tuple")
    elif not isinstance(value, Enum):
        kind = next((_KINDS[base] for base in type(value).__mro__ if base in _KINDS), None)
        if kind is not None:
            kinds.append((path, kind))


# ----------------------------------------------------------------------------------------------------------- back


def check_row(row: Row) -> dict[str, Any]:
    """Give the fields of a row whose hash is right.

    Raises:
        BadRowError: it is wrong, or what is stored is no JSON object.
    """
    try:
        digest = hashlib.sha256(row.body.encode()).hexdigest()
    except (AttributeError, UnicodeEncodeError) as error:
        raise BadRowError(f"its content is no text: {error}") from error
    if len(row.hash) not in _HASH_LENGTHS or digest[: len(row.hash)] != row.hash:
        raise BadRowError("its content does not match its hash")
    try:
        fields = json.loads(row.body)
    except (ValueError, RecursionError) as error:
        raise BadRowError(f"it is no JSON: {error}") from error
    if not isinstance(fields, dict):
        raise BadRowError("it is no JSON object")
    return cast("dict[str, Any]", fields)


def restore(row: Row, inside: Mapping[str, Message]) -> Frozen:
    """Make the object of a row again; `inside` has the messages that it refers to.

    A class that this process does not know becomes a plain `Message` or `Frozen` with the same fields. The hash key is
    the stored one in any case, so that what refers to the object goes on to find it.

    Raises:
        BadRowError: the row does not match its hash, or does not fit its class.
        SameNameError: two classes have the name that is stored.
    """
    fields = check_row(row)
    try:
        restored = None if row.kinds else _text_message(fields)
        if restored is None:
            kinds = {tuple(path): kind for path, kind in json.loads(row.kinds)} if row.kinds else {}
            restored = _Restorer(kinds, inside).object(fields, ())
    except ValidationError as error:
        raise BadRowError(f"it does not fit the class `{fields.get('class_')}` as that is now: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError, ArithmeticError, RecursionError) as error:
        raise BadRowError(f"it cannot be read: {error!r}") from error
    restored.be_as_stored(row.body, row.hash)
    return restored


def _text_message(fields: dict[str, Any]) -> Message | None:
    """Give a plain message of these fields if they are those of one, as most are; several times faster."""
    text = fields.get("content")
    is_text = text.__class__ is str and len(fields) == 3 and fields.get("content_template", text) is None
    if is_text and fields.get("class_") == "Message" and class_named("Message") is Message:
        return text_message(cast("str", text))
    return None


@dataclass(frozen=True, slots=True)
class _Restorer:
    kinds: Mapping[Path_, str]
    inside: Mapping[str, Message]

    def object(self, fields: Mapping[str, Any], path: Path_) -> Frozen:
        name = fields.get("class_")
        known = class_named(name) if isinstance(name, str) else None
        content: dict[str, Any] = {}
        for stored_name, value in fields.items():
            if stored_name == "class_":
                continue
            field = stored_name.removesuffix(_REFERENCES).removesuffix(_REFERENCE)
            content[field] = self.value(value, (*path, field))
        if known is not None:
            return _made(known, content)
        return Frozen(**content) if path else Message(**content)

    def value(self, value: Any, path: Path_) -> Any:
        kind = self.kinds.get(path)
        if kind is not None:
            return self.inside[value] if kind == "message" else _leaf(value, kind)
        if isinstance(value, list):
            items = cast("list[Any]", value)
            return tuple([self.value(item, (*path, index)) for index, item in enumerate(items)])
        if isinstance(value, dict):
            return self.object(cast("dict[str, Any]", value), path)
        return value


def _made(kind: type[Frozen], content: dict[str, Any]) -> Frozen:
    """Give an object of this class without running any code of it: a row that somebody has made up does nothing."""
    fields = declared_fields(kind)
    missing = [name for name, info in fields.items() if info.is_required() and name not in content]
    if missing:
        raise BadRowError(
            f"`{kind.__name__}` has the field `{missing[0]}` now, which is not stored. Give it a default, or give the "
            "agent a new `version=`, so that its calls are made again"
        )
    for name, value in content.items():
        if name in fields and value is not None:
            adapter = _enum_adapter(kind, name)
            if adapter is not None:
                content[name] = adapter.validate_python(value)
    return kind.model_construct(**content, class_=kind.__name__)


@lru_cache(maxsize=2000)
def _enum_adapter(kind: type[Frozen], name: str) -> TypeAdapter[Any] | None:
    """What turns a stored value into a member of the enum that the field is declared with, if it is."""
    annotation = declared_fields(kind)[name].annotation
    return TypeAdapter(annotation) if _mentions_enum(annotation) else None


def _mentions_enum(annotation: Any) -> bool:
    is_enum = isinstance(annotation, type) and issubclass(annotation, Enum)
    return is_enum or any(_mentions_enum(part) for part in get_args(annotation))


def _leaf(value: Any, kind: str) -> Any:
    match kind:
        case "bytes":
            return base64.b64decode(value, validate=True)
        case "decimal":
            return Decimal(value)
        case "uuid":
            return UUID(value)
        case "datetime":
            return datetime.fromisoformat(value)
        case "date":
            return date.fromisoformat(value)
        case "time":
            return time.fromisoformat(value)
        case "timedelta":
            return TypeAdapter(timedelta).validate_python(value)
        case "path":
            return Path(value)
        case "set":
            return frozenset(value)
        case _:
            raise ValueError(f"{kind!r} is no kind of value that is known")


def restore_all(rows: Iterable[Row]) -> dict[str, Frozen | BadRowError]:
    """Make the objects of `rows` again, by hash; what is inside another one must be among them.

    One that cannot be made is there as the error that says why, and so is whatever holds it.

    Raises:
        SameNameError: two classes have a name that is stored.
    """
    by_hash = {row.hash: row for row in rows}
    done: dict[str, Frozen | BadRowError] = {}
    begun: set[str] = set()
    # A stack instead of recursion: a chain of messages may be longer than Python's recursion limit.
    pending = list(by_hash)
    while pending:
        key = pending[-1]
        if key in done:
            pending.pop()
            continue
        refs = (by_hash[key].refs or "").split()
        missing = [ref for ref in refs if ref not in done and ref in by_hash]
        if not missing:
            done[key] = _restore_one(by_hash[key], refs, done)
        elif key in begun:
            # What it waits for has come back to it. Without this it would go round for ever.
            done[key] = BadRowError("its `refs` lead back to itself")
        else:
            begun.add(key)
            pending.extend(missing)
    return done


def _restore_one(row: Row, refs: list[str], done: Mapping[str, "Frozen | BadRowError"]) -> "Frozen | BadRowError":
    inside: dict[str, Message] = {}
    for ref in refs:
        found = done.get(ref)
        if isinstance(found, BadRowError):
            return BadRowError(f"the message {ref} inside it: {found}")
        if not isinstance(found, Message):
            return BadRowError(f"the message {ref} inside it is missing")
        inside[ref] = found
    try:
        return restore(row, inside)
    except BadRowError as error:
        return error
