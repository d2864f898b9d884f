"""The settings of an agent: where they come from, which of them win, how they reach it and how they are recorded."""

import asyncio
import enum
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, SecretStr

from miniagents import Frozen, InteractionContext, Message, MiniAgents, miniagent
from miniagents.errors import NotAnAgentError, UnknownSettingError


class Client:
    """What cannot be frozen."""

    def __init__(self, name: str = "client") -> None:
        self.name = name


class Color(enum.Enum):
    RED = "red"


@miniagent
async def tell(ctx: InteractionContext, k: Any = "signature", other: Any = None) -> None:
    """Replies with its settings."""
    ctx.reply(Message(k=k, other=other))


async def settings_of(replies: Any) -> tuple[Any, Any]:
    (message,) = await replies
    return message["k"], message["other"]


# -- which one wins ------------------------------------------------------------------------------------------------------


async def test_the_decorator_wins_over_the_signature(mini_agents: MiniAgents) -> None:
    @miniagent(k="decorator")
    async def agent(ctx: InteractionContext, k: str = "signature") -> None:
        ctx.reply(k)

    assert await agent.inquire() == (Message("decorator"),)
    assert await agent.fork(k="fork").inquire() == (Message("fork"),)


async def test_the_call_wins_over_the_last_fork_and_that_over_earlier_ones(mini_agents: MiniAgents) -> None:
    forked = tell.fork(k=1, other="first").fork(k=2)

    assert await settings_of(tell.inquire()) == ("signature", None)
    assert await settings_of(forked.inquire()) == (2, "first")
    assert await settings_of(forked.inquire(k=3)) == (3, "first")
    assert await settings_of(forked.initiate_inquiry(k=4).reply_sequence()) == (4, "first")


async def test_a_fork_leaves_the_original_as_it_was(mini_agents: MiniAgents) -> None:
    forked = tell.fork(k=1)

    assert await settings_of(tell.inquire()) == ("signature", None)
    assert await settings_of(forked.inquire()) == (1, None)


def test_a_fork_has_an_alias_and_a_description_of_its_own_or_those_of_the_original() -> None:
    assert tell.fork(k=1).alias == "TELL"
    assert tell.fork(k=1).description == "Replies with its settings."
    assert tell.fork(alias="OTHER", description="Another.").alias == "OTHER"
    assert tell.fork(alias="OTHER", description="Another.").description == "Another."


def test_interaction_metadata_of_a_fork_come_on_top() -> None:
    forked = tell.fork(interaction_metadata={"a": 1, "b": 1}).fork(interaction_metadata={"b": 2})

    assert forked.interaction_metadata is not None
    assert forked.interaction_metadata.as_kwargs() == {"a": 1, "b": 2}


async def test_a_fork_of_a_class_agent_gives_its_settings_to_the_constructor(mini_agents: MiniAgents) -> None:
    @miniagent(first="decorator")
    class Agent(BaseModel):
        model_config = {"arbitrary_types_allowed": True}
        ctx: InteractionContext
        first: str
        second: str = "field"

        async def __call__(self) -> None:
            self.ctx.reply([self.first, self.second])

    assert await Agent.fork(second="fork").inquire(first="call") == (Message("call"), Message("fork"))


# -- settings that do not fit --------------------------------------------------------------------------------------------


async def test_a_keyword_that_the_agent_does_not_take_is_a_type_error_at_inquire(mini_agents: MiniAgents) -> None:
    for call in (tell.inquire, tell.kick_off, tell.initiate_inquiry, tell.fork):
        with pytest.raises(TypeError, match="`TELL` does not take `unknown`") as caught:
            call(unknown=1)
        assert isinstance(caught.value, UnknownSettingError)
        caught.match("`k`, `other`")


def test_a_keyword_of_the_decorator_that_the_agent_does_not_take_is_refused() -> None:
    with pytest.raises(TypeError, match="`unknown`"):

        @miniagent(unknown=1)
        async def agent(ctx: InteractionContext) -> None: ...


