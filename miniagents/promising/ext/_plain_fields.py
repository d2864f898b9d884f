"""Which values need no validation, as the fields are declared to hold just these: texts, numbers, frozen objects.

Validating costs several times as much as all the rest of making a frozen object, and most objects have only such
fields. What is known here is by far not all that pydantic can do; for anything else it is asked.
"""

import inspect
import types
from collections.abc import Mapping
from typing import Any, Final, Union, cast, get_args, get_origin

ANYTHING: Final[frozenset[type[Any]]] = frozenset()
"""The classes of values of a field that takes any value: not listed, and told apart by this very object."""

_PLAIN: Final = frozenset({str, int, bool, float, type(None)})
_DICT: Final[frozenset[type[Any]]] = frozenset({dict})


class PlainFields:
    """The declared fields of a class in which all of them are plain.

    Attributes:
        defaults: all fields, in their order; a required one is there with None.
        kinds: for each field the classes, exactly these, whose values it takes if they can be frozen.
        required: the fields without a default.
    """

    # Written out, as a dataclass takes half a millisecond of every import to be made.
    __slots__ = ("defaults", "kinds", "required")

    def __init__(self, required: frozenset[str]) -> None:
        self.defaults: dict[str, Any] = {}
        self.kinds: dict[str, frozenset[type[Any]]] = {}
        self.required = required


def declared_fields(kind: type[Any]) -> Mapping[str, Any]:
    """Give the declared fields of a model's class, in their order."""
    # `model_fields` is a slow property since pydantic 2.10, and this did not exist before.
    return getattr(kind, "__pydantic_fields__", None) or kind.model_fields


def plain_fields(kind: type[Any], base: type[Any], **defaults: str) -> PlainFields | None:
    """Give the declared fields of `kind`, or `None` if making one takes more than `base` does and plain fields need.

    `base` is the class that a dict is frozen into; `defaults` are those that the fields themselves do not tell.
    """
    if _does_more_than(base, kind):
        return None
    fields = declared_fields(kind)
    plain = PlainFields(frozenset(name for name, info in fields.items() if info.is_required()))
    for name, info in fields.items():
        kinds = _kinds_of(info.annotation, base)
        has_rules = info.metadata or info.default_factory or info.alias or info.validation_alias
        if kinds is None or has_rules or (name not in plain.required and type(info.default) not in _PLAIN):
            return None
        plain.defaults[name] = None if name in plain.required else defaults.get(name, info.default)
        plain.kinds[name] = kinds
    return plain


def _does_more_than(base: type[Any], kind: type[Any]) -> bool:
    decorators, known = kind.__pydantic_decorators__, base.__pydantic_decorators__
    return bool(
        decorators.field_validators
        or decorators.validators
        or decorators.root_validators
        or decorators.model_validators.keys() != known.model_validators.keys()
        or kind.__private_attributes__.keys() != base.__private_attributes__.keys()
        # Wrapped anew by pydantic in each class.
        or inspect.unwrap(kind.model_post_init) is not inspect.unwrap(base.model_post_init)
        or kind.model_config != base.model_config
        or getattr(kind.__get_pydantic_core_schema__, "__func__", None)
        is not getattr(base.__get_pydantic_core_schema__, "__func__", None)
    )


def _kinds_of(annotation: Any, base: type[Any]) -> frozenset[type[Any]] | None:
    """Give the classes whose values `annotation` takes as they are; `None` if more would have to be known about it."""
    if annotation is Any:
        return ANYTHING
    if annotation is None:
        return frozenset({type(None)})
    if annotation is base:
        # A dict is frozen into one of these.
        return frozenset({base}) | _DICT
    if isinstance(annotation, type):
        kind = cast("type[Any]", annotation)
        is_frozen = issubclass(kind, base) and not _does_more_than(base, kind)
        return frozenset({kind}) if kind in _PLAIN or is_frozen else None
    if get_origin(annotation) not in (Union, types.UnionType):
        return None
    of_parts = [_kinds_of(part, base) for part in get_args(annotation)]
    kinds = frozenset(kind for of_part in of_parts for kind in of_part or ())
    # A dict might be meant for any part of a union but None.
    is_clear = all(of_parts) and (dict not in kinds or not kinds - {base, dict, type(None)})
    return kinds if is_clear else None
