"""Markdown that grows: what is shown of it, and that nothing shown is ever taken back."""

import io
import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from miniagents.cli.markdown_blocks import MarkdownBlocks
from miniagents.cli.markdown_writer import MarkdownWriter
from miniagents.cli.reply_writers import TextWriter

DOCUMENT = """\
# A *title* with `code`

Some **bold text**, _italic_ and `a * b`, a [link](http://a.b/c), 2 * 3 * 4 and snake_case_name.
The next line, with \\*stars\\* and <b>tags</b> and an ![image](x.png).

- one
  goes on
- two
  1. nested
     ```python
     x = "```"
     ```
- [x] done

> a quote **of
> two** lines
> > and one inside

| a | b |
|:--|--:|
| 1 | x \\| 2 |
---
```text
  verbatim *text*

```
~~~~ js
```
~~~~
| no table
end 你好世界 of it
"""


def shown(pieces: list[str], *, width: int = 60, **options: object) -> str:
    stream = io.StringIO()
    writer = MarkdownWriter(Console(file=stream, width=width, **options))
    for piece in pieces:
        writer.feed(piece)
    writer.finish()
    return "\n".join(line.rstrip() for line in stream.getvalue().split("\n"))


def test_blocks_look_as_a_reader_expects() -> None:
    assert shown([DOCUMENT]) == (
        "A title with code\n\n"
        "Some bold text, italic and a * b, a link (http://a.b/c), 2 *\n"
        "3 * 4 and snake_case_name.\n"
        "The next line, with *stars* and <b>tags</b> and an [image]\n"
        "(x.png).\n\n"
        "• one\n  goes on\n• two\n  1. nested\n     ```python\n"
        '     x = "```"\n     ```\n☑ done\n\n'
        "│ a quote of\n│ two lines\n│ │ and one inside\n\n"
        "a       b\n─────────\n1   x | 2\n"
        "────────────────────────────────────────────────────────────\n"
        "```text\n  verbatim *text*\n\n```\n```js\n```\n```\n"
        "| no table\nend 你好世界 of it\n"
    )


@pytest.mark.parametrize("size", [1, 2, 3, 5, 11])
def test_it_makes_no_difference_in_which_pieces_a_text_comes(size: int) -> None:
    pieces = [DOCUMENT[start : start + size] for start in range(0, len(DOCUMENT), size)]

    assert shown(pieces) == shown([DOCUMENT])


@given(
    lines=st.lists(
        st.sampled_from(
            [
                "# a",
                "text *b",
                "c* d",
                "`e",
                "f`",
                "- g",
                "  h",
                "```",
                "| i |",
                "|-|",
                "> j",
                "",
                "1. k",
                "---",
                "**",
                "[l](m",
            ]
        ),
        max_size=12,
    ),
    cuts=st.lists(st.integers(0, 80), max_size=10),
)
def test_any_text_in_any_pieces_is_shown_in_the_same_way(lines: list[str], cuts: list[int]) -> None:
    text = "\n".join(lines)
    places = sorted({0, *(cut for cut in cuts if cut < len(text)), len(text)})
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]

    assert shown(pieces) == shown([text])


@given(st.text(alphabet="ab*_`[]()<>#-|~1. \n\\", max_size=80))
def test_no_letter_is_ever_lost(text: str) -> None:
    letters = re.sub(r"\W|_", "", text)
    seen = re.sub(r"\W|_", "", shown([text]))

    # Numbers of lists and addresses may be shown in another place; the names of languages go to the line of the fence.
    assert sorted(letter for letter in seen if letter in "ab") == sorted(letter for letter in letters if letter in "ab")


def test_words_are_shown_as_soon_as_their_meaning_is_certain() -> None:
    stream = io.StringIO()
    writer = MarkdownWriter(Console(file=stream, width=60))
    seen: list[str] = []
    for piece in ["Wor", "ds come ", "one **by", " one** ", "and "]:
        writer.feed(piece)
        seen.append(stream.getvalue())

    assert seen == ["", "Words come", "Words come one", "Words come one by one", "Words come one by one and"]


def test_a_mark_that_is_never_closed_does_not_hold_back_the_rest() -> None:
    stream = io.StringIO()
    writer = MarkdownWriter(Console(file=stream, width=60))
    writer.feed("A *star and " + "more words " * 100)

    assert "*star and more words" in stream.getvalue()


def test_only_the_look_of_letters_is_ever_changed_so_that_nothing_is_drawn_anew() -> None:
    stream = io.StringIO()
    writer = TextWriter(Console(file=stream, width=40, force_terminal=True, color_system="standard"))
    for character in DOCUMENT + "\x1b[2J\x07\x9b":
        writer.feed(character)
    writer.finish()

    sequences = re.findall(r"\x1b[^m]*m?", stream.getvalue())
    assert sequences
    assert all(re.fullmatch(r"\x1b\[[0-9;]*m", sequence) for sequence in sequences)
    assert "\r" not in stream.getvalue()
    assert "\N{SYMBOL FOR ESCAPE}[2J\N{SYMBOL FOR BELL}\N{REPLACEMENT CHARACTER}" in stream.getvalue()


@pytest.mark.parametrize("width", [8, 13, 20])
def test_lines_fit_narrow_terminals_and_wide_characters(width: int) -> None:
    text = "Words of one line, https://example.com/a/long/address, 你好世界你好世界你好世界 and a\n- list of words\n"

    lines = shown([text], width=width).split("\n")

    assert max(Console().render_str(line).cell_len for line in lines) <= width
    assert "".join("".join(lines).split()) == "".join(text.replace("-", "•").split())


def test_code_is_coloured_line_by_line_also_inside_a_text_of_several_lines() -> None:
    code = '```python\ndef f():\n    """One\n    two"""\n```\n'

    lines = shown([code], force_terminal=True, color_system="standard").split("\n")

    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines] == code.split("\n")
    [first, second] = [re.findall(r"\x1b\[[0-9;]*m", line)[-2] for line in lines[2:4]]
    assert first == second


def test_a_table_is_held_back_until_it_is_complete() -> None:
    blocks = MarkdownBlocks()

    assert list(blocks.feed("| a |\n|---|\n| 1 |\n")) == []
    assert len(list(blocks.feed("\n"))) == 1
