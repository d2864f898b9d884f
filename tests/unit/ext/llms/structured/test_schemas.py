"""What a provider is told that an answer has to be."""

import dataclasses
import enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import AnyUrl, BaseModel, ConfigDict, Field, RootModel
from typing_extensions import TypedDict

from miniagents import Message
from miniagents.ext.llms.structured import NotAnOutputTypeError, output_schema, validated


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Address(BaseModel):
    street: str
    city: str = "Rome"


class Person(BaseModel):
    """Somebody."""

    name: str = Field(min_length=1, description="The full name.")
    age: int = Field(ge=0, lt=150)
    home: Address = Field(description="Where they live.")
    work: Address | None = None
    favourite: Colour = Colour.RED


class Node(BaseModel):
    label: str
    children: list["Node"] = []


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"]
    tricks: int


class Owner(BaseModel):
    pet: Annotated[Cat | Dog, Field(discriminator="kind")]


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Track(TypedDict):
    title: str
    seconds: int


class Verdict(Message):
    passed: bool


def objects_in(schema: Any) -> list[dict[str, Any]]:
    found = []
    if isinstance(schema, dict):
        if schema.get("type") == "object":
            found.append(schema)
        for value in schema.values():
            found += objects_in(value)
    elif isinstance(schema, list):
        for value in schema:
            found += objects_in(value)
    return found


@pytest.mark.parametrize(
    "kind",
    [
        Person,
        Node,
        Owner,
        Point,
        Track,
        Verdict,
        list[Address],
        Cat | Dog,
        int,
        str,
        Colour,
        RootModel[list[int]],
        int | None,
    ],
    ids=str,
)
def test_every_object_of_a_strict_schema_requires_all_its_keys_and_allows_no_others(kind: Any) -> None:
    schema = output_schema(kind)

    assert schema.strict
    assert schema.schema["type"] == "object"
    objects = objects_in(schema.schema)
    assert objects
    for found in objects:
        assert found["additionalProperties"] is False
        assert found["required"] == list(found["properties"])


def test_what_a_provider_may_not_know_is_said_in_the_description() -> None:
    properties = output_schema(Person).schema["properties"]

    assert properties["name"] == {"type": "string", "description": "The full name.\n(at least 1 characters)"}
    assert properties["age"] == {"type": "integer", "description": "(at least 0; less than 150)"}
    assert properties["favourite"] == {"anyOf": [{"$ref": "#/$defs/Colour"}], "description": '(default: "red")'}


def test_a_reference_stays_one_and_stands_alone() -> None:
    schema = output_schema(Person).schema

    assert schema["properties"]["home"] == {
        "anyOf": [{"$ref": "#/$defs/Address"}],
        "description": "Where they live.",
    }
    assert schema["$defs"]["Address"]["required"] == ["street", "city"]


def test_the_root_of_a_recursive_model_is_the_object_itself() -> None:
    schema = output_schema(Node).schema

    assert schema["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert schema["$defs"]["Node"]["properties"] == schema["properties"]


def test_a_choice_by_discriminator_is_any_of() -> None:
    pet = output_schema(Owner).schema["properties"]["pet"]

    assert pet == {"anyOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}]}


def test_formats_that_all_providers_know_are_kept_and_others_are_said() -> None:
    class Page(BaseModel):
        url: AnyUrl
        mail: str = Field(json_schema_extra={"format": "email"})

    properties = output_schema(Page).schema["properties"]

    assert properties["mail"] == {"type": "string", "format": "email"}
    assert properties["url"] == {"type": "string", "description": '(at least 1 characters; format: "uri")'}


def test_choices_of_several_types_name_these() -> None:
    class Setting(BaseModel):
        level: Literal["auto", 1, 2]

    assert output_schema(Setting).schema["properties"]["level"] == {
        "enum": ["auto", 1, 2],
        "type": ["string", "integer"],
    }


class Extras(BaseModel):
    model_config = ConfigDict(extra="allow")
    name: str


class Anything(BaseModel):
    what: Any


@pytest.mark.parametrize(
    "kind",
    [dict[str, int], list[dict[str, Any]], Extras, Anything, tuple[int, str], dict],
    ids=["dict", "list of dicts", "extra keys", "any value", "mixed tuple", "bare dict"],
)
def test_what_strict_mode_cannot_express_is_no_strict_schema(kind: Any) -> None:
    assert not output_schema(kind).strict


def test_a_fixed_number_of_like_things_is_a_list() -> None:
    pair = output_schema(tuple[float, float])

    assert pair.strict
    assert pair.schema["properties"]["value"] == {
        "type": "array",
        "items": {"type": "number"},
        "description": "(at least 2 items; at most 2 items)",
    }


def test_what_is_no_object_is_asked_for_inside_of_one() -> None:
    schema = output_schema(list[Address])

    assert schema.name == "list_Address"
    assert schema.schema["properties"] == {"value": {"type": "array", "items": {"$ref": "#/$defs/Address"}}}


def test_a_schema_is_made_once_for_each_type() -> None:
    assert output_schema(Person) is output_schema(Person)
    assert output_schema(list[Person]) is output_schema(list[Person])


def test_a_type_without_a_json_form_is_refused_with_what_to_give_instead() -> None:
    class Engine:
        pass

    with pytest.raises(NotAnOutputTypeError, match="No JSON schema can be made of .*Engine.* Give a pydantic model"):
        output_schema(Engine)


class Lesson(BaseModel):
    class_: str
    room: int


def test_a_key_called_class_that_is_not_ours_is_asked_for_like_any_other() -> None:
    assert output_schema(Lesson).schema["required"] == ["class_", "room"]
    assert validated('{"class_": "biology", "room": 4}', Lesson) == Lesson(class_="biology", room=4)


def test_our_own_messages_do_not_ask_for_the_name_of_their_class() -> None:
    assert "class_" not in output_schema(Verdict).schema["properties"]
    assert validated('{"passed": true}', Verdict) == Verdict(passed=True)
