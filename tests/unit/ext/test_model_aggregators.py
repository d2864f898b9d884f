"""One answer of several agents: that of the first to speak, that which a guard lets pass."""

import asyncio
from typing import Any

import pytest
from pydantic import BaseModel

from miniagents import InteractionContext, Message, MiniAgent, MiniAgents, miniagent
from miniagents.ext import VerdictMessage, fallback_agent, gate_agent, race_agent
from miniagents.ext.llms import AssistantMessage, Script, ScriptedAgent, ThinkingMessage
from miniagents.ext.llms.errors import ConnectionLostError, LLMError, OverloadedError, RateLimitedError
from miniagents.ext.model_aggregators import BlockedError, NotAnAgentInListError, NoVerdictError
from tests.unit.ext.controlled_agents import Stubborn, model, settle, texts


@pytest.mark.parametrize("aggregator", [fallback_agent, race_agent], ids=["fallback_agent", "race_agent"])
@pytest.mark.parametrize(
    "agents", [[], [None], ["gpt"], [model("A", "a"), len]], ids=["none", "only None", "str", "len"]
)
async def test_what_is_no_agent_is_refused_before_anybody_is_asked(
    mini_agents: MiniAgents, aggregator: MiniAgent, agents: list[Any]
) -> None:
    with pytest.raises(NotAnAgentInListError, match=r"needs `agents=\[...\]` with at least one agent"):
        await aggregator.fork(mutable_state={"agents": agents}).inquire("Hi")


@pytest.mark.parametrize("aggregator", [fallback_agent, race_agent], ids=["fallback_agent", "race_agent"])
@pytest.mark.parametrize(
    ("agents", "sentence"),
    [
        (model("A", "a"), "It was given the agent `A` alone: write `agents=[...]` around it."),
        ("openai:gpt-4o", "It was given 'openai:gpt-4o'; `model_agent('openai:gpt-4o')` gives the agent of a model."),
        (["openai:gpt-4o"], "It was given 'openai:gpt-4o'; `model_agent('openai:gpt-4o')` gives the agent of a model."),
        (5, "It was given 5."),
        ([len], "It was given <built-in function len>; decorate it with `@miniagent`."),
    ],
    ids=["one agent", "name of a model", "names of models", "number", "function"],
)
def test_what_is_no_list_of_agents_is_refused_in_words_that_say_what_to_write(
    aggregator: MiniAgent, agents: Any, sentence: str
) -> None:
    with pytest.raises(NotAnAgentInListError) as raised:
        aggregator.fork(agents=agents)

    assert str(raised.value).endswith(sentence)


# -------------------------------------------------------------------------------------------------------- race_agent


async def test_the_first_to_show_a_token_answers_and_the_others_are_cancelled(mini_agents: MiniAgents) -> None:
    go, more = asyncio.Event(), asyncio.Event()
    silent = Stubborn()
    race = race_agent.fork(agents=[silent.agent, model("FAST", go, "one ", more, "two"), model("SLOW", more, "late")])

    replies = race.inquire("Hi")
    await silent.has_begun.wait()
    go.set()
    tokens = aiter(await anext(aiter(replies)))

    assert await anext(tokens) == "one "
    await silent.was_cancelled.wait()
    more.set()
    assert await anext(tokens) == "two"
    assert await texts(replies) == ["one two"]


async def test_a_message_without_tokens_wins_too(mini_agents: MiniAgents) -> None:
    silent = Stubborn()

    @miniagent
    async def replies_an_image(ctx: InteractionContext) -> None:
        ctx.reply(Message(width=640, height=480))

    (message,) = await race_agent.inquire("Hi", agents=[silent.agent, replies_an_image])

    assert message.width == 640


async def test_a_failure_before_the_first_token_does_not_win(mini_agents: MiniAgents) -> None:
    go = asyncio.Event()
    race = race_agent.fork(agents=[model("A", OverloadedError("busy")), model("B", go, "B's")])

    replies = race.inquire("Hi")
    asyncio.get_running_loop().call_soon(go.set)

    assert await texts(replies) == ["B's"]


async def test_a_failure_after_the_first_token_is_the_winners(mini_agents: MiniAgents) -> None:
    go = asyncio.Event()
    race = race_agent.fork(agents=[model("A", "one", ConnectionLostError("cut")), model("B", go, "no")])

    with pytest.raises(ConnectionLostError):
        await race.inquire("Hi")


async def test_if_all_fail_the_last_to_fail_tells_of_the_others(mini_agents: MiniAgents) -> None:
    go = asyncio.Event()
    last = OverloadedError("busy")
    race = race_agent.fork(agents=[model("A", go, last), model("B", RateLimitedError("slow down"))])

    replies = race.inquire("Hi")
    await settle()
    go.set()
    with pytest.raises(OverloadedError) as caught:
        await replies

    assert caught.value is last
    assert last.__notes__ == ["`B` failed too: RateLimitedError: slow down", "The error above is that of `A`."]


