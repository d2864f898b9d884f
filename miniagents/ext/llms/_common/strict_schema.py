"""A JSON schema of pydantic's in the dialect that every provider can enforce ("strict mode").

Objects name all their keys and allow no others; a choice is `anyOf`; a `$ref` stands alone. What a provider may not
know (lengths, bounds, patterns, defaults) becomes a sentence in the description: the model reads it there, and
validation holds it to it. Providers differ in what else they know, so this is what all of them know.

An answer is asked for in this form even where words have to help. The arguments of a tool are only where nothing is
lost, as a provider takes them without it, too, and then is told of bounds and defaults by the schema itself.
"""

import json
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, cast

from miniagents.ext.llms._common.message_parts import as_mapping

_KNOWN_FORMATS: Final = frozenset(
    ["date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"]
)

_SAID_IN_WORDS: Final = {
    "minLength": "at least {} characters",
    "maxLength": "at most {} characters",
    "minItems": "at least {} items",
    "maxItems": "at most {} items",
    "minimum": "at least {}",
    "maximum": "at most {}",
    "exclusiveMinimum": "more than {}",
    "exclusiveMaximum": "less than {}",
    "multipleOf": "a multiple of {}",
    "pattern": "matches the regular expression {}",
    "format": "format: {}",
    "default": "default: {}",
    "examples": "examples: {}",
}

_KEPT: Final = frozenset(["type", "description", "title", "enum", "const"])

_EXPRESSIBLE: Final = _KEPT | {
    *("anyOf", "oneOf", "items", "properties", "required", "additionalProperties"),
    # Judged with the property that may be left out.
    "default",
    # Without effect.
    *("$defs", "$schema", "discriminator"),
}

_NOT_EXPRESSIBLE: Final = frozenset(
    ["allOf", "not", "if", "then", "else", "patternProperties", "prefixItems", "contains", "dependentRequired"]
)

_OWN_TYPES: Final = {
    str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null", list: "array", dict: "object",
}  # fmt: skip


class Loss(NamedTuple):
    """Something that the dialect does not express.

    Attributes:
        where: the property that it is about, such as `lines[].price`; "" for the whole.
        why: what is the matter with it, as the rest of a sentence that begins with the property.
        is_refused: whether providers refuse the schema because of it; else words and validation make up for it.
    """

    where: str
    why: str
    is_refused: bool


class StrictSchema(NamedTuple):
    """A schema in the dialect, or as close to it as it gets, and what is lost in it."""

    schema: dict[str, Any]
    losses: list[Loss]

    @property
    def is_strict(self) -> bool:
        """Whether providers can enforce the schema."""
        return not any(loss.is_refused for loss in self.losses)


def strict_schema(schema: Mapping[str, Any], *, references: Literal["kept", "put in place"] = "kept") -> StrictSchema:
    """Give `schema` in that dialect, with `$ref`s as they are, or with what they stand for in their place.

    Types that contain themselves need references, and are refused without.
    """
    definitions: Mapping[str, Any] = schema.get("$defs") or {}
    rewriting = _Rewriting(definitions if references == "put in place" else None)
    result = rewriting.rewritten(schema, "")
    if definitions and references == "kept":
        result["$defs"] = {name: rewriting.rewritten(found, name) for name, found in definitions.items()}
    return StrictSchema(result, rewriting.losses)


