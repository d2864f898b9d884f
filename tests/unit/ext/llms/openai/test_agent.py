import pytest
from openai import AsyncOpenAI, OpenAI

from miniagents import MiniAgents
from miniagents.errors import UnknownSettingError
from miniagents.ext.llms import (
    AssistantMessage,
    LLMError,
    OpenAIAgent,
    OpenAIMessage,
    SystemMessage,
    TokenUsage,
    UserMessage,
)
from miniagents.ext.llms.errors import MissingAPIKeyError, RateLimitedError, WrongClientError
from miniagents.testing.server import Answer, Failure, Gate, ProtocolServer, Raw

gpt_agent = OpenAIAgent.fork(model="gpt-4o")


async def test_the_answer_is_one_message_that_streams_token_by_token(server: ProtocolServer):
    server.script("Hello there, friend!")

    async with MiniAgents():
        tokens = [[token async for token in message] async for message in gpt_agent.inquire("Hi")]

    assert tokens == [["Hello", " there,", " friend!"]]
    assert server.requests[0].body == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }


async def test_without_streaming_the_answer_is_one_token(server: ProtocolServer):
    server.script("Hello there, friend!")

    async with MiniAgents():
        tokens = [[token async for token in message] async for message in gpt_agent.inquire("Hi", stream=False)]

    assert tokens == [["Hello there, friend!"]]
    assert server.requests[0].body["stream"] is False


async def test_the_context_says_whether_tokens_are_streamed_by_default(server: ProtocolServer):
    async with MiniAgents(stream_llm_tokens_by_default=False):
        await gpt_agent.inquire("Hi")
        await gpt_agent.inquire("Hi", stream=True)

    assert [request.body["stream"] for request in server.requests] == [False, True]


async def test_the_first_token_is_there_before_the_second_is_sent(server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["Hel", gate, "lo"]))

    async with MiniAgents():
        async for message in gpt_agent.inquire("Hi"):
            tokens = aiter(message)
            first = await anext(tokens)
            gate.open()
            assert [first, await anext(tokens)] == ["Hel", "lo"]


async def test_who_answers_is_known_as_soon_as_the_answer_begins(server: ProtocolServer):
    gate = Gate()
    server.script(Answer(["Hel", gate, "lo"]))

    async with MiniAgents():
        async for message in gpt_agent.inquire("Hi", response_metadata={"no_history": True}):
            known = message.preliminary_metadata
            assert (known.model, known.role, known.agent_alias) == ("gpt-4o", "assistant", "OPENAI_AGENT")
            assert known.no_history is True
            gate.open()


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_the_fields_of_the_response_are_on_the_message(server: ProtocolServer, stream: bool):
    server.script(Answer("Hello there!", finish="length", usage={"completion_tokens": 7}, fields={"model": "gpt-4o-x"}))

    async with MiniAgents():
        [message] = await gpt_agent.inquire("Hi", stream=stream)

    assert isinstance(message, OpenAIMessage)
    assert isinstance(message, AssistantMessage)
    assert str(message) == "Hello there!"
    assert (message.role, message.agent_alias, message.model) == ("assistant", "OPENAI_AGENT", "gpt-4o-x")
    assert (message.id, message.object, message.system_fingerprint) == ("chatcmpl-1", "chat.completion", "fp_loopback")
    assert message.choices[0].finish_reason == "length"
    assert "content" not in message.choices[0].message
    assert message.raw_usage.completion_tokens == 7