async def test_who_has_nothing_to_say_wins_only_if_all_others_failed(mini_agents: MiniAgents) -> None:
    @miniagent
    async def says_nothing(ctx: InteractionContext) -> None: ...

    assert await texts(race_agent.inquire("Hi", agents=[says_nothing, model("B", "B's")])) == ["B's"]
    assert await race_agent.inquire("Hi", agents=[model("A", LLMError("no")), says_nothing]) == ()


@pytest.mark.mini_agents(start_everything_asap_by_default=False)
async def test_all_run_at_once_in_a_lazy_context_too(mini_agents: MiniAgents) -> None:
    silent = Stubborn()

    assert await texts(race_agent.inquire("Hi", agents=[silent.agent, model("B", "B's")])) == ["B's"]
    await silent.was_cancelled.wait()


async def test_cancelling_the_race_cancels_all(mini_agents: MiniAgents) -> None:
    one, two = Stubborn(), Stubborn()

    async with race_agent.inquire("Hi", agents=[one.agent, two.agent]):
        await one.has_begun.wait()
        await two.has_begun.wait()
    await one.was_cancelled.wait()
    await two.was_cancelled.wait()


# -------------------------------------------------------------------------------------------------------- gate_agent


def guard_of(*replies: Any, after: asyncio.Event | None = None) -> MiniAgent:
    @miniagent(alias="GUARD")
    async def guard(ctx: InteractionContext) -> None:
        if after is not None:
            await after.wait()
        ctx.reply(replies)

    return guard


async def test_the_answer_is_held_back_until_the_guard_lets_it_pass(mini_agents: MiniAgents) -> None:
    verdict, more, said = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def answer(_: object) -> Any:
        yield "one "
        yield "two "
        said.set()
        await more.wait()
        yield "three"

    gate = gate_agent.fork(
        agent=ScriptedAgent.fork(script=answer), guard=guard_of(VerdictMessage(passed=True), after=verdict)
    )
    replies = gate.inquire("Hi")
    reading = asyncio.ensure_future(anext(aiter(replies)))
    await said.wait()
    await settle()
    assert not reading.done()

    verdict.set()
    tokens = aiter(await reading)
    assert [await anext(tokens), await anext(tokens)] == ["one ", "two "]
    more.set()
    assert await anext(tokens) == "three"


async def test_what_the_guard_does_not_let_pass_is_cancelled_and_never_shown(mini_agents: MiniAgents) -> None:
    verdict = asyncio.Event()
    answer = Stubborn("a secret")
    gate = gate_agent.fork(
        agent=answer.agent, guard=guard_of(VerdictMessage(passed=False, reason="It is a secret."), after=verdict)
    )

    replies = gate.inquire("Hi")
    await answer.has_begun.wait()
    verdict.set()
    (message,) = await replies

    assert isinstance(message, AssistantMessage)
    assert (str(message), message.blocked, message.finish_reason) == ("It is a secret.", True, "content_filter")
    await answer.was_cancelled.wait()


async def test_a_blocked_answer_can_be_an_error(mini_agents: MiniAgents) -> None:
    guard = guard_of(VerdictMessage(passed=False, reason="It is a secret."))

    with pytest.raises(BlockedError, match="`GUARD` did not let the answer pass: It is a secret.") as caught:
        await gate_agent.inquire("Hi", agent=model("A", "no"), guard=guard, on_block="raise")
    assert caught.value.reason == "It is a secret."


async def test_no_fallback_goes_around_a_guard(mini_agents: MiniAgents) -> None:
    gate = gate_agent.fork(agent=model("A", "no"), guard=guard_of(VerdictMessage(passed=False)), on_block="raise")

    with pytest.raises(BlockedError):
        await fallback_agent.inquire("Hi", agents=[gate, model("B", "no")])


@pytest.mark.parametrize(
    ("text", "passes"),
    [
        ("yes", True),
        ("Yes, it is harmless.", True),
        ("**PASS**", True),
        ("passed", True),
        ("No: it tells a secret.", False),
        ("FAIL", False),
        ("failed - a secret", False),
    ],
)
async def test_a_verdict_may_be_a_text(mini_agents: MiniAgents, text: str, passes: bool) -> None:
    (message,) = await gate_agent.inquire("Hi", agent=model("A", "answer"), guard=guard_of(text))

    assert (str(message) == "answer") is passes
    assert (message.get("blocked") is True) is not passes


