"""Keeping keys out of what people and models get to read."""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, cast

from pydantic import SecretBytes, SecretStr

from miniagents._secret_texts import SHORTEST_SECRET, without_secrets

__all__ = ["hide_secrets", "secret_of", "secrets_in", "without_secrets"]

_NAMES_OF_SECRETS = re.compile(r"(?i)key|token|secret|passw|credential|authorization")
_DEEPEST_CAUSE = 8


def secret_of(secret: SecretStr | str | None) -> str | None:
    """Give the text of a secret, hidden or not."""
    return secret.get_secret_value() if isinstance(secret, SecretStr) else secret


def secrets_in(settings: Iterable[tuple[str, Any]]) -> set[str]:
    """Give the secrets among the settings of an agent and in the environment of this process."""
    found: set[str] = {value for name, value in os.environ.items() if _NAMES_OF_SECRETS.search(name)}
    for name, value in settings:
        if isinstance(value, SecretStr):
            found.add(value.get_secret_value())
        elif isinstance(value, SecretBytes):
            found.add(value.get_secret_value().decode(errors="replace"))
        elif isinstance(token := getattr(value, "token", None), str):
            # The credentials of a cloud's library.
            found.add(token)
        elif "headers" in name:
            # `Authorization: Bearer ...`: the key is the last word.
            found.update(str(item).rpartition(" ")[2] for _, item in value)
    return {secret for secret in found if len(secret) >= SHORTEST_SECRET}


def hide_secrets(error: BaseException, secrets: set[str]) -> None:
    """Take `secrets`, which a server may have repeated, out of an error and out of those behind it."""
    seen: BaseException | None = error
    for _ in range(_DEEPEST_CAUSE):
        if seen is None:
            return
        seen.args = tuple(_hidden(argument, secrets) for argument in seen.args)
        for name, value in list(vars(seen).items()):
            hidden = _hidden(value, secrets)
            if hidden is not value:
                # An error of an SDK may refuse; its text is made of `args` then.
                with suppress(AttributeError):
                    setattr(seen, name, hidden)
        seen = seen.__cause__ or seen.__context__


def _hidden(value: Any, secrets: set[str]) -> Any:
    if isinstance(value, str):
        hidden = value
        for secret in secrets:
            hidden = hidden.replace(secret, "***")
        return value if hidden == value else hidden
    if isinstance(value, dict):
        fields = cast("dict[Any, Any]", value)
        hidden_fields: dict[Any, Any] = {name: _hidden(item, secrets) for name, item in fields.items()}
        is_same = all(hidden_fields[name] is item for name, item in fields.items())
        return fields if is_same else hidden_fields
    return value
