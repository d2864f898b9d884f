"""What makes an agent: `@miniagent` on functions and classes, its alias and description, and how it is called."""

import asyncio
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

import miniagents
from miniagents import Frozen, InteractionContext, Message, MessageSequencePromise, MiniAgent, MiniAgents, miniagent
from miniagents.errors import NoActiveContextError, NoRunningLoopError, NotAMessageError, NotAnAgentError


async def texts(messages: Any) -> list[str]:
    return [str(message) for message in await messages]


@miniagent
async def echo(ctx: InteractionContext) -> None:
    """Repeats   what it hears; its name is
    {AGENT_ALIAS}, and {"json": true} stays."""
    async for message_promise in ctx.message_promises:
        ctx.reply(f"Echo: {await message_promise}")


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


# -- calling -------------------------------------------------------------------------------------------------------------


async def test_inquire_returns_at_once_and_nothing_runs_before_the_next_task_switch(mini_agents: MiniAgents) -> None:
    events: list[str] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        events.append("running")
        ctx.reply("hi")

    replies = agent.inquire()
    agent.kick_off()
    agent.initiate_inquiry().finish()
    events.append("called")
    assert isinstance(replies, MessageSequencePromise)
    assert events == ["called"]
    await asyncio.sleep(0)

    assert events == ["called", "running", "running", "running"]
    assert await texts(replies) == ["hi"]


async def test_agents_start_in_the_order_in_which_they_were_called(mini_agents: MiniAgents) -> None:
    started: list[int] = []

    @miniagent
    async def agent(ctx: InteractionContext, number: int) -> None:
        started.append(number)

    for number in range(10):
        agent.inquire(number=number)
    await asyncio.sleep(0)

    assert started == list(range(10))


async def test_an_agent_starts_while_its_input_is_still_coming(mini_agents: MiniAgents) -> None:
    release = asyncio.Event()

    async def slow() -> Any:
        yield "first"
        await release.wait()
        yield "second"

    replies = aiter(echo.inquire(slow()))

    assert str(await (await anext(replies))) == "Echo: first"
    assert not release.is_set()
    release.set()
    assert str(await (await anext(replies))) == "Echo: second"


async def test_the_replies_of_one_agent_may_be_handed_to_another_before_they_are_there(mini_agents: MiniAgents) -> None:
    replies = echo.inquire(echo.inquire(echo.inquire(["a", "b"])))

    assert await texts(replies) == ["Echo: Echo: Echo: a", "Echo: Echo: Echo: b"]


async def test_an_agent_may_be_called_with_nothing(mini_agents: MiniAgents) -> None:
    assert await echo.inquire() == ()
    assert await echo.inquire(None) == ()
    assert await echo.inquire([]) == ()


async def test_changing_a_list_after_the_call_changes_nothing(mini_agents: MiniAgents) -> None:
    messages = ["a"]
    replies = echo.inquire(messages)
    messages.append("b")

    assert await texts(replies) == ["Echo: a"]


async def test_what_is_no_message_is_refused_by_the_call(mini_agents: MiniAgents) -> None:
    with pytest.raises(NotAMessageError, match="42"):
        echo.inquire(["a", 42])
    with pytest.raises(NotAMessageError, match="42"):
        echo.kick_off(42)


async def test_kick_off_gives_nothing_and_runs_also_where_everything_is_lazy(mini_agents: MiniAgents) -> None:
    ran: list[str] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        ran.append(str(await ctx.message_promises.as_single_promise()))

    async with MiniAgents(start_everything_asap_by_default=False):
        assert agent.kick_off("now") is None  # pyright: ignore
        agent.inquire("never")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    assert ran == ["now"]


@pytest.mark.parametrize("mini_agents_default", [True, False], ids=["eager context", "lazy context"])
async def test_start_asap_of_a_call_wins_over_that_of_the_context(mini_agents_default: bool) -> None:
    started: list[str] = []

    @miniagent
    async def agent(ctx: InteractionContext, name: str) -> None:
        started.append(name)
        ctx.reply("hi")

    async with MiniAgents(start_everything_asap_by_default=mini_agents_default):
        agent.inquire(name="eager", start_asap=True)
        lazy = agent.inquire(name="lazy", start_asap=False)
        default = agent.inquire(name="default")
        for _ in range(3):
            await asyncio.sleep(0)
        assert started == (["eager", "default"] if mini_agents_default else ["eager"])

        assert await texts(lazy) == await texts(default) == ["hi"]


async def test_a_lazy_agent_starts_when_its_replies_are_first_read_and_then_runs(mini_agents: MiniAgents) -> None:
    replied: list[int] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        for number in range(3):
            ctx.reply(str(number))
            replied.append(number)
            await asyncio.sleep(0)

    replies = agent.inquire(start_asap=False)
    await mini_agents.aflush_tasks()
    assert replied == []

    await anext(aiter(replies))
    await mini_agents.aflush_tasks()

    assert replied == [0, 1, 2]


async def test_an_agent_that_nobody_reads_stays_lazy_to_the_end() -> None:
    started: list[str] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        started.append("no")

    async with MiniAgents():
        agent.inquire(start_asap=False)

    assert started == []


async def test_an_agent_is_not_called_like_a_function(mini_agents: MiniAgents) -> None:
    with pytest.raises(TypeError, match=r"inquire\(messages\)"):
        echo("hi")


async def test_the_replies_may_be_read_again_and_again_by_anybody(mini_agents: MiniAgents) -> None:
    runs: list[int] = []

    @miniagent
    async def agent(ctx: InteractionContext) -> None:
        runs.append(1)
        for text in "abc":
            ctx.reply(text)
            await asyncio.sleep(0)

    replies = agent.inquire()

    assert await asyncio.gather(*(texts(replies) for _ in range(3))) == [["a", "b", "c"]] * 3
    assert [str(await promise) async for promise in replies] == ["a", "b", "c"]
    assert runs == [1]


# -- where an agent can be called ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["inquire", "kick_off", "initiate_inquiry"])
async def test_without_a_context_a_call_says_what_to_do(method: str) -> None:
    with pytest.raises(NoActiveContextError, match="async with MiniAgents"):
        getattr(echo, method)()


@pytest.mark.parametrize("method", ["inquire", "kick_off", "initiate_inquiry"])
def test_without_a_running_loop_a_call_says_what_to_do(method: str) -> None:
    context = MiniAgents().activate()
    try:
        with pytest.raises(NoRunningLoopError, match=r"run\(main\(\)\)"):
            getattr(echo, method)()
    finally:
        asyncio.run(context.afinalize())


async def test_a_call_in_another_thread_without_a_loop_says_what_to_do(mini_agents: MiniAgents) -> None:
    with pytest.raises((NoActiveContextError, NoRunningLoopError), match="run"):
        await asyncio.to_thread(echo.inquire, "hi")


async def test_another_thread_calls_agents_through_the_context(mini_agents: MiniAgents) -> None:
    async def ask() -> list[str]:
        return await texts(echo.inquire("hi"))

    assert await asyncio.to_thread(mini_agents.run_from_thread, ask) == ["Echo: hi"]


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
