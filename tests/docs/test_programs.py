"""The tester of the documentation is itself tested: a check that cannot fail is none."""

from pathlib import Path

import pytest

from miniagents.testing.server import Drop
from tests.docs.programs import PageError, Program, is_as_promised, read_programs


@pytest.fixture
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path / "page.md"


def programs_of(page: Path, text: str) -> list[Program]:
    page.write_text(text.replace("'''", "```"))
    return read_programs(page)


def check(page: Path, text: str) -> None:
    for program in programs_of(page, text):
        program.check()


def test_a_program_that_prints_what_the_page_promises_passes(page: Path) -> None:
    check(page, "Look:\n'''python\nprint('hi')\n'''\nIt prints:\n'''text\nhi\n'''\n")


def test_a_program_that_prints_something_else_fails_with_both_texts(page: Path) -> None:
    with pytest.raises(AssertionError, match=r"page.md:2(.|\n)*printed(.|\n)*hello(.|\n)*promises(.|\n)*goodbye"):
        check(page, "Look:\n'''python\nprint('hello')\n'''\n'''text\ngoodbye\n'''\n")


def test_a_program_that_prints_less_than_promised_fails(page: Path) -> None:
    with pytest.raises(AssertionError, match="promises"):
        check(page, "'''python\npass\n'''\n'''text\nhi\n'''\n")


def test_a_program_without_promised_output_must_only_run(page: Path) -> None:
    check(page, "'''python\nprint('anything')\n'''\n")

    with pytest.raises(AssertionError, match="2 != 1"):
        check(page, "'''python\nassert 1 == 2, '2 != 1'\n'''\n")


def test_output_without_a_program_is_an_error(page: Path) -> None:
    with pytest.raises(PageError, match=r"page.md:1: a `text` block must follow"):
        programs_of(page, "'''text\nhi\n'''\n")


def test_a_second_output_of_one_program_is_an_error(page: Path) -> None:
    with pytest.raises(PageError, match=r"page.md:5"):
        programs_of(page, "'''python\n'''\n'''text\n'''\n'''text\nhi\n'''\n")


@pytest.mark.parametrize("language", ["py", "python3", "pycon", "Python", "python title=x", "{.python}"])
def test_a_spelling_of_python_that_would_not_run_is_an_error(page: Path, language: str) -> None:
    with pytest.raises(PageError, match="write ```python"):
        programs_of(page, f"'''{language}\n1 / 0\n'''\n")


def test_blocks_of_other_languages_are_left_alone(page: Path) -> None:
    assert programs_of(page, "'''\ndrawing\n'''\n'''toml\nx = 1\n'''\n~~~bash\nls\n~~~\n") == []


def test_a_block_inside_a_longer_fence_or_a_list_is_read_as_markdown_does(page: Path) -> None:
    assert programs_of(page, "''''markdown\n'''toml\n'''\n''''\n") == []

    (program,) = programs_of(page, "1. First\n\n   '''python\n   if True:\n       print(1)\n   '''\n")

    assert program.source == "if True:\n    print(1)\n"


def test_an_error_names_the_line_of_the_page(page: Path) -> None:
    (program,) = programs_of(page, "one\n\ntwo\n'''python\nx = 1\nx / 0\n'''\n")

    with pytest.raises(ZeroDivisionError) as caught:
        program.run()

    assert (caught.traceback[-1].path, caught.traceback[-1].lineno + 1) == (page, 6)


def test_every_program_runs_alone_and_as_main(page: Path) -> None:
    first, second = programs_of(page, "'''python\nx = 1\n'''\n'''python\nprint(__name__, 'x' in globals())\n'''\n")

    first.run()

    assert second.run() == "__main__ False\n"


def test_a_program_may_continue_the_one_before_it_and_only_its_own_output_is_compared(page: Path) -> None:
    text = "'''python\nx = 1\nprint('first')\n'''\n<!-- continues -->\n'''python\nprint(x + 1)\n'''\n'''text\n2\n'''\n"

    check(page, text)


def test_the_first_program_of_a_page_has_nothing_to_continue(page: Path) -> None:
    with pytest.raises(PageError, match="no program before it"):
        programs_of(page, "<!-- continues -->\n'''python\n'''\n")


def test_what_is_typed_shows_in_the_output_as_in_a_terminal(page: Path) -> None:
    check(
        page,
        "<!-- stdin:\nAda\nbye\n-->\n'''python\nname = input('Name: ')\nprint('Hello', name)\ninput('> ')\n'''\n"
        "'''text\nName: Ada\nHello Ada\n> bye\n'''\n",
    )


def test_after_what_is_typed_the_input_ends(page: Path) -> None:
    (program,) = programs_of(page, "<!-- stdin: one -->\n'''python\ninput()\ninput()\n'''\n")

    with pytest.raises(EOFError):
        program.run()


def test_several_comments_above_one_program_all_count_and_one_further_up_does_not(page: Path) -> None:
    first, second = programs_of(
        page,
        "<!-- stdin: a -->\n<!-- model: b\\nB\nc -->\n\n'''python\n'''\n<!-- model: d -->\nText.\n'''python\n'''\n",
    )

    assert (first.directives["stdin"], first.model_answers) == ("a", ["b\nB", "c"])
    assert second.directives == {}


def test_a_model_may_call_tools_and_break_off(page: Path) -> None:
    answers = '<!-- model:\ncalls add {"a": 1} and now {}\nbreaks On|ce\n-->\n'

    (program,) = programs_of(page, f"{answers}'''python\n'''\n")

    calls, broken = program.model_answers
    assert [(call.name, call.arguments) for call in calls.parts] == [("add", '{"a": 1}'), ("now", "{}")]
    assert broken.parts == ["On", "ce", Drop()]


def test_a_directive_that_does_not_exist_is_an_error(page: Path) -> None:
    with pytest.raises(PageError, match="unknown directive 'stdinn': known are continues, model, not run, stdin"):
        programs_of(page, "<!-- stdinn: hi -->\n'''python\n'''\n")


def test_a_program_that_is_not_run_gives_a_reason(page: Path) -> None:
    (program,) = programs_of(page, "<!-- not run: it never ends -->\n'''python\nwhile True: pass\n'''\n")

    assert program.why_not_run == "it never ends"

    with pytest.raises(PageError, match="needs a reason"):
        programs_of(page, "<!-- not run -->\n'''python\n'''\n")


@pytest.mark.parametrize(
    ("printed", "promised", "expected"),
    [
        ("a\nb\n", "a\nb", True),
        ("a  \n\n", "\na\n", True),
        ("  a\n", "a", False),
        ("a\nx\ny\nb\n", "a\n...\nb", True),
        ("a\nb\n", "a\n...\nb", True),
        ("a\nb\nc\n", "a\n...\nb", False),
        ("ab\n", "a.", False),
        ("", "", True),
        ("a\n", "", False),
    ],
)
def test_output_is_compared_line_by_line_with_gaps_where_the_page_says_so(
    printed: str, promised: str, expected: bool
) -> None:
    assert is_as_promised(printed, promised) is expected
