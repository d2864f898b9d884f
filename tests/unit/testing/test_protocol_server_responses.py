"""The protocol server as OpenAI's SDK sees it: Responses."""

from typing import Any

import pytest
from openai import OpenAI
from pydantic import BaseModel

from miniagents.testing import (
    Answer,
    Cut,
    ErrorInside,
    Interleaved,
    ProtocolServer,
    RedactedThinking,
    Refusal,
    Thinking,
    ToolCall,
    Usage,
)


@pytest.fixture
def client(server: ProtocolServer):
    with OpenAI(base_url=server.openai_base_url, api_key="any", max_retries=0) as client:
        yield client


def whole(client: OpenAI, **options: Any) -> Any:
    return client.responses.create(model="gpt-x", input="Hi", **options)


def events(client: OpenAI) -> list[Any]:
    return list(whole(client, stream=True))


def test_text_arrives_between_the_events_that_open_and_close_it(server: ProtocolServer, client: OpenAI):
    server.script(Answer(["Hel", "lo"]))

    seen = events(client)

    assert [event.type for event in seen] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [event.sequence_number for event in seen] == list(range(10))
    assert seen[6].text == "Hello"
    assert seen[-1].response.output_text == "Hello"


def test_the_same_answer_may_be_asked_for_whole(server: ProtocolServer, client: OpenAI):
    usage = Usage(input_tokens=10, output_tokens=5, cache_read_tokens=4, reasoning_tokens=2)
    server.script(Answer([Thinking("Hm"), Thinking("m.", "sealed"), "Hello", ToolCall("add", {"a": 1})], usage=usage))

    response = whole(client)

    reasoning, message, call = response.output
    assert (reasoning.summary[0].text, reasoning.encrypted_content) == ("Hmm.", "sealed")
    assert message.content[0].text == response.output_text == "Hello"
    assert (call.name, call.arguments) == ("add", '{"a": 1}')
    assert response.usage.input_tokens_details.cached_tokens == 4
    assert response.usage.output_tokens_details.reasoning_tokens == 2
    assert response.usage.total_tokens == 15


def test_the_summary_of_the_reasoning_comes_in_pieces(server: ProtocolServer, client: OpenAI):
    server.script(Answer([Thinking("Hm"), Thinking("m."), RedactedThinking("sealed"), "Hello"]))

    seen = events(client)

    pieces = [event.delta for event in seen if event.type == "response.reasoning_summary_text.delta"]
    assert pieces == ["Hm", "m."]
    kinds = [item.type for item in seen[-1].response.output]
    assert kinds == ["reasoning", "reasoning", "message"]
    assert seen[-1].response.output[1].encrypted_content == "sealed"


def test_the_arguments_of_a_call_come_in_pieces_and_then_whole_with_the_name(server: ProtocolServer, client: OpenAI):
    server.script(Answer([ToolCall("add", ['{"a":', " 1}"], id="one")]))

    seen = events(client)

    added, *pieces, done = [event for event in seen if "output_item.added" in event.type or "arguments" in event.type]
    assert (added.item.call_id, added.item.name, added.item.arguments) == ("one", "add", "")
    assert [piece.delta for piece in pieces] == ['{"a":', " 1}"]
    assert (done.name, done.arguments) == ("add", '{"a": 1}')


def test_parallel_calls_may_come_in_turns(server: ProtocolServer, client: OpenAI):
    server.script(Answer(["Both:", Interleaved([ToolCall("f", ["{", "}"]), ToolCall("g", ["{", "}"])])]))

    seen = events(client)

    turns = [event.output_index for event in seen if event.type == "response.function_call_arguments.delta"]
    assert turns == [1, 2, 1, 2]
    assert [item.type for item in seen[-1].response.output] == ["message", "function_call", "function_call"]


def test_a_refusal_is_a_content_of_its_own(server: ProtocolServer, client: OpenAI):
    server.script(Answer(["Well, ", Refusal("no.")]))

    seen = events(client)

    assert [event.delta for event in seen if event.type == "response.refusal.delta"] == ["no."]
    assert [part.type for part in seen[-1].response.output[0].content] == ["output_text", "refusal"]


@pytest.mark.parametrize(("finish", "reason"), [("length", "max_output_tokens"), ("content_filter", "content_filter")])
def test_an_answer_may_be_incomplete(server: ProtocolServer, client: OpenAI, finish: str, reason: str):
    server.script(Answer("Once upon", finish=finish), Answer("Once upon", finish=finish))

    last = events(client)[-1]

    assert last.type == "response.incomplete"
    assert last.response.incomplete_details.reason == reason
    assert whole(client).status == "incomplete"


def test_a_failed_response_is_an_event_after_what_was_said(server: ProtocolServer, client: OpenAI):
    server.script(Answer(["Once", ErrorInside("server_error", "Oh dear", form="failed")]))

    *before, last = events(client)

    assert before[-1].delta == "Once"
    assert last.type == "response.failed"
    assert (last.response.error.code, last.response.error.message) == ("server_error", "Oh dear")


def test_an_error_event_is_an_event_too(server: ProtocolServer, client: OpenAI):
    server.script(Answer(["Once", ErrorInside("rate_limit_exceeded", "Slow down")]))

    last = events(client)[-1]

    assert (last.type, last.code, last.message) == ("error", "rate_limit_exceeded", "Slow down")


def test_a_stream_may_end_before_it_is_completed(server: ProtocolServer, client: OpenAI):
    server.script(Answer(["Once", Cut()]))

    assert events(client)[-1].type == "response.output_text.delta"


def test_a_structured_answer_is_parsed_by_the_sdk(server: ProtocolServer, client: OpenAI):
    class Point(BaseModel):
        x: int

    server.script('{"x": 1}')

    assert client.responses.parse(model="gpt-x", input="Hi", text_format=Point).output_parsed == Point(x=1)


def test_the_dialog_is_read_from_any_form_of_input(server: ProtocolServer, client: OpenAI):
    whole(client, instructions="Be brief")
    output = {"type": "function_call_output", "call_id": "one", "output": "3"}
    client.responses.create(
        model="gpt-x", input=[{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]}, output]
    )

    assert server.requests[0].dialog == [("system", "Be brief"), ("user", "Hi")]
    assert server.requests[1].dialog == [("user", "Hi"), ("tool", "3")]
