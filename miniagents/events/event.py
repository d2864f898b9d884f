"""`Event`: a message that says what happened, and the stamps that say where it stands among others.

The stamps are beside the content: they are no fields, so that events of equal content are equal and have one hash key,
wherever they came from. The bus stamps the copy that it delivers; the object that was emitted never changes.
"""

from collections.abc import Generator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, Self, TypeVar, cast

from pydantic import (
    BaseModel,
    ConfigDict,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from miniagents._settings import qualified_name
from miniagents.events._contents import (
    check_stamps,
    class_named,
    is_pending,
    is_special,
    is_wanted,
    plain_value,
    special_value,
    value_from_json,
)
from miniagents.events.errors import RegistrationError, UnresolvedEventError
from miniagents.messages import Message
from miniagents.promising._wording import shown
from miniagents.promising.ext._json import json_text, to_json
from miniagents.promising.ext._plain_fields import ANYTHING, PlainFields, declared_fields, plain_fields
from miniagents.promising.ext.frozen import Frozen, freeze, frozen_field

Stamps = tuple[str | None, str | None, str | None, str | None]
"""The id, the correlation id, the causation id and the source of an event."""

STAMP_NAMES: Final = ("id", "correlation_id", "causation_id", "source")
E = TypeVar("E", bound="Event")
_AS_IT_IS: Final = frozenset({int, bool, type(None)})


class Event(Message):
    """Something that happened. Subclass it: `class Ordered(Event): item: str`.

    It is frozen and refuses unknown fields. A field may be a promise (`text: MessagePromise`): whoever gets the event
    reads its tokens as they come. `await event.resolved()` waits for all promises in it.

    `model_dump_json()` and `model_validate_json()` give an equal event with equal stamps. Called on a base class, the
    latter gives an object of the subclass that the JSON names.

    Args:
        content: the text of the message, if it has one.
        id, correlation_id, causation_id, source: stamps, mostly left to the bus. A class given as `source` is kept by
            its qualified name.
        fields: the fields of the subclass.

    Raises:
        pydantic.ValidationError: a field is unknown or missing, cannot be frozen, has the wrong type, or is set.
    """

    model_config = ConfigDict(extra="forbid")

    # For the class that it names: its fields, if pydantic need not be asked. What holds for a base says nothing.
    __plain_event_fields__: ClassVar[tuple[type[Any] | None, PlainFields | None]] = (None, None)

    # Beside the fields, and not in a dict of their own: there may be a great many events.
    __slots__ = STAMP_NAMES

    if TYPE_CHECKING:
        # As fields, so that a type checker knows the arguments of the constructor.
        id: str | None = None
        """The name of this event, unique; None before a bus has taken it."""
        correlation_id: str | None = None
        """What it has in common with all that follows from one event: the id of that event, unless it was given."""
        causation_id: str | None = None
        """The id of the event that it is a reply to."""
        source: Any = None
        """Who emitted it: what was given, else the name of the handler that replied with it."""

    def __init__(
        self,
        /,
        content: str | None = None,
        *,
        id: str | None = None,  # noqa: A002 - the stamp is called so
        correlation_id: str | None = None,
        causation_id: str | None = None,
        source: Any = None,
        **fields: Any,
    ) -> None:
        kind = type(self)
        known_class, plain = self.__plain_event_fields__
        if known_class is not kind or plain is None or not _fill_unvalidated(self, plain, content, fields):
            super().__init__(content, **fields)
            if known_class is not kind:
                # Looked at when one was made, as the class is complete then for certain.
                plain = plain_fields(kind, Event, class_=kind.__name__)
                type.__setattr__(kind, "__plain_event_fields__", (kind, plain))
        if (
            id is not None or source is not None or correlation_id is not None or causation_id is not None
        ):  # most have none
            check_stamps(id=id, correlation_id=correlation_id, causation_id=causation_id, source=source)
            text = qualified_name(source) if isinstance(source, type) else source
            stamp(self, id, correlation_id, causation_id, text)

    def __getattr__(self, name: str) -> Any:
        # Asked for what is not set: what an event need not have of its own is not set in each of them. Of private
        # attributes there is one here, the cache of every frozen object; those of subclasses are pydantic's to set.
        if name == "__pydantic_private__" and len(self.__private_attributes__) == 1:
            object.__setattr__(self, name, {"_cache": None})
            return self.__pydantic_private__
        if name in _UNSET:
            return _UNSET[name]
        return cast("Any", super()).__getattr__(name)

    def __getstate__(self) -> dict[Any, Any]:
        return {**super().__getstate__(), "stamps": stamps_of(self)}

    def __setstate__(self, state: dict[Any, Any]) -> None:
        stamp(self, *state.pop("stamps"))
        super().__setstate__(state)

    def __init_subclass__(cls, **options: Any) -> None:
        taken = [name for name in STAMP_NAMES if name in cls.__dict__.get("__annotations__", {})]  # noqa: RUF063 - a name need not be there yet
        if taken:
            raise RegistrationError(
                f"`{cls.__name__}` declares a field `{taken[0]}`, which is a stamp that every event has beside its "
                f"content ({', '.join(f'`{name}`' for name in STAMP_NAMES)}). Give the field another name."
            )
        super().__init_subclass__(**options)

    @model_validator(mode="before")
    @classmethod
    def _take_special_values(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        declared = declared_fields(cls)
        return {
            name: special_value(value, declared[name].annotation) if name in declared else value
            for name, value in cast("Mapping[str, Any]", values).items()
        }

    # In place of what the base class does: promises and errors stay as they are.
    @model_validator(mode="after")
    def _freeze_declared_fields(self) -> Self:
        content = cast("dict[str, Any]", self.__dict__)
        for name in declared_fields(type(self)):
            if not is_special(content[name]):
                content[name] = frozen_field(content[name], name)
        return self

    # -- stamps --------------------------------------------------------------------------------------------------

    @property
    def stamps(self) -> dict[str, str]:
        """The stamps that it has, by name: what is to be kept beside the content."""
        return {name: value for name, value in zip(STAMP_NAMES, stamps_of(self), strict=True) if value is not None}

    # As JSON, also where pydantic writes it: inside of another model.
    @model_serializer(mode="wrap")
    def _dump_with_stamps(self, dump_fields: SerializerFunctionWrapHandler, info: SerializationInfo):  # noqa: ANN202 - a type would stand for the fields in JSON schemas
        stamps = {name: value for name, value in self.stamps.items() if is_wanted(name, info)}
        return {**dump_fields(self), **stamps}

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """Give one like this, with the same stamps, and with the fields and stamps in `update` changed.

        Raises:
            pydantic.ValidationError: a value cannot be frozen or has the wrong type.
        """
        return type(self)(**{**self._raw_fields(), **self.stamps, **update}) if update else self

    # -- promises ------------------------------------------------------------------------------------------------

    @property
    def is_resolved(self) -> bool:
        """Whether no field is a promise that is still pending."""
        return self._pending_field() is None

    async def resolved(self) -> Self:
        """Wait for every promise in its fields; give the event itself, which now has JSON and a hash key.

        Raises:
            BaseException: a promise failed; its own error.
        """
        for value in list(cast("dict[str, Any]", self.__dict__).values()):
            if is_special(value) and not isinstance(value, BaseException):
                await value
        return self

    def _pending_field(self) -> str | None:
        if _is_plain(type(self)):
            return None
        content = cast("dict[str, Any]", self.__dict__)
        return next((name for name in declared_fields(type(self)) if is_pending(content[name])), None)

    def _check_resolved(self) -> None:
        pending = self._pending_field()
        if pending is not None:
            raise UnresolvedEventError(type(self).__name__, pending)

    # -- content -------------------------------------------------------------------------------------------------

    def _raw_fields(self) -> dict[str, Any]:
        content = cast("dict[str, Any]", self.__dict__)
        return {name: content[name] for name in declared_fields(type(self)) if name != "class_"}

    def __iter__(self) -> Generator[tuple[str, Any], None, None]:
        """Give (name, value) pairs; for a promise the message that it resolved to, if it has."""
        if _is_plain(type(self)):
            return super().__iter__()
        return ((name, plain_value(value)) for name, value in super().__iter__())

    def __repr__(self) -> str:
        # Long fields in short, and errors that cannot be shown: these are what dead letters are made of.
        return f"{self.__repr_name__()}({', '.join(f'{name}={shown(value)}' for name, value in self.__repr_args__())})"

    def __hash__(self) -> int:
        if _is_plain(type(self)):
            return self.cached("hash", lambda: hash((type(self), frozenset(self))))
        # Without what may still come: a hash must not change.
        content = cast("dict[str, Any]", self.__dict__)
        steady = [(name, content[name]) for name in declared_fields(type(self)) if not is_special(content[name])]
        return self.cached("hash", lambda: hash((type(self), frozenset(steady))))

    def serialize(self) -> dict[str, Any]:
        """Give the content, without the stamps, as a dict that JSON can hold; this is what `hash_key` is made of.

        Raises:
            UnresolvedEventError: a field is a promise that is still pending.
        """
        self._check_resolved()
        return super().serialize()

    def _full_content(self) -> dict[str, Any]:
        self._check_resolved()
        return super()._full_content()

    def model_dump_json(self, **options: Any) -> str:
        """Give the content and the stamps as JSON; `model_validate_json()` gives an equal event back.

        Raises:
            UnresolvedEventError: a field is a promise that is still pending; use `await event.resolved()` first.
            TypeError: another option than `indent` is given.
        """
        indent = options.pop("indent", None)
        if options:
            raise TypeError(
                f"`model_dump_json()` of an event takes no `{next(iter(options))}`: its JSON is always whole, so that "
                "it can be read back. Use `json.dumps(event.model_dump(...))` for a part of it."
            )
        content = _json_content(self)
        if indent is None:
            return json_text(content)
        # Loaded when used, as in `json_text`.
        import json

        return json.dumps(content, ensure_ascii=False, indent=indent)

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Give the event that `model_dump_json()` was called on, stamps included; of the subclass that is named there.

        Raises:
            pydantic.ValidationError: it is no event of this class.
            ValueError: it is no JSON.
        """
        if options:
            _refuse_options("model_validate_json", options)
        # Loaded when used: not every program reads JSON.
        import json

        data = json.loads(json_data)
        if not isinstance(data, dict):
            raise ValueError(f"The JSON of an event is an object, not {shown(data)}.")  # noqa: TRY004 - it is the text that is wrong
        fields = cast("dict[str, Any]", data)
        kind = cast("type[Self]", class_named(cls, fields.get("class_")) or cls)
        declared = declared_fields(kind)
        return kind(
            **{
                name: value_from_json(value, declared[name].annotation) if name in declared else value
                for name, value in fields.items()
            }
        )


def _refuse_options(method: str, options: Mapping[str, Any]) -> NoReturn:
    raise TypeError(f"`{method}()` of an event takes no `{next(iter(options))}`.")


def _json_content(frozen: Frozen) -> dict[str, Any]:
    """Give everything in `frozen` for JSON, with the stamps of the events in it."""
    if isinstance(frozen, Event):
        frozen._check_resolved()
        stamps = frozen.stamps
    else:
        stamps = {}
    return {**{name: to_json(value, name, nested=_json_content) for name, value in frozen}, **stamps}


def _is_plain(kind: type[Event]) -> bool:
    known_class, plain = kind.__plain_event_fields__
    return known_class is kind and plain is not None


def _fill_unvalidated(event: Event, plain: PlainFields, content: str | None, fields: dict[str, Any]) -> bool:
    """Do what pydantic would do, if no value needs validation; else do nothing. See `Frozen`, which does the same."""
    values = plain.defaults.copy()
    kinds_of = plain.kinds
    if content is not None:
        fields["content"] = content
    try:
        for name, value in fields.items():
            kind = value.__class__
            kinds = kinds_of[name]
            if kind not in kinds and (kinds is not ANYTHING or kind is dict):
                return False
            if kind is str:
                is_plain = value.isascii()
            elif kind is dict:
                return False
            else:
                is_plain = kind in _AS_IT_IS
            values[name] = value if is_plain else freeze(value, name)
    except (KeyError, ValueError, RecursionError):
        # It is refused by pydantic, in the words that are known from there.
        return False
    for name in plain.required:
        if name not in fields:
            return False
    if "class_" in fields and fields["class_"] != type(event).__name__:
        return False
    _set_content(event, values)
    stamp(event, None, None, None, None)
    return True


# What `object.__setattr__` looks up each time.
_new = object.__new__
_of_model: Any = BaseModel.__dict__
_set_content = _of_model["__dict__"].__set__
_set_id, _set_correlation_id, _set_causation_id, _set_source = (Event.__dict__[name].__set__ for name in STAMP_NAMES)

_UNSET: Final[dict[str, Any]] = {
    **dict.fromkeys(STAMP_NAMES),
    # One set for all is safe, as nothing of a frozen model ever adds to it.
    "__pydantic_fields_set__": {"class_"},
    "__pydantic_extra__": None,
    "__pydantic_private__": None,
}


def stamps_of(event: Event) -> Stamps:
    """Give the id, correlation id, causation id and source of `event` (for this package)."""
    return event.id, event.correlation_id, event.causation_id, event.source


def stamp(
    event: Event, new_id: str | None, correlation_id: str | None, causation_id: str | None, source: str | None
) -> None:
    """Stamp an event that nobody else has yet (for this package)."""
    _set_id(event, new_id)
    _set_correlation_id(event, correlation_id)
    _set_causation_id(event, causation_id)
    _set_source(event, source)


def stamped(event: E, new_id: str, correlation_id: str | None, causation_id: str | None, source: str | None) -> E:
    """Give a copy of `event` with these stamps, which shares the content (for this package)."""
    copy = _new(type(event))
    _set_content(copy, event.__dict__)
    _set_id(copy, new_id)
    _set_correlation_id(copy, correlation_id)
    _set_causation_id(copy, causation_id)
    _set_source(copy, source)
    if len(event.__private_attributes__) > 1:
        # A subclass has some besides the cache of every frozen object.
        private: Any = event.__pydantic_private__
        object.__setattr__(copy, "__pydantic_private__", {**private, "_cache": None})
    return copy


__all__ = ["Event", "Stamps"]
