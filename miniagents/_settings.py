"""What an agent's function or class takes, and in which form its settings reach it."""

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Union, cast, get_args, get_origin

from pydantic import BaseModel

from miniagents._call_marks import MARK_NAMES
from miniagents.errors import NotAnAgentError, UnknownSettingError
from miniagents.promising.ext.frozen import freeze, is_leaf_class, is_secret

RESERVED_NAMES = ("messages", "start_asap", "errors_to_messages", "usage_limits", "rate_limit", "class_", *MARK_NAMES)


class AgentSignature:
    """The parameters of an agent's function, or of its class, apart from the context."""

    def __init__(self, func_or_class: Callable[..., Any], name: str) -> None:
        self.is_class = inspect.isclass(func_or_class)
        # A class may judge a setting where it is given, before it is stored: `__check_setting__(name, value)`.
        self._check: Callable[[str, Any], None] | None = getattr(func_or_class, "__check_setting__", None)
        _check_kind(func_or_class, name)
        parameters, self.context_name = _parameters(func_or_class, is_class=self.is_class)
        positional = [key for key, found in parameters.items() if found.kind is inspect.Parameter.POSITIONAL_ONLY]
        if positional:
            raise NotAnAgentError(
                f"The agent `{name}` takes `{positional[0]}` by position only, but settings come as keywords. Move the "
                "`/` in its signature to directly behind the context."
            )
        taken = [reserved for reserved in RESERVED_NAMES if reserved in parameters]
        if taken:
            raise NotAnAgentError(
                f"The agent `{name}` declares a parameter `{taken[0]}`, which `inquire()` takes for itself "
                f"({', '.join(f'`{reserved}`' for reserved in RESERVED_NAMES)} are reserved). Give it another name."
            )
        kinds = {parameter.kind for parameter in parameters.values()}
        self.takes_anything = inspect.Parameter.VAR_KEYWORD in kinds
        named = {
            key: parameter
            for key, parameter in parameters.items()
            if parameter.kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
        }
        self.names = frozenset(named)
        self.required = frozenset(key for key, found in named.items() if found.default is inspect.Parameter.empty)
        hints = _hints(func_or_class, is_class=self.is_class)
        self.unfrozen = frozenset(key for key in self.names if not _is_freezable(hints.get(key, Any)))
        self.secrets = frozenset(key for key in self.names if _is_for_a_secret(hints.get(key, Any)))
        self._only_secrets = frozenset(key for key in self.secrets if _is_for_nothing_else(hints.get(key, Any)))

    def check_names(self, alias: str, names: Iterable[str]) -> None:
        """Refuse settings that the agent does not take.

        Raises:
            UnknownSettingError: it has no such parameter.
        """
        for name in names:
            if name in RESERVED_NAMES or name == self.context_name:
                raise UnknownSettingError(
                    f"`{name}` is no setting that the agent `{alias}` could get: `inquire()` takes it for itself."
                )
            if name not in self.names and not self.takes_anything:
                takes = ", ".join(f"`{known}`" for known in sorted(self.names)) or "no settings"
                raise UnknownSettingError(f"The agent `{alias}` does not take `{name}`. It takes {takes}.")

    def check_complete(self, alias: str, names: Iterable[str]) -> None:
        """Refuse a call that lacks a setting without a default.

        Raises:
            UnknownSettingError: something is missing.
        """
        missing = self.required.difference(names)
        if missing:
            listed = ", ".join(f"`{name}`" for name in sorted(missing))
            raise UnknownSettingError(
                f"The agent `{alias}` needs {listed}. Pass it to `inquire(...)`, or fix it with "
                f"`fork({', '.join(f'{name}=...' for name in sorted(missing))})`."
            )

    def prepare(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Give the settings as the agent gets them: frozen, but for those whose declared type says otherwise.

        Raises:
            ValueError: one cannot be frozen, or is no secret where it should be one; it is named.
        """
        if self._check is not None:
            for name, value in settings.items():
                self._check(name, value)
        return {name: self._prepared(name, value) for name, value in settings.items()}

    def _prepared(self, name: str, value: Any) -> Any:
        if isinstance(value, str) and name in self.secrets:
            # Loaded when used, like all of pydantic that a program may do without.
            from pydantic import SecretStr

            return SecretStr(value)
        if name in self._only_secrets and value is not None and not is_secret(value):
            raise ValueError(f"`{name}` is a secret: give a text or a `SecretStr`, not a {type(value).__name__}.")
        if name in self.unfrozen or is_secret(value):
            return value
        try:
            return freeze(value, name)
        except ValueError as error:
            why = f"`{name}` cannot be frozen, as something in it can change." if name in HELD_BACK else str(error)
        # Outside of the block above, so that the error does not have one behind it that shows a secret.
        raise ValueError(
            f"{why} To pass it as it is, declare its type in the agent's signature (it is then recorded by name "
            f"only), or hand it over in `fork(mutable_state={{{name!r}: ...}})`."
        )


def recorded(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Give the settings in the form in which they are recorded: what is not frozen by its name, secrets not at all."""
    # Loaded when used: what it looks for takes long to compile.
    from miniagents._secret_settings import is_left_out, without_secret_parts

    record: dict[str, Any] = {}
    for name, value in settings.items():
        # A text as a client is a key in the wrong place.
        is_key = name == "async_client" and isinstance(value, str)
        if not is_key and not is_secret(value) and name not in HELD_BACK and not is_left_out(name, value):
            shown = without_credentials(value) if name in _ADDRESSES else without_secret_parts(name, value)
            record[name] = _recorded_value(shown, name)
    return record


def without_credentials(url: Any) -> Any:
    """Give a URL without what keys and passwords travel in: the user, and all of the query. Anything else as it is."""
    if not isinstance(url, str):
        return url
    scheme, found, rest = url.partition("://") if "://" in url else ("", "", url)
    address, asks, query = rest.partition("?")
    if "@" in query:
        # A password with a question mark in it, or a query with an `@`: nobody can tell.
        return f"{scheme}{found}***"
    authority = address.partition("/")[0]
    # With something else than a port behind the colon, what looks like a host is a user, and has a password with a `/`.
    is_user = "@" in authority or (":" in authority and not authority.rpartition(":")[2].isdigit())
    host = address.rpartition("@")[2] if is_user else address
    return f"{scheme}{found}{'***@' if host != address else ''}{host}{'?***' if asks else ''}"


def _recorded_value(value: Any, name: str) -> Any:
    try:
        return freeze(value, name)
    except ValueError:
        if isinstance(value, list | tuple):
            return tuple(_recorded_value(item, name) for item in cast("Iterable[Any]", value))
        return qualified_name(value)


def qualified_name(value: object) -> str:
    """Give the name by which a function, a class or an object is recorded: `module.Class` of what it is."""
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{getattr(named, '__module__', '')}.{getattr(named, '__qualname__', type(value).__name__)}"


def _check_kind(func_or_class: Callable[..., Any], name: str) -> None:
    if inspect.isclass(func_or_class):
        if not inspect.iscoroutinefunction(getattr(func_or_class, "__call__", None)):  # noqa: B004 - the method itself
            raise NotAnAgentError(
                f"The class `{name}` cannot be an agent without an async `__call__`. Add "
                "`async def __call__(self) -> None: ...`; its constructor gets `ctx` and the settings."
            )
        _check_call(func_or_class, name)
    elif inspect.isasyncgenfunction(func_or_class):
        raise NotAnAgentError(
            f"`{name}` is an async generator; an agent replies with `ctx.reply(...)` instead of `yield`. Write "
            f"`async def {name}(ctx: InteractionContext) -> None: ...` without `yield`."
        )
    elif not inspect.iscoroutinefunction(func_or_class):
        raise NotAnAgentError(
            f"{func_or_class!r} cannot be an agent: `@miniagent` takes an async function or a class with an async "
            f"`__call__`. Write `async def {name}(ctx: InteractionContext) -> None: ...`."
        )


def _check_call(kind: type[Any], name: str) -> None:
    parameters = list(inspect.signature(kind.__call__).parameters.values())[1:]
    needed = [
        found.name
        for found in parameters
        if found.default is inspect.Parameter.empty
        and found.kind not in (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    ]
    if needed:
        raise NotAnAgentError(
            f"`__call__` of the agent class `{name}` needs `{needed[0]}`, but it is called without arguments. Take it "
            "in the constructor, which gets `ctx` and the settings."
        )


def _parameters(
    func_or_class: Callable[..., Any], *, is_class: bool
) -> tuple[dict[str, inspect.Parameter], str | None]:
    """Give the parameters for settings, and the name of the one for the context."""
    try:
        parameters = dict(inspect.signature(func_or_class).parameters)
    except (TypeError, ValueError):
        # A class whose signature Python cannot tell: its constructor will say what is wrong.
        return {"settings": inspect.Parameter("settings", inspect.Parameter.VAR_KEYWORD)}, "ctx"
    name = getattr(func_or_class, "__name__", "agent")
    if is_class:
        takes_anything = any(found.kind is inspect.Parameter.VAR_KEYWORD for found in parameters.values())
        if parameters.pop("ctx", None) is None and not takes_anything:
            raise NotAnAgentError(
                f"The class `{name}` cannot be an agent, as its constructor does not take `ctx`. Add a parameter or "
                "field `ctx: InteractionContext` to it."
            )
        return parameters, "ctx"
    first = next(iter(parameters.values()), None)
    positional = (
        inspect.Parameter.POSITIONAL_ONLY,
        inspect.Parameter.POSITIONAL_OR_KEYWORD,
        inspect.Parameter.VAR_POSITIONAL,
    )
    if first is None or first.kind not in positional:
        raise NotAnAgentError(
            f"The agent `{name}` has no parameter for its context. Write "
            f"`async def {name}(ctx: InteractionContext, ...) -> None: ...`."
        )
    if first.kind is inspect.Parameter.VAR_POSITIONAL:
        return parameters, None
    del parameters[first.name]
    return parameters, first.name


def _hints(func_or_class: Callable[..., Any], *, is_class: bool) -> dict[str, Any]:
    if is_class and isinstance(func_or_class, type) and issubclass(func_or_class, BaseModel):
        return {name: field.annotation for name, field in func_or_class.model_fields.items()}
    sources: list[Any] = [func_or_class]
    if is_class and isinstance(func_or_class, type) and "__init__" in vars(func_or_class):
        sources.append(vars(func_or_class)["__init__"])
    hints: dict[str, Any] = {}
    for source in sources:
        try:
            hints.update(typing.get_type_hints(source))
        except Exception:  # noqa: BLE001 - a name that cannot be resolved here says nothing about the value
            hints.update(dict.fromkeys(getattr(source, "__annotations__", {}), object))
    return hints


def _is_freezable(hint: Any) -> bool:
    """Whether a declared type asks for nothing but values that can be frozen."""
    if hint is Any or hint is None or hint is type(None) or isinstance(hint, str | typing.TypeVar):
        return True
    origin = get_origin(hint)
    if origin is typing.Literal:
        return True
    if origin in (Union, types.UnionType, typing.Annotated):
        arguments = get_args(hint)[:1] if origin is typing.Annotated else get_args(hint)
        return all(_is_freezable(argument) for argument in arguments)
    if origin is not None:
        return _is_container(origin) and all(
            argument is Ellipsis or _is_freezable(argument) for argument in get_args(hint)
        )
    return isinstance(hint, type) and (
        hint is object or _is_container(hint) or is_leaf_class(hint) or issubclass(hint, BaseModel)
    )


HELD_BACK = frozenset({"extra_headers", "default_headers", "extra_query", "http_options"})
"""Settings that are never recorded or logged, as keys travel in them."""

_ADDRESSES = frozenset({"base_url", "azure_endpoint"})
"""URLs of servers, which are recorded without the keys and passwords in them."""


def _is_for_a_secret(hint: Any) -> bool:
    """Whether a parameter is declared to take a `SecretStr`."""
    return any(getattr(part, "__name__", "") == "SecretStr" for part in (hint, *get_args(hint)))


def _is_for_nothing_else(hint: Any) -> bool:
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return {getattr(part, "__name__", "") for part in parts} <= {"SecretStr", "str", "NoneType"}


def _is_container(kind: Any) -> bool:
    return (
        isinstance(kind, type)
        and (issubclass(kind, list | tuple | frozenset | Mapping) or kind.__module__ == "collections.abc")
        and kind is not typing.get_origin(Callable[..., Any])
        and not issubclass(kind, set)
    )
