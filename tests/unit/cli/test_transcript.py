"""Saved conversations: everything comes back, and a file cannot make the chat do anything else."""

import json
from pathlib import Path

import pytest

from miniagents import Message
from miniagents.cli.transcript import Transcript, TranscriptError, load_transcript, save_transcript
from miniagents.ext.llms import (
    AnthropicMessage,
    AssistantMessage,
    FileMessage,
    ImageMessage,
    OpenAIMessage,
    ThinkingMessage,
    TokenUsage,
    ToolCallMessage,
    ToolResultMessage,
    UserMessage,
)

EVERYTHING = [
    UserMessage("Hi\nthere \u2028 \u4f60"),
    ImageMessage(data=b"\x00\xff", media_type="image/png"),
    FileMessage(url="https://example.com/a.pdf", media_type="application/pdf"),
    ThinkingMessage("Hm.", signature="the-signature", provider="anthropic", provider_data={"type": "thinking"}),
    ThinkingMessage("", redacted=True, provider_data={"data": "encrypted", "more": [1, {"a": None}]}),
    ToolCallMessage('{"a": [1]}', tool_name="add", tool_call_id="call-1", arguments={"a": [1]}),
    ToolResultMessage(
        "no", tool_call_id="call-1", is_error=True, media=(ImageMessage(data=b"x", media_type="image/png"),)
    ),
    AssistantMessage("cut o", interrupted=True, agent_alias="A"),
    OpenAIMessage(
        "Done.", usage=TokenUsage(input_tokens=3), raw_usage={"prompt_tokens": 3}, cost=0.5, finish_reason="stop"
    ),
    AnthropicMessage("Done, too."),
    Message("plain", anything={"nested": [True, 1.5]}),
]


def test_a_conversation_comes_back_with_everything_in_it(tmp_path: Path) -> None:
    file = tmp_path / "talk.jsonl"

    save_transcript(file, Transcript(EVERYTHING, "Be brief."))
    restored = load_transcript(file)

    assert restored.system == "Be brief."
    assert list(restored.messages) == EVERYTHING
    assert [type(message) for message in restored.messages] == [type(message) for message in EVERYTHING]
    assert isinstance(restored.messages[8].usage, TokenUsage)
    assert restored.messages[6].media[0].raw_bytes == b"x"


def test_a_class_of_ones_own_comes_back_as_the_nearest_that_is_known(tmp_path: Path) -> None:
    class MyAnswer(AssistantMessage):
        mood: str

    file = tmp_path / "talk.jsonl"
    save_transcript(file, Transcript([MyAnswer("Hi", mood="good")]))

    [restored] = load_transcript(file).messages

    assert type(restored) is AssistantMessage
    assert (str(restored), restored.mood) == ("Hi", "good")


def test_a_saved_conversation_is_replaced_and_any_other_file_is_not(tmp_path: Path) -> None:
    file, other = tmp_path / "talk.jsonl", tmp_path / "notes.txt"
    other.write_text("my notes\n")
    save_transcript(file, Transcript([UserMessage("one"), UserMessage("two")]))

    save_transcript(file, Transcript([UserMessage("three")]))
    with pytest.raises(TranscriptError, match="holds something else than a saved conversation"):
        save_transcript(other, Transcript([]))

    assert [str(message) for message in load_transcript(file).messages] == ["three"]
    assert other.read_text() == "my notes\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["notes.txt", "talk.jsonl"]


HEAD = json.dumps({"format": "miniagents conversation", "version": 1})


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(None, "cannot be read", id="no such file"),
        pytest.param(b"\xff\xfe", "is no text in UTF-8", id="no text"),
        pytest.param(b"", "is no saved conversation", id="empty"),
        pytest.param(b"{}", "is no saved conversation", id="other JSON"),
        pytest.param(HEAD.replace("1", "99").encode(), "another version", id="a later format"),
        pytest.param(f"{HEAD}\nnot json".encode(), "its line 2 is no JSON object", id="no JSON"),
        pytest.param(f'{HEAD}\n{{"class_": "Popen"}}'.encode(), "its line 2 is no message", id="unknown class"),
        pytest.param(f'{HEAD}\n{{"class_": "os.system"}}'.encode(), "its line 2 is no message", id="a module"),
        pytest.param(f'{HEAD}\n\n{{"class_": "Frozen"}}'.encode(), "its line 3 is no message", id="no message"),
        pytest.param(
            f'{HEAD}\n{{"class_": "FileMessage", "path": "/etc/hostname", "media_type": "text/plain"}}'.encode(),
            "its line 2 is no message",
            id="a file of this machine",
        ),
        pytest.param(f"{HEAD}\n{'[' * 100_000}".encode(), "its line 2 is", id="nested without end"),
    ],
)
def test_what_is_no_saved_conversation_is_refused_in_a_sentence(
    tmp_path: Path, content: bytes | None, problem: str
) -> None:
    file = tmp_path / "talk.jsonl"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(TranscriptError, match=problem) as refusal:
        load_transcript(file)

    assert str(file) in str(refusal.value)
