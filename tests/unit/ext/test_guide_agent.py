"""The offline guide: what it answers, what it says about itself, and its live demonstrations."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

from miniagents import MiniAgents
from miniagents.ext import guide_agent
from miniagents.ext._guide_columns import Columns
from miniagents.ext._guide_demos import DEMOS
from miniagents.ext.llms import AssistantMessage, SystemMessage, UserMessage

README = """\
# Kitchen

A framework for cooking with agents.

## Calling an agent

`my_agent.inquire("hi")` returns at once.

## History

### In a file

`MarkdownHistoryAgent` keeps what was said in a Markdown file.

### In memory

`in_memory_history_agent` keeps what was said in a list.
"""


@pytest.fixture
def docs_folder(tmp_path: Path) -> Path:
    (tmp_path / "README.md").write_text(README, encoding="utf-8")
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "design.md").write_text("# Design\n\n## Laws\n\nNothing starts inside a call.\n")
    return tmp_path


async def ask(*messages: object, docs_folder: Path | None = None) -> str:
    async with MiniAgents():
        [answer] = await guide_agent.inquire(messages, docs_folder=docs_folder)
        return str(answer)


# ------------------------------------------------------------------------------------------------ questions


async def test_a_question_is_answered_with_a_quotation_its_file_and_its_section(docs_folder: Path) -> None:
    from_readme = await ask("How do I call an agent?", docs_folder=docs_folder)
    from_docs = await ask("what starts inside a call, by law?", docs_folder=docs_folder)

    assert from_readme.startswith('README.md, section "Calling an agent":\n\n`my_agent.inquire("hi")` returns at once.')
    assert from_docs.startswith('docs/design.md, section "Laws":\n\nNothing starts inside a call.')


async def test_the_answer_streams_token_by_token_as_a_message_of_the_assistant(docs_folder: Path) -> None:
    async with MiniAgents():
        async for promise in guide_agent.inquire("call an agent", docs_folder=docs_folder):
            tokens = [token async for token in promise]

            assert promise.preliminary_metadata["role"] == "assistant"
            assert promise.preliminary_metadata["agent_alias"] == "GUIDE_AGENT"
            assert len(tokens) > 10
            assert "".join(tokens) == str(await promise)
            assert isinstance(await promise, AssistantMessage)


async def test_the_first_answer_says_that_it_comes_from_no_model_and_later_ones_do_not(docs_folder: Path) -> None:
    first = await ask("history in a file", docs_folder=docs_folder)
    second = await ask(
        UserMessage("history in a file"), AssistantMessage(first), UserMessage("call"), docs_folder=docs_folder
    )

    assert "I am the offline guide, not an LLM" in first
    assert "`/connect`" in first
    assert "LLM" not in second


async def test_more_gives_the_next_best_section_and_ends_when_there_is_none(docs_folder: Path) -> None:
    said = ["history", "more", "more"]

    answers = [await ask(*map(UserMessage, said[:turns]), docs_folder=docs_folder) for turns in (1, 2, 3)]

    assert {answer.splitlines()[0] for answer in answers[:2]} == {
        'README.md, section "History > In a file":',
        'README.md, section "History > In memory":',
    }
    assert answers[2].startswith("That was all I found about 'history'.")
    assert (await ask("more", docs_folder=docs_folder)).startswith("There is nothing to say more about yet")


async def test_a_question_it_has_nothing_about_is_told_so_with_suggestions(docs_folder: Path) -> None:
    answer = await ask("Will it rain in Paris tomorrow?", docs_folder=docs_folder)

    assert answer.startswith("I found nothing about 'Will it rain in Paris tomorrow?'")
    assert "- Calling an agent" in answer


async def test_the_prompt_of_a_dialog_is_not_taken_for_a_question(docs_folder: Path) -> None:
    answer = await ask(SystemMessage("Tell about the history."), UserMessage("call an agent"), docs_folder=docs_folder)

    assert answer.startswith('README.md, section "Calling an agent"')


@pytest.mark.parametrize("messages", [(), ("",), ("hi",), ("/help",), ("help",), ("who are you?",)])
async def test_who_asks_nothing_is_told_what_the_guide_is(messages: tuple[str, ...], docs_folder: Path) -> None:
    answer = await ask(*messages, docs_folder=docs_folder)

    assert "I am not an LLM" in answer
    for command in ("/demo", "/topics", "/connect", "/help"):
        assert command in answer


async def test_the_guide_tells_how_to_connect_a_model() -> None:
    answer = await ask("/connect")

    for fact in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", 'pip install "miniagents[anthropic]"', "--model local"):
        assert fact in answer


async def test_the_topics_are_the_sections_of_all_files(docs_folder: Path) -> None:
    answer = await ask("/topics", docs_folder=docs_folder)

    assert "**README.md**\n\n- Kitchen\n- Calling an agent\n" in answer
    assert "**docs/design.md**\n\n- Laws" in answer


async def test_an_unknown_command_is_answered_with_the_known_ones() -> None:
    known = "`/demo`, `/topics`, `/connect` and `/help`"

    assert in_one_line(await ask("/dance now")) == f"No command is called `/dance`. There are {known}."


async def test_the_projects_own_documentation_is_found_without_being_told_where() -> None:
    assert "README.md" in await ask("/topics")


# ------------------------------------------------------------------------------------------------ demonstrations


@pytest.mark.parametrize(
    "request_text", ["/demo", "demo", "show me a demonstration", "live demos, please!", "/demo nothing-like-this"]
)
async def test_the_demonstrations_are_listed(request_text: str) -> None:
    answer = await ask(request_text)

    for name in ("stream", "parallel", "pipeline", "replay"):
        assert f"- `/demo {name}`: " in answer
    assert ("There is no demonstration 'nothing-like-this'." in answer) == ("nothing" in request_text)


@pytest.mark.virtual_clock
@pytest.mark.parametrize("name", DEMOS)
async def test_every_demonstration_runs_and_shows_the_code_that_it_runs(name: str) -> None:
    answer = await ask(f"/demo {name}")

    assert answer.count("```python\n") == 1
    assert answer.count("```") % 2 == 0
    assert "LLM" not in answer


@pytest.mark.virtual_clock
async def test_the_tokens_of_parallel_agents_arrive_among_each_other() -> None:
    answer = await ask("/demo parallel")

    order = [column for column, _ in rows_of(answer)]
    switches = sum(before != after for before, after in pairwise(order))
    assert set(order) == {0, 1, 2}
    assert switches > 10
    together, one_by_one = map(float, re.findall(r"(?:after|taken) ([\d.]+) s", in_one_line(answer)))
    assert one_by_one > 2 * together > 0


@pytest.mark.virtual_clock
async def test_the_second_agent_of_a_pipeline_starts_on_the_first_token_of_the_first_one() -> None:
    answer = await ask("/demo pipeline")

    assert re.search(r"first token was there, the writer had written 1 of its 1\d tokens\.$", in_one_line(answer))
    cells = rows_of(answer)
    assert cells[:4] == [(0, "A"), (1, "A"), (0, "pipeline"), (1, "PIPELINE")]


@pytest.mark.virtual_clock
async def test_the_late_reader_of_a_stream_gets_all_of_it_and_the_writer_works_once() -> None:
    answer = await ask("/demo replay")

    assert re.search(r"The readers got (\d+), \1 and \1 tokens\. The writer was asked once\.$", answer)
    cells = rows_of(answer)
    late = [text for column, text in cells if column == 2]
    assert 2 not in [column for column, _ in cells[:10]]
    assert late[0].startswith("Whatever was streamed")
    assert late[-1] == "token."


def in_one_line(text: str) -> str:
    return " ".join(text.split())


def rows_of(answer: str) -> list[tuple[int, str]]:
    """Column and text of every cell of the table in a demonstration, in the order in which they were shown."""
    table = answer.partition("```text\n")[2].partition("\n```")[0].splitlines()[1:]
    cells: list[tuple[int, str]] = []
    for row in table:
        for column in range(3):
            text = row[7 + 24 * column : 7 + 24 * (column + 1)].strip()
            if text:
                cells.append((column, text))
    return cells


# ------------------------------------------------------------------------------------------------ columns


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def table(*arrivals: tuple[float, int, str]) -> str:
    clock = Clock()
    columns = Columns(["A", "B"], now=clock, width=10)
    text = columns.head()
    for at, column, token in arrivals:
        clock.now = at
        text += columns.add(column, token)
    return text


def test_each_token_stands_in_its_column_on_a_row_with_its_time() -> None:
    assert table((0.1, 0, "one"), (0.2, 1, "two"), (0.3, 0, " three")) == (
        "       A         B\n"
        "0.10s  one\n"
        "0.20s            two\n"
        "0.30s  three"
    )  # fmt: skip


def test_a_speaker_that_goes_on_alone_stays_in_its_row_as_far_as_there_is_room() -> None:
    assert table((0.1, 1, "one"), (0.2, 1, " two"), (0.3, 1, " three")) == (
        "       A         B\n"
        "0.10s            one two\n"
        "0.30s            three"
    )  # fmt: skip


def test_tokens_of_one_moment_share_a_row() -> None:
    assert table((0.1, 0, "one"), (0.101, 1, "ONE"), (0.2, 0, " two"), (0.3, 1, " TWO")) == (
        "       A         B\n"
        "0.10s  one       ONE\n"
        "0.20s  two\n"
        "0.30s            TWO"
    )  # fmt: skip


def test_a_token_wider_than_its_column_or_with_line_breaks_keeps_the_rows_apart() -> None:
    assert table((0.1, 0, "a-very-long-word"), (0.101, 1, "two\nlines")) == (
        "       A         B\n"
        "0.10s  a-very-long-word\n"
        "0.10s            two lines"
    )  # fmt: skip