async def test_a_setting_without_a_default_that_is_missing_is_a_type_error_at_inquire(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext, needed: str) -> None:
        ctx.reply(needed)

    with pytest.raises(TypeError, match="`AGENT` needs `needed`"):
        agent.inquire()
    assert await agent.fork(needed="here").inquire() == (Message("here"),)


async def test_an_agent_with_keyword_arguments_takes_anything(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext, **settings: Any) -> None:
        ctx.reply(Message(**settings))

    assert await agent.inquire(a=1, b=[2]) == (Message(a=1, b=(2,)),)


async def test_the_context_of_an_agent_may_have_any_name(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(interaction: InteractionContext, ctx: str) -> None:
        interaction.reply(ctx)

    assert await agent.inquire(ctx="setting") == (Message("setting"),)


@pytest.mark.parametrize("name", ["messages", "start_asap", "errors_to_messages"])
def test_an_agent_that_declares_a_name_that_is_taken_is_refused(name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"async def agent(ctx, {name}=None): ...", namespace)

    with pytest.raises(NotAnAgentError, match=f"`{name}`"):
        miniagent(namespace["agent"])


@pytest.mark.parametrize("name", ["messages", "start_asap", "errors_to_messages"])
def test_a_class_that_declares_a_name_that_is_taken_is_refused(name: str) -> None:
    from pydantic import create_model

    async def call(self: Any) -> None: ...

    model = create_model("Agent", ctx=(Any, ...), **{name: (Any, None)})  # pyright: ignore
    model.__call__ = call  # pyright: ignore

    with pytest.raises(NotAnAgentError, match=f"`{name}`"):
        miniagent(model)


# -- how they reach the agent --------------------------------------------------------------------------------------------


async def received(**settings: Any) -> Any:
    box: list[Any] = []

    @miniagent
    async def agent(ctx: InteractionContext, value: Any) -> None:
        box.append(value)

    await agent.inquire(**settings)
    return box[0]


async def test_settings_are_frozen(mini_agents: MiniAgents) -> None:
    assert await received(value=[1, [2]]) == (1, (2,))
    frozen = await received(value={"a": [1]})
    assert isinstance(frozen, Frozen)
    assert frozen["a"] == (1,)


@pytest.mark.parametrize(
    "value",
    [None, "a", 1, 1.5, True, b"a", Color.RED, Path("a"), UUID(int=1), datetime.now(UTC), frozenset({1})],
    ids=lambda value: type(value).__name__,
)
async def test_frozen_leaves_reach_the_agent_as_they_are(value: Any, mini_agents: MiniAgents) -> None:
    assert await received(value=value) == value
    assert type(await received(value=value)) is type(value)


async def test_what_cannot_be_frozen_is_refused_by_name_with_two_ways_out(mini_agents: MiniAgents) -> None:
    with pytest.raises(ValueError, match="`other`") as caught:
        tell.inquire(other=Client())

    caught.match("signature")
    caught.match("mutable_state")
    with pytest.raises(ValueError, match="`other`"):
        tell.fork(other={1, 2})
    with pytest.raises(ValueError, match=r"other\.deeper"):
        tell.fork(other={"deeper": Client()})


CLIENT = Client()


async def test_a_declared_type_that_is_no_frozen_leaf_goes_in_as_it_is(mini_agents: MiniAgents) -> None:
    got: list[Any] = []

    @miniagent
    async def agent(
        ctx: InteractionContext,
        client: Client,
        maybe: Client | None = None,
        function: Callable[[], str] | None = None,
        kind: type[Client] | None = None,
        names: set[str] | None = None,
        clients: list[Client] | None = None,
        by_name: dict[str, Client] | None = None,
    ) -> None:
        got.extend([client, maybe, function, kind, names, clients, by_name])

    values: dict[str, Any] = {
        "client": CLIENT,
        "maybe": CLIENT,
        "function": received,
        "kind": Client,
        "names": {"a"},
        "clients": [CLIENT],
        "by_name": {"a": CLIENT},
    }

    await agent.fork(client=CLIENT).inquire(**values)

    assert all(one is other for one, other in zip(got, values.values(), strict=True))


async def test_a_field_of_a_class_agent_with_such_a_type_goes_in_as_it_is(mini_agents: MiniAgents) -> None:
    got: list[Any] = []

    @miniagent
    class Agent(BaseModel):
        model_config = {"arbitrary_types_allowed": True}
        ctx: InteractionContext
        client: Client
        callback: Callable[[], str] = lambda: ""

        async def __call__(self) -> None:
            got.extend([self.client, self.callback])

    def callback() -> str:
        return ""

    await Agent.inquire(client=CLIENT, callback=callback)

    assert got == [CLIENT, callback]


async def test_a_declared_frozen_type_is_frozen(mini_agents: MiniAgents) -> None:
    got: list[Any] = []

    @miniagent
    async def agent(
        ctx: InteractionContext, names: list[str], table: dict[str, int], mode: Literal["a"] | None = None
    ) -> None:
        got.extend([names, table])

    await agent.inquire(names=["a"], table={"a": 1})

    assert got == [("a",), Frozen(a=1)]


async def test_an_agent_may_be_a_setting_of_another(mini_agents: MiniAgents) -> None:
    @miniagent
    async def chain(ctx: InteractionContext, agents: list[Any]) -> None:
        messages: Any = ctx.message_promises
        for agent in agents:
            messages = agent.inquire(messages)
        ctx.reply(messages)

    @miniagent
    async def shout(ctx: InteractionContext, mark: str) -> None:
        ctx.reply(f"{await ctx.message_promises.as_single_promise()}{mark}")

    forked = chain.fork(agents=[shout.fork(mark="!"), shout.fork(mark="?")])

    assert await forked.inquire("hi") == (Message("hi!?"),)
    assert forked.settings is not None
    assert forked.settings["agents"][0]["settings"] == Frozen(mark="!")


# -- mutable state -------------------------------------------------------------------------------------------------------


async def test_mutable_state_reaches_the_agent_unfrozen_and_shared(mini_agents: MiniAgents) -> None:
    seen: list[str] = []

    @miniagent(mutable_state={"seen": seen})
    async def agent(ctx: InteractionContext, seen: list[str]) -> None:
        seen.append(str(len(seen)))
        ctx.reply(seen)

    await agent.inquire()
    await agent.fork(alias="OTHER").inquire()

    assert seen == ["0", "1"]


async def test_mutable_state_of_a_fork_replaces_that_of_the_original(mini_agents: MiniAgents) -> None:
    ours, theirs = [], ["theirs"]

    @miniagent(mutable_state={"seen": ours, "kept": "kept"})
    async def agent(ctx: InteractionContext, seen: list[str], kept: str) -> None:
        ctx.reply([*seen, kept])

    assert await agent.fork(mutable_state={"seen": theirs}).inquire() == (Message("theirs"), Message("kept"))


async def test_the_call_wins_over_mutable_state_and_mutable_state_over_settings(mini_agents: MiniAgents) -> None:
    forked = tell.fork(mutable_state={"k": "state"}).fork(k="setting")

    assert (await settings_of(tell.fork(k="setting", mutable_state={"k": "state"}).inquire()))[0] == "state"
    assert (await settings_of(forked.inquire(k="call")))[0] == "call"


async def test_a_setting_of_a_later_fork_wins_over_mutable_state_of_an_earlier_one(mini_agents: MiniAgents) -> None:
    forked = tell.fork(mutable_state={"k": "earlier"}).fork(k="later")

    assert (await settings_of(forked.inquire()))[0] == "later"


def test_mutable_state_that_the_agent_does_not_take_is_refused() -> None:
    with pytest.raises(UnknownSettingError, match="`unknown`"):
        tell.fork(mutable_state={"unknown": []})


# -- how they are recorded -----------------------------------------------------------------------------------------------


def test_settings_are_part_of_the_agents_content() -> None:
    assert tell.fork(k=1).hash_key == tell.fork(k=1).hash_key
    assert tell.fork(k=1).hash_key != tell.fork(k=2).hash_key
    assert tell.fork(k=[1, {"a": 2}]).settings == Frozen(k=[1, {"a": 2}])


def test_what_is_not_frozen_is_recorded_by_its_qualified_name_only() -> None:
    @miniagent
    async def agent(
        ctx: InteractionContext,
        client: Client | None = None,
        function: Callable[..., Any] | None = None,
        kind: type | None = None,
    ) -> None: ...

    settings = agent.fork(client=CLIENT, function=received, kind=Client).settings

    assert settings is not None
    assert settings["client"] == f"{__name__}.Client"
    assert settings["function"] == f"{__name__}.received"
    assert settings["kind"] == f"{__name__}.Client"
    assert agent.fork(client=Client("one")).hash_key == agent.fork(client=Client("two")).hash_key


async def test_a_secret_reaches_the_agent_and_is_never_recorded(mini_agents: MiniAgents) -> None:
    recorded: list[Message] = []
    got: list[Any] = []

    @mini_agents.on_persist_message
    async def record(_: Any, message: Message) -> None:
        recorded.append(message)

    @miniagent
    async def agent(ctx: InteractionContext, api_key: SecretStr, anything: Any = None) -> None:
        got.extend([api_key, anything])

    forked = agent.fork(api_key=SecretStr("s3cret"))
    await forked.inquire("hi", anything=SecretStr("s3cret too"))
    await mini_agents.aflush_tasks()

    assert [secret.get_secret_value() for secret in got] == ["s3cret", "s3cret too"]
    assert len(recorded) == 3
    assert "s3cret" not in "".join(message.full_json for message in [*recorded, forked])
    assert "api_key" not in "".join(message.full_json for message in [*recorded, forked])


async def test_a_secret_inside_of_a_setting_is_never_recorded(mini_agents: MiniAgents) -> None:
    @miniagent
    async def agent(ctx: InteractionContext, options: dict[str, SecretStr]) -> None:
        ctx.reply(options["key"].get_secret_value())

    forked = agent.fork(options={"key": SecretStr("s3cret")})

    assert "s3cret" not in forked.full_json
    assert await forked.inquire() == (Message("s3cret"),)


def test_mutable_state_is_not_recorded() -> None:
    assert tell.fork(mutable_state={"k": ["state"]}).hash_key == tell.hash_key


async def test_the_record_of_a_call_has_all_its_settings(mini_agents: MiniAgents) -> None:
    recorded: list[Message] = []

    @mini_agents.on_persist_message
    async def record(_: Any, message: Message) -> None:
        recorded.append(message)

    await tell.fork(k=1).inquire(other=2)
    await mini_agents.aflush_tasks()

    (call,) = [message for message in recorded if message.class_ == "AgentCallNode"]
    assert call["settings"].as_kwargs() == {"k": 1, "other": 2}
    assert call["agent"]["settings"] == Frozen(k=1)


# -- context variables ---------------------------------------------------------------------------------------------------


async def test_settings_are_taken_at_the_call_and_not_when_a_lazy_agent_starts(mini_agents: MiniAgents) -> None:
    names = ["a"]
    replies = tell.inquire(k=names, start_asap=False)
    names.append("b")
    await asyncio.sleep(0)

    assert (await settings_of(replies))[0] == ("a",)


def test_the_alias_in_a_description_is_that_of_the_fork_too() -> None:
    @miniagent(description="I am {AGENT_ALIAS}, {not a field}.")
    async def greeter(ctx: InteractionContext) -> None:
        ctx.reply("hi")

    assert greeter.description == "I am GREETER, {not a field}."
    assert greeter.fork(alias="LOUD").description == "I am LOUD, {not a field}."