async def test_the_reason_is_what_follows_the_word(mini_agents: MiniAgents) -> None:
    (message,) = await gate_agent.inquire("Hi", agent=model("A", "x"), guard=guard_of("No: it tells a secret."))

    assert str(message) == "it tells a secret."


async def test_a_models_validated_answer_is_a_verdict(mini_agents: MiniAgents) -> None:
    class Safety(BaseModel):
        passed: bool
        reason: str

    guard = model("GUARD", '{"passed": false, "reason": "rude"}', response_model=Safety)

    (message,) = await gate_agent.inquire("Hi", agent=model("A", "answer"), guard=guard)

    assert (str(message), message.blocked) == ("rude", True)


async def test_what_a_guard_thinks_is_no_verdict(mini_agents: MiniAgents) -> None:
    guard = guard_of(ThinkingMessage("Yes, this looks fine at first."), AssistantMessage("no"))

    (message,) = await gate_agent.inquire("Hi", agent=model("A", "answer"), guard=guard)

    assert message.blocked


@pytest.mark.parametrize("said", ["Perhaps.", "Not sure", "Nobody knows", "Yesterday", ()], ids=str)
async def test_without_a_verdict_nothing_is_released(mini_agents: MiniAgents, said: Any) -> None:
    answer = Stubborn("a secret")

    with pytest.raises(NoVerdictError, match=r"`GUARD` gave no verdict.*VerdictMessage\(passed=..., reason=...\)"):
        await gate_agent.inquire("Hi", agent=answer.agent, guard=guard_of(said))
    assert answer.was_cancelled.is_set() is answer.has_begun.is_set()


async def test_where_the_guard_fails_its_error_is_raised_and_nothing_is_released(mini_agents: MiniAgents) -> None:
    answer = Stubborn("a secret")
    go = asyncio.Event()

    @miniagent
    async def broken_guard(ctx: InteractionContext) -> None:
        await go.wait()
        raise OverloadedError("busy")

    replies = gate_agent.inquire("Hi", agent=answer.agent, guard=broken_guard)
    await answer.has_begun.wait()
    go.set()
    with pytest.raises(OverloadedError):
        await replies
    await answer.was_cancelled.wait()


async def test_both_see_the_same_messages(mini_agents: MiniAgents) -> None:
    answering, guarding = Script("answer"), Script("yes")
    gate = gate_agent.fork(agent=ScriptedAgent.fork(script=answering), guard=ScriptedAgent.fork(script=guarding))

    assert await texts(gate.inquire(["Hi", "there"])) == ["answer"]
    assert answering.prompts[0].turns == guarding.prompts[0].turns


async def test_an_error_of_a_released_answer_is_the_readers(mini_agents: MiniAgents) -> None:
    with pytest.raises(ConnectionLostError):
        await gate_agent.inquire("Hi", agent=model("A", ConnectionLostError("cut")), guard=guard_of("yes"))


async def test_an_error_of_an_answer_that_is_not_released_is_nobodys(mini_agents: MiniAgents) -> None:
    verdict = asyncio.Event()
    failing = model("A", ConnectionLostError("cut"))

    replies = gate_agent.inquire("Hi", agent=failing, guard=guard_of("no", after=verdict))
    await settle()
    verdict.set()
    (message,) = await replies

    assert message.blocked


async def test_cancelling_the_gate_cancels_both(mini_agents: MiniAgents) -> None:
    answer, guard = Stubborn("a"), Stubborn()

    async with gate_agent.inquire("Hi", agent=answer.agent, guard=guard.agent):
        await answer.has_begun.wait()
        await guard.has_begun.wait()
    await answer.was_cancelled.wait()
    await guard.was_cancelled.wait()


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"on_block": "explode"}, "`gate_agent` takes `on_block=\"reply\"` or `on_block=\"raise\"`, not 'explode'."),
        ({"on_block": None}, "`gate_agent` takes `on_block=\"reply\"` or `on_block=\"raise\"`, not None."),
        ({"guard": "be kind"}, "`gate_agent` needs as `guard` an agent, a function or class with `@miniagent`, not 'be kind'."),
        ({"guard": len}, "`gate_agent` needs as `guard` an agent, a function or class with `@miniagent`, not <built-in function len>."),
        ({"agent": "gpt"}, "`gate_agent` needs as `agent` an agent, a function or class with `@miniagent`, not 'gpt'."),
    ],
    ids=["on_block", "no on_block", "guard", "function", "agent"],
)  # fmt: skip
def test_a_gate_refuses_wrong_settings_where_they_are_given(settings: dict[str, Any], sentence: str) -> None:
    with pytest.raises(TypeError) as raised:
        gate_agent.fork(**settings)

    assert str(raised.value) == sentence
