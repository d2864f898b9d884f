"""A JSON schema of pydantic's in the dialect that every provider can enforce ("strict mode").

Objects name all their keys and allow no others; a choice is `anyOf`; a `$ref` stands alone. What a provider may not
know (lengths, bounds, patterns, defaults) becomes a sentence in the description: the model reads it there, and
validation holds it to it. Providers differ in what else they know, so this is what all of them know.
"""

import json
from collections.abc import Mapping
from typing import Any, cast

_KNOWN_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})

_SAID_IN_WORDS = {
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

_KEPT = frozenset({"type", "description", "title", "enum", "const"})

_NOT_EXPRESSIBLE = frozenset(
    {"allOf", "not", "if", "then", "else", "patternProperties", "prefixItems", "contains", "dependentRequired"}
)

_OWN_TYPES = {
    str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null", list: "array", dict: "object",
}  # fmt: skip


def strict_schema(schema: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
    """Give `schema` in that dialect, and whether it says all of it.

    The flag is False where an object has keys that nobody knows beforehand, or where a value may be anything; the
    schema is then as close as it gets, and is no schema for strict mode.
    """
    rewriting = _Rewriting()
    result = rewriting.rewritten(schema)
    definitions = schema.get("$defs")
    if definitions:
        result["$defs"] = {name: rewriting.rewritten(definition) for name, definition in definitions.items()}
    return result, rewriting.is_strict


class _Rewriting:
    def __init__(self) -> None:
        self.is_strict = True

    def rewritten(self, schema: Any) -> dict[str, Any]:
        if not isinstance(schema, Mapping):
            # `true` is a schema too: anything goes.
            self.is_strict = False
            return {}
        given = dict(cast("Mapping[str, Any]", schema))
        words = [given.pop("description")] if given.get("description") else []
        if "$ref" in given:
            reference = {"$ref": given.pop("$ref")}
            words += _words_for(given)
            # Providers take nothing beside a `$ref`.
            return {"anyOf": [reference], "description": "\n".join(words)} if words else reference
        given["type"] = given.get("type") or _type_of_choices(given)
        result = {name: given[name] for name in given if name in _KEPT and given[name] is not None}
        if given.get("format") in _KNOWN_FORMATS:
            result["format"] = given.pop("format")
        choices = given.get("anyOf") or given.get("oneOf")
        if choices:
            result["anyOf"] = [self.rewritten(choice) for choice in choices]
        elif given["type"] == "object":
            self._rewrite_object(given, result)
        elif given["type"] == "array":
            self._rewrite_array(given, result)
        elif "type" not in result and "const" not in result:
            # Nothing is said about the value.
            self.is_strict = False
        for name in _NOT_EXPRESSIBLE.intersection(given):
            self.is_strict = False
            result[name] = given[name]
        words += _words_for(given)
        if words:
            result["description"] = "\n".join(words)
        return result

    def _rewrite_object(self, given: dict[str, Any], result: dict[str, Any]) -> None:
        properties: Mapping[str, Any] | None = given.get("properties")
        extra = given.get("additionalProperties", properties is None)
        if properties is not None and "class_" in properties:
            # One of our own frozen models: it names its class by itself, and is not asked for extra fields.
            properties = {name: found for name, found in properties.items() if name != "class_"}
            extra = False
        if extra is not False:
            self.is_strict = False
            result["additionalProperties"] = extra if extra is True else self.rewritten(extra)
        else:
            result["additionalProperties"] = False
        if properties is not None:
            result["properties"] = {name: self.rewritten(found) for name, found in properties.items()}
            # With open keys there is no strict mode, and then keys may be left out.
            result["required"] = list(properties) if extra is False else given.get("required", [])

    def _rewrite_array(self, given: dict[str, Any], result: dict[str, Any]) -> None:
        prefix = given.get("prefixItems")
        if prefix and all(item == prefix[0] for item in prefix):
            # A tuple of one kind is a list of so many.
            del given["prefixItems"]
            given["items"] = prefix[0]
        if "items" in given:
            result["items"] = self.rewritten(given["items"])
        elif not prefix:
            self.is_strict = False


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
