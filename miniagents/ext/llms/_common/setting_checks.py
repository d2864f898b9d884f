"""Whether the settings of a model agent can be used; if not, one sentence that tells what is wrong and the fix."""

import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Union, cast, get_args, get_origin
from urllib.parse import urlsplit

import annotated_types
from pydantic import BaseModel, SecretBytes, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from miniagents._settings import HELD_BACK, without_credentials
from miniagents.ext.llms._common.parameters import thawed
from miniagents.ext.llms.errors import AuthenticationError, SettingError
from miniagents.miniagents import MiniAgent
from miniagents.promising.ext.frozen import Frozen

API_PARAMETERS: Final = frozenset({"extra_headers", "extra_query", "extra_body", "stream_options", "timeout"})
"""Of what is checked here: what no agent of this package declares, as it goes on to the SDK."""

_LONGEST_SHOWN: Final = 100
_AS_ONE_WRITES_IT: Final[dict[object, str]] = {
    bool: "True or False",
    int: "a whole number",
    float: "a number",
    str: "a text",
    SecretStr: "a text",
    Frozen: "a dict",
    dict: "a dict",
    MiniAgent: "an agent, that is, a function or class with `@miniagent`",
    type(None): "None",
    None: "None",
}
_BOUNDS: Final = ((annotated_types.Ge, "ge", "{} or more"), (annotated_types.Gt, "gt", "more than {}"),
                  (annotated_types.Le, "le", "{} or less"), (annotated_types.Lt, "lt", "less than {}"))  # fmt: skip


# ------------------------------------------------------------------------------------- at once, before they are stored


def check_setting(agent: str, name: str, value: Any) -> None:
    """Refuse a value that can be known to be wrong without a look at what the agent class declares.

    Raises:
        SettingError: it is wrong. The text does not show what may be a key.
    """
    check = _CHECKS.get(name)
    if check is not None and value is not None:
        check(agent, name, value)


def _secret(agent: str, name: str, value: Any) -> None:
    if not isinstance(value, str | SecretStr):
        raise SettingError(
            f"`{name}` of `{agent}` is a text or a `SecretStr`, not {_kind(value)}: give the key itself."
        )


def _client(agent: str, name: str, value: Any) -> None:
    if isinstance(value, str | bytes | int | float | list | tuple | Mapping):
        raise SettingError(
            f"`{name}` of `{agent}` is a client of the provider's SDK, not {_kind(cast('object', value))}: a key is "
            "given as `api_key=`, the address of a server as `base_url=`."
        )


