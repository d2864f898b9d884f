"""The settings of an agent: which of them win, which are refused, and state that is shared."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.errors import NotAnAgentError, UnknownSettingError
from tests.unit.telling_agents import tell


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
