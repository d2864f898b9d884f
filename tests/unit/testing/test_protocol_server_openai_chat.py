"""The protocol server as OpenAI's SDK sees it: chat completions, Azure's form of them, embeddings, models."""

from typing import Any

import pytest
from openai import AzureOpenAI, OpenAI
from pydantic import BaseModel

from miniagents.testing import (
    Answer,
    EmptyChoices,
    Interleaved,
    ProtocolServer,
    Refusal,
    Thinking,
    ToolCall,
    Usage,
)

HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def client(server: ProtocolServer):
    with OpenAI(base_url=server.openai_base_url, api_key="any", max_retries=0) as client:
        yield client


def whole(client: OpenAI, **options: Any) -> Any:
    return client.chat.completions.create(model="gpt-x", messages=HI, **options)


def chunks(client: OpenAI, **options: Any) -> list[Any]:
    return list(whole(client, stream=True, **options))


def deltas(client: OpenAI, **options: Any) -> list[Any]:
    return [chunk.choices[0].delta for chunk in chunks(client, **options)]


def test_text_arrives_token_by_token_and_then_the_reason(server: ProtocolServer, client: OpenAI):
    server.script(Answer(["Hel", "lo"]))

    *before, last = chunks(client)

    assert [chunk.choices[0].delta.content for chunk in before] == ["", "Hel", "lo"]
    assert before[0].choices[0].delta.role == "assistant"
    assert last.choices[0].finish_reason == "stop"


def test_the_same_answer_may_be_asked_for_whole(server: ProtocolServer, client: OpenAI):
    server.script(Answer([Thinking("Hm"), Thinking("m."), "Hel", "lo"], fields={"service_tier": "flex"}))

    answer = whole(client)

    assert answer.choices[0].message.content == "Hello"
    assert answer.choices[0].message.reasoning_content == "Hmm."
    assert answer.service_tier == "flex"


def test_reasoning_arrives_beside_the_text(server: ProtocolServer, client: OpenAI):
    server.script(Answer([Thinking("Hm"), "Hello"]))

    _, thought, said, _ = deltas(client)

    assert thought.model_extra == {"reasoning_content": "Hm"}
    assert said.content == "Hello"


def test_parallel_calls_are_told_apart_by_their_index_and_named_once(server: ProtocolServer, client: OpenAI):
    server.script(Answer([ToolCall("add", {"a": 1, "b": 2}, id="one"), ToolCall("now")]))

    calls = [delta.tool_calls[0] for delta in deltas(client)[1:-1]]

    assert [(call.index, call.id, call.function.name) for call in calls if call.id] == [
        (0, "one", "add"),
        (1, "call_1_2", "now"),
    ]
    assert "".join(call.function.arguments for call in calls if call.index == 0) == '{"a": 1, "b": 2}'
    assert len(calls) > 3


def test_the_arguments_of_parallel_calls_may_arrive_in_turns(server: ProtocolServer, client: OpenAI):
    server.script(Answer([Interleaved([ToolCall("f", ["{", "}"]), ToolCall("g", ["{", '"x": 1', "}"])])]))

    calls = [delta.tool_calls[0] for delta in deltas(client)[1:-1]]

    assert [(call.index, call.function.arguments) for call in calls] == [
        *((0, ""), (1, ""), (0, "{"), (1, "{"), (0, "}"), (1, '"x": 1'), (1, "}")),
    ]


def test_calls_end_the_answer_for_a_reason_of_their_own(server: ProtocolServer, client: OpenAI):
    server.script(Answer(["Let me see", ToolCall("add", {"a": 1})]))

    (choice,) = whole(client).choices

    assert choice.finish_reason == "tool_calls"
    assert choice.message.tool_calls[0].function.arguments == '{"a": 1}'
    assert choice.message.content == "Let me see"


@pytest.mark.parametrize(
    ("scripted", "told"),
    [("length", "length"), ("content_filter", "content_filter"), ("context_window", "length"), ("odd", "odd")],
)
def test_the_reason_for_the_end_is_in_the_words_of_the_protocol(
    server: ProtocolServer, client: OpenAI, scripted: str, told: str
):
    server.script(Answer("Once upon", finish=scripted))

    assert chunks(client)[-1].choices[0].finish_reason == told


def test_a_refusal_has_a_place_of_its_own(server: ProtocolServer, client: OpenAI):
    server.script(Answer([Refusal("I will "), Refusal("not.")]), Answer([Refusal("No.")]))

    assert "".join(delta.refusal or "" for delta in deltas(client)) == "I will not."
    message = whole(client).choices[0].message
    assert (message.content, message.refusal) == (None, "No.")


