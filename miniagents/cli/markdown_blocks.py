"""Markdown taken apart while it grows: blocks, and of the open block what will not change any more.

    text as it comes --`MarkdownBlocks.feed`--> `Begin`, `Words`, `End`, `CodeBegin`, ..., `Table`, `Rule`

Nothing is ever taken back, so that whoever shows the events never has to draw anything anew. Line breaks inside of a
paragraph are kept, as on most pages where people write to each other.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from miniagents.cli.markdown_inline import is_complete, releasable

QUOTE_BAR: Final = "│ "


@dataclass(frozen=True, slots=True)
class Begin:
    """A paragraph, an item of a list or (`level` > 0) a heading begins; its lines are indented."""

    first_prefix: str = ""
    prefix: str = ""
    level: int = 0


@dataclass(frozen=True, slots=True)
class Words:
    """A piece of the open block's text, in Markdown; blanks and line breaks stand where they were."""

    source: str


@dataclass(frozen=True, slots=True)
class End:
    """The open block has ended."""


@dataclass(frozen=True, slots=True)
class CodeBegin:
    """A fenced block of code begins."""

    language: str
    prefix: str


@dataclass(frozen=True, slots=True)
class CodeText:
    """Code; of a block that has no language perhaps less than a line, else whole lines without the line break."""

    text: str
    ends_line: bool


@dataclass(frozen=True, slots=True)
class CodeEnd:
    """The block of code has ended."""


@dataclass(frozen=True, slots=True)
class Table:
    """A whole table, in Markdown."""

    lines: tuple[str, ...]
    prefix: str


@dataclass(frozen=True, slots=True)
class Rule:
    """A line from left to right."""


@dataclass(frozen=True, slots=True)
class Blank:
    """An empty line between two blocks."""


Event = Begin | Words | End | CodeBegin | CodeText | CodeEnd | Table | Rule | Blank

_HEADING = re.compile(r" {0,3}(#{1,6})[ \t]+(.*)", re.DOTALL)
_ITEM = re.compile(r"([ \t]*)([-*+]|\d{1,9}[.)])([ \t]+)(\[[ xX]\][ \t]+)?(?=\S)(.*)", re.DOTALL)
_FENCE = re.compile(r"([ \t]*)(`{3,}|~{3,})[ \t]*([^`\n]*)")
_RULE = re.compile(r" {0,3}([-*_])[ \t]*(\1[ \t]*){2,}")
_TABLE_ROW = re.compile(r"[ \t]*\|.*")
_TABLE_MARKS = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*")
_QUOTE = re.compile(r" {0,3}(?:>[ ]?)+")
# The beginning of a line that may still become something else than text.
_UNDECIDED = re.compile(
    r"[ \t]*(#{0,6}|[-*_+][-*_+ \t]*|\d{1,9}[.)]?[ \t]*|`{1,2}|`{3,}[^`]*|~+[^~]*|\|.*"
    r"|([-*+]|\d{1,9}[.)])[ \t]+(\[[ xX]?\]?[ \t]*|`{1,2}|`{3,}[^`]*))"
)
_UNDECIDED_QUOTE = re.compile(r" {0,3}>[ >]*")
_WITHOUT_COLOURS: Final = frozenset(["", "text", "txt", "plain", "plaintext", "output", "console", "markdown", "md"])
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_DEEPEST: Final = 24  # columns: narrow terminals need the rest for words