async def test_a_streamed_answer_has_the_fields_of_a_whole_one(server: ProtocolServer):
    answer = Answer(["Let", " me", " see"], fields={"id": "x", "created": 1})
    server.script(answer, answer)

    async with MiniAgents():
        [streamed] = await gpt_agent.inquire("Hi", stream=True)
        [whole] = await gpt_agent.inquire("Hi", stream=False)

    only_in_whole_answers = {"annotations": ()}
    assert {**streamed.as_kwargs(), "choices": ()} == {**whole.as_kwargs(), "choices": ()}
    assert {**streamed.choices[0].message.as_kwargs(), **only_in_whole_answers} == whole.choices[0].message.as_kwargs()


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_usage_counts_alike_for_all_providers(server: ProtocolServer, stream: bool):
    usage = {
        "prompt_tokens": 160,
        "completion_tokens": 20,
        "prompt_tokens_details": {"cached_tokens": 50, "cache_write_tokens": 100},
        "completion_tokens_details": {"reasoning_tokens": 12},
    }
    server.script(Answer("Hello", usage=usage))

    async with MiniAgents():
        [message] = await gpt_agent.inquire("Hi", stream=stream)

    assert message.usage == TokenUsage(
        input_tokens=160, output_tokens=20, cache_read_tokens=50, cache_write_tokens=100, reasoning_tokens=12
    )


async def test_a_server_that_reports_no_usage_leaves_it_empty(server: ProtocolServer):
    server.script(Answer("Hello", usage=None))

    async with MiniAgents():
        [message] = await gpt_agent.inquire("Hi")

    assert message.usage == TokenUsage()
    assert message.raw_usage is None


async def test_system_prompt_roles_and_dicts_reach_the_server(server: ProtocolServer):
    async with MiniAgents():
        await gpt_agent.inquire(
            [
                SystemMessage("Be kind."),
                {"role": "user", "content": "Hi"},
                AssistantMessage("Hello."),
                "How are",
                UserMessage("you?"),
            ],
            system="Be brief.",
        )

    assert server.requests[0].body["messages"] == [
        {"role": "system", "content": "Be brief.\n\nBe kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello."},
        {"role": "user", "content": "How are\n\nyou?"},
    ]


async def test_any_parameter_of_the_api_passes_through(server: ProtocolServer):
    async with MiniAgents():
        await gpt_agent.inquire(
            "Hi",
            temperature=0.7,
            max_tokens=50,
            stop=["\n", "END"],
            response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
            seed=None,
            extra_headers={"x-trace": "1"},
            x_unknown_to_the_sdk={"deep": [1, 2]},
        )

    body = server.requests[0].body
    assert (body["temperature"], body["max_tokens"], body["stop"]) == (0.7, 50, ["\n", "END"])
    assert body["response_format"] == {
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"type": "object"}},
    }
    assert body["x_unknown_to_the_sdk"] == {"deep": [1, 2]}
    assert "seed" not in body
    assert server.requests[0].headers["x-trace"] == "1"


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_the_message_is_the_first_of_several_choices_and_keeps_the_others(server: ProtocolServer, stream: bool):
    server.script(Answer("One answer"))

    async with MiniAgents():
        [message] = await gpt_agent.inquire("Hi", n=2, stream=stream)

    assert str(message) == "One answer"
    assert message.choices[1].message.content == "One answer"


async def test_chunks_without_choices_comments_and_unknown_events_are_no_tokens(server: ProtocolServer):
    odd = [
        Raw(b": keep-alive\n\n"),
        Raw(b'data: {"choices": [], "prompt_filter_results": [{"prompt_index": 0}]}\n\n'),
        Raw(b'event: thread.unknown\ndata: {"object": "thread"}\n\n'),
        Raw(b'data: {"choices": [{"index": 0, "delta": null, "finish_reason": null}]}\n\n'),
        Raw(b'data: {"choices": [{"index": 0, "delta": {"content": ""}}]}\r\n\r\n'),
    ]
    server.script(Answer([*odd, "Hel", *odd, "lo\u2028!"]))

    async with MiniAgents():
        [tokens] = [[token async for token in message] async for message in gpt_agent.inquire("Hi")]

    assert tokens == ["Hel", "lo\u2028!"]


async def test_numbers_that_json_does_not_know_do_not_spoil_an_answer(server: ProtocolServer):
    logprobs = b'{"content": [{"token": "Hi", "logprob": -Infinity}]}'
    server.script(Answer([Raw(b'data: {"choices": [{"index": 0, "delta": {}, "logprobs": %b}]}\n\n' % logprobs), "Hi"]))

    async with MiniAgents():
        [message] = await gpt_agent.inquire("Hi")

    assert message.choices[0].logprobs.content[0].logprob is None


