"""Parameters of an API: frozen settings made into plain JSON again, and told apart by the SDK's signature."""

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, Final, cast

from miniagents.promising.ext.frozen import Frozen


def thawed(value: Any) -> Any:
    """Plain lists and dicts for what a setting was frozen into; anything else as it is."""
    if isinstance(value, Frozen):
        return {key: thawed(item) for key, item in value.as_kwargs().items()}
    if isinstance(value, tuple | list):
        return [thawed(item) for item in cast("tuple[Any, ...]", value)]
    if isinstance(value, Mapping):
        return {key: thawed(item) for key, item in cast("Mapping[str, Any]", value).items()}
    return value


_LONG: Final = frozenset({"messages", "tools", "input"})
"""What goes past the SDKs' arguments: they walk through these key by key, though it is plain JSON already, which takes
20 times as long as sending a dialog of 400 messages."""


def for_sdk(create: Callable[..., Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Keyword arguments with which the SDK's method `create` sends `parameters`.

    What its signature does not know goes into `extra_body`, so that a parameter that is newer (or older) than the SDK
    reaches the server, which is the one to judge it. A parameter that is None is not sent: it means "the default".
    """
    known = _parameter_names(create)
    arguments: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for name, value in parameters.items():
        if value is None:
            continue
        if name in _LONG and name in known:
            arguments[name], unknown[name] = [], value
        else:
            (arguments if name in known else unknown)[name] = value
    if unknown:
        arguments["extra_body"] = {**unknown, **arguments.get("extra_body", {})}
    return arguments


def _parameter_names(create: Callable[..., Any]) -> frozenset[str]:
    # By the function below the bound method: a method object is a new one at each access, and would keep its client.
    return _signature_names(getattr(create, "__func__", create))


@lru_cache(maxsize=64)
def _signature_names(function: Callable[..., Any]) -> frozenset[str]:
    return frozenset(inspect.signature(function).parameters)