class MarkdownBlocks:
    """Takes one text apart. `feed` it as it comes, `finish` it at its end."""

    def __init__(self) -> None:
        # The line that is being decided on; where the line is known to be text, what of it is not shown yet.
        self._line = ""
        self._pending = ""
        self._is_in_text = False
        self._open: str | None = None
        self._quotes = 0
        self._hang = 0
        self._is_after_blank = False
        self._has_begun = False
        self._fence = ""
        self._code_indent = 0
        self._code_streams = False
        self._has_code_of_line = False
        self._table: list[str] = []
        self._table_prefix = ""

    @property
    def is_silent(self) -> bool:
        """Whether it holds something back for longer than a few words: a table, until that is complete."""
        return self._open == "table"

    def feed(self, text: str) -> Iterator[Event]:
        """Give what `text`, behind what came before, makes visible for good."""
        for piece in _LINES.findall(text):
            ends_line = piece.endswith("\n")
            part = piece[:-1] if ends_line else piece
            if self._is_in_text:
                self._pending += part
            elif part:
                self._line += part
                if not ends_line:
                    yield from self._perhaps_decided()
            if ends_line:
                yield from self._line_ended()
        if self._open == "text":
            yield from self._release(releasable(self._pending))

    def pause(self) -> Iterator[Event]:
        """Give the beginning of the last word too, as nothing has come for a while."""
        if self._open == "text" and self._pending and is_complete(self._pending):
            yield from self._release(len(self._pending))

    def finish(self) -> Iterator[Event]:
        """Give the rest."""
        if self._line or self._is_in_text:
            yield from self._line_ended()
        yield from self._close()

    # -- lines ---------------------------------------------------------------------------------------------------

    def _perhaps_decided(self) -> Iterator[Event]:
        if self._open == "code":
            if self._code_streams and (self._has_code_of_line or not re.fullmatch(r"[ \t]*(`*|~*)", self._line)):
                text = self._line if self._has_code_of_line else self._without_indent(self._line)
                self._has_code_of_line, self._line = True, ""
                yield CodeText(text, ends_line=False)
            return
        quotes, rest = self._without_quotes(self._line)
        if _UNDECIDED_QUOTE.fullmatch(self._line) or _UNDECIDED.fullmatch(rest) or self._open == "table":
            return
        self._line = ""
        yield from self._text_line(quotes, rest)

    def _line_ended(self) -> Iterator[Event]:
        if self._is_in_text:
            self._is_in_text = False
            self._pending = self._pending.rstrip(" \t")
            if self._open == "heading":
                yield from self._close()
            return
        line, self._line = self._line, ""
        if self._open == "code":
            yield from self._code_line(line)
            return
        quotes, rest = self._without_quotes(line)
        if self._open == "table":
            if _TABLE_ROW.fullmatch(rest) and quotes == self._quotes:
                self._table.append(rest)
                return
            yield from self._close()
        if not rest.strip():
            yield from self._close()
            self._is_after_blank = self._has_begun
            return
        yield from self._whole_line(quotes, rest)

    def _whole_line(self, quotes: int, rest: str) -> Iterator[Event]:
        if found := _FENCE.fullmatch(rest):
            yield from self._begin_code(found[1], found[2], found[3], quotes)
        elif _RULE.fullmatch(rest):
            yield from self._close()
            yield from self._gap()
            self._hang = 0
            yield Rule()
        elif _TABLE_ROW.fullmatch(rest):
            yield from self._close()
            self._open, self._table, self._quotes = "table", [rest], quotes
            self._table_prefix = self._prefix(quotes, _columns(rest))
        else:
            yield from self._text_line(quotes, rest)
            if self._is_in_text:
                yield from self._line_ended()

    def _text_line(self, quotes: int, rest: str) -> Iterator[Event]:
        """Take the beginning of a line of text, or all of it."""
        if found := _HEADING.fullmatch(rest):
            yield from self._begin("heading", Begin(self._bars(quotes), self._bars(quotes), len(found[1])), quotes)
            self._hang = 0
            self._pending = found[2]
        elif found := _ITEM.fullmatch(rest):
            yield from self._item(found, quotes)
        elif self._open == "text" and quotes == self._quotes:
            self._pending += "\n" + rest.lstrip(" \t")
        else:
            columns = _columns(rest)
            if self._is_after_blank and columns < 2:
                self._hang = 0
            prefix = self._prefix(quotes, columns)
            yield from self._begin("text", Begin(prefix, prefix), quotes)
            self._pending = rest.lstrip(" \t")
        self._is_in_text = self._open != "code"

    def _item(self, found: re.Match[str], quotes: int) -> Iterator[Event]:
        indent = min(_columns(found[1]), _DEEPEST)
        marker = found[2] if found[2][0].isdigit() else "•"
        box = {"[ ]": "☐ ", "[x]": "☑ "}.get((found[4] or "").strip().lower(), "")
        marker = box.strip() if box and marker == "•" else f"{marker} {box}".rstrip()
        first = f"{self._bars(quotes)}{' ' * indent}{marker} "
        self._hang = indent + len(marker) + 1
        yield from self._begin("text", Begin(first, self._bars(quotes) + " " * self._hang), quotes)
        if fence := _FENCE.fullmatch(found[5]):
            yield from self._begin_code(" " * self._hang, fence[2], fence[3], quotes)
        else:
            self._pending = found[5]

    # -- blocks --------------------------------------------------------------------------------------------------

    def _begin(self, kind: str, begin: Begin, quotes: int) -> Iterator[Event]:
        yield from self._close()
        yield from self._gap()
        self._open, self._quotes = kind, quotes
        yield begin

    def _gap(self) -> Iterator[Event]:
        if self._is_after_blank:
            yield Blank()
        self._is_after_blank, self._has_begun = False, True

    def _close(self) -> Iterator[Event]:
        kind, self._open = self._open, None
        if kind in ("text", "heading"):
            yield from self._release(len(self._pending))
            yield End()
        elif kind == "code":
            yield CodeEnd()
        elif kind == "table":
            yield from self._gap()
            yield from self._table_or_text()
        self._is_in_text = False

    def _table_or_text(self) -> Iterator[Event]:
        lines, self._table = self._table, []
        if len(lines) > 1 and _TABLE_MARKS.fullmatch(lines[1]):
            yield Table(tuple(line.strip() for line in lines), self._table_prefix)
            return
        for line in lines:
            yield Begin(self._table_prefix, self._table_prefix)
            yield Words(line.strip())
            yield End()

    def _release(self, length: int) -> Iterator[Event]:
        ready, self._pending = self._pending[:length], self._pending[length:]
        if ready:
            yield Words(ready)

    # -- code ----------------------------------------------------------------------------------------------------

    def _begin_code(self, indent: str, fence: str, info: str, quotes: int) -> Iterator[Event]:
        yield from self._close()
        yield from self._gap()
        self._open, self._fence, self._quotes = "code", fence, quotes
        self._code_indent = _columns(indent)
        language = (info.split() or [""])[0].strip("{}.").lower()
        self._code_streams = language in _WITHOUT_COLOURS
        self._has_code_of_line = False
        yield CodeBegin(language, self._prefix(quotes, self._code_indent))

    def _code_line(self, line: str) -> Iterator[Event]:
        if self._has_code_of_line:
            self._has_code_of_line = False
            yield CodeText(line, ends_line=True)
            return
        quotes, rest = self._without_quotes(line) if self._quotes else (0, line)
        if self._quotes and not quotes:
            yield from self._close()
            self._line = line
            yield from self._line_ended()
            return
        bare = rest.strip()
        if len(bare) >= len(self._fence) and not bare.strip(self._fence[0]):
            yield from self._close()
        else:
            yield CodeText(self._without_indent(rest), ends_line=True)

    def _without_indent(self, line: str) -> str:
        blanks = len(line) - len(line.lstrip(" \t"))
        return line[min(blanks, self._code_indent) :]

    # -- indentation ---------------------------------------------------------------------------------------------

    def _without_quotes(self, line: str) -> tuple[int, str]:
        found = _QUOTE.match(line)
        return (0, line) if found is None else (found.group().count(">"), line[found.end() :])

    def _bars(self, quotes: int) -> str:
        return QUOTE_BAR * quotes

    def _prefix(self, quotes: int, columns: int) -> str:
        deepest = min(self._hang or _DEEPEST, _DEEPEST)
        return self._bars(quotes) + " " * min(columns, deepest)


def _columns(text: str) -> int:
    """How far the text is indented."""
    blanks = text[: len(text) - len(text.lstrip(" \t"))]
    return len(blanks.expandtabs(4))
