"""What a model is told about a tool, and how its arguments become values."""

import enum
import functools
import gc
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, Field

from miniagents import InteractionContext, MiniAgent, MiniAgents, miniagent
from miniagents.ext.llms import ScriptedAgent
from miniagents.ext.llms._tools.docstrings import read_docstring
from miniagents.ext.llms.model_events import ToolSchema
from miniagents.ext.llms.tools import Tool, ToolArgumentsError, ToolDefinitionError, as_tool, tool


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


def properties_of(function: Any) -> dict[str, Any]:
    return dict(as_tool(function).schema.parameters["properties"])


# ------------------------------------------------------------------------------------------------------ functions


def test_name_description_and_arguments_come_from_the_function() -> None:
    def weather(city: str, days: int = 3) -> str:
        """Tell the weather.

        Only for Europe.

        Args:
            city: The city to look up,
                in English.
            days (int, optional): How many days.

        Returns:
            str: the weather
        """
        return city * days

    schema = as_tool(weather).schema

    assert (schema.name, schema.description) == ("weather", "Tell the weather.\n\nOnly for Europe.")
    assert schema.parameters == {
        "type": "object",
        "properties": {
            "city": {"type": "string", "description": "The city to look up, in English."},
            "days": {"type": "integer", "description": "How many days.", "default": 3},
        },
        "required": ["city"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    "docstring",
    [
        "Do it.\n\nArgs:\n    first: The one.\n    second (dict[str, int]): The\n        other.\n\nRaises:\n    ValueError: no",
        "Do it.\n\nParameters\n----------\nfirst : str\n    The one.\nsecond : int, optional\n    The\n    other.\n\nReturns\n-------\nint\n    x",
        "Do it.\n\n:param first: The one.\n:param int second: The\n    other.\n:returns: nothing\n:rtype: int",
    ],
    ids=["google", "numpy", "sphinx"],
)
def test_descriptions_of_parameters_are_read_in_each_style(docstring: str) -> None:
    assert read_docstring(docstring) == ("Do it.", {"first": "The one.", "second": "The other."})


def test_a_docstring_without_sections_is_the_description() -> None:
    assert read_docstring("Note: this is\nall there is.\n\nExample: none.") == (
        "Note: this is\nall there is.\n\nExample: none.",
        {},
    )


@pytest.mark.parametrize(
    ("annotation", "expected"),
    [
        (Literal["a", "b"], {"enum": ["a", "b"], "type": "string"}),
        (list[float], {"items": {"type": "number"}, "type": "array"}),
        (str | None, {"anyOf": [{"type": "string"}, {"type": "null"}]}),
        (date, {"format": "date", "type": "string"}),
        (dict[str, int], {"additionalProperties": {"type": "integer"}, "type": "object"}),
        (
            Annotated[int, Field(ge=1, description="how many")],
            {"minimum": 1, "type": "integer", "description": "how many"},
        ),
    ],
    ids=str,
)
def test_an_annotation_becomes_a_schema(annotation: Any, expected: dict[str, Any]) -> None:
    def look(x) -> None: ...

    look.__annotations__["x"] = annotation

    schema = as_tool(look, strict=False).schema

    assert schema.parameters["properties"]["x"] == expected


def test_names_that_pydantic_wants_for_itself_are_fine() -> None:
    def send(json: str, model_config: int, _x: bool, self_: int = 1) -> None: ...

    assert list(properties_of(send)) == ["json", "model_config", "_x", "self_"]


def test_what_field_says_wins_over_the_docstring() -> None:
    def find(q: Annotated[str, Field(alias="query", description="what to find")]) -> str:
        """Find.

        Args:
            q: something else
        """
        return q

    assert properties_of(find) == {"query": {"type": "string", "description": "what to find"}}


async def test_arguments_are_validated_and_models_arrive_as_models(mini_agents: MiniAgents) -> None:
    got: list[Any] = []

    def keep(place: Place, size: Size, unit: Unit, days: int, when: date, *, among: set[int] = frozenset()) -> None:
        got.extend([place, size, unit, days, when, among])

    await as_tool(keep).inquire(place={"name": "Ulm"}, size={"width": "2"}, unit="F", days="3", when="2026-01-02")

    assert got == [Place(name="Ulm"), Size(2), Unit.FAHRENHEIT, 3, date(2026, 1, 2), frozenset()]


async def test_a_default_that_json_cannot_express_is_used_and_not_shown(mini_agents: MiniAgents) -> None:
    nothing = object()

    def find(limit: Annotated[int | None, Field(description="x")] = nothing) -> bool:
        return limit is nothing

    assert "default" not in properties_of(find)["limit"]
    (reply,) = await as_tool(find).inquire()
    assert str(reply) == "true"


async def test_a_number_where_a_text_is_wanted_is_no_mistake(mini_agents: MiniAgents) -> None:
    def find(postcode: str) -> str:
        return postcode

    (reply,) = await as_tool(find).inquire(postcode=89073)

    assert str(reply) == "89073"


async def test_the_context_is_passed_in_and_is_no_argument(mini_agents: MiniAgents) -> None:
    async def who(ctx: InteractionContext, greeting: str) -> str:
        return f"{greeting} from {ctx.this_agent.alias}"

    assert list(properties_of(who)) == ["greeting"]
    (reply,) = await as_tool(who).inquire(greeting="hi")
    assert str(reply) == "hi from WHO"


@pytest.mark.parametrize("kind", ["partial", "method", "object", "by position"])
async def test_whatever_can_be_called_can_be_a_tool(kind: str, mini_agents: MiniAgents) -> None:
    class Adder:
        async def __call__(self, a: int, b: int) -> int:
            return a + b

        def add(self, a: int, b: int) -> int:
            return a + b

    def add(a: int, b: int, /) -> int:
        return a + b

    def multiply_and_add(a: int, factor: int, b: int) -> int:
        return a * factor + b

    function: Callable[..., Any] = {
        "partial": functools.partial(multiply_and_add, factor=1),
        "method": Adder().add,
        "object": Adder(),
        "by position": add,
    }[kind]

    (reply,) = await as_tool(function).inquire(a=1, b=2)

    assert str(reply) == "3"


def test_a_decorated_function_can_still_be_called() -> None:
    @tool(name="sum", description="Adds.", requires_approval=True)
    def add(a: int, b: int) -> int:
        return a + b

    assert isinstance(add, Tool)
    assert (add.name, add.schema.description, add.requires_approval) == ("sum", "Adds.", True)
    assert add(1, b=2) == 3


def test_a_function_is_made_into_a_tool_once_and_what_wraps_it_is_another() -> None:
    def find(q: str) -> str:
        return q

    made = as_tool(find)

    @functools.wraps(find)
    def wrapper(q: str) -> str:
        return find(q) + "!"

    assert as_tool(find) is made
    assert as_tool(wrapper)(q="x") == "x!"


def test_a_tool_does_not_keep_its_function_alive() -> None:
    def find(q: str) -> str:
        return q

    as_tool(find)
    kept = weakref.ref(find)
    del find
    gc.collect()

    assert kept() is None


# ------------------------------------------------------------------------------------------------------ agents


async def test_open_settings_of_an_agent_are_its_arguments(mini_agents: MiniAgents) -> None:
    @miniagent
    async def summarizer(
        ctx: InteractionContext, text: str, words: int, model: MiniAgent, log: MiniAgent | None = None
    ):
        """Summarize a text.

        Args:
            text: What to summarize.
        """
        ctx.reply(f"{model.alias}: {text[:words]}")

    made = as_tool(summarizer.fork(model=ScriptedAgent.fork(script="x")))

    assert (made.name, made.schema.description) == ("summarizer", "Summarize a text.")
    assert made.schema.parameters["properties"] == {
        "text": {"type": "string", "description": "What to summarize."},
        "words": {"type": "integer"},
    }
    (reply,) = await made.inquire(text="abc", words="2")
    assert str(reply) == "SCRIPTED_AGENT: ab"


async def test_an_agent_without_settings_gets_the_request_as_its_message(mini_agents: MiniAgents) -> None:
    @miniagent
    async def shouter(ctx: InteractionContext) -> None:
        for message in await ctx.message_promises:
            ctx.reply(str(message).upper())

    made = as_tool(shouter)

    assert list(made.schema.parameters["properties"]) == ["request"]
    assert [str(reply) for reply in await made.inquire(request="hey")] == ["HEY"]


async def test_a_model_as_a_tool_gets_a_request(mini_agents: MiniAgents) -> None:
    made = as_tool(ScriptedAgent.fork(alias="EXPERT", script=lambda prompt: f"re: {prompt.last_text}"))

    assert (made.name, list(made.schema.parameters["properties"])) == ("expert", ["request"])
    assert [str(reply) for reply in await made.inquire(request="why?")] == ["re: why?"]


async def test_a_tool_can_be_made_of_a_schema_and_an_agent(mini_agents: MiniAgents) -> None:
    @miniagent
    async def pay(ctx: InteractionContext, amount: float, currency: str) -> None:
        ctx.reply(f"{amount} {currency}")

    parameters = {"type": "object", "properties": {"amount": {"type": "number"}, "currency": {"enum": ["EUR"]}}}
    made = Tool(ToolSchema("pay", "Pay.", parameters), pay)

    assert [str(reply) for reply in await made.inquire(amount=1.5, currency="EUR")] == ["1.5 EUR"]


# ------------------------------------------------------------------------------------------------------ mistakes


def unannotated(city) -> None: ...
def with_rest(*cities: str) -> None: ...
def of_unknown(city: "Metropolis") -> None: ...  # noqa: F821
def of_a_function(then: Callable[[], None]) -> None: ...


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (unannotated, "does not say of what type its parameter `city` is: annotate it, for example `city: str`."),
        (with_rest, "takes `*cities: str`, of which a model cannot know what to give"),
        (of_unknown, "define or import that name at the top level of the module"),
        (of_a_function, "has a parameter `then` of a type that JSON cannot express"),
        (lambda: 1, "Give it another name: `@tool(name=...)`"),
        (Place, "`tools=[...]` takes functions, agents, what `@tool` makes of them, and `mcp_tools(...)`."),
        (7, "7 cannot be a tool"),
    ],
    ids=["no annotation", "rest", "unknown name", "function", "name", "class", "number"],
)
def test_what_cannot_be_a_tool_is_refused_with_the_way_out(given: Any, says: str) -> None:
    with pytest.raises(ToolDefinitionError) as raised:
        as_tool(given)

    assert says in str(raised.value)


def test_an_agent_that_needs_what_a_model_cannot_give_is_refused() -> None:
    @miniagent
    async def judge(ctx: InteractionContext, model: MiniAgent) -> None: ...

    with pytest.raises(ToolDefinitionError) as raised:
        as_tool(judge)

    assert str(raised.value) == (
        "The agent `JUDGE` needs `model`, which a model cannot give: fix it before, with `fork(model=...)`."
    )


async def test_calling_a_tool_with_wrong_arguments_says_what_is_wrong(mini_agents: MiniAgents) -> None:
    def pay(amount: int, to: Place) -> None: ...

    with pytest.raises(ToolArgumentsError) as raised:
        await as_tool(pay).inquire(amount="much", to={}, when=1)

    assert str(raised.value) == (
        "The arguments are not valid: `amount`: Input should be a valid integer, unable to parse string as an integer; "
        "`to.name`: Field required; `when`: there is no such argument. The function `pay` takes `amount`, `to`."
    )
