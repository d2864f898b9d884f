"""How the guide cuts documentation into sections, what it finds in them, and what it quotes."""

from pathlib import Path

import pytest

from miniagents.ext._guide_docs import DocsIndex, Section, docs_index, documentation_files, split_sections
from miniagents.ext._guide_texts import answer_text, excerpt, topics_text

README = """\
# Kitchen

![a badge](https://example.com/badge.svg)

A framework for cooking with agents.

## Calling an agent

<!-- hidden from readers -->
`my_agent.inquire("hi")` returns at once.

```python
# This is a comment in code, no heading
replies = my_agent.inquire("hi")
```

## History

### In a file

`MarkdownHistoryAgent` keeps what was said in a Markdown file.

### In memory

`in_memory_history_agent` keeps it in a list of messages.

## Errors

An error of an agent reaches whoever reads its replies, and `start_asap=False` changes nothing about it.
"""


@pytest.fixture
def index() -> DocsIndex:
    return DocsIndex(split_sections("README.md", README))


# ------------------------------------------------------------------------------------------------ sections


def test_a_file_is_cut_at_its_headings_and_each_section_knows_its_place(index: DocsIndex) -> None:
    assert [section.place for section in index.sections] == [
        'README.md, section "Kitchen"',
        'README.md, section "Calling an agent"',
        'README.md, section "History > In a file"',
        'README.md, section "History > In memory"',
        'README.md, section "Errors"',
    ]


def test_code_is_kept_whole_and_its_comments_are_no_headings(index: DocsIndex) -> None:
    calling = index.sections[1]

    assert "# This is a comment in code, no heading\nreplies = " in calling.text
    assert calling.text.count("```") == 2


def test_comments_badges_and_layout_are_left_out(index: DocsIndex) -> None:
    text = "\n".join(section.text for section in index.sections)

    assert "badge" not in text
    assert "hidden" not in text
    assert (
        list(split_sections("a.md", '# Title\n\n<p align="center">\n<img src="x.svg">\n</p>\n\n[![ci](b)](c)\n')) == []
    )


@pytest.mark.parametrize(
    ("markdown", "headings"),
    [
        pytest.param("no heading at all", [()], id="no heading"),
        pytest.param("", [], id="empty"),
        pytest.param("# Only a title", [], id="nothing below the title"),
        pytest.param("before\n# T\nafter", [(), ("T",)], id="text before the title"),
        pytest.param("# T\n## A\na\n#### C\nc\n## B ##\nb", [("A",), ("A", "C"), ("B",)], id="levels left out"),
        pytest.param("# T\n## [The *linked*](x.md) `code`\na", [("The *linked* code",)], id="marked-up heading"),
        pytest.param("# T\n~~~\n# a\n```\n# b\n~~~\n## H\nx", [("T",), ("H",)], id="fences of two kinds"),
        pytest.param("# T\n````\n```\n# a\n````\n## H\nx", [("T",), ("H",)], id="a fence in a longer fence"),
        pytest.param("# T\n```\n# never closed", [("T",)], id="an open fence"),
        pytest.param("#hashtag", [()], id="no space after the mark"),
    ],
)
def test_headings_are_read_as_markdown_has_them(markdown: str, headings: list[tuple[str, ...]]) -> None:
    assert [section.heading for section in split_sections("a.md", markdown)] == headings


def test_the_readme_comes_first_and_the_pages_below_docs_in_the_order_of_their_names(tmp_path: Path) -> None:
    (tmp_path / "docs" / "how-to").mkdir(parents=True)
    for name in ("README.md", "CHAT.md", "docs/b.md", "docs/a.md", "docs/how-to/c.md", "docs/picture.svg"):
        (tmp_path / name).write_text(name)

    assert documentation_files(tmp_path) == [
        (name, name) for name in ("README.md", "docs/a.md", "docs/b.md", "docs/how-to/c.md")
    ]
    assert documentation_files(tmp_path / "nowhere") == []
    assert documentation_files(None) == []


# ------------------------------------------------------------------------------------------------ search


@pytest.mark.parametrize(
    ("question", "heading"),
    [
        ("How do I call an agent?", "Calling an agent"),
        ("calls", "Calling an agent"),
        ("how can I keep the markdown history?", "In a file"),
        ("MarkdownHistoryAgent", "In a file"),
        ("what is start_asap", "Errors"),
        ("start asap", "Errors"),
        ("cooking", "Kitchen"),
        ("what about exceptions", "Errors"),
        ("how does it remember", "In a file"),
        ('"inquire" OR* AND(', "Calling an agent"),
    ],
)
def test_a_question_finds_the_section_that_answers_it(index: DocsIndex, question: str, heading: str) -> None:
    assert index.search(question)[0].section.heading[-1] == heading


