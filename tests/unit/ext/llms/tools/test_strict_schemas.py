"""Tools whose arguments the provider is asked to enforce."""

import enum
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Any, NotRequired

import pytest
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from miniagents import InteractionContext, miniagent
from miniagents.ext.llms.model_events import ToolSchema
from miniagents.ext.llms.tools import Tool, ToolDefinitionError, as_tool


class Place(BaseModel):
    """Where something is."""

    name: str
    height_m: int = 0


@dataclass
class Size:
    width: int


class Unit(enum.Enum):
    CELSIUS = "C"
    FAHRENHEIT = "F"


def test_a_schema_is_strict_where_that_can_be_expressed() -> None:
    def move(to: Place, size: Size, unit: Unit | None = None) -> None: ...

    def stay(size: Size, until: date, unit: Unit | None = None) -> None:
        """Stay.

        Args:
            size: How big.
        """

    assert not as_tool(move).schema.strict  # `Place` has a default that is not None
    schema = as_tool(stay).schema
    assert schema.strict
    assert schema.parameters == {
        "type": "object",
        "properties": {
            "size": {
                "type": "object",
                "description": "How big.",
                "properties": {"width": {"type": "integer"}},
                "required": ["width"],
                "additionalProperties": False,
            },
            "until": {"type": "string", "format": "date"},
            "unit": {"anyOf": [{"enum": ["C", "F"], "type": "string"}, {"type": "null"}]},
        },
        "required": ["size", "until", "unit"],
        "additionalProperties": False,
    }


def test_an_argument_called_class_is_one_like_any_other() -> None:
    def enroll(class_: str) -> None: ...

    schema = as_tool(enroll).schema

    assert schema.strict
    assert schema.parameters["required"] == ["class_"]


class Ticket(TypedDict):
    seat: NotRequired[int]


class Tree(BaseModel):
    branches: list["Tree"]


@pytest.mark.parametrize(
    ("annotation", "says"),
    [
        (Annotated[int, Field(ge=1)], "`x` needs `minimum`"),
        (dict[str, int], "`x` may have any keys"),
        (Any, "`x` may be anything"),
        (Path, "`x` needs `format`"),
        (list[Place], "`x[].height_m` has a default (0), and strict mode wants every property"),
        (Tree, "`x.branches[]` is of a type that contains itself"),
        (tuple[int, str], "`x` needs `maxItems`"),
        (list, "`x[]` may be anything"),
        (Ticket, "`x.seat` may be left out, and strict mode wants every property"),
    ],
    ids=["bound", "dict", "any", "format", "nested default", "recursive", "tuple", "bare list", "optional key"],
)
def test_demanding_strict_mode_where_it_cannot_be_names_the_property(annotation: Any, says: str) -> None:
    def look(x) -> None: ...

    look.__annotations__["x"] = annotation

    assert not as_tool(look).schema.strict
    with pytest.raises(ToolDefinitionError) as raised:
        as_tool(look, strict=True)
    assert str(raised.value) == (
        f"The function `look` cannot be a strict tool: {says}. Change that, or leave out `strict=True`."
    )


def test_a_schema_by_hand_that_is_not_as_strict_as_it_says_is_refused() -> None:
    @miniagent
    async def pay(ctx: InteractionContext, amount: float) -> None: ...

    parameters = {"type": "object", "properties": {"amount": {"type": "number", "minimum": 0}}, "required": ["amount"]}

    with pytest.raises(ToolDefinitionError, match="`amount` needs `minimum`"):
        Tool(ToolSchema("pay", "Pay.", parameters, strict=True), pay)


def test_what_only_the_schema_can_say_is_left_to_it_where_the_provider_does_not_enforce_it() -> None:
    def look(x: Annotated[int, Field(ge=0)], y: int = 3) -> None: ...

    schema = as_tool(look).schema

    assert not schema.strict
    assert schema.parameters["properties"] == {
        "x": {"type": "integer", "minimum": 0},
        "y": {"type": "integer", "default": 3},
    }