class _Rewriting:
    def __init__(self, definitions: Mapping[str, Any] | None) -> None:
        self.losses: list[Loss] = []
        self._definitions = definitions
        # The definitions that are being put in place.
        self._inside: list[str] = []

    def rewritten(self, schema: Any, where: str) -> dict[str, Any]:
        if not isinstance(schema, Mapping):
            # `true` is a schema too: anything goes.
            self._lose(where, "may be anything")
            return {}
        given = _without_like_items(cast("Mapping[str, Any]", schema))
        if "$ref" in given:
            return self._referred(given, where)
        words = [given.pop("description")] if given.get("description") else []
        given["type"] = given.get("type") or _type_of_choices(given)
        result = {name: given[name] for name in given if name in _KEPT and given[name] is not None}
        if given.get("format") in _KNOWN_FORMATS:
            result["format"] = given.pop("format")
        for name in given:
            if name not in _EXPRESSIBLE:
                self._lose(where, f"needs `{name}`", is_refused=name in _NOT_EXPRESSIBLE)
            if name in _NOT_EXPRESSIBLE:
                result[name] = given[name]
        choices = given.get("anyOf") or given.get("oneOf")
        if choices:
            result["anyOf"] = [self.rewritten(choice, where) for choice in choices]
        elif given["type"] == "object":
            self._rewrite_object(given, result, where)
        elif given["type"] == "array":
            self._rewrite_array(given, result, where)
        elif "type" not in result and "const" not in result:
            # Nothing is said about the value.
            self._lose(where, "may be anything")
        words += _words_for(given)
        if words:
            result["description"] = "\n".join(words)
        return result

    def _referred(self, given: dict[str, Any], where: str) -> dict[str, Any]:
        reference: str = given.pop("$ref")
        if self._definitions is None:
            words = [given.pop("description")] if given.get("description") else []
            words += _words_for(given)
            # Providers take nothing beside a `$ref`.
            return {"anyOf": [{"$ref": reference}], "description": "\n".join(words)} if words else {"$ref": reference}
        name = reference.removeprefix("#/$defs/")
        if name in self._inside or name not in self._definitions:
            self._lose(where, "is of a type that contains itself")
            return {}
        self._inside.append(name)
        result = self.rewritten({**self._definitions[name], **given}, where)
        self._inside.pop()
        return result

    def _rewrite_object(self, given: dict[str, Any], result: dict[str, Any], where: str) -> None:
        properties: Mapping[str, Any] | None = given.get("properties")
        required = given.get("required", [])
        extra = given.get("additionalProperties", properties is None)
        if properties is not None and "class_" in properties and "class_" not in required:
            # One of our own frozen models: it names its class by itself, and is not asked for extra fields.
            properties = {name: found for name, found in properties.items() if name != "class_"}
            extra = False
        if extra is not False:
            self._lose(where, "may have any keys")
            result["additionalProperties"] = extra if extra is True else self.rewritten(extra, where)
        else:
            result["additionalProperties"] = False
        if properties is None:
            return
        result["properties"] = {}
        for name, found in properties.items():
            path = f"{where}.{name}" if where else name
            if name not in required:
                self._note_default(found, path)
            result["properties"][name] = self.rewritten(found, path)
        # With open keys there is no strict mode, and then keys may be left out.
        result["required"] = list(properties) if extra is False else required

    def _note_default(self, given: Any, where: str) -> None:
        """Note what is lost when a key that could be left out has to be there."""
        schema = as_mapping(given)
        if "default" not in schema:
            self._lose(where, "may be left out, and strict mode wants every property", is_refused=False)
            return
        default, choices = schema["default"], cast("list[Any]", schema.get("anyOf", []))
        # Whoever gives null where null is the default has left the key out.
        if default is not None or not any(as_mapping(choice).get("type") == "null" for choice in choices):
            self._lose(where, f"has a default ({default!r}), and strict mode wants every property", is_refused=False)

    def _rewrite_array(self, given: dict[str, Any], result: dict[str, Any], where: str) -> None:
        if "items" in given:
            result["items"] = self.rewritten(given["items"], f"{where}[]")
        elif "prefixItems" not in given:
            self._lose(where, "is a list of anything")

    def _lose(self, where: str, why: str, *, is_refused: bool = True) -> None:
        self.losses.append(Loss(where, why, is_refused))


def _without_like_items(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Give a copy in which a tuple of one kind is a list of so many."""
    prefix = schema.get("prefixItems")
    if not prefix or any(item != prefix[0] for item in prefix):
        return dict(schema)
    return {name: found for name, found in schema.items() if name != "prefixItems"} | {"items": prefix[0]}


def _type_of_choices(schema: Mapping[str, Any]) -> Any:
    """Give the type of an `enum` or `const` that does not tell it, as some providers insist on one."""
    values = schema["enum"] if "enum" in schema else [schema["const"]] if "const" in schema else []
    types = list(dict.fromkeys(_OWN_TYPES.get(cast("type[Any]", type(value)), "string") for value in values))
    return types[0] if len(types) == 1 else types or None


def _words_for(given: Mapping[str, Any]) -> list[str]:
    said = [
        words.format(json.dumps(given[name], ensure_ascii=False))
        for name, words in _SAID_IN_WORDS.items()
        # A default of null says no more than that null is allowed.
        if given.get(name) is not None
    ]
    if given.get("uniqueItems"):
        said.append("no two items alike")
    return [f"({'; '.join(said)})"] if said else []