async def test_errors_before_the_first_byte_are_those_of_our_tree_after_the_retries_of_the_sdk(server: ProtocolServer):
    failure = Failure(429, "Slow down", headers={"retry-after-ms": "1"})
    server.script(failure, failure, failure)

    async with MiniAgents():
        with pytest.raises(RateLimitedError, match="Slow down") as raised:
            await gpt_agent.inquire("Hi")

    assert raised.value.code == "rate_limit_exceeded"
    assert raised.value.retry_after_s == 0.001
    assert len(server.requests) == 3


async def test_how_often_the_sdk_tries_again_is_a_setting(server: ProtocolServer):
    failure = Failure(503, headers={"retry-after-ms": "1"})
    server.script(failure, failure, failure, failure, "Hello", failure)

    async with MiniAgents():
        assert str(await gpt_agent.inquire("Hi", max_retries=4).as_single_promise()) == "Hello"
        with pytest.raises(LLMError):
            await gpt_agent.inquire("Hi", max_retries=0)

    assert len(server.requests) == 6


async def test_the_request_is_sent_again_after_a_failure_that_passes(server: ProtocolServer):
    server.script(Failure(503, headers={"retry-after-ms": "1"}), "Hello")

    async with MiniAgents():
        assert str(await gpt_agent.inquire("Hi").as_single_promise()) == "Hello"


async def test_a_client_of_ones_own_is_used(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPENAI_API_KEY")
    client = AsyncOpenAI(base_url=server.openai_base_url, api_key="my-own-key")

    async with client, MiniAgents():
        await gpt_agent.inquire("Hi", async_client=client)
        await gpt_agent.fork(async_client=client).inquire("Hi")

    assert [request.headers["authorization"] for request in server.requests] == ["Bearer my-own-key"] * 2


async def test_a_client_that_is_not_asynchronous_is_refused_by_name(server: ProtocolServer):
    with OpenAI(api_key="any") as client:
        async with MiniAgents():
            with pytest.raises(WrongClientError, match=r"`OPENAI_AGENT` .* needs a `openai.AsyncOpenAI`.*not a OpenAI"):
                await gpt_agent.inquire("Hi", async_client=client)


async def test_a_missing_key_names_the_variable(server: ProtocolServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("OPENAI_API_KEY")

    async with MiniAgents():
        with pytest.raises(MissingAPIKeyError, match="environment variable OPENAI_API_KEY") as raised:
            await gpt_agent.inquire("Hi")

    assert isinstance(raised.value, LLMError)
    assert server.requests == []


async def test_a_missing_model_is_an_error_at_the_call(server: ProtocolServer):
    async with MiniAgents():
        with pytest.raises(UnknownSettingError, match=r"`OPENAI_AGENT` needs `model`.*fork\(model=\.\.\.\)"):
            await OpenAIAgent.inquire("Hi")


async def test_no_messages_are_sent_as_the_opening(server: ProtocolServer):
    async with MiniAgents():
        await gpt_agent.inquire(system="Greet the user.")

    assert server.requests[0].body["messages"] == [
        {"role": "system", "content": "Greet the user."},
        {"role": "user", "content": "/start"},
    ]


async def test_a_model_answers_a_model_in_a_chain(server: ProtocolServer):
    server.script("A draft", "A better draft")

    async with MiniAgents():
        draft = gpt_agent.inquire("Write")
        [message] = await gpt_agent.inquire(draft, system="Improve it.")

    assert str(message) == "A better draft"
    assert server.requests[1].body["messages"][1:] == [{"role": "user", "content": "A draft"}]


async def test_many_questions_at_once_share_one_client(server: ProtocolServer):
    async with MiniAgents():
        answers = [gpt_agent.inquire(f"question {number}") for number in range(20)]
        texts = [str(await answer.as_single_promise()) for answer in answers]

    assert texts == [f'You said "question {number}" (I am gpt-4o, this was message 1)' for number in range(20)]
