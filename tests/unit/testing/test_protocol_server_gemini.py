"""The protocol server as Google's SDK sees it: Gemini, at its own URLs and at Vertex's."""

from typing import Any

import pytest
from google import genai
from google.genai import errors, types
from google.oauth2.credentials import Credentials

from miniagents.testing import (
    Answer,
    EmptyChoices,
    ErrorInside,
    Failure,
    Interleaved,
    ProtocolServer,
    Refusal,
    Thinking,
    ToolCall,
    Usage,
)


@pytest.fixture
def gemini(server: ProtocolServer):
    with genai.Client(api_key="any", http_options={"base_url": server.gemini_base_url}) as client:
        yield client


@pytest.fixture
def vertex(server: ProtocolServer):
    with genai.Client(
        vertexai=True,
        project="p",
        location="r",
        credentials=Credentials("any"),
        http_options={"base_url": server.gemini_base_url},
    ) as client:
        yield client


@pytest.fixture(params=["gemini", "vertex"])
def client(request: pytest.FixtureRequest) -> Any:
    return request.getfixturevalue(request.param)


def whole(client: Any) -> Any:
    return client.models.generate_content(model="gemini-x", contents="Hi")


def chunks(client: Any) -> list[Any]:
    return list(client.models.generate_content_stream(model="gemini-x", contents="Hi"))


def test_text_arrives_in_chunks_and_the_last_one_tells_the_reason(server: ProtocolServer, client: Any):
    server.script(Answer(["Hel", "lo"]))

    first, second, last = chunks(client)

    assert (first.text, second.text) == ("Hel", "lo")
    assert last.candidates[0].finish_reason == types.FinishReason.STOP
    assert server.requests[0].streamed


def test_the_same_answer_may_be_asked_for_whole(server: ProtocolServer, client: Any):
    server.script(Answer([Thinking("Hm"), Thinking("m.", "c2ln"), "Hel", "lo", ToolCall("add", {"a": 1})]))

    thought, text, call = whole(client).candidates[0].content.parts

    assert (thought.text, thought.thought, thought.thought_signature) == ("Hmm.", True, b"sig")
    assert text.text == "Hello"
    assert (call.function_call.name, call.function_call.args) == ("add", {"a": 1})


def test_thoughts_and_calls_are_parts_of_chunks(server: ProtocolServer, client: Any):
    calls = Interleaved([ToolCall("f", {"x": 1}, id="one"), ToolCall("g")])
    server.script(Answer([Thinking("Hm", "c2ln"), calls]))

    thought, called, last = chunks(client)

    assert thought.candidates[0].content.parts[0].thought
    assert [call.name for call in called.function_calls] == ["f", "g"]
    assert called.function_calls[0].id == "one"
    assert last.candidates[0].finish_reason == types.FinishReason.STOP


def test_the_usage_comes_with_the_last_chunk(server: ProtocolServer, client: Any):
    usage = Usage(input_tokens=10, output_tokens=5, cache_read_tokens=4, reasoning_tokens=2)
    server.script(Answer("Hi", usage=usage))

    *before, last = chunks(client)

    told = last.usage_metadata
    assert (told.prompt_token_count, told.candidates_token_count, told.thoughts_token_count) == (10, 3, 2)
    assert (told.cached_content_token_count, told.total_token_count) == (4, 15)
    assert all(chunk.usage_metadata is None for chunk in before)


@pytest.mark.parametrize(("scripted", "told"), [("length", "MAX_TOKENS"), ("content_filter", "SAFETY")])
def test_the_reason_for_the_end_is_in_the_words_of_the_protocol(
    server: ProtocolServer, gemini: Any, scripted: str, told: str
):
    server.script(Answer("Once upon", finish=scripted))

    assert whole(gemini).candidates[0].finish_reason.value == told


def test_a_refusal_is_a_text_and_a_reason(server: ProtocolServer, gemini: Any):
    server.script(Answer([Refusal("No.")]))

    answer = whole(gemini)

    assert (answer.text, answer.candidates[0].finish_reason) == ("No.", types.FinishReason.SAFETY)


def test_a_chunk_may_have_no_candidates(server: ProtocolServer, gemini: Any):
    server.script(Answer(["Hel", EmptyChoices(), "lo"]))

    assert [len(chunk.candidates) for chunk in chunks(gemini)] == [1, 0, 1, 1]


def test_an_error_has_googles_body(server: ProtocolServer, gemini: Any):
    server.script(Failure(429, "Slow down", retry_after_s=2.5))

    with pytest.raises(errors.ClientError) as raised:
        whole(gemini)

    assert (raised.value.code, raised.value.status) == (429, "RESOURCE_EXHAUSTED")
    assert raised.value.details["error"]["details"][0]["retryDelay"] == "2.5s"


def test_an_error_may_come_in_the_middle_of_the_stream(server: ProtocolServer, gemini: Any):
    server.script(Answer(["Once", ErrorInside()]))
    said = []

    with pytest.raises(errors.APIError) as raised:
        for chunk in gemini.models.generate_content_stream(model="gemini-x", contents="Hi"):
            said.append(chunk.text)

    assert said == ["Once"]
    assert raised.value.status == "UNAVAILABLE"


def test_the_system_prompt_and_the_roles_are_understood(server: ProtocolServer, gemini: Any):
    contents = [
        types.Content(role="user", parts=[types.Part(text="Hi")]),
        types.Content(role="model", parts=[types.Part(text="Hello")]),
        types.Content(role="user", parts=[types.Part(text="Bye")]),
    ]
    config = types.GenerateContentConfig(system_instruction="Be brief")

    gemini.models.generate_content(model="gemini-x", contents=contents, config=config)

    dialog = [("system", "Be brief"), ("user", "Hi"), ("assistant", "Hello"), ("user", "Bye")]
    assert server.requests[0].dialog == dialog
    assert server.requests[0].model == "gemini-x"


def test_tokens_are_counted_and_models_listed(gemini: Any):
    assert gemini.models.count_tokens(model="gemini-x", contents="one two three").total_tokens == 3
    assert [model.name for model in gemini.models.list()] == ["models/loopback-large", "models/loopback-small"]


def test_vertex_has_its_own_urls(server: ProtocolServer, vertex: Any):
    chunks(vertex)

    path = "/v1beta1/projects/p/locations/r/publishers/google/models/gemini-x:streamGenerateContent"
    assert server.requests[0].path == path
    assert server.requests[0].query == {"alt": "sse"}
