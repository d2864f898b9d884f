"""`Frozen`: an immutable pydantic model that is named by its content, as a git object is."""

import math
import sys
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import wraps
from pathlib import PurePath
from typing import Any, TypeVar, Union, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from miniagents.promising import _current
from miniagents.promising.ext._json import PLAIN_CLASSES, json_text, to_json

T = TypeVar("T")
S = TypeVar("S", bound="Frozen")

HASH_KEY_DIGITS = 40
"""Digits of a hash key, as many as git has; see `longer_hash_keys` of the context."""

FrozenType = Union[
    str, int, float, bool, bytes, Decimal, UUID, datetime, date, time, timedelta, PurePath, Enum,
    frozenset[Any], tuple[Any, ...], "Frozen", None,
]  # fmt: skip
"""What a field of a `Frozen` may hold."""

_LEAF_CLASSES = (str, int, float, bytes, Decimal, UUID, datetime, date, time, timedelta, PurePath, Enum)


class Frozen(BaseModel):
    """An immutable pydantic model that is named by its content: nothing in it can change, however deep.

    Extra fields are allowed. Values are frozen on the way in: a list becomes a tuple, a dict a `Frozen`; what cannot be
    frozen is refused with a `ValidationError` that names the field. Frozen objects inside are kept as they are.

    Two are equal if they are of one class and have the same content; private attributes and caches do not count.
    It can be read as a mapping: `x["field"]`, `x.get("field")`, `"field" in x`, `x.keys()`, `x.values()`, `len(x)`,
    `**x.as_kwargs()`; iteration gives (name, value) pairs, as in pydantic.

    Raises:
        pydantic.ValidationError: a value cannot be frozen, or a field is set after creation.
    """

    # `defer_build`: a class is made ready when it is first used, which keeps importing this package cheap.
    model_config = ConfigDict(
        frozen=True, extra="allow", arbitrary_types_allowed=True, protected_namespaces=(), defer_build=True
    )

    class_: str = Field(default="", validate_default=False)
    """The name of the class."""

    _cache: dict[str, Any] | None = PrivateAttr(default=None)

    @model_validator(mode="before")
    @classmethod
    def _freeze_values(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        given = cast("Mapping[str, Any]", values)
        # Declared fields are pydantic's to validate first; they are frozen afterwards.
        declared = cls.model_fields
        frozen = {name: value if name in declared else frozen_field(value, str(name)) for name, value in given.items()}
        if frozen.setdefault("class_", cls.__name__) != cls.__name__:
            raise ValueError(
                f"`class_` is the name of the class, here {cls.__name__!r}; it cannot be {frozen['class_']!r}."
            )
        for name in given:
            check_field_name(name)
        return frozen

    @model_validator(mode="after")
    def _freeze_declared_fields(self: S) -> S:
        content = cast("dict[str, Any]", self.__dict__)
        for name in type(self).model_fields:
            value = content[name]
            if type(value) is not str:
                content[name] = frozen_field(value, name)
            else:
                check_text(value, name)
        return self

    # -- reading -------------------------------------------------------------------------------------------------

    def __getitem__(self, name: str) -> Any:
        # Not `getattr`: a field may be named like a method.
        extra = self.__pydantic_extra__
        if extra and name in extra:
            return extra[name]
        if name in type(self).model_fields:
            return self.__dict__[name]
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return name in type(self).model_fields or name in (self.__pydantic_extra__ or ())

    def __len__(self) -> int:
        return len(type(self).model_fields) + len(self.__pydantic_extra__ or ())

    def __bool__(self) -> bool:
        # A message is something even where it has no fields of its own.
        return True

    def get(self, name: str, default: Any = None) -> Any:
        """Give the value of a field, or `default` if there is no such field."""
        return self[name] if name in self else default  # noqa: SIM401 - this is `get`

    def keys(self) -> list[str]:
        """Give the names of the fields: declared ones in their order, then the extra ones."""
        return [name for name, _ in self]

    def values(self) -> list[Any]:
        """Give the values of the fields, in the order of `keys()`."""
        return [value for _, value in self]

    def as_kwargs(self) -> dict[str, Any]:
        """Give all fields but `class_`, for `SomeClass(**frozen.as_kwargs())`."""
        return {name: value for name, value in self if name != "class_"}

    # -- identity ------------------------------------------------------------------------------------------------

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Frozen):
            return NotImplemented
        return type(self) is type(other) and self.as_kwargs() == other.as_kwargs()

    def __hash__(self) -> int:
        return self.cached("hash", lambda: hash((type(self), frozenset(self))))

    def __getstate__(self) -> dict[Any, Any]:
        state = super().__getstate__()
        # What was merely kept for speed is made anew elsewhere.
        state["__pydantic_private__"] = {**(state["__pydantic_private__"] or {}), "_cache": None}
        return state

    def __copy__(self: S) -> S:
        # Nothing in it can change, so that a copy would only be another name for it.
        return self

    def __deepcopy__(self: S, memo: dict[int, Any] | None = None) -> S:
        return self

    def model_copy(self: S, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> S:
        """Give one like this with the fields in `update` changed, validated and frozen like any other.

        Raises:
            pydantic.ValidationError: a value cannot be frozen or has the wrong type.
        """
        return type(self)(**{**self.as_kwargs(), **update}) if update else self

    # -- as text -------------------------------------------------------------------------------------------------

    def __str__(self) -> str:
        return self.as_string

    @property
    def as_string(self) -> str:
        """What `str()` gives: `full_json`, unless a subclass overrides `_as_string`."""
        return self.cached("as_string", self._as_string)

    def _as_string(self) -> str:
        return self.full_json

    @property
    def full_json(self) -> str:
        """Everything in it as JSON, nested objects included."""
        return self.cached("full_json", lambda: json_text(self._full_content()))

    def _full_content(self) -> dict[str, Any]:
        return {name: to_json(value, name, nested=Frozen._full_content) for name, value in self}

    def serialize(self) -> dict[str, Any]:
        """Give the content as a dict that JSON can hold; this is what `hash_key` is made of. Sequences stay tuples."""
        return {name: to_json(value, name, nested=lambda frozen: frozen.serialize()) for name, value in self}

    @property
    def serialized(self) -> str:
        """`serialize()` as JSON text, with sorted keys."""
        return self.cached(
            f"serialized, {_hash_key_digits()}",
            lambda: json_text(self.serialize(), sort_keys=True),
        )

    @property
    def hash_key(self) -> str:
        """The sha256 of `serialized` in hexadecimal: 40 digits, or all 64 where the context says `longer_hash_keys`.

        Content that is equal as JSON gives an equal key, whatever the order of the fields. Works without an active
        context.
        """
        # Loaded when used: not every program asks for hashes.
        import hashlib

        digits = _hash_key_digits()
        return self.cached(f"hash_key, {digits}", lambda: hashlib.sha256(self.serialized.encode()).hexdigest()[:digits])

    def cached(self, name: str, make: Callable[[], T]) -> T:
        """Give what `make()` gave at the first call with this `name`; it is kept on the object, but is no field."""
        # Past pydantic's attribute access, which is slow for private attributes.
        private = cast("dict[str, Any]", self.__pydantic_private__)
        cache = private["_cache"]
        if cache is None:
            cache = private["_cache"] = {}
        if name not in cache:
            cache[name] = make()
        return cast("T", cache[name])


def _hash_key_digits() -> int:
    context = _current.find()
    return 64 if context is not None and context.longer_hash_keys else HASH_KEY_DIGITS


def cached_privately(method: Callable[[S], T]) -> Callable[[S], T]:
    """Make a method of a `Frozen` without arguments compute its result once per object.

    The result is no field: it changes neither equality nor the hash key. Put it below `@property` for a property.
    """

    @wraps(method)
    def cached(self: S) -> T:
        return self.cached(f"method {method.__qualname__}", lambda: method(self))

    return cached


def is_leaf_class(kind: type[Any]) -> bool:
    """Whether values of this class are frozen as they are."""
    return issubclass(kind, _LEAF_CLASSES) or kind in PLAIN_CLASSES


def check_field_name(name: object) -> None:
    """Refuse a field name that cannot be stored.

    Raises:
        ValueError: it is no string, or it ends like the references that stand for nested messages.
    """
    if not isinstance(name, str):
        raise ValueError(f"A field is named by a string, not by {name!r}.")  # noqa: TRY004 - pydantic reports it
    if name.endswith(("__hash_key", "__hash_keys")):
        raise ValueError(
            f"`{name}`: names that end in `__hash_key` or `__hash_keys` stand for nested messages in the stored form. "
            "Choose another name."
        )
    check_text(name, "the name of a field")


def check_text(text: str, field: str) -> None:
    """Refuse text that UTF-8 cannot hold."""
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"`{field}` cannot be frozen: {text!r} has a lone surrogate, which is no character and has no place in "
                "UTF-8. Decode the bytes it came from with `errors='replace'`."
            ) from None


