"""How the settings of an agent reach it, frozen or as they are, and how they are recorded."""

import enum
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from pydantic import BaseModel, SecretStr

from miniagents import Frozen, InteractionContext, Message, MiniAgents, miniagent
from tests.unit.telling_agents import tell


class Client:
    """What cannot be frozen."""

    def __init__(self, name: str = "client") -> None:
        self.name = name


class Color(enum.Enum):
    RED = "red"


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