@pytest.mark.parametrize(
    "question",
    ["What is the weather in Paris?", "bake spaghetti on the moon with an agent", "how do you do", "", "?!", '_ * "'],
)
def test_a_question_about_something_else_finds_nothing(index: DocsIndex, question: str) -> None:
    assert index.search(question) == []


def test_an_index_of_nothing_finds_nothing() -> None:
    assert DocsIndex([]).search("agents") == []


# ------------------------------------------------------------------------------------------------ what is said


def in_one_line(text: str) -> str:
    return " ".join(text.split())


def test_an_answer_names_file_and_section_and_quotes_the_text(index: DocsIndex) -> None:
    answer = answer_text("how do I call an agent?", index)

    assert answer.startswith('README.md, section "Calling an agent":\n\n`my_agent.inquire("hi")` returns at once.\n')
    assert '```python\n# This is a comment in code, no heading\nreplies = my_agent.inquire("hi")\n```' in answer


def test_more_sections_are_named_and_quoted_one_by_one(index: DocsIndex) -> None:
    first = answer_text("history", index)
    second = answer_text("history", index, skip=1)
    after_the_last = answer_text("history", index, skip=2)

    assert 'See also (`more` quotes the next one):\n- README.md, section "History > In' in first
    assert {first.splitlines()[0], second.splitlines()[0]} == {
        'README.md, section "History > In a file":',
        'README.md, section "History > In memory":',
    }
    assert "See also" not in second
    assert in_one_line(after_the_last).startswith("That was all I found about 'history'.")


def test_a_question_without_an_answer_is_told_so_with_suggestions(index: DocsIndex) -> None:
    nothing_near = answer_text("weather in Paris", index)
    something_near = answer_text("bake spaghetti on the moon with an error", index)

    assert in_one_line(nothing_near).startswith(
        "I found nothing about 'weather in Paris' in the documentation of miniagents."
    )
    assert "not an LLM" in nothing_near
    assert "- Calling an agent" in nothing_near
    assert "The nearest that I have:\n- README.md, section" in something_near


def test_a_question_that_asks_nothing_gets_the_help(index: DocsIndex) -> None:
    assert "I am not an LLM" in answer_text("Hi, who are you?", index)


def test_without_documentation_the_guide_says_so() -> None:
    assert "not in this installation" in answer_text("agents", DocsIndex([]))
    assert "not in this installation" in topics_text(DocsIndex([]))


def test_of_a_long_section_the_paragraphs_that_hold_the_words_are_quoted() -> None:
    filler = "\n\n".join(f"Paragraph {number} about nothing.\nIt goes on." for number in range(40))
    code = "```python\nawait appender.append(piece)\n\n# still the same block\n```"
    section = Section("docs/a.md", ("Streams",), f"{filler}\n\nThis is how:\n\n{code}\n\n{filler}")

    quoted = excerpt(section, ["appender"])

    assert quoted.startswith(f"This is how:\n\n{code}\n\nParagraph 0")
    assert len(quoted.splitlines()) < 80
    assert quoted.splitlines()[-1].endswith("more lines are in docs/a.md.)")


def test_a_block_longer_than_an_excerpt_is_quoted_whole() -> None:
    code = "```\n" + "\n".join(f"line {number}" for number in range(100)) + "\n```"

    assert excerpt(Section("a.md", (), code), ["line"]) == code


def test_the_topics_list_every_section_by_file(index: DocsIndex) -> None:
    assert topics_text(index) == (
        "**README.md**\n\n- Kitchen\n- Calling an agent\n- History > In a file\n- History > In memory\n- Errors"
    )


# ------------------------------------------------------------------------------------------------ our own pages


@pytest.mark.parametrize(
    ("question", "file"),
    [
        ("How do I define an agent?", "docs/getting_started.md"),
        ("how do I chain agents", "docs/chains_and_loops.md"),
        ("What is flattening?", "docs/messages.md"),
        ("why is AWAIT needed", "docs/chains_and_loops.md"),
        ("how to stream tokens", "docs/streaming_and_promises.md"),
        ("run two agents in parallel", "docs/getting_started.md"),
        ("what happens when an agent raises an exception?", "docs/errors_and_cancellation.md"),
        ("how can I test without an LLM", "docs/testing.md"),
        ("remember the conversation", "docs/console_and_history.md"),
        ("What is trigger called here", "docs/other_names.md"),
    ],
)
def test_what_newcomers_ask_is_answered_from_the_page_about_it(question: str, file: str) -> None:
    assert docs_index().search(question)[0].section.file == file


@pytest.mark.parametrize("question", ["Tell me a joke.", "bake spaghetti on the moon", "Will it snow in Reykjavik?"])
def test_what_is_not_about_miniagents_is_not_answered(question: str) -> None:
    assert docs_index().search(question) == []
