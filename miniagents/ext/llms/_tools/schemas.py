"""The arguments of a tool: their JSON schema, and how the text of a call becomes values.

The schema comes from the parameters of a function or an agent: their annotations (by pydantic), defaults, and what the
docstring says about them.
"""

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, cast, get_args, get_origin

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError, create_model
from pydantic.errors import PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema

from miniagents.ext.llms._common.plain_json import check_numbers_in
from miniagents.ext.llms.errors import LLMError

__all__ = [
    "ArgumentsModel",
    "ToolArgumentsError",
    "ToolDefinitionError",
    "annotations_of",
    "any_arguments",
    "can_be_argument",
    "is_of",
    "without_titles",
]


class ToolDefinitionError(LLMError, TypeError):
    """What was given as a tool cannot be one, or not beside the others."""


class ToolArgumentsError(LLMError, ValueError):
    """A model called a tool with arguments that the tool does not take."""


# A number where a text is wanted, such as a postcode, is what models write, and no mistake.
_AS_MODELS_WRITE = ConfigDict(extra="forbid", coerce_numbers_to_str=True)


class ArgumentsModel:
    """What a tool takes, by name, validated by pydantic.

    Raises:
        ToolDefinitionError: a parameter has no annotation, or one that JSON cannot express.
    """

    def __init__(
        self,
        who: str,
        parameters: Sequence[inspect.Parameter],
        hints: Mapping[str, Any],
        descriptions: Mapping[str, str],
    ) -> None:
        self._who = who
        # Names of our own, as those of a user may be ones that pydantic wants for itself, such as `json` and `_x`.
        self._names = {f"argument_{number}": found.name for number, found in enumerate(parameters)}
        fields: dict[str, Any] = {}
        for field, found in zip(self._names, parameters, strict=True):
            if found.name not in hints:
                raise ToolDefinitionError(
                    f"{who} does not say of what type its parameter `{found.name}` is: annotate it, for example "
                    f"`{found.name}: str`."
                )
            hint = hints[found.name]
            fields[field] = (
                _named(hint, found.name, descriptions.get(found.name)),
                ... if found.default is inspect.Parameter.empty else found.default,
            )
        # Defaults that pydantic itself has to work out; others are left to Python.
        self._own_defaults = {
            field
            for field, (_, default) in fields.items()
            if isinstance(default, FieldInfo) and not default.is_required()
        }
        try:
            self._model = create_model("Arguments", __config__=_AS_MODELS_WRITE, **fields)
            self.schema = without_titles(self._model.model_json_schema(schema_generator=_QuietSchema))
        except (PydanticUserError, TypeError, NameError) as error:
            raise _inexpressible(who, {found.name: hints[found.name] for found in parameters}, error) from error
        self.schema.setdefault("properties", {})

    def values_of(self, arguments_json: str) -> dict[str, Any]:
        """Give the arguments that a call has named, by the names of the parameters; models arrive as models.

        Raises:
            ToolArgumentsError: it is no JSON object, or not what the tool takes; says what to mend.
        """
        try:
            values = self._model.model_validate_json(arguments_json.strip() or "{}")
            check_numbers_in(arguments_json)
        except ValueError as error:
            raise ToolArgumentsError(f"{_mistakes(error)}. {self._taken()}") from error
        named = values.model_fields_set | self._own_defaults
        return {name: getattr(values, field) for field, name in self._names.items() if field in named}

    def _taken(self) -> str:
        required = self.schema.get("required", ())
        listed = [f"`{name}`{'' if name in required else ' (optional)'}" for name in self.schema["properties"]]
        return f"{self._who} takes {', '.join(listed) or 'no arguments'}."


_any_arguments: TypeAdapter[dict[str, Any]] = TypeAdapter(dict[str, Any])


