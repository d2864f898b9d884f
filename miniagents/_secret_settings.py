"""What is recorded of settings that hold keys and passwords as plain texts."""

import hashlib
import re
from collections.abc import Iterable, Mapping
from typing import Any, cast

from miniagents._secret_texts import may_be_a_key, names_a_secret, names_a_sure_secret
from miniagents.promising.ext.frozen import Frozen

_IN_URL = re.compile(r"://[^/\s:@]*:[^/\s@]+@")
_IN_QUERY = re.compile(r"(?i)([?&][\w.-]*(?:key|token|secret|password|signature|sig)=)([^&#\s]+)")
_COOKIES = frozenset({"cookie", "set-cookie"})
_DIGITS = 12


def is_left_out(name: str, value: Any) -> bool:
    """Whether a setting is not recorded at all: its name says that it is a secret, whatever it is."""
    return isinstance(value, str) and (names_a_sure_secret(name) or name.lower() in _COOKIES)


def without_secret_parts(name: str, value: Any) -> Any:
    """Give a setting as it is recorded: without secrets, if there are any in it, and as it is if there are none.

    A text under a name such as `token`, which may be a secret and may say what is asked for, is there as a digest, as
    other tokens are other calls.
    """
    if isinstance(value, str):
        if names_a_secret(name) and may_be_a_key(value) and not any(character.isspace() for character in value):
            return _digest(value)
        return _without_secrets_in_url(value) if "://" in value else value
    if isinstance(value, Mapping):
        return _without_secrets(cast("Mapping[str, Any]", value), value)
    if type(value) is Frozen:
        return _without_secrets(value.as_kwargs(), value)
    if isinstance(value, list | tuple):
        items = list(cast("Iterable[Any]", value))
        changed = [without_secret_parts(name, item) for item in items]
        unchanged: Any = cast("Any", value)
        return unchanged if all(new is old for new, old in zip(changed, items, strict=True)) else tuple(changed)
    return value


def _without_secrets_in_url(text: str) -> str:
    return _IN_QUERY.sub(lambda found: found[1] + _digest(found[2]), _IN_URL.sub("://***@", text))


def _digest(secret: str) -> str:
    return f"***{hashlib.sha256(secret.encode(errors='surrogatepass')).hexdigest()[:_DIGITS]}"


def _without_secrets(fields: Mapping[str, Any], whole: Any) -> Any:
    kept = {
        name: without_secret_parts(str(name), value)
        for name, value in fields.items()
        if not is_left_out(str(name), value)
    }
    return whole if len(kept) == len(fields) and all(kept[name] is value for name, value in fields.items()) else kept
