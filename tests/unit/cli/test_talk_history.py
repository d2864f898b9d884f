"""What `miniagents chat` remembers, in memory and in a Markdown file that a person may edit meanwhile."""

from pathlib import Path

import pytest

from miniagents import MiniAgents
from miniagents.cli.talk_history import TalkHistory
from miniagents.ext.llms import AssistantMessage, ThinkingMessage, ToolCallMessage, ToolResultMessage, UserMessage

QUESTION = UserMessage("Well?")
ANSWER = [
    ThinkingMessage("Hm.", signature="s"),
    ToolCallMessage("{}", tool_name="look", tool_call_id="1"),
    ToolResultMessage("seen", tool_call_id="1"),
    AssistantMessage("So.\n", agent_alias="A"),
]


@pytest.mark.parametrize("in_file", [False, True], ids=["memory", "file"])
async def test_everything_is_remembered_and_a_file_has_what_was_said(tmp_path: Path, in_file: bool) -> None:
    file = tmp_path / "CHAT.md" if in_file else None
    history = TalkHistory(file)

    async with MiniAgents():
        await history.add([QUESTION])
        await history.add(ANSWER)
        await history.add([UserMessage("And?")])

    assert list(history.messages) == [QUESTION, *ANSWER, UserMessage("And?")]
    if file is not None:
        said = "## USER\n\nWell?\n\n## ASSISTANT (A)\n\nSo.\n\\\n\n## USER\n\nAnd?\n\n"
        assert file.read_text() == said


async def test_what_a_person_changes_in_the_file_counts_from_the_next_message_on(tmp_path: Path) -> None:
    file = tmp_path / "CHAT.md"
    history = TalkHistory(file)

    async with MiniAgents():
        await history.add([QUESTION, *ANSWER])
        file.write_text(file.read_text().replace("So.", "So it is."))
        await history.add([UserMessage("And?")])

    assert [str(message).strip() for message in history.messages] == ["Well?", "So it is.", "And?"]


@pytest.mark.parametrize("in_file", [False, True], ids=["memory", "file"])
async def test_the_last_answer_can_be_dropped_and_notes_in_the_file_stay(tmp_path: Path, in_file: bool) -> None:
    file = tmp_path / "CHAT.md" if in_file else None
    if file is not None:
        file.write_text("A note of mine.\n\n")
    history = TalkHistory(file)

    async with MiniAgents():
        nothing = await history.drop_last_answer()
        await history.add([QUESTION, *ANSWER])
        dropped = await history.drop_last_answer()
        await history.add()

    assert (nothing, dropped) == (False, True)
    assert list(history.messages) == [QUESTION]
    if file is not None:
        assert file.read_text() == "A note of mine.\n\n## USER\n\nWell?\n\n"


async def test_beginning_anew_keeps_earlier_files_under_other_names(tmp_path: Path) -> None:
    file = tmp_path / "CHAT.md"
    history = TalkHistory(file)

    async with MiniAgents():
        await history.add([QUESTION])
        first = await history.replace()
        nothing_there = await history.replace()
        await history.add([UserMessage("Two?")])
        second = await history.replace([UserMessage("Three?")])

    assert (first, nothing_there, second) == (tmp_path / "CHAT.1.md", None, tmp_path / "CHAT.2.md")
    assert [str(message) for message in history.messages] == ["Three?"]
    assert file.read_text() == "## USER\n\nThree?\n\n"
    assert (tmp_path / "CHAT.1.md").read_text() == "## USER\n\nWell?\n\n"
