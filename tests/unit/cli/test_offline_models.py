"""`echo` and `script:FILE`: models without a network that behave as models do."""

from pathlib import Path

import pytest

from miniagents import MiniAgent, MiniAgents
from miniagents.cli.offline_models import EchoAgent, ScriptEndedError, ScriptFileError, script_agent
from miniagents.ext.llms import AssistantMessage, SystemMessage, UserMessage

TALK = """\
A note of the author, which nobody says.

## USER

Hello!

## ASSISTANT

Hello, what can
I do for you?

## USER

Nothing.

## ASSISTANT (SOMEBODY)

Fine.

## ASSISTANT

Bye!
"""


@pytest.fixture
def talker(tmp_path: Path) -> MiniAgent:
    file = tmp_path / "talk.md"
    file.write_text(TALK, encoding="utf-8")
    return script_agent(file)


async def test_echo_repeats_the_last_turn_word_by_word_with_its_blanks() -> None:
    async with MiniAgents():
        conversation = [SystemMessage("Be brief."), UserMessage("one"), AssistantMessage("one"), "  two\n\n three "]

        async for promise in EchoAgent.inquire(conversation):
            tokens = [token async for token in promise]

            assert "".join(tokens) == "  two\n\n three "
            assert len(tokens) == 2
            assert (await promise).role == "assistant"


async def test_echo_of_nothing_is_an_error_that_says_so() -> None:
    async with MiniAgents():
        with pytest.raises(Exception, match="has nothing to send"):
            await EchoAgent.inquire()


async def test_a_script_is_replayed_reply_by_reply_as_the_conversation_goes_on(talker: MiniAgent) -> None:
    async with MiniAgents():
        [first] = await talker.inquire("anything")
        [second] = await talker.inquire([UserMessage("anything"), first, UserMessage("more")])

    assert str(first) == "Hello, what can\nI do for you?"
    assert str(second) == "Fine.\n\nBye!"


async def test_a_conversation_that_outlasts_its_script_is_told_so(talker: MiniAgent) -> None:
    said = [UserMessage("a"), AssistantMessage("b"), UserMessage("c"), AssistantMessage("d"), UserMessage("e")]

    async with MiniAgents():
        with pytest.raises(ScriptEndedError, match="holds 2 replies, and all have been given"):
            await talker.inquire(said)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(None, "cannot be read", id="no such file"),
        pytest.param(b"", "holds nothing below a heading `## ASSISTANT`", id="empty"),
        pytest.param(b"just text", "holds nothing below a heading `## ASSISTANT`", id="no headings"),
        pytest.param(b"## USER\n\nhi\n\n## ASSISTANT\n\n", "holds nothing below", id="an empty reply"),
        pytest.param(b"## ASSISTANT\n\n\xff", "is no text in UTF-8", id="not text"),
    ],
)
def test_a_file_that_is_no_script_is_refused_with_the_form_of_one(tmp_path: Path, content, problem: str) -> None:
    file = tmp_path / "talk.md"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(ScriptFileError) as refusal:
        script_agent(file)

    assert problem in str(refusal.value)
    assert str(file) in str(refusal.value)
    assert "`## USER` and `## ASSISTANT`" in str(refusal.value)
