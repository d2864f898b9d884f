"""`Frozen`: an immutable pydantic model that is named by its content, as a git object is."""

import math
from collections.abc import Callable, Generator, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeVar, Union, cast
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, model_validator

from miniagents.promising import _current
from miniagents.promising.ext._checks import check_field_name, check_text, is_secret, refusal
from miniagents.promising.ext._json import AS_IN_JSON, PLAIN_CLASSES, json_text, to_json
from miniagents.promising.ext._plain_fields import ANYTHING, PlainFields, declared_fields, plain_fields
from miniagents.promising.ext._private_cache import cached_privately
from miniagents.promising.ext._thawing import dump_options, fields_to_thaw, thawed

T = TypeVar("T")
S = TypeVar("S", bound="Frozen")

HASH_KEY_DIGITS = 40
"""Digits of a hash key, as many as git has; see `longer_hash_keys` of the context."""

FrozenType = Union[
    str, int, float, bool, bytes, Decimal, UUID, datetime, date, time, timedelta, PurePath, Enum,
    frozenset[Any], tuple[Any, ...], "Frozen", None,
]  # fmt: skip
"""What a field of a `Frozen` may hold."""

_ALWAYS_ALLOWED = frozenset({int, bool, type(None)})
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

    def __init__(self, /, **data: Any) -> None:
        kind = type(self)
        # Of this very class: what holds for its base says nothing of it.
        plain: PlainFields | None = kind.__dict__.get("__plain_fields__")
        if plain is not None and _fill_unvalidated(self, plain, data):
            return
        super().__init__(**data)
        if "__plain_fields__" not in kind.__dict__:
            # Looked at when one was made, as the class is complete then for certain.
            type.__setattr__(kind, "__plain_fields__", plain_fields(kind, Frozen, class_=kind.__name__))

    # Else pydantic would call it where it can do without.
    __init__.__pydantic_base_init__ = True  # pyright: ignore[reportFunctionMemberAccess]

    @model_validator(mode="before")
    @classmethod
    def _freeze_values(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        given = cast("Mapping[str, Any]", values)
        # Declared fields are pydantic's to validate first; they are frozen afterwards.
        declared = declared_fields(cls)
        frozen = {name: value if name in declared else frozen_field(value, str(name)) for name, value in given.items()}
        for name in fields_to_thaw(cls, Frozen) & frozen.keys():
            frozen[name] = thawed(frozen[name], Frozen)
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
        for name in declared_fields(type(self)):
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
        if name in declared_fields(type(self)):
            return self.__dict__[name]
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        return name in declared_fields(type(self)) or name in (self.__pydantic_extra__ or ())

    def __iter__(self) -> Generator[tuple[str, Any], None, None]:
        # Not all of `__dict__`: a `functools.cached_property` keeps its value there, too.
        content = cast("dict[str, Any]", self.__dict__)
        yield from [(name, content[name]) for name in declared_fields(type(self)) if name in content]
        yield from (self.__pydantic_extra__ or {}).items()

    def __len__(self) -> int:
        return len(declared_fields(type(self))) + len(self.__pydantic_extra__ or ())

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

    def model_dump(self, **options: Any) -> dict[str, Any]:
        """Give the fields as pydantic does."""
        return super().model_dump(**dump_options(type(self), Frozen, options))

    def model_dump_json(self, **options: Any) -> str:
        """Give the fields as JSON as pydantic does."""
        return super().model_dump_json(**dump_options(type(self), Frozen, options))

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
        return {
            name: value if value.__class__ in AS_IN_JSON else to_json(value, name, nested=_serialize)
            for name, value in self
        }

    @property
    def serialized(self) -> str:
        """`serialize()` as JSON text, with sorted keys."""
        is_longer = _hash_key_digits() != HASH_KEY_DIGITS
        return self.cached(_LONGER_SERIALIZED if is_longer else _SERIALIZED, self._serialized)

    def _serialized(self) -> str:
        return json_text(self.serialize(), sort_keys=True)

    @property
    def hash_key(self) -> str:
        """The sha256 of `serialized` in hexadecimal: 40 digits, or all 64 where the context says `longer_hash_keys`.

        Content that is equal as JSON gives an equal key, whatever the order of the fields. Works without an active
        context.
        """
        digits = _hash_key_digits()
        name = _HASH_KEY if digits == HASH_KEY_DIGITS else _LONGER_HASH_KEY
        # Asked for again and again, so without what `cached` costs.
        cache: dict[str, Any] | None = cast("Any", self).__pydantic_private__["_cache"]
        found = None if cache is None else cache.get(name)
        if found is not None:
            return found
        # Loaded when used: not every program asks for hashes.
        import hashlib

        return self.cached(name, lambda: hashlib.sha256(self.serialized.encode()).hexdigest()[:digits])

    def be_as_stored(self, serialized: str, hash_key: str) -> None:
        """Have this `serialized` and `hash_key` where a key has so many digits (for this package).

        For what was stored before its class got another field: it is named by what it was.
        """
        is_longer = len(hash_key) != HASH_KEY_DIGITS
        self.cached(_LONGER_SERIALIZED if is_longer else _SERIALIZED, lambda: serialized)
        self.cached(_LONGER_HASH_KEY if is_longer else _HASH_KEY, lambda: hash_key)

    def cached(self, name: str, make: Callable[[], T]) -> T:
        """Give what `make()` gave at the first call with this `name`; it is kept on the object, but is no field."""
        # Past pydantic's attribute access, which is slow for private attributes.
        private: dict[str, Any] = cast("Any", self).__pydantic_private__
        cache: dict[str, Any] | None = private["_cache"]
        if cache is None:
            cache = private["_cache"] = {}
        if name not in cache:
            cache[name] = make()
        return cache[name]


def _serialize(frozen: Frozen) -> dict[str, Any]:
    return frozen.serialize()


def _fill_unvalidated(frozen: "Frozen", plain: PlainFields, data: dict[str, Any]) -> bool:
    """Do what pydantic would do with `data`, if no value in it needs validation; else do nothing."""
    content = plain.defaults.copy()
    extra: dict[str, Any] = {}
    kinds_of = plain.kinds.get
    try:
        for name, value in data.items():
            kind, kinds = value.__class__, kinds_of(name)
            if kinds is None:
                check_field_name(name)
                extra[name] = freeze(value, name)
            elif kind in kinds or kinds is ANYTHING:
                # `_is_plain(value)`, written out as it is asked most often here.
                is_plain = value.isascii() if kind is str else kind in _ALWAYS_ALLOWED
                content[name] = value if is_plain else freeze(value, name)
            else:
                return False
    except (ValueError, RecursionError):
        # It is refused by pydantic, in the words that are known from there.
        return False
    if content["class_"] != frozen.__class__.__name__ or not plain.required <= data.keys():
        return False
    _fill(frozen, content, extra, {"class_", *data})
    return True


def _fill(frozen: "Frozen", content: dict[str, Any], extra: dict[str, Any], fields_set: set[str]) -> None:
    """Do what pydantic does at the end of validation."""
    set_attribute = object.__setattr__
    set_attribute(frozen, "__dict__", content)
    set_attribute(frozen, "__pydantic_fields_set__", fields_set)
    set_attribute(frozen, "__pydantic_extra__", extra)
    set_attribute(frozen, "__pydantic_private__", {"_cache": None})


_HASH_KEY, _LONGER_HASH_KEY = "hash_key", "longer hash_key"
_SERIALIZED, _LONGER_SERIALIZED = "serialized", "longer serialized"
"""Under which names they are kept."""


def _hash_key_digits() -> int:
    context = _current.find()
    return 64 if context is not None and context.longer_hash_keys else HASH_KEY_DIGITS


def is_leaf_class(kind: type[Any]) -> bool:
    """Whether values of this class are frozen as they are."""
    return issubclass(kind, _LEAF_CLASSES) or kind in PLAIN_CLASSES


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
    kind = value.__class__
    if kind in PLAIN_CLASSES:
        if kind is str:
            check_text(value, field)
        elif kind is float and not math.isfinite(value):
            raise refusal(value, field, "JSON has no such number")
        return value
    if isinstance(value, Frozen):
        return value
    if isinstance(value, list | tuple):
        items = cast("list[Any] | tuple[Any, ...]", value)
        return tuple(
            [item if _is_plain(item) else freeze(item, f"{field}[{index}]") for index, item in enumerate(items)]
        )
    if isinstance(value, Mapping):
        entries = cast("Mapping[Any, Any]", value)
        for key in entries:
            if not isinstance(key, str):
                raise refusal(entries, field, f"its key {key!r} is not a string")
            check_text(key, f"a key of {field}")
        return _frozen_mapping(
            {key: item if _is_plain(item) else freeze(item, f"{field}.{key}") for key, item in entries.items()}
        )
    if isinstance(value, frozenset):
        members = cast("frozenset[Any]", value)
        return frozenset(_freeze_leaf(member, f"{field}{{...}}") for member in members)
    if isinstance(value, BaseModel) and not isinstance(value, Frozen):
        return freeze(dict(value), field)
    return _freeze_leaf(value, field)


def _is_plain(value: Any) -> bool:
    """Whether it needs neither a closer look nor, therefore, the path to it put into words, which takes longest."""
    kind = value.__class__
    return value.isascii() if kind is str else kind in _ALWAYS_ALLOWED


def _frozen_mapping(frozen_entries: dict[str, Any]) -> Frozen:
    if "class_" in frozen_entries:
        # Mostly refused, with words of its own.
        return Frozen(**frozen_entries)
    for name in frozen_entries:
        check_field_name(name)
    mapping = Frozen.__new__(Frozen)
    _fill(mapping, {"class_": "Frozen"}, frozen_entries, {"class_", *frozen_entries})
    return mapping


def _freeze_leaf(value: Any, field: str) -> Any:
    if is_secret(value):
        raise refusal(value, field, "a secret must not be stored; give it to the agent as a setting instead")
    if isinstance(value, float | Decimal) and not math.isfinite(value):
        raise refusal(value, field, "JSON has no such number")
    if isinstance(value, Enum):
        freeze(value.value, f"{field}.value")
    if value is None or isinstance(value, (*_LEAF_CLASSES, Frozen)):
        if isinstance(value, str):
            check_text(value, field)
        return value
    raise refusal(value, field, f"{type(value).__name__} can change, or cannot be stored")


__all__ = ["HASH_KEY_DIGITS", "Frozen", "FrozenType", "cached_privately", "freeze", "frozen_field", "is_leaf_class"]
