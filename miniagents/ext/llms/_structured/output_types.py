"""What an answer may have to be: the schema of a type for the provider, and the validation of a text as that type."""

import functools
import re
import types
from typing import Any, ClassVar, Final, Generic, TypeVar, cast

from pydantic import BaseModel, ConfigDict, TypeAdapter
from pydantic.errors import PydanticUndefinedAnnotation, PydanticUserError
from pydantic.json_schema import GenerateJsonSchema

from miniagents.errors import MiniAgentsError
from miniagents.ext.llms._common.strict_schema import strict_schema
from miniagents.ext.llms.model_events import OutputSchema
from miniagents.promising.sentinels import NO_VALUE

WRAPPING_KEY: Final = "value"
"""The one key of the object around an answer that is none itself: providers take only objects."""

_MAX_NAME_LENGTH: Final = 64


class NotAnOutputTypeError(MiniAgentsError, TypeError):
    """The type that an answer is to have is one that has no JSON form."""

    def __init__(self, kind: object, why: object) -> None:
        reason = str(why).rstrip(".")
        super().__init__(
            f"No JSON schema can be made of {kind!r}, so no model can be asked for it: {reason}. Give a pydantic "
            "model, a dataclass, a `typing_extensions.TypedDict`, or a list or union of these and of plain types."
        )


class OutputType:
    """A type that answers are validated as.

    Attributes:
        name: what it is called, for people.
        schema: for the provider.
        is_wrapped: whether the provider is asked for an object with the value under `WRAPPING_KEY`.
    """

    def __init__(self, kind: Any) -> None:
        if isinstance(kind, types.FunctionType | types.MethodType | types.BuiltinFunctionType):
            # pydantic would take its parameters for the answer.
            raise NotAnOutputTypeError(kind, "it is a function, and not a type")
        self.name = readable_name(kind)
        self._kind = kind
        try:
            adapter: TypeAdapter[Any] = TypeAdapter(kind)
            raw = _inlined_root(adapter.json_schema(schema_generator=_WithoutFieldTitles))
        except (PydanticUserError, PydanticUndefinedAnnotation) as error:
            raise NotAnOutputTypeError(kind, str(error).split("\n", maxsplit=1)[0]) from error
        self.is_wrapped = raw.get("type") != "object"
        self._bare = adapter
        self._wrapper: type[_Wrapper[Any]] | None = None
        if self.is_wrapped:
            self._wrapper = wrapper = cast("type[_Wrapper[Any]]", cast("Any", _Wrapper)[kind])
            raw = wrapper.model_json_schema(schema_generator=_WithoutFieldTitles)
            del raw["title"]
        form = strict_schema(raw)
        name = re.sub(r"[^a-zA-Z0-9]+", "_", self.name).strip("_")[:_MAX_NAME_LENGTH]
        self.schema = OutputSchema(name=name or "answer", schema=form.schema, strict=form.is_strict)

    def from_json(self, text: str, *, allow_bare: bool = True) -> Any:
        """Validate a JSON text, the wrapping object taken off; with `allow_bare` it may be missing.

        Raises:
            pydantic.ValidationError: it is no JSON, or not of this type.
        """
        if self._wrapper is None:
            return self._bare.validate_json(text)
        try:
            return self._wrapper.model_validate_json(text).value
        except ValueError:
            if not allow_bare or self._looks_wrapped(text):
                raise
            return self._bare.validate_json(text)

    def unwrapped_part(self, value: Any) -> Any:
        """Take the wrapping object off what is there so far; `NO_VALUE` if nothing is there."""
        if not self.is_wrapped or not isinstance(value, dict):
            return value
        members = cast("dict[str, Any]", value)
        is_ours = not members or next(iter(members)) == WRAPPING_KEY
        return members.get(WRAPPING_KEY, NO_VALUE) if is_ours else members

    def has(self, value: object) -> bool:
        """Whether `value` is of this type already."""
        if isinstance(self._kind, type) and not hasattr(self._kind, "__total__"):
            return type(value) is self._kind or isinstance(value, self._kind)
        try:
            self._bare.validate_python(value, strict=True)
        except ValueError:
            return False
        return True

    def _looks_wrapped(self, text: str) -> bool:
        return re.match(rf'\s*\{{\s*"{WRAPPING_KEY}"\s*:', text) is not None


T = TypeVar("T")


class _Wrapper(BaseModel, Generic[T]):
    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", arbitrary_types_allowed=True)

    # Its name is `WRAPPING_KEY`.
    value: T


class _WithoutFieldTitles(GenerateJsonSchema):
    """Leaves out the titles that pydantic makes of the names: each is paid for in every request and says nothing."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False


@functools.lru_cache(maxsize=512)
def _kept_output_type(kind: Any) -> OutputType:
    return OutputType(kind)


def output_type(kind: Any) -> OutputType:
    """Give what is known of the type `kind`, made once.

    Raises:
        NotAnOutputTypeError: it has no JSON form.
    """
    try:
        return _kept_output_type(kind)
    except TypeError as error:
        if isinstance(error, NotAnOutputTypeError):
            raise
        # Cannot be hashed, as with some `Annotated`, and so cannot be kept.
        return OutputType(kind)


def readable_name(kind: Any) -> str:
    """Give the name of a type as one writes it: `Invoice`, `list[Invoice]`, `Invoice | Refusal`."""
    if isinstance(kind, type) and not hasattr(kind, "__origin__"):
        return kind.__name__
    return re.sub(r"(?:\w+\.)+(?:<locals>\.)?(?=\w)", "", str(kind).replace("<locals>.", ""))


def _inlined_root(schema: dict[str, Any]) -> dict[str, Any]:
    """Put the definition itself in the place of a `$ref` at the root, as recursive models have it."""
    if "$ref" not in schema:
        return schema
    definitions = cast("dict[str, Any]", schema["$defs"])
    return {**definitions[schema["$ref"].rsplit("/", 1)[-1]], "$defs": definitions}
