"""`Frozen`: objects of values that need none are made without validation, which must not show.

That begins with the second object of a class, so that each test makes one before.
"""

import pickle
from enum import Enum
from functools import cached_property
from typing import Annotated, Any, Literal, Self

import pytest
from pydantic import ConfigDict, Field, PrivateAttr, ValidationError, field_validator, model_validator

from miniagents.promising.ext.frozen import Frozen


class Text(str):
    __slots__ = ()


class Number(Enum):
    ONE = 1


class Plain(Frozen):
    required: int
    text: str = "default"
    either: int | str | None = None
    flag: bool = False
    number: float | None = None
    anything: Any = None
    pair: "Pair | None" = None
    frozen: Frozen | None = None


class Pair(Frozen):
    left: int
    right: int = 0


class SubPair(Pair):
    pass


for kind in (Frozen, Plain, Pair, SubPair):
    kind(required=0, left=0)


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"required": 1}, id="defaults"),
        pytest.param({"flag": True, "either": "text", "text": "Grüße", "required": 10**30}, id="all, in another order"),
        pytest.param({"required": 1, "extra": [1, {"a": ["b"]}], "other": Frozen(a=1)}, id="extra fields"),
        pytest.param({"required": 1, "class_": "Plain"}, id="the class"),
        pytest.param({"required": 1, "number": 0.5, "anything": [{"a": [1]}]}, id="numbers, and what is to be frozen"),
        pytest.param({"required": 1, "pair": Pair(left=1), "frozen": Pair(left=1)}, id="frozen objects"),
        pytest.param({"required": 1, "pair": SubPair(left=1), "frozen": Frozen()}, id="of a derived class"),
        pytest.param({"required": 1, "pair": {"left": "1"}, "frozen": {"a": [1]}}, id="dicts"),
        pytest.param({"required": "1", "flag": 1, "either": 1.0}, id="to be converted"),
        pytest.param({"required": Number.ONE}, id="an enum member"),
        pytest.param({"required": 1, "text": Text("text")}, id="of a subclass"),
        pytest.param({"required": 1, "self": 1, "cls": 2, "data": 3}, id="names of parameters"),
    ],
)
def test_an_object_is_what_validation_would_make_of_it(fields: dict[str, Any]) -> None:
    made = Plain(**fields)
    validated = Plain.model_validate(fields)

    assert made == validated
    assert list(made) == list(validated)
    assert [type(value) for value in made.values()] == [type(value) for value in validated.values()]
    assert hash(made) == hash(validated)
    assert made.hash_key == validated.hash_key
    assert made.full_json == validated.full_json
    assert repr(made) == repr(validated)
    assert made.model_fields_set == validated.model_fields_set
    assert made.model_extra == validated.model_extra
    assert made.model_dump() == validated.model_dump()
    assert pickle.loads(pickle.dumps(made)) == validated


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        pytest.param({}, "required", id="a field is missing"),
        pytest.param({"required": "one"}, "required", id="a wrong type"),
        pytest.param({"required": None}, "required", id="none"),
        pytest.param({"required": 1, "text": "\ud800"}, "text", id="a lone surrogate"),
        pytest.param({"required": 1, "extra": {"deep": ["\ud800"]}}, "extra.deep", id="a lone surrogate inside"),
        pytest.param({"required": 1, "extra": {1, 2}}, "extra", id="a set"),
        pytest.param({"required": 1, "extra": float("nan")}, "extra", id="no number"),
        pytest.param({"required": 1, "child__hash_key": "1"}, "child__hash_key", id="a name of a reference"),
        pytest.param({"required": 1, "number": float("inf")}, "number", id="infinity"),
        pytest.param({"required": 1, "anything": object()}, "anything", id="an object"),
        pytest.param({"required": 1, "pair": Frozen(left=1)}, "pair", id="a base class"),
        pytest.param({"required": 1, "frozen": [1]}, "frozen", id="a list"),
        pytest.param({"required": 1, "class_": "Other"}, "class_", id="another class"),
        pytest.param({"required": 1, "extra": {"class_": "Other"}}, "class_", id="another class inside"),
    ],
)
def test_what_validation_refuses_is_refused_in_the_same_words(fields: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Plain(**fields)
    with pytest.raises(ValidationError) as refused_by_validation:
        Plain.model_validate(fields)

    assert named in str(refused.value)
    assert refused.value.errors(include_url=False, include_context=False) == refused_by_validation.value.errors(
        include_url=False, include_context=False
    )


def test_a_list_that_contains_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(ValidationError, match="contains itself"):
        Plain(required=1, extra=endless)


class Shouting(Frozen):
    text: str

    @field_validator("text")
    @classmethod
    def _shout(cls, text: str) -> str:
        return text.upper()


class Completed(Frozen):
    text: str
    length: int = 0

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: dict[str, Any]) -> dict[str, Any]:
        return {**values, "length": len(values["text"])}


class Refusing(Frozen):
    text: str

    @model_validator(mode="after")
    def _refuse_blank(self) -> Self:
        if self.text.isspace():
            raise ValueError("blank")
        return self


class Short(Frozen):
    text: Annotated[str, Field(max_length=3)]


class Strict(Frozen):
    text: Literal["yes", "no"]


class Stripped(Frozen):
    model_config = ConfigDict(str_strip_whitespace=True)

    text: str


class WithPrivate(Frozen):
    text: str
    _note: str = PrivateAttr(default="private")


class Prepared(Frozen):
    text: str
    _seen: list[str] = PrivateAttr(default_factory=list[str])

    def model_post_init(self, context: Any, /) -> None:
        self._seen.append(self.text)


class Derived(Shouting):
    other: str = ""


def test_whatever_else_a_class_asks_of_pydantic_is_done_for_each_object() -> None:
    for _ in range(3):
        assert Shouting(text="hi").text == "HI"
        assert Derived(text="hi").text == "HI"
        assert Completed(text="hi").length == 2
        assert Stripped(text=" hi ").text == "hi"
        assert WithPrivate(text="hi")._note == "private"
        assert Prepared(text="hi")._seen == ["hi"]
        for kind, accepted, refused in ((Refusing, "hi", " "), (Short, "abc", "abcd"), (Strict, "yes", "maybe")):
            assert kind(text=accepted).text == accepted
            with pytest.raises(ValidationError):
                kind(text=refused)


def test_a_default_that_is_made_anew_is_made_for_each_object() -> None:
    numbers = iter(range(10))

    class Numbered(Frozen):
        number: int = Field(default_factory=lambda: next(numbers))

    assert [Numbered().number for _ in range(3)] == [0, 1, 2]


def test_a_subclass_has_its_own_fields_and_its_own_name() -> None:
    class More(Plain):
        more: str = "more"

    for _ in range(2):
        assert More(required=1).as_kwargs() == {**Plain(required=1).as_kwargs(), "more": "more"}
        assert More(required=1).class_ == "More"


def test_what_functools_keeps_on_an_object_is_no_field() -> None:
    class Squared(Frozen):
        value: int

        @cached_property
        def square(self) -> int:
            return self.value**2

    used, unused = Squared(value=2), Squared(value=2)

    assert used.square == 4
    assert dict(used) == dict(unused)
    assert used == unused
    assert used.hash_key == unused.hash_key
    assert used.keys() == ["class_", "value"]