def _url(agent: str, name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise SettingError(f"`{name}` of `{agent}` is a text, not {_kind(value)}: give the URL of the server, or None.")
    check_url(value, f"`{name}={without_credentials(value)!r}`")


def check_url(url: str, shown: str) -> None:
    """Refuse what is not the URL of a server; `shown` names the setting, or the variable, and the value.

    Raises:
        SettingError: it is none.
    """
    if not url.strip():
        raise SettingError(f"{shown} names no server: give its URL, or None for the one that is asked by default.")
    if not _names_a_server(url):
        rest = without_credentials(url).rpartition("//")[2].rpartition("@")[2].partition("?")[0]
        raise SettingError(
            f"{shown} is not the URL of a server, which begins with http:// or https://: write "
            f"{f'http://{rest}' if rest else 'http://localhost:8000'!r}, for example."
        )
    if not _has_a_port(url):
        raise SettingError(
            f"{shown} has no possible port behind the colon: it is a number from 0 to 65535. (In a password, write "
            "`/` as %2F, `?` as %3F and `@` as %40.)"
        )


# Each catches what has the URL in its text, so that it is not behind the error that is raised.
def _names_a_server(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:
        return False


def _has_a_port(url: str) -> bool:
    try:
        _ = urlsplit(url).port
    except ValueError:
        return False
    return True


def _headers(agent: str, name: str, value: Any) -> None:
    _mapping(agent, name, value)
    for header, text in _entries(value):
        if not isinstance(text, str):
            raise SettingError(
                f"`{name}` of `{agent}` takes texts, and what it was given for {header!r} is {_kind(text)}: make it a "
                "text."
            )
        if not text.isascii() or not text.isprintable():
            raise SettingError(
                f"`{name}` of `{agent}` has characters that no header can have for {header!r}, such as a line end: "
                "copy it again."
            )


def _mapping(agent: str, name: str, value: Any) -> None:
    if not isinstance(value, Mapping) and type(value) is not Frozen:
        # What is held back from records is not shown here either.
        shown = f"`{name}` of `{agent}`" if name in HELD_BACK else f"`{name}={_shown(value)}` of `{agent}`"
        raise SettingError(f"{shown} has to be a dict, not {_kind(value)}: write `{name}={{...}}`.")


def _timeout(agent: str, name: str, value: Any) -> None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # Objects of the SDK's are for the SDK to judge.
    if isinstance(value, str | bytes | bool | list | tuple | Mapping | Frozen) or (is_number and not value > 0):
        raise SettingError(f"`{name}={_shown(value)}` of `{agent}` is a number of seconds, more than 0.")


def _tools(agent: str, name: str, value: Any) -> None:
    is_single = isinstance(value, str | bytes | Mapping | Frozen) or callable(value)
    if is_single or not isinstance(value, Iterable):
        inside = "{...}" if isinstance(value, Mapping) else getattr(cast("object", value), "__name__", "...")
        raise SettingError(
            f"`{name}={_shown(value)}` of `{agent}` is no list: write `{name}=[{inside}]`, with a function, an "
            "agent, `mcp_tools(...)` or a dict for each tool."
        )


def _agent(agent: str, name: str, value: Any) -> None:
    if not isinstance(value, MiniAgent) and not (name == "llm_logger_agent" and isinstance(value, bool)):
        also = "True, False, or " if name == "llm_logger_agent" else ""
        raise SettingError(
            f"`{name}={_shown(value)}` of `{agent}` is no agent: give {also}an async function or a class that is "
            "decorated with `@miniagent`."
        )


_CHECKS: Final[dict[str, Callable[[str, str, Any], None]]] = {
    "api_key": _secret,
    "async_client": _client,
    "base_url": _url,
    "azure_endpoint": _url,
    "extra_headers": _headers,
    "extra_query": _mapping,
    "extra_body": _mapping,
    "stream_options": _mapping,
    "timeout": _timeout,
    "tools": _tools,
    "approval_agent": _agent,
    "llm_logger_agent": _agent,
}


def sendable_key(key: str, who: str) -> str:
    """Give a key without the white space around it.

    Raises:
        AuthenticationError: there is white space or the like in it. The error of an SDK would show the key.
    """
    stripped = key.strip()
    if not stripped.isascii() or any(not character.isprintable() or character == " " for character in stripped):
        raise AuthenticationError(
            f"The API key of {who} has characters in it that no key has, such as a space or a line end: copy it again."
        )
    return stripped


# ----------------------------------------------------------------------------------------- by what the class declares


def wrong_setting(
    agent: str, kind: type[BaseModel], settings: Mapping[str, Any], error: ValidationError
) -> SettingError:
    """Give one sentence for what pydantic found wrong with the settings of an agent class: the first of it."""
    first = error.errors(include_url=False, include_input=False)[0]
    name = str(first["loc"][0]) if first["loc"] else ""
    field = kind.model_fields.get(name)
    why = cast("Any", first.get("ctx") or {}).get("error")
    if field is None:
        return SettingError(f"The settings of `{agent}` do not go together: {why or first['msg']}.")
    shown = f"`{name}`" if _is_secret(field) else f"`{name}={_shown(settings.get(name))}`"
    allowed = _allowed(field)
    if why is not None:
        advice = str(why)
    elif allowed is None:
        place = ".".join(str(step) for step in first["loc"][1:])
        advice = f"{f'at `{place}`, ' if place else ''}{first['msg'][:1].lower()}{first['msg'][1:]}"
    else:
        advice = f"give {allowed}"
    return SettingError(f"{shown} is not what `{agent}` takes: {advice.rstrip('.')}.")


def _is_secret(field: FieldInfo) -> bool:
    return any(part in (SecretStr, SecretBytes) for part in (field.annotation, *get_args(field.annotation)))


def _allowed(field: FieldInfo) -> str | None:
    """Give what a field takes, in words; None where its type has none."""
    parts = list(_parts(field.annotation))
    words = [word for part in parts if part is not type(None) and (word := _words(part)) is not None]
    if len(words) != len([part for part in parts if part is not type(None)]):
        return None
    bounds = [
        text.format(getattr(constraint, attribute))
        for constraint in field.metadata
        for kind, attribute, text in _BOUNDS
        if isinstance(constraint, kind)
    ]
    text = ", ".join([*dict.fromkeys(words), *bounds])
    return f"{text}, or None" if type(None) in parts else text


def _parts(hint: Any) -> Iterable[Any]:
    if get_origin(hint) in (Union, types.UnionType):
        for part in get_args(hint):
            yield from _parts(part)
    elif get_origin(hint) is typing.Annotated:
        yield from _parts(get_args(hint)[0])
    else:
        yield hint


def _words(hint: Any) -> str | None:
    origin = get_origin(hint)
    if origin is typing.Literal:
        *others, last = (repr(choice) for choice in get_args(hint))
        return f"{', '.join(others)} or {last}" if others else last
    if origin in (tuple, list):
        inside = _words(get_args(hint)[0])
        return None if inside is None else f"a list of {inside.removeprefix('a ')}s"
    if origin is dict:
        return "a dict"
    return _AS_ONE_WRITES_IT.get(hint)


# -------------------------------------------------------------------------------------------------------- for the text


def _shown(value: Any) -> str:
    """Give a value as one would write it, cut where it is long."""
    if type(value) is Frozen:
        value = thawed(value)
    try:
        text = " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - a broken `__repr__` must not hide what is wrong with the value
        text = object.__repr__(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}..."


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"an {name}" if re.match("[aeiou]", name) else f"a {name}"


def _entries(value: Any) -> Iterable[tuple[Any, Any]]:
    mapping = value.as_kwargs() if isinstance(value, Frozen) else value
    return cast("Mapping[Any, Any]", mapping).items()
