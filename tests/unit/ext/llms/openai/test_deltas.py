from typing import Any

from miniagents.ext.llms._openai.deltas import finished, merge_delta


def merged(*deltas: dict[str, Any]) -> dict[str, Any]:
    whole: dict[str, Any] = {}
    for delta in deltas:
        merge_delta(whole, delta)
    return finished(whole)


def test_texts_are_continued_and_names_are_not():
    assert merged(
        {"role": "assistant", "refusal": None, "reasoning_content": "Let "},
        {"role": "assistant", "reasoning_content": "me think"},
    ) == {"role": "assistant", "refusal": None, "reasoning_content": "Let me think"}


def test_calls_of_tools_are_put_together_by_their_index():
    assert merged(
        {"tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "add", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "id": "b", "type": "function", "function": {"name": "sub", "arguments": "{"}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}, {"index": 1, "function": {"arguments": "}"}}]},
        {"tool_calls": [{"index": 0, "id": "", "function": {"arguments": ": 1}"}}]},
    ) == {
        "tool_calls": [
            {"index": 0, "id": "a", "type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}},
            {"index": 1, "id": "b", "type": "function", "function": {"name": "sub", "arguments": "{}"}},
        ]
    }


def test_lists_without_an_index_grow():
    assert merged(
        {"logprobs": {"content": [{"token": "a"}]}},
        {"logprobs": {"content": [{"token": "b"}, {"token": "c"}], "refusal": None}},
    ) == {"logprobs": {"content": [{"token": "a"}, {"token": "b"}, {"token": "c"}], "refusal": None}}


def test_what_was_none_may_become_something_and_never_goes_back():
    assert merged({"logprobs": None}, {"logprobs": {"content": []}}, {"logprobs": None}) == {
        "logprobs": {"content": []}
    }
