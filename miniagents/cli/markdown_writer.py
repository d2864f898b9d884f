"""Markdown shown at a terminal while it comes: every word is written once, where it stays.

Lines are filled word by word, so that nothing has to be drawn anew; code is coloured line by line; a table appears when
it is complete. rich does the colours.
"""

import re
from collections.abc import Iterable
from typing import Final

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from miniagents.cli.markdown_blocks import (
    QUOTE_BAR,
    Begin,
    Blank,
    CodeBegin,
    CodeEnd,
    CodeText,
    End,
    Event,
    MarkdownBlocks,
    Rule,
    Table,
    Words,
)
from miniagents.cli.markdown_inline import WITHOUT_BLANKS, styled
from miniagents.cli.markdown_tables import table_of

_PIECE = re.compile(rf"\s+|[{WITHOUT_BLANKS}]|[^\s{WITHOUT_BLANKS}]+")
_DIM: Final = "dim"
_HEADING_STYLES: Final = {1: "bold magenta", 2: "bold magenta"}
_LESSER_HEADING: Final = "bold"
_NARROWEST: Final = 8
_LONGEST_RULE: Final = 60
# How much of the code before a line tells its colours: a comment or a text of several lines may have begun there.
_CODE_CONTEXT_LINES: Final = 24


class Filler:
    """Fills lines of the terminal with words, each written once."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._prefix = Text()
        self._column = 0
        self._line_begins = True
        self._blanks = ""

    @property
    def is_at_line_start(self) -> bool:
        """Whether nothing stands on the line where the next word goes."""
        return self._column == 0

    def begin(self, first_prefix: Text, prefix: Text) -> None:
        """Begin a block on a line of its own."""
        self.end_line()
        self._prefix = prefix
        self._blanks = ""
        if first_prefix.plain:
            self._write(first_prefix)
        self._line_begins = True

    def words(self, text: Text) -> None:
        """Write text behind what was written before; the lines break between words."""
        plain = text.plain
        pieces = [match.span() for match in _PIECE.finditer(plain)]
        ready = Text()
        for start, end in pieces:
            if plain[start].isspace():
                self._blanks += plain[start:end].replace("\t", "    ")
                continue
            self._add(ready, text[start:end])
        if ready:
            self._console.print(ready, end="", soft_wrap=True, highlight=False)

    def _add(self, ready: Text, word: Text) -> None:
        width = max(_NARROWEST, self._console.width)
        blanks = "" if self._line_begins else self._blanks
        may_break = bool(blanks) or bool(_PIECE.fullmatch(word.plain) and cell_len(word.plain[0]) == 2)
        size = word.cell_len
        if self._column + len(blanks) + size > width and may_break and not self._line_begins:
            self._new_line(ready)
            blanks = ""
        ready.append(blanks)
        self._column += len(blanks)
        self._blanks = ""
        self._line_begins = False
        while self._column + word.cell_len > width:
            # Longer than a line, an address perhaps.
            room = max(1, width - self._column)
            head = _head(word, room)
            ready.append_text(word[:head])
            word = word[head:]
            self._new_line(ready)
            self._line_begins = False
        ready.append_text(word)
        self._column += word.cell_len

    def _new_line(self, ready: Text) -> None:
        ready.append("\n").append_text(self._prefix)
        self._column = self._prefix.cell_len
        self._line_begins = True

    def line_end(self) -> None:
        """Go on at the beginning of the next line of the same block."""
        self._console.print(Text("\n").append_text(self._prefix), end="", soft_wrap=True, highlight=False)
        self._column = self._prefix.cell_len
        self._line_begins, self._blanks = True, ""

    def end_line(self) -> None:
        """End the line, if anything stands on it."""
        if self._column:
            self._console.print()
        self._column = 0
        self._line_begins, self._blanks = True, ""

    def raw(self, text: Text) -> None:
        """Write text that is not broken into lines; the terminal does that."""
        self._write(text)

    def _write(self, text: Text) -> None:
        self._console.print(text, end="", soft_wrap=True, highlight=False)
        self._column += text.cell_len


def _head(word: Text, room: int) -> int:
    """How many characters of the word fit into so many columns; at least one."""
    columns = 0
    for number, character in enumerate(word.plain):
        columns += cell_len(character)
        if columns > room:
            return max(1, number)
    return len(word.plain)


class MarkdownWriter:
    """Writes one text to the console. `feed` it as it comes, `finish` it at its end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._blocks = MarkdownBlocks()
        self._filler = Filler(console)
        self._style = ""
        self._code: Syntax | None = None
        self._code_lines: list[str] = []
        self._code_prefix = Text()
        self._code_line_has_begun = False

    @property
    def is_at_line_start(self) -> bool:
        """Whether the cursor stands on an empty line, so that something else may stand there for a while."""
        return self._filler.is_at_line_start

    def feed(self, text: str) -> None:
        """Write what `text` makes visible."""
        self._show(self._blocks.feed(text))

    def pause(self) -> None:
        """Write the beginning of the last word too, as nothing has come for a while."""
        self._show(self._blocks.pause())

    def finish(self) -> None:
        """Write the rest; the cursor stands at the beginning of a line then."""
        self._show(self._blocks.finish())
        self._filler.end_line()

    def _show(self, events: Iterable[Event]) -> None:
        for event in events:
            match event:
                case Words(source):
                    self._words(styled(source, self._style))
                case CodeText(text, ends_line):
                    self._code_text(text, ends_line=ends_line)
                case Begin(first_prefix, prefix, level):
                    self._style = _HEADING_STYLES.get(level, _LESSER_HEADING) if level else ""
                    self._filler.begin(_prefix(first_prefix), _prefix(prefix))
                case End():
                    self._filler.end_line()
                case Blank():
                    self._console.print()
                case Rule():
                    self._console.print(Text("─" * min(self._console.width, _LONGEST_RULE), _DIM), highlight=False)
                case Table(lines, prefix):
                    self._console.print(Padding(table_of(lines), (0, 0, 0, len(prefix)), expand=False))
                case CodeBegin(language, prefix):
                    self._begin_code(language, prefix)
                case CodeEnd():
                    self._end_code()

    def _words(self, text: Text) -> None:
        for number, line in enumerate(text.split("\n", allow_blank=True)):
            if number:
                self._filler.line_end()
            self._filler.words(line)

    # -- code ----------------------------------------------------------------------------------------------------

    def _begin_code(self, language: str, prefix: str) -> None:
        self._code_prefix = _prefix(prefix)
        self._code = (
            Syntax("", language, theme="ansi_dark", background_color="default", word_wrap=False) if language else None
        )
        self._code_lines = []
        self._filler.end_line()
        self._line(Text(f"```{language}", _DIM))

    def _end_code(self) -> None:
        if self._code_line_has_begun:
            self._filler.end_line()
            self._code_line_has_begun = False
        self._line(Text("```", _DIM))

    def _code_text(self, text: str, *, ends_line: bool) -> None:
        if self._code_line_has_begun or not ends_line:
            if not self._code_line_has_begun:
                self._filler.raw(self._code_prefix.copy())
            self._filler.raw(Text(text))
            self._code_line_has_begun = not ends_line
            if ends_line:
                self._console.print()
                self._filler = Filler(self._console)
            return
        self._line(self._coloured(text))

    def _line(self, text: Text) -> None:
        self._console.print(self._code_prefix + text, soft_wrap=True, highlight=False)

    def _coloured(self, line: str) -> Text:
        if self._code is None:
            return Text(line)
        self._code_lines = [*self._code_lines[-_CODE_CONTEXT_LINES:], line]
        highlighted = self._code.highlight("\n".join(self._code_lines))
        lines = highlighted.split("\n", allow_blank=True)
        number = len(self._code_lines) - 1
        return lines[number] if number < len(lines) and lines[number].plain == line else Text(line)


def _prefix(text: str) -> Text:
    """Blanks and marks in front of a line, dimmed where they are no part of the text."""
    result = Text(text)
    if QUOTE_BAR.strip() in text:
        result.highlight_words([QUOTE_BAR.strip()], _DIM)
    return result