def test_a_structured_answer_is_parsed_by_the_sdk(server: ProtocolServer, client: OpenAI):
    class Point(BaseModel):
        x: int
        y: int

    server.script('{"x": 1, "y": 2}')

    answer = client.chat.completions.parse(model="gpt-x", messages=HI, response_format=Point)

    assert answer.choices[0].message.parsed == Point(x=1, y=2)
    assert server.requests[0].body["response_format"]["json_schema"]["name"] == "Point"


def test_the_usage_comes_last_without_choices_if_asked_for(server: ProtocolServer, client: OpenAI):
    usage = Usage(input_tokens=10, output_tokens=5, cache_read_tokens=4, reasoning_tokens=2)
    server.script(Answer("Hi", usage=usage), Answer("Hi", usage=usage))

    last = chunks(client, stream_options={"include_usage": True})[-1]

    assert last.choices == []
    assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.usage.total_tokens) == (10, 5, 15)
    assert last.usage.prompt_tokens_details.cached_tokens == 4
    assert last.usage.completion_tokens_details.reasoning_tokens == 2
    assert all(chunk.usage is None for chunk in chunks(client))


def test_the_usage_is_counted_unless_scripted_and_may_be_missing(server: ProtocolServer, client: OpenAI):
    server.script(Answer("one two three"), Answer("one", usage=None), Answer("one", usage={"prompt_tokens": 99}))

    assert whole(client).usage.completion_tokens == 3
    assert whole(client).usage is None
    assert whole(client).usage.prompt_tokens == 99


def test_logprobs_pass_through(server: ProtocolServer, client: OpenAI):
    logprobs = [{"token": token, "logprob": -0.5, "bytes": None, "top_logprobs": []} for token in ("Hel", "lo")]
    server.script(Answer(["Hel", "lo"], logprobs=logprobs), Answer(["Hel", "lo"], logprobs=logprobs))

    streamed = [chunk.choices[0].logprobs for chunk in chunks(client, logprobs=True)]

    assert [one.content[0].token for one in streamed if one] == ["Hel", "lo"]
    assert [one.token for one in whole(client, logprobs=True).choices[0].logprobs.content] == ["Hel", "lo"]


def test_a_chunk_may_have_no_choices(server: ProtocolServer, client: OpenAI):
    server.script(Answer(["Hel", EmptyChoices(), "lo"]))

    assert [len(chunk.choices) for chunk in chunks(client)] == [1, 1, 0, 1, 1]


def test_several_choices_are_answered_alike(server: ProtocolServer, client: OpenAI):
    server.script("Hi")

    assert [choice.message.content for choice in whole(client, n=2).choices] == ["Hi", "Hi"]


def test_azure_has_the_model_in_its_url_and_a_first_chunk_without_choices(server: ProtocolServer):
    server.script("Hello there", "Whole")
    with AzureOpenAI(azure_endpoint=server.url, api_key="any", api_version="2024-10-21") as azure:
        first, *rest = azure.chat.completions.create(model="my-deployment", messages=HI, stream=True)
        answer = azure.chat.completions.create(model="my-deployment", messages=HI)

    assert first.choices == []
    assert "".join(chunk.choices[0].delta.content or "" for chunk in rest) == "Hello there"
    assert answer.choices[0].message.content == "Whole"
    request = server.requests[0]
    assert request.path == "/openai/deployments/my-deployment/chat/completions"
    assert request.query == {"api-version": "2024-10-21"}
    assert request.model == "my-deployment"


def test_embeddings_come_in_both_encodings(server: ProtocolServer, client: OpenAI):
    by_default = client.embeddings.create(model="e", input=["four", "sixteen letters!"])
    as_numbers = client.embeddings.create(model="e", input="four", encoding_format="float")

    assert [one.embedding for one in by_default.data] == [[4, 2, 1, 0.5], [16, 8, 4, 2]]
    assert as_numbers.data[0].embedding == [4, 2, 1, 0.5]
    assert [request.body["encoding_format"] for request in server.requests] == ["base64", "float"]


def test_the_models_are_listed(client: OpenAI):
    assert [model.id for model in client.models.list()] == ["loopback-large", "loopback-small"]


def test_what_the_real_server_refuses_is_refused(server: ProtocolServer, client: OpenAI):
    import openai

    with pytest.raises(openai.BadRequestError, match="Unrecognized request argument supplied: colour"):
        whole(client, extra_body={"colour": "red"})