def any_arguments(arguments_json: str) -> dict[str, Any]:
    """Give arguments that somebody else will judge.

    Raises:
        ToolArgumentsError: they are no JSON object.
    """
    try:
        found = _any_arguments.validate_json(arguments_json.strip() or "{}")
        check_numbers_in(arguments_json)
    except ValueError as error:
        raise ToolArgumentsError(f"{_mistakes(error)}.") from error
    return found


class _QuietSchema(GenerateJsonSchema):
    # A default that JSON cannot express is left out of the schema, without a warning in the user's program.
    ignored_warning_kinds = {"skipped-choice", "non-serializable-default"}  # noqa: RUF012 - as pydantic declares it


def _named(hint: Any, name: str, description: str | None) -> Any:
    """Give `hint` with the parameter's name and description; what the user has put into `Field(...)` wins."""
    ours = Field(alias=name, description=description)
    if get_origin(hint) is Annotated:
        kind, *metadata = get_args(hint)
        # Later metadata win over earlier ones.
        return Annotated[(kind, ours, *metadata)]
    return Annotated[hint, ours]


def _inexpressible(who: str, hints: Mapping[str, Any], error: Exception) -> ToolDefinitionError:
    for name, hint in hints.items():
        if not can_be_argument(hint):
            return ToolDefinitionError(
                f"{who} has a parameter `{name}` of a type that JSON cannot express, {_shown(hint)}: use plain types, "
                "`Literal`, enums, dataclasses or pydantic models."
            )
    return ToolDefinitionError(f"{who} has parameters that cannot be put into a schema: {error}")


def can_be_argument(hint: Any) -> bool:
    """Whether a value of this type can be written down in JSON."""
    try:
        TypeAdapter(hint).json_schema(schema_generator=_QuietSchema)
    except (PydanticUserError, TypeError, NameError):
        return False
    return True


def _shown(hint: Any) -> str:
    return f"`{hint.__name__}`" if isinstance(hint, type) else f"`{hint}`"


def _mistakes(error: ValueError) -> str:
    found: list[str] = []
    if not isinstance(error, ValidationError):
        return f"The arguments are not valid: Invalid JSON: {error}"
    for detail in error.errors(include_url=False, include_context=False, include_input=False):
        where = ".".join(str(step) for step in detail["loc"])
        told = "there is no such argument" if detail["type"] == "extra_forbidden" else detail["msg"]
        found.append(f"`{where}`: {told}" if where else told)
    return "The arguments are not valid: " + "; ".join(found)


def annotations_of(function: Callable[..., Any], who: str) -> dict[str, Any]:
    """Give the annotations of a function's parameters, names in them looked up.

    Raises:
        ToolDefinitionError: a name in them is not known where the function was written.
    """
    annotations = {key: hint for key, hint in inspect.get_annotations(function).items() if key != "return"}
    holder = types.SimpleNamespace(__annotations__=annotations)
    try:
        return typing.get_type_hints(
            holder, globalns=getattr(inspect.unwrap(function), "__globals__", {}), include_extras=True
        )
    except NameError as error:
        raise ToolDefinitionError(
            f"{who} has an annotation that cannot be looked up ({error}): define or import that name at the top level "
            "of the module, not below `if TYPE_CHECKING`."
        ) from error


def without_titles(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Give a schema without the titles that pydantic makes of names: they tell a model nothing."""
    return cast("dict[str, Any]", _untitled(dict(schema), is_names=False))


def _untitled(node: Any, *, is_names: bool) -> Any:
    if isinstance(node, list):
        return [_untitled(item, is_names=False) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    return {
        key: _untitled(value, is_names=not is_names and key in ("properties", "$defs"))
        if key not in ("default", "enum", "const", "examples") or is_names
        else value
        for key, value in cast("dict[str, Any]", node).items()
        if is_names or key != "title"
    }


def is_of(hint: Any, kind: type[Any]) -> bool:
    """Whether a type is `kind`, or has it inside, as `kind | None` and `list[kind]` do."""
    if isinstance(hint, type) and get_origin(hint) is None:
        return issubclass(hint, kind)
    return any(is_of(argument, kind) for argument in get_args(hint))
