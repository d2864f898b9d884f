"""Messages, settings and values in the form in which a cassette shows them: JSON that a person can read and edit.

What is inside a message stands inside it, as `{"$message": {...}}`, and what JSON does not know is there as
`{"$decimal": "0.5"}` and the like. What goes without saying is left out: the classes `Message` and `Frozen`, and fields
that are None unless something is said of them.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from miniagents._secret_texts import may_be_a_key, names_a_secret, names_a_sure_secret, without_secrets
from miniagents.journal._bodies import BadRowError, Row, restore, rows_of
from miniagents.journal._classes import class_named
from miniagents.journal._values import encode_value
from miniagents.messages import Message
from miniagents.promising.ext._json import json_text
from miniagents.promising.ext._plain_fields import declared_fields
from miniagents.promising.ext.frozen import Frozen

_REFERENCE, _REFERENCES = "__hash_key", "__hash_keys"
_MESSAGE, _FROZEN = "$message", "$frozen"
_TAGS = frozenset(
    {"$bytes", "$decimal", "$uuid", "$datetime", "$date", "$time", "$timedelta", "$path", "$set", _MESSAGE}
)
_OF_ANY_MESSAGE: dict[str, Any] = {"class_": "Message", "content": None, "content_template": None}

WHERE_TO_ASK = frozenset(
    {
        *("base_url", "azure_endpoint", "endpoint_url", "async_client", "http_client", "azure_ad_token_provider"),
        *("aws_region", "aws_profile", "aws_access_key_id", "llm_logger_agent"),
    }
)
"""Settings that say where a server is, or who looks on, and nothing of what is asked. Only names that cannot mean
anything else: a wrong answer is worse than none."""

_HIDDEN = "***"

Json = Any
"""What `json.loads` gives."""


# ----------------------------------------------------------------------------------------------------------- there


def message_form(message: Message) -> Json:
    """Give a message as it is shown.

    Raises:
        ValueError: it has no form in JSON.
        SameNameError: two classes have the name of its class.
    """
    return _forms_of(rows_of(message))[message.hash_key]


def masked_message_form(message: Message, secrets: tuple[str, ...]) -> Json:
    """Give a message as it is shown, masked; it is made once, as a dialog is asked for again with each of its turns.

    Raises:
        ValueError: it has no form in JSON.
        SameNameError: two classes have the name of its class.
    """
    kept: dict[tuple[str, ...], Json] = message.cached("form in a cassette", dict[tuple[str, ...], Json])
    if secrets not in kept:
        form = masked(message_form(message), secrets)
        kept.clear()
        kept[secrets] = form
    return kept[secrets]


def settings_form(settings: Frozen | None) -> Json:
    """Give recorded settings as they are shown, without those that say where to ask."""
    return {} if settings is None else _without_where(json.loads(settings.full_json), is_agent=True)


def value_form(value: Any, field: str) -> Json:
    """Give a value of a once-function, or an answer of a person, as it is shown.

    Raises:
        BadValueError: something in it is neither JSON nor a `Frozen`.
        SameNameError: two classes have the name of one in it.
    """
    text, rows = encode_value(value, field)
    forms = _forms_of(rows)
    by_hash = {row.hash: row for row in rows}

    def shown(part: Json) -> Json:
        if isinstance(part, list):
            return [shown(item) for item in cast("list[Any]", part)]
        if isinstance(part, dict):
            fields = cast("dict[str, Any]", part)
            if _FROZEN in fields:
                return {_FROZEN: _form_of(by_hash[fields[_FROZEN]], forms, is_message=False)}
            return {name: shown(item) for name, item in fields.items()}
        return part

    return shown(json.loads(text))


def _forms_of(rows: Iterable[Row]) -> dict[str, Json]:
    forms: dict[str, Json] = {}
    for row in rows:
        forms[row.hash] = _form_of(row, forms, is_message=True)
    return forms


def _form_of(row: Row, forms: Mapping[str, Json], *, is_message: bool) -> Json:
    """Give the form of one object; `forms` has those of the messages directly inside it."""
    kinds = {tuple(path): kind for path, kind in json.loads(row.kinds)} if row.kinds else {}

    def shown(value: Json, path: tuple[str | int, ...]) -> Json:
        kind = kinds.get(path)
        if kind is not None:
            return {_MESSAGE: forms[value]} if kind == "message" else {f"${kind}": value}
        if isinstance(value, list):
            return [shown(item, (*path, index)) for index, item in enumerate(cast("list[Any]", value))]
        if isinstance(value, dict):
            return _without_usual_class(fields_of(cast("dict[str, Any]", value), path))
        return value

    def fields_of(stored: Mapping[str, Any], path: tuple[str | int, ...]) -> dict[str, Json]:
        named = {name.removesuffix(_REFERENCES).removesuffix(_REFERENCE): value for name, value in stored.items()}
        return {name: shown(value, (*path, name)) for name, value in named.items()}

    fields = fields_of(json.loads(row.body), ())
    absent = _absent_fields(fields.get("class_"))
    fields = {name: value for name, value in fields.items() if value is not None or name not in absent}
    if is_message and fields["class_"] == "Message":
        del fields["class_"]
    return fields


def _absent_fields(class_name: Json) -> frozenset[str]:
    """Give the fields that are None in an object of this class if nothing is said of them."""
    kind = class_named(class_name) if isinstance(class_name, str) else None
    declared: Mapping[str, Any] = {} if kind is None else declared_fields(kind)
    return frozenset(name for name, field in declared.items() if field.default is None)


def _without_usual_class(fields: dict[str, Json]) -> dict[str, Json]:
    rest = {name: value for name, value in fields.items() if name != "class_"}
    return rest if fields.get("class_") == "Frozen" and not _is_tag(rest) else fields


def _is_tag(value: Json) -> bool:
    if not isinstance(value, dict):
        return False
    fields = cast("dict[str, Any]", value)
    return len(fields) == 1 and not _TAGS.isdisjoint(fields)


def _without_where(value: Json, *, is_agent: bool = False) -> Json:
    if isinstance(value, list):
        return [_without_where(item) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, Any]", value)
    kept = {name: item for name, item in sorted(fields.items()) if not (is_agent and name in WHERE_TO_ASK)}
    of_agent = fields.get("class_") == "MiniAgent"
    shown = {name: _without_where(item, is_agent=of_agent and name == "settings") for name, item in kept.items()}
    return _without_usual_class(shown)


# ----------------------------------------------------------------------------------------------------------- back


def restored_message(form: Json) -> Message:
    """Make a message of its form; the rules for its class are those of the journal.

    Raises:
        BadRowError: it does not fit its class, or is no message.
        SameNameError: two classes have the name that is there.
    """
    if not isinstance(form, dict):
        raise BadRowError("it is no JSON object")
    restored = _restored({**_OF_ANY_MESSAGE, **cast("dict[str, Any]", form)})
    if not isinstance(restored, Message):
        raise BadRowError(f"the class `{restored.class_}` is no class of messages")
    return restored


def restored_value(form: Json) -> Any:
    """Make a value of its form.

    Raises:
        BadRowError: an object in it does not fit its class.
        SameNameError: two classes have a name that is there.
    """
    if isinstance(form, list):
        return [restored_value(item) for item in cast("list[Any]", form)]
    if isinstance(form, dict):
        fields = cast("dict[str, Any]", form)
        if list(fields) == [_FROZEN] and isinstance(fields[_FROZEN], dict):
            return _restored(fields[_FROZEN])
        return {name: restored_value(item) for name, item in fields.items()}
    return form


def _restored(fields: Mapping[str, Json]) -> Frozen:
    kinds: list[tuple[tuple[str | int, ...], str]] = []
    inside: dict[str, Message] = {}

    def stored(value: Json, path: tuple[str | int, ...]) -> Json:
        if _is_tag(value):
            ((tag, content),) = cast("dict[str, Any]", value).items()
            kinds.append((path, tag[1:]))
            if tag != _MESSAGE:
                return content
            message = restored_message(content)
            inside[message.hash_key] = message
            return message.hash_key
        if isinstance(value, list):
            return [stored(item, (*path, index)) for index, item in enumerate(cast("list[Any]", value))]
        if isinstance(value, dict):
            return body_of({"class_": "Frozen", **cast("dict[str, Any]", value)}, path)
        return value

    def body_of(shown: Mapping[str, Json], path: tuple[str | int, ...]) -> dict[str, Json]:
        return {f"{name}{_suffix(value)}": stored(value, (*path, name)) for name, value in shown.items()}

    try:
        everything = {**dict.fromkeys(_absent_fields(fields.get("class_"))), **fields}
        body = json_text(body_of(everything, ()), sort_keys=True)
        digest = hashlib.sha256(body.encode()).hexdigest()[: len(Message().hash_key)]
    except (ValueError, RecursionError) as error:
        raise BadRowError(f"it cannot be read: {error}") from error
    # Whatever stands in the file is right: it is there to be edited, so that the hash is made, not checked.
    return restore(Row(digest, body, json.dumps(kinds) if kinds else None, None), inside)


def _suffix(value: Json) -> str:
    if _is_tag(value):
        return _REFERENCE if _MESSAGE in value else ""
    return _REFERENCES if isinstance(value, list) and _holds_message(cast("list[Any]", value)) else ""


def _holds_message(items: Sequence[Json]) -> bool:
    return any(
        (_is_tag(item) and _MESSAGE in item) or (isinstance(item, list) and _holds_message(cast("list[Any]", item)))
        for item in items
    )


# -------------------------------------------------------------------------------------------------------- secrets


def secrets_of_environment() -> tuple[str, ...]:
    """Give the keys that the environment of this process has, the longest first."""
    found = {value for name, value in os.environ.items() if names_a_secret(name) and may_be_a_key(value)}
    return tuple(sorted(found, key=lambda value: (-len(value), value)))


def masked_text(text: str, secrets: Sequence[str]) -> str:
    """Give `text` with `***` for `secrets`, and for what looks like one."""
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    return without_secrets(text)


def masked(form: Json, secrets: Sequence[str], *, of_settings: bool = False) -> Json:
    """Give a form with all of its texts masked, and what has the name of a secret.

    In messages a field that is called `key` or `token` and nothing else is taken for what it says, not for a secret.
    """
    if isinstance(form, str):
        return masked_text(form, secrets)
    if isinstance(form, list | tuple):
        return [masked(item, secrets, of_settings=of_settings) for item in cast("list[Any]", form)]
    if isinstance(form, dict):
        fields = cast("dict[str, Any]", form)
        return {name: _masked_field(name, item, secrets, of_settings=of_settings) for name, item in fields.items()}
    return form


def _masked_field(name: str, value: Json, secrets: Sequence[str], *, of_settings: bool) -> Json:
    if names_a_sure_secret(name):
        return _all_hidden(value)
    if isinstance(value, str) and names_a_secret(name, alone=of_settings) and may_be_a_key(value) and " " not in value:
        return _HIDDEN
    return masked(value, secrets, of_settings=of_settings)


def _all_hidden(form: Json) -> Json:
    if isinstance(form, list):
        return [_all_hidden(item) for item in cast("list[Any]", form)]
    if isinstance(form, dict) and (not _is_tag(form) or _MESSAGE in form):
        fields = cast("dict[str, Any]", form)
        return {name: item if name == "class_" else _all_hidden(item) for name, item in fields.items()}
    return _HIDDEN if isinstance(form, str | dict) else form


def masked_tokens(tokens: Sequence[str], secrets: Sequence[str]) -> list[str]:
    """Give tokens that make up the masked text; those around a secret, which may be cut by them, become one."""
    text = "".join(tokens)
    shown = masked_text(text, secrets)
    if shown == text:
        return list(tokens)
    before, head = _kept(tokens, _common(text, shown))
    rest_text, rest_shown = text[before:], shown[before:]
    same_end = _common(rest_text[::-1], rest_shown[::-1])
    after, tail = _kept([token[::-1] for token in reversed(tokens[len(head) :])], same_end)
    middle = rest_shown[: len(rest_shown) - after]
    return [*head, *([middle] if middle else []), *[token[::-1] for token in reversed(tail)]]


def _common(one: str, other: str) -> int:
    """Give how many characters two texts have in common at their beginnings."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((index for index, (mine, theirs) in pairs if mine != theirs), min(len(one), len(other)))


def _kept(tokens: Iterable[str], most: int) -> tuple[int, list[str]]:
    """Give the first tokens that have at most so many characters together, and how many they have."""
    total, kept = 0, list[str]()
    for token in tokens:
        if total + len(token) > most:
            break
        total += len(token)
        kept.append(token)
    return total, kept
