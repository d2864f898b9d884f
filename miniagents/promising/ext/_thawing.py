"""Frozen dicts as plain ones again, for fields that are declared as dicts or as models of pydantic's.

Such a field holds a `Frozen` once it is there. pydantic would refuse that where the value comes back: in a copy with
changes, or out of JSON, where it has the name of its class as one more entry.
"""

import types
from collections.abc import Iterator, Mapping
from typing import Any, cast, get_args, get_origin

from miniagents.promising.ext._plain_fields import declared_fields


def fields_to_thaw(kind: type[Any], base: type[Any]) -> frozenset[str]:
    """Give the declared fields of `kind` that pydantic takes dicts for; `base` is what dicts are frozen into."""
    known = kind.__dict__.get("__fields_to_thaw__")
    if known is None:
        known = frozenset(
            name
            for name, info in declared_fields(kind).items()
            if any(_takes_dicts(part, base) for part in _classes_in(info.annotation))
        )
        type.__setattr__(kind, "__fields_to_thaw__", known)
    return known


def dump_options(kind: type[Any], base: type[Any], options: dict[str, Any]) -> dict[str, Any]:
    """Give the options with which pydantic dumps an object of `kind` as a whole.

    By what fields are declared as, it would write next to nothing of a `Frozen` that was a model.
    """
    return {"serialize_as_any": True, **options} if _has_fields_to_thaw(kind, base, set()) else options


def _has_fields_to_thaw(kind: type[Any], base: type[Any], seen: set[type[Any]]) -> bool:
    if kind in seen:
        return False
    seen.add(kind)
    return bool(fields_to_thaw(kind, base)) or any(
        base in part.__mro__ and _has_fields_to_thaw(part, base, seen)
        for info in declared_fields(kind).values()
        for part in _classes_in(info.annotation)
    )


def thawed(value: Any, base: type[Any]) -> Any:
    """Give a value of such a field with plain dicts in place of those objects that were dicts."""
    try:
        return _thawed(value, base)
    except RecursionError:
        # It is refused later, in words of its own.
        return value


def _thawed(value: Any, base: type[Any]) -> Any:
    kind = cast("type[Any]", type(value))
    if kind is base:
        return {name: _thawed(item, base) for name, item in value if name != "class_"}
    if kind is dict:
        was_frozen = value.get("class_") == base.__name__
        return {name: _thawed(item, base) for name, item in value.items() if name != "class_" or not was_frozen}
    if kind is tuple or kind is list:
        items: list[Any] = [_thawed(item, base) for item in value]
        return items if kind is list else tuple(items)
    return value


def _takes_dicts(kind: type[Any], base: type[Any]) -> bool:
    bases = kind.__mro__
    # Not by `issubclass`, which a `TypedDict` refuses. What is complete for pydantic is a model.
    return (dict in bases or Mapping in bases or hasattr(kind, "__pydantic_complete__")) and base not in bases


def _classes_in(annotation: Any) -> Iterator[type[Any]]:
    # The value of a `type X = ...`.
    annotation = getattr(annotation, "__value__", annotation)
    origin = get_origin(annotation)
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        yield annotation
    elif isinstance(origin, type):
        yield origin
    for argument in get_args(annotation):
        yield from _classes_in(argument)


__all__ = ["dump_options", "fields_to_thaw", "thawed"]
