"""What the blocks of an answer of chat completions become."""

import json

import pytest

from miniagents import Message, MiniAgents
from miniagents.ext.llms import AssistantMessage, OpenAIAgent
from miniagents.ext.llms.errors import ProviderError
from miniagents.ext.llms.llm_messages import ThinkingMessage, ToolCallMessage
from miniagents.ext.llms.openai import OpenAICompatibleAgent
from miniagents.testing.server import Answer, Interleaved, ProtocolServer, Raw, Refusal, Thinking, ToolCall

gpt_agent = OpenAIAgent.fork(model="gpt-4o", max_retries=0)
both_ways = pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])


def chunk(finish_reason: str | None = None, **delta: object) -> Raw:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return Raw(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n")


def summary(messages: tuple[Message, ...]) -> list[tuple[str, str]]:
    kinds = {ThinkingMessage: "thinking", ToolCallMessage: "call", AssistantMessage: "text"}
    return [
        (next(name for kind, name in kinds.items() if isinstance(message, kind)), message.content or "")
        for message in messages
    ]


@both_ways
async def test_each_block_is_a_message_in_the_order_in_which_the_model_made_it(server: ProtocolServer, stream: bool):
    server.script(
        Answer([Thinking("Hm"), Thinking("m."), "Let me", " add.", ToolCall("add", '{"a": 1, "b": 2}', id="call_1")])
    )

    async with MiniAgents():
        messages = await gpt_agent.inquire("What is 1 + 2?", stream=stream)

    assert summary(messages) == [("thinking", "Hmm."), ("text", "Let me add."), ("call", '{"a": 1, "b": 2}')]
    call = messages[-1]
    assert isinstance(call, ToolCallMessage)
    assert (call.tool_name, call.tool_call_id, dict(call.arguments.as_kwargs())) == ("add", "call_1", {"a": 1, "b": 2})
    assert (call.finish_reason, call.request_id) == ("tool_calls", "req_loopback")
    assert call.usage is not None
    assert [message.usage for message in messages[:-1]] == [None, None]
    assert "tool_calls" not in call.choices[0].message
    assert "reasoning_content" not in call.choices[0].message


async def test_a_thought_under_the_other_name_is_a_thought_too(server: ProtocolServer):
    thoughts = [chunk(reasoning="Hm"), chunk(reasoning="m.", reasoning_content="m.")]
    server.script(Answer([*thoughts, "Hello"]))

    async with MiniAgents():
        messages = await gpt_agent.inquire("Hi")

    assert summary(messages) == [("thinking", "Hmm."), ("text", "Hello")]


async def test_signed_details_of_a_thought_go_back_as_they_came(server: ProtocolServer):
    pieces = [
        {"type": "reasoning.text", "index": 0, "text": "Hm", "format": "x"},
        {"type": "reasoning.text", "index": 0, "text": "m.", "signature": "c2ln"},
    ]
    thoughts = [chunk(reasoning=piece["text"], reasoning_details=[piece]) for piece in pieces]
    encrypted = [{"type": "reasoning.encrypted", "index": 0, "data": "c2VjcmV0"}]
    first = Answer([*thoughts, ToolCall("add", {}, id="c1")])
    second = Answer([chunk(reasoning_details=encrypted), ToolCall("add", {}, id="c2")])

    async with MiniAgents():
        for answer in (first, second):
            server.script(answer)
            called = await gpt_agent.inquire("Hi")
            await gpt_agent.inquire(["Hi", called])

    details = [server.requests[number].body["messages"][1]["reasoning_details"] for number in (1, 3)]
    assert details == [
        [{"type": "reasoning.text", "index": 0, "text": "Hmm.", "format": "x", "signature": "c2ln"}],
        encrypted,
    ]


async def test_thoughts_between_texts_are_messages_of_their_own(server: ProtocolServer):
    server.script(Answer([Thinking("A"), "one", Thinking("B"), "two", " three", ToolCall("add", {}, id="c1")]))

    async with MiniAgents():
        called = await gpt_agent.inquire("Hi")
        await gpt_agent.inquire(["Hi", called])

    assert summary(called) == [
        ("thinking", "A"), ("text", "one"), ("thinking", "B"), ("text", "two three"), ("call", "{}"),
    ]  # fmt: skip
    assert server.requests[1].body["messages"][1]["reasoning_content"] == "AB"


@both_ways
async def test_parallel_calls_are_told_apart_though_their_arguments_arrive_in_turns(
    server: ProtocolServer, stream: bool
):
    first, second = {"city": "Tallinn", "unit": "celsius"}, {"city": "Riga", "days": [1, 2, 3]}
    server.script(Answer([Interleaved([ToolCall("weather", first, id="c1"), ToolCall("forecast", second, id="c2")])]))

    async with MiniAgents():
        messages = await gpt_agent.inquire("Hi", stream=stream)

    assert [(call.tool_name, call.tool_call_id, json.loads(call.content)) for call in messages] == [
        ("weather", "c1", first),
        ("forecast", "c2", second),
    ]


def calls_of(*deltas: dict[str, object]) -> Answer:
    return Answer([*(chunk(tool_calls=[delta]) for delta in deltas), chunk("tool_calls")], finish=None)


ODD_CALLS = {
    "no index": calls_of(
        {"id": "c1", "function": {"name": "add", "arguments": '{"a"'}},
        {"function": {"arguments": ": 1}"}},
        {"id": "c2", "function": {"name": "sub", "arguments": '{"b": 2}'}},
    ),
    "one index for all": calls_of(
        {"index": 0, "id": "c1", "function": {"name": "add", "arguments": '{"a": 1}'}},
        {"index": 0, "id": "c2", "function": {"name": "sub", "arguments": '{"b": 2}'}},
    ),
    "id in every piece": calls_of(
        {"index": 0, "id": "c1", "function": {"name": "add", "arguments": '{"a"'}},
        {"index": 0, "id": "c1", "function": {"name": "add", "arguments": ": 1}"}},
        {"index": 1, "id": "c2", "function": {"name": "sub", "arguments": {"b": 2}}},
    ),
    "name later than arguments": calls_of(
        {"index": 0, "id": "c1", "function": {"arguments": '{"a"'}},
        {"index": 0, "function": {"name": "add", "arguments": ": 1}"}},
        {"index": 1, "id": "c2", "function": {"name": "sub", "arguments": '{"b": 2}'}},
    ),
}


@pytest.mark.parametrize("answer", ODD_CALLS.values(), ids=ODD_CALLS.keys())
async def test_calls_of_servers_that_count_otherwise_are_put_together(server: ProtocolServer, answer: Answer):
    server.script(answer)

    async with MiniAgents():
        messages = await gpt_agent.inquire("Hi")

    assert [(call.tool_name, call.tool_call_id, call.content) for call in messages] == [
        ("add", "c1", '{"a": 1}'),
        ("sub", "c2", '{"b": 2}'),
    ]


async def test_a_call_without_an_id_gets_one(server: ProtocolServer):
    server.script(
        calls_of(
            {"function": {"name": "add", "arguments": "{}"}},
            {"function": {"name": "sub", "arguments": "{}"}},
        )
    )

    async with MiniAgents():
        add, sub = await gpt_agent.inquire("Hi")

    assert (add.tool_name, sub.tool_name) == ("add", "sub")
    assert add.tool_call_id.startswith("call_")
    assert add.tool_call_id != sub.tool_call_id


async def test_what_a_server_adds_to_a_call_goes_back_with_it(server: ProtocolServer):
    extra = {"google": {"thought_signature": "c2ln"}}
    server.script(calls_of({"index": 0, "id": "c1", "function": {"name": "add"}, "extra_content": extra}))

    async with MiniAgents():
        called = await gpt_agent.inquire("Hi")
        await gpt_agent.inquire(["Hi", called])

        await OpenAICompatibleAgent.inquire(["Hi", called], model="another")

    assert server.requests[1].body["messages"][1]["tool_calls"][0]["extra_content"] == extra
    assert "extra_content" not in server.requests[2].body["messages"][1]["tool_calls"][0], "it is another server's"


@both_ways
async def test_the_words_of_a_refusal_are_the_text_of_the_message(server: ProtocolServer, stream: bool):
    server.script(Answer([Refusal("I would"), Refusal(" rather not.")]))

    async with MiniAgents():
        [message] = await gpt_agent.inquire("Hi", stream=stream)

    assert str(message) == "I would rather not."
    assert message.finish_reason == "refusal"
    assert message.choices[0].message.refusal == "I would rather not."


@both_ways
@pytest.mark.parametrize(
    ("sent", "told"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("tool_calls", "tool_calls"),
        ("function_call", "tool_calls"),
        ("content_filter", "content_filter"),
        ("eos", "stop"),
    ],
)
async def test_reasons_to_end_are_called_alike(server: ProtocolServer, sent: str, told: str, stream: bool):
    server.script(Answer("Hello", finish=sent))

    async with MiniAgents():
        [message] = await gpt_agent.inquire("Hi", stream=stream)

    assert message.finish_reason == told
    assert message.choices[0].finish_reason == sent


async def test_a_call_is_the_reason_also_for_servers_that_say_stop(server: ProtocolServer):
    server.script(Answer([ToolCall("add", {"a": 1})], finish="stop"))

    async with MiniAgents():
        [message] = await gpt_agent.inquire("Hi")

    assert message.finish_reason == "tool_calls"


async def test_a_model_that_broke_down_is_an_error(server: ProtocolServer):
    server.script(Answer(["Once", chunk("error")], finish=None))

    async with MiniAgents():
        with pytest.raises(ProviderError, match="broke down"):
            await gpt_agent.inquire("Hi")


async def test_log_probabilities_are_on_the_message(server: ProtocolServer):
    logprobs = [{"token": "Hel", "logprob": -0.5}, {"token": "lo", "logprob": -0.1}]
    server.script(Answer(["Hel", "lo"], logprobs=logprobs))

    async with MiniAgents():
        [message] = await gpt_agent.inquire("Hi", logprobs=True)

    assert str(message) == "Hello"
    assert [item.logprob for item in message.choices[0].logprobs.content] == [-0.5, -0.1]


@pytest.mark.parametrize("token", ['"', "\\", "\n", "é", "\u2028", "", "{}", '","x":"'])
async def test_tokens_are_the_same_whatever_stands_in_them(server: ProtocolServer, token: str):
    tokens = ["one", " two", token, " three", token, " four", token]
    server.script(Answer(tokens))

    async with MiniAgents():
        [received] = [[token async for token in message] async for message in gpt_agent.inquire("Hi")]

    assert received == [token for token in tokens if token]


async def test_a_field_that_changes_in_the_middle_of_the_text_is_not_lost(server: ProtocolServer):
    late = b'data: {"id":"x","choices":[{"index":0,"delta":{"content":" late"}}],"system_fingerprint":"fp_2"}\n\n'
    server.script(Answer(["one", " two", " three", Raw(late), " four"], fields={"system_fingerprint": None}))

    async with MiniAgents():
        [message] = await gpt_agent.inquire("Hi")

    assert str(message) == "one two three late four"
    assert message.system_fingerprint == "fp_2"
