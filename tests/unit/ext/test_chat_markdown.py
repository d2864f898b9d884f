"""What is written to a history file comes back exactly; what a person writes there is understood."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miniagents import Message
from miniagents.ext._chat_markdown import from_markdown, to_markdown
from miniagents.ext.llms import AssistantMessage, SystemMessage, UserMessage

_PIECES = ["## USER", "## ASSISTANT (X, interrupted)", "## role: x", "\\", "```", "\n", "\r", " ", "\t", "a", "\u2028"]
_TEXTS = st.one_of(
    st.lists(st.sampled_from(_PIECES), max_size=8).map("".join),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=40),
)


@given(st.lists(st.tuples(st.sampled_from([UserMessage, AssistantMessage, SystemMessage]), _TEXTS), max_size=4))
def test_any_texts_come_back_exactly(written: list[tuple[type[Message], str]]) -> None:
    messages = [message_class(text) for message_class, text in written]

    assert from_markdown(to_markdown(messages, "assistant")) == messages


def test_a_conversation_reads_well() -> None:
    messages = [
        UserMessage("hi"),
        AssistantMessage("Hello!\n\n## Overview\n\nNothing new.", agent_alias="ANTHROPIC_AGENT"),
        AssistantMessage("I was just", agent_alias="ANTHROPIC_AGENT", interrupted=True),
    ]

    text = to_markdown(messages, "assistant")

    assert text == (
        "## USER\n\nhi\n\n"
        "## ASSISTANT (ANTHROPIC_AGENT)\n\nHello!\n\n## Overview\n\nNothing new.\n\n"
        "## ASSISTANT (ANTHROPIC_AGENT, interrupted)\n\nI was just\n\n"
    )
    assert from_markdown(text) == messages


def test_a_line_that_looks_like_a_heading_of_ours_is_escaped_also_in_a_code_fence() -> None:
    text = to_markdown([UserMessage("look:\n```\n## USER\n```")], "assistant")

    assert text == "## USER\n\nlook:\n```\n\\## USER\n```\n\n"


def test_a_message_without_a_role_gets_the_default_and_any_role_is_kept() -> None:
    messages = [Message("plain"), Message("no good", role="critic"), Message("42", role="tool")]

    text = to_markdown(messages, "assistant")

    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings == ["## ASSISTANT", "## role: critic", "## TOOL"]
    assert from_markdown(text) == [AssistantMessage("plain"), *messages[1:]]


@pytest.mark.parametrize("alias", ["a, b", "(x)", "interrupted", " padded ", "two\nlines", ""])
def test_an_alias_that_does_not_fit_a_heading_is_left_out_and_never_breaks_it(alias: str) -> None:
    (message,) = from_markdown(to_markdown([AssistantMessage("text", agent_alias=alias)], "assistant"))

    assert message == AssistantMessage("text")


@pytest.mark.parametrize(
    "text",
    [
        "## USER\nhi\n## ASSISTANT\nhello",
        "## USER\n\n\n\nhi\n\n\n\n## ASSISTANT\n\nhello\n\n\n",
        "Notes of mine, not a message.\n\n# A title\n\n## USER  \n\nhi\n\n## ASSISTANT\n\nhello\n",
        "## USER\r\n\r\nhi\r\n\r\n## ASSISTANT\r\n\r\nhello\r\n",
    ],
    ids=["without blank lines", "with many blank lines", "with notes before it", "saved on Windows"],
)
def test_what_a_person_has_edited_is_understood(text: str) -> None:
    assert from_markdown(text) == [UserMessage("hi"), AssistantMessage("hello")]


def test_a_file_without_headings_holds_no_messages() -> None:
    assert from_markdown("# Readme\n\n## Usage\n") == []
    assert from_markdown("") == []
