"""Programs as a user writes them: tools, approval, structured output, fallback and limits together, and one dialog with several providers."""

import asyncio
import base64
from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import BaseModel

from miniagents import InteractionContext, Message, MiniAgents, UsageLimits, miniagent
from miniagents.errors import UsageLimitExceededError
from miniagents.ext import fallback_agent
from miniagents.ext.llms import (
    AnthropicAgent,
    ApprovalMessage,
    ImageMessage,
    OpenAIAgent,
    OpenAICompatibleAgent,
    OpenAIResponsesAgent,
    ThinkingMessage,
    ToolCallMessage,
    ToolResultMessage,
    UserMessage,
    parse_reply,
    stream_parsed,
)
from miniagents.testing.server import (
    Answer,
    Drop,
    Failure,
    Gate,
    ProtocolServer,
    RecordedRequest,
    Thinking,
    ToolCall,
    Usage,
)

GPT = OpenAIAgent.fork(alias="GPT", model="gpt-5-mini", max_retries=0)
RESPONSES = OpenAIResponsesAgent.fork(alias="RESPONSES", model="gpt-5-mini", max_retries=0)
CLAUDE = AnthropicAgent.fork(alias="CLAUDE", model="claude-sonnet-5-5", max_tokens=1000, max_retries=0)
PIXEL = base64.b64decode(
    b"iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Refund(BaseModel):
    order_id: str
    amount: int


class Shop:
    """What the tools work on."""

    def __init__(self) -> None:
        self.refunded: list[tuple[str, int]] = []
        self.looked_at: list[str] = []

    async def find_order(self, order_id: str) -> dict[str, Any]:
        """Find an order by its number."""
        self.looked_at.append(order_id)
        return {"order_id": order_id, "paid": 30}

    async def refund(self, order_id: str, amount: int) -> str:
        """Give money back."""
        self.refunded.append((order_id, amount))
        return "done"


def kinds_and_texts(messages: Any) -> list[tuple[str, str]]:
    names = {ThinkingMessage: "thinks", ToolCallMessage: "calls", ToolResultMessage: "tool"}
    return [(names.get(type(message), "says"), str(message)) for message in messages]


# -------------------------------------------------------------------------------------------------- everything together


async def test_a_shop_assistant_uses_tools_asks_first_answers_in_a_form_falls_back_and_keeps_to_its_limits(
    mini_agents: MiniAgents, model_server: ProtocolServer
) -> None:
    shop = Shop()
    asked: list[tuple[Message, ...]] = []

    @miniagent
    async def manager(ctx: InteractionContext) -> None:
        asked.append(await ctx.message_promises)
        ctx.reply(ApprovalMessage(approved=True))

    settings: dict[str, Any] = {
        "tools": [shop.find_order, shop.refund],
        "requires_approval": {"refund"},
        "approval_agent": manager,
        "response_model": Refund,
    }
    assistant = fallback_agent.fork(agents=[GPT.fork(**settings), CLAUDE.fork(**settings)])
    model_server.script(
        Failure(503, "too much to do"),
        Answer(
            [Thinking("Look first.", "signed"), "Let me look.", ToolCall("find_order", {"order_id": "A1"}, id="t1")],
            usage=Usage(input_tokens=100, output_tokens=10),
        ),
        Answer(
            [ToolCall("refund", {"order_id": "A1", "amount": 30}, id="t2")],
            usage=Usage(input_tokens=200, output_tokens=20),
        ),
        Answer('{"order_id": "A1", "amount": "all of it"}', usage=Usage(input_tokens=300, output_tokens=30)),
        Answer('{"order_id": "A1", "amount": 30}', usage=Usage(input_tokens=400, output_tokens=40)),
    )

    replies = assistant.inquire("I want my money back for A1.", usage_limits=UsageLimits(requests=5, tool_calls=2))

    assert await parse_reply(replies, Refund) == Refund(order_id="A1", amount=30)
    assert kinds_and_texts(await replies) == [
        ("thinks", "Look first."),
        ("says", "Let me look."),
        ("calls", '{"order_id": "A1"}'),
        ("tool", '{"order_id":"A1","paid":30}'),
        ("calls", '{"order_id": "A1", "amount": 30}'),
        ("tool", "done"),
        ("says", '{"order_id": "A1", "amount": "all of it"}'),
        ("says", '{"order_id": "A1", "amount": 30}'),
    ]
    assert (shop.looked_at, shop.refunded) == (["A1"], [("A1", 30)])
    [[question]] = asked
    assert (question.tool_name, question.arguments.as_kwargs()) == ("refund", {"order_id": "A1", "amount": 30})
    used = replies.usage
    assert (used.requests, used.tool_calls, used.unknown) == (5, 2, 1)
    assert (used.input_tokens, used.output_tokens) == (1000, 100)
    assert set(mini_agents.usage.by_model) == {"gpt-5-mini", "claude-sonnet-5-5"}
    # The model was told what is wrong with its answer, after all that came before.
    last = model_server.requests[-1].body["messages"]
    assert [message["role"] for message in last] == [*["user", "assistant"] * 3, "user"]
    assert "amount: Input should be a valid integer" in str(last[-1]["content"])
    assert last[1]["content"][0] == {"type": "thinking", "thinking": "Look first.", "signature": "signed"}


async def test_who_says_no_to_a_tool_is_heard_by_the_model_and_the_limit_on_tools_counts_only_what_is_called(
    mini_agents: MiniAgents, model_server: ProtocolServer
) -> None:
    shop = Shop()

    @miniagent
    async def manager(ctx: InteractionContext) -> None:
        ctx.reply("No, that is too much.")

    model_server.script(
        Answer([ToolCall("refund", {"order_id": "A1", "amount": 3000})]), "I am not allowed to do that."
    )

    replies = await GPT.inquire("I want 3000.", tools=[shop.refund], requires_approval=True, approval_agent=manager)

    called, result, answer = replies
    assert (called.tool_name, result.is_error, str(answer)) == ("refund", True, "I am not allowed to do that.")
    assert "not approved" in str(result)
    assert "that is too much" in model_server.requests[1].body["messages"][-1]["content"]
    assert shop.refunded == []


async def test_a_crossed_limit_stops_what_is_being_answered_and_keeps_what_has_been(
    model_server: ProtocolServer,
) -> None:
    gate = Gate()
    model_server.script(Answer(["Long", gate, " story"]), key="tell me")
    model_server.script(Answer("Cheap", usage=Usage(input_tokens=5, output_tokens=5)), key="first")
    model_server.script(Answer("Dear", usage=Usage(input_tokens=500, output_tokens=600)), key="second")

    async with MiniAgents(usage_limits=UsageLimits(total_tokens=1000)) as context:
        long = CLAUDE.inquire("tell me")
        await gate.reached()

        # One after the other: the second one crosses the limit, which would stop the first one, too.
        assert str(await GPT.inquire("first").as_single_promise()) == "Cheap"
        assert str(await GPT.inquire("second").as_single_promise()) == "Dear"
        with pytest.raises(UsageLimitExceededError, match="total_tokens=1000"):
            await long
        with pytest.raises(UsageLimitExceededError):
            await GPT.inquire("one more")
        assert (context.usage.total.requests, context.usage.total.unknown) == (3, 1)

    assert await model_server.requests[0].ended() == "closed by the client"
    assert len(model_server.requests) == 3


async def test_what_a_tool_streams_is_seen_two_agents_further_on_while_it_is_still_at_work(
    mini_agents: MiniAgents, model_server: ProtocolServer
) -> None:
    gate = Gate()
    model_server.script(Answer([ToolCall("poet", {"request": "a verse"})]), "That was it.")
    model_server.script(Answer(["Roses", gate, " are red"]), key="a verse")

    @miniagent
    async def poet(ctx: InteractionContext) -> None:
        """Write a verse."""
        ctx.reply(CLAUDE.inquire(ctx.message_promises))

    @miniagent
    async def front_desk(ctx: InteractionContext) -> None:
        ctx.reply(GPT.inquire(ctx.message_promises, tools=[poet]))

    messages = aiter(front_desk.inquire("A poem, please"))
    call, verse = await anext(messages), await anext(messages)
    tokens = aiter(verse)

    assert await anext(tokens) == "Roses"
    assert not verse.done()
    gate.open()
    assert str(await verse) == "Roses are red"
    assert (await call).tool_name == "poet"
    assert [str(await message) async for message in messages] == ["That was it."]


async def test_a_form_is_seen_growing_while_the_model_fills_it_in_after_a_tool(
    mini_agents: MiniAgents, model_server: ProtocolServer
) -> None:
    shop, gate = Shop(), Gate()
    model_server.script(
        Answer([ToolCall("find_order", {"order_id": "A1"})]), Answer(['{"order_id": "A1", ', gate, '"amount": 30}'])
    )

    replies = CLAUDE.inquire("How much was A1?", tools=[shop.find_order], response_model=Refund)
    forms: AsyncIterator[Any] = stream_parsed(replies, Refund)

    assert await anext(forms) == {"order_id": "A1"}
    gate.open()
    assert [form async for form in forms][-1] == Refund(order_id="A1", amount=30)


async def test_a_turn_that_is_torn_after_a_tool_begins_anew_without_calling_the_tool_again(
    mini_agents: MiniAgents, model_server: ProtocolServer
) -> None:
    shop = Shop()
    model_server.script(Answer([ToolCall("find_order", {"order_id": "A1"})]), Answer(["It was", Drop()]), "It was 30.")

    replies = CLAUDE.inquire("How much was A1?", tools=[shop.find_order], on_midstream_failure="restart", max_retries=1)

    *_, torn, whole = await replies
    assert (str(torn), torn.interrupted, str(whole)) == ("It was", True, "It was 30.")
    assert shop.looked_at == ["A1"]
    # The torn message is no part of what the model is told of the conversation later.
    model_server.script("You are welcome.")
    await CLAUDE.inquire(["How much was A1?", replies, "Thanks"])
    body = model_server.requests[-1].body
    assert content_types(body) == [
        ("user", ["text"]),
        ("assistant", ["tool_use"]),
        ("user", ["tool_result"]),
        ("assistant", ["text"]),
        ("user", ["text"]),
    ]
    assert str(body["messages"]).count("It was") == 1


# --------------------------------------------------------------------------------------------- from one provider to another


def content_types(body: dict[str, Any]) -> list[tuple[str, list[str]]]:
    return [
        (
            message["role"],
            ["text"] if isinstance(message["content"], str) else [block["type"] for block in message["content"]],
        )
        for message in body["messages"]
    ]


async def test_a_dialog_goes_from_openai_to_anthropic_and_back_with_tools_thoughts_and_pictures(
    mini_agents: MiniAgents, model_server: ProtocolServer
) -> None:
    shop = Shop()
    history: list[Any] = [UserMessage("What is in my order?"), ImageMessage(data=PIXEL, media_type="image/png")]
    model_server.script(
        Answer([Thinking("A picture."), "I see a pixel.", ToolCall("find_order", {"order_id": "A1"}, id="call_1")]),
        "You paid 30.",
    )
    history.append(RESPONSES.inquire(list(history), tools=[shop.find_order]))
    assert kinds_and_texts(await history[-1])[-1] == ("says", "You paid 30.")

    # Anthropic gets all but the other's thought, in its own words.
    model_server.script(
        Answer([Thinking("Let me check.", "sig"), ToolCall("find_order", {"order_id": "B2"}, id="toolu_1")]),
        "B2 was 30, too.",
    )
    history += ["And B2?"]
    history.append(CLAUDE.inquire(list(history), tools=[shop.find_order]))
    await history[-1]

    body = model_server.requests[2].body
    assert content_types(body) == [
        ("user", ["text", "image"]),
        ("assistant", ["text", "tool_use"]),
        ("user", ["tool_result"]),
        ("assistant", ["text"]),
        ("user", ["text"]),
    ]
    picture = body["messages"][0]["content"][1]["source"]
    assert (picture["media_type"], base64.b64decode(picture["data"])) == ("image/png", PIXEL)
    call, result = body["messages"][1]["content"][1], body["messages"][2]["content"][0]
    assert (call["name"], call["input"], call["id"]) == ("find_order", {"order_id": "A1"}, result["tool_use_id"])
    assert "A picture." not in str(body)
    assert model_server.requests[3].body["messages"][-2]["content"][0]["signature"] == "sig"

    # And back: chat completions get the calls of both, and nobody's thoughts.
    model_server.script("Goodbye.")
    history += ["Thanks."]
    history.append(GPT.inquire(list(history)))
    await history[-1]

    said = model_server.requests[4].body["messages"]
    assert [message["role"] for message in said] == [
        "user", "assistant", "tool", "assistant", "user", "assistant", "tool", "assistant", "user"
    ]  # fmt: skip
    calls = [call for message in said for call in message.get("tool_calls") or ()]
    assert [call["id"] for call in calls] == [message["tool_call_id"] for message in said if message["role"] == "tool"]
    assert [call["function"]["arguments"] for call in calls] == ['{"order_id": "A1"}', '{"order_id": "B2"}']
    assert said[0]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,")
    assert "Let me check." not in str(said)

    # To Anthropic again: its own thought is there word for word, that of others is not.
    await CLAUDE.inquire([*history, "One more thing."])
    thoughts = [
        block
        for message in model_server.requests[5].body["messages"]
        for block in (message["content"] if isinstance(message["content"], list) else [])
        if block["type"] == "thinking"
    ]
    assert thoughts == [{"type": "thinking", "thinking": "Let me check.", "signature": "sig"}]


async def test_a_dialog_that_stops_between_a_call_and_its_result_can_go_on_elsewhere(
    mini_agents: MiniAgents, model_server: ProtocolServer
) -> None:
    model_server.script(Answer(["Let me look.", ToolCall("find_order", {"order_id": "A1"}, id="call_1")]))
    cut = await GPT.inquire("Where is A1?", tools=[{"type": "function", "function": {"name": "find_order"}}])
    assert [type(message) for message in cut][-1] is ToolCallMessage

    for model in (CLAUDE, RESPONSES, GPT):
        model_server.script("Never mind.")
        assert str((await model.inquire(["Where is A1?", cut, "Forget it."]))[-1]) == "Never mind."
    anthropic, responses, chat = [request.body for request in model_server.requests[1:]]
    assert content_types(anthropic)[-1] == ("user", ["tool_result", "text"])
    assert "function_call_output" in [item.get("type") for item in responses["input"]]
    assert [message["role"] for message in chat["messages"]] == ["user", "assistant", "tool", "user"]


async def test_calls_of_later_rounds_that_have_the_same_ids_get_their_own_results(
    mini_agents: MiniAgents, model_server: ProtocolServer
) -> None:
    # Some local servers count the calls of each answer from 0.
    shop = Shop()
    model_server.script(
        Answer([ToolCall("find_order", {"order_id": "A1"}, id="call_0")]),
        Answer([ToolCall("find_order", {"order_id": "B2"}, id="call_0")]),
        "Both were 30.",
    )

    await OpenAICompatibleAgent.inquire(
        "A1 and B2?", model="qwen3:8b", base_url=model_server.openai_base_url, tools=[shop.find_order]
    )

    said = model_server.requests[2].body["messages"]
    results = [message["content"] for message in said if message["role"] == "tool"]
    assert ["A1" in results[0], "B2" in results[1]] == [True, True]


async def test_tools_that_ask_another_provider_do_so_at_the_same_time_and_their_results_go_back_in_order(
    mini_agents: MiniAgents, model_server: ProtocolServer
) -> None:
    both = asyncio.Barrier(2)

    def about(request: RecordedRequest) -> str:
        return f"about {request.last_user_text}"

    async def expert(topic: str) -> str:
        """Ask an expert."""
        await both.wait()
        return str(await CLAUDE.inquire(topic).as_single_promise())

    calls = [ToolCall("expert", {"topic": "roses"}), ToolCall("expert", {"topic": "violets"})]
    model_server.script(Answer(calls), "All said.", key="Flowers!")
    model_server.answer_with(about)

    replies = await GPT.inquire("Flowers!", tools=[expert])

    assert [str(message) for message in replies[2:]] == ["about roses", "about violets", "All said."]
    results = [
        message["content"] for message in model_server.requests[-1].body["messages"] if message["role"] == "tool"
    ]
    assert results == ["about roses", "about violets"]