def frozen_field(value: Any, field: str) -> Any:
    """Give what `freeze` gives, and a clear error for what is nested without end.

    Raises:
        ValueError: it cannot be frozen.
    """
    try:
        return freeze(value, field)
    except RecursionError:
        raise ValueError(f"`{field}` cannot be frozen: it contains itself, or is nested too deep.") from None


def freeze(value: Any, field: str) -> Any:
    """Give `value` in an immutable form: lists as tuples, dicts as `Frozen`, everything allowed as it is.

    Raises:
        ValueError: it cannot be frozen; `field` (a path such as `a.b[2]`) is named.
    """
    kind = cast("type[Any]", type(value))
    if kind in PLAIN_CLASSES:
        if kind is str:
            check_text(value, field)
        elif kind is float and not math.isfinite(value):
            raise _refusal(value, field, "JSON has no such number")
        return value
    if isinstance(value, Frozen):
        return value
    if isinstance(value, list | tuple):
        items = cast("list[Any] | tuple[Any, ...]", value)
        return tuple([freeze(item, f"{field}[{index}]") for index, item in enumerate(items)])
    if isinstance(value, Mapping):
        entries = cast("Mapping[Any, Any]", value)
        for key in entries:
            if not isinstance(key, str):
                raise _refusal(entries, field, f"its key {key!r} is not a string")
            check_text(key, f"a key of {field}")
        return Frozen(**{key: freeze(item, f"{field}.{key}") for key, item in entries.items()})
    if isinstance(value, frozenset):
        members = cast("frozenset[Any]", value)
        return frozenset(_freeze_leaf(member, f"{field}{{...}}") for member in members)
    if isinstance(value, BaseModel) and not isinstance(value, Frozen):
        return freeze(dict(value), field)
    return _freeze_leaf(value, field)


def _freeze_leaf(value: Any, field: str) -> Any:
    if is_secret(value):
        raise _refusal(value, field, "a secret must not be stored; give it to the agent as a setting instead")
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        raise _refusal(value, field, "JSON has no such number")
    if isinstance(value, Enum):
        freeze(value.value, f"{field}.value")
    if value is None or isinstance(value, (*_LEAF_CLASSES, Frozen)):
        if isinstance(value, str):
            check_text(value, field)
        return value
    raise _refusal(value, field, f"{type(value).__name__} can change, or cannot be stored")


def _refusal(value: object, field: str, why: str) -> ValueError:
    return ValueError(
        f"`{field}` cannot be frozen: {value!r}: {why}. Allowed are `None`, strings, numbers, booleans, bytes, UUIDs, "
        "dates and times, paths, enum members, frozensets of those, lists, tuples, dicts and `Frozen` objects."
    )


def is_secret(value: object) -> bool:
    """Whether `value` is one of pydantic's secrets, which must not be stored."""
    # Where pydantic's types were never loaded, there is none.
    types = sys.modules.get("pydantic.types")
    return types is not None and isinstance(value, types.SecretStr | types.SecretBytes)
