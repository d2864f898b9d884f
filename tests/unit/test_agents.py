"""What makes an agent: `@miniagent` on functions and classes, its alias and description, and the public names."""

from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

import miniagents
from miniagents import Frozen, InteractionContext, Message, MiniAgent, MiniAgents, miniagent
from miniagents.errors import NotAnAgentError
from tests.unit.echoing_agents import echo


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


# -- what can be an agent ------------------------------------------------------------------------------------------------


async def test_a_function_is_an_agent(mini_agents: MiniAgents) -> None:
    assert isinstance(echo, MiniAgent)
    assert await texts(echo.inquire(["Hello", "World"])) == ["Echo: Hello", "Echo: World"]


async def test_the_decorator_may_be_called_with_nothing(mini_agents: MiniAgents) -> None:
    @miniagent()
    async def agent(ctx: InteractionContext) -> None:
        ctx.reply("hi")

    assert await texts(agent.inquire()) == ["hi"]


async def test_a_class_is_an_agent_with_one_instance_a_call(mini_agents: MiniAgents) -> None:
    instances: list[Any] = []

    @miniagent
    class Greeter:
        def __init__(self, ctx: InteractionContext, greeting: str = "Hello") -> None:
            self.ctx = ctx
            self.greeting = greeting
            instances.append(self)

        async def __call__(self) -> None:
            self.ctx.reply(f"{self.greeting}, {await self.ctx.message_promises.as_single_promise()}!")

    assert await texts(Greeter.inquire("World")) == ["Hello, World!"]
    assert await texts(Greeter.inquire("World", greeting="Bye")) == ["Bye, World!"]
    assert len(set(map(id, instances))) == 2
    assert Greeter.alias == "GREETER"


async def test_a_pydantic_model_is_an_agent(mini_agents: MiniAgents) -> None:
    @miniagent
    class Greeter(BaseModel):
        model_config = {"arbitrary_types_allowed": True}
        ctx: InteractionContext
        times: int = 1

        async def __call__(self) -> None:
            self.ctx.reply(["hi"] * self.times)

    assert await texts(Greeter.inquire()) == ["hi"]
    assert await texts(Greeter.inquire(times="2")) == ["hi", "hi"]
    with pytest.raises(ValidationError, match="times"):
        await Greeter.inquire(times="many")


async def test_a_dataclass_is_an_agent(mini_agents: MiniAgents) -> None:
    @miniagent
    @dataclass
    class Greeter:
        ctx: InteractionContext
        name: str

        async def __call__(self) -> None:
            self.ctx.reply(f"hi {self.name}")

    assert await texts(Greeter.inquire(name="Bob")) == ["hi Bob"]


async def test_an_inherited_call_is_enough(mini_agents: MiniAgents) -> None:
    class Base:
        def __init__(self, ctx: InteractionContext) -> None:
            self.ctx = ctx

        async def __call__(self) -> None:
            self.ctx.reply(type(self).__name__)

    @miniagent
    class Derived(Base):
        pass

    assert await texts(Derived.inquire()) == ["Derived"]


def plain_function(ctx: InteractionContext) -> None: ...


async def generator_function(ctx: InteractionContext) -> Any:
    yield "hi"


async def no_context() -> None: ...


class ClassWithPlainCall:
    def __init__(self, ctx: InteractionContext) -> None: ...

    def __call__(self) -> None: ...


class ClassWithoutCall:
    def __init__(self, ctx: InteractionContext) -> None: ...


@pytest.mark.parametrize(
    ("what", "name", "fix"),
    [
        (plain_function, "plain_function", "async def plain_function"),
        (generator_function, "generator_function", r"ctx\.reply"),
        (no_context, "no_context", "ctx: InteractionContext"),
        (ClassWithPlainCall, "ClassWithPlainCall", "async def __call__"),
        (ClassWithoutCall, "ClassWithoutCall", "async def __call__"),
        ("text", "text", "async"),
        (echo, "ECHO", "async"),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)[:20]),
)
def test_anything_else_is_refused_with_a_clear_error(what: Any, name: str, fix: str) -> None:
    with pytest.raises(NotAnAgentError, match=name) as caught:
        miniagent(what)

    caught.match(fix)
    assert isinstance(caught.value, TypeError)


# -- alias and description -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "alias"),
    [("MyAgent", "MY_AGENT"), ("my_agent", "MY_AGENT"), ("HTMLReader", "HTML_READER"), ("agent", "AGENT")],
)
def test_the_alias_is_the_name_in_upper_snake_case(name: str, alias: str) -> None:
    async def function(ctx: InteractionContext) -> None: ...

    function.__name__ = name

    assert miniagent(function).alias == alias
    assert miniagent(normalize_func_or_class_name=False)(function).alias == name
    assert miniagent(alias="Called so")(function).alias == "Called so"


def test_the_description_is_the_docstring_with_the_alias_filled_in() -> None:
    assert echo.description == 'Repeats what it hears; its name is ECHO, and {"json": true} stays.'


def test_the_spaces_of_a_docstring_may_stay() -> None:
    @miniagent(normalize_spaces_in_docstring=False, alias="ME")
    async def agent(ctx: InteractionContext) -> None:
        """First   line.

        Second: {AGENT_ALIAS}.
        """

    assert agent.description == "First   line.\n\nSecond: ME."


def test_the_description_may_be_given() -> None:
    @miniagent(description="Another one.")
    async def agent(ctx: InteractionContext) -> None:
        """The docstring."""

    assert agent.description == "Another one."


def test_without_a_docstring_there_is_no_description() -> None:
    @miniagent
    async def agent(ctx: InteractionContext) -> None: ...

    assert agent.description is None


@pytest.mark.parametrize("brace", ["{", "}", "{}", "{0}", "{unknown}", "{AGENT_ALIAS!r:>10}"])
def test_a_docstring_with_braces_is_no_format_string(brace: str) -> None:
    async def function(ctx: InteractionContext) -> None: ...

    function.__doc__ = f"See {brace}."

    assert miniagent(function).description == f"See {brace}."


# -- an agent is frozen --------------------------------------------------------------------------------------------------


def test_an_agent_is_frozen_and_has_a_hash_key() -> None:
    assert isinstance(echo, Frozen)
    assert len(echo.hash_key) == 40
    with pytest.raises(ValidationError):
        echo.alias = "OTHER"


def test_equal_agents_have_equal_hash_keys() -> None:
    assert echo.fork(alias="X").hash_key == echo.fork(alias="X").hash_key
    assert echo.fork(alias="X").hash_key != echo.fork(alias="Y").hash_key


def test_interaction_metadata_are_kept() -> None:
    @miniagent(interaction_metadata={"role": "assistant", "tags": ["a"]})
    async def agent(ctx: InteractionContext) -> None: ...

    assert agent.interaction_metadata is not None
    assert agent.interaction_metadata.as_kwargs() == {"role": "assistant", "tags": ("a",)}


# -- names ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "AgentCall",
        "cached_privately",
        "Frozen",
        "InteractionContext",
        "Message",
        "MessagePromise",
        "MessageSequencePromise",
        "MessageTokenAppender",
        "MiniAgent",
        "miniagent",
        "MiniAgents",
    ],
)
def test_the_package_exports_what_a_user_needs_daily(name: str) -> None:
    assert name in miniagents.__all__
    assert hasattr(miniagents, name)


def test_message_can_be_imported_from_the_module_of_agents() -> None:
    from miniagents.miniagents import Message as FromThere

    assert FromThere is Message
