r"""The programs in the documentation: how they are found, run, and compared with the output that the page promises.

A ```` ```python ```` block is a program. It runs as its reader would run it: alone, as `__main__`, in an empty folder.
A ```` ```text ```` block after it is what it prints; a line `...` there stands for any number of lines. A `text` block
without a program before it is an error (output that nobody checks): use a fence without a language for a drawing.

What a program needs beyond that stands in comments directly above it, which the reader of the page does not see:

- `<!-- stdin: hi -->`, or several lines after the colon: what is typed, shown in the output as a terminal shows it;
  then the input ends.
- `<!-- model: Hello! -->`: what the OpenAI and Anthropic models answer, one line a request (`\n` is a new line in it).
  `calls add {"a": 1} and add {"a": 2}` are calls of tools, `slowly He|llo` has pauses, and `breaks He|llo` an end that
  comes too early.
- `<!-- continues -->`: it goes on where the program before it on this page stopped.
- `<!-- not run: the reason -->`: it is only shown.
"""

import contextlib
import gc
import io
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from sybil import Document, Region
from sybil.parsers.markdown.lexers import RawFencedCodeBlockLexer

from miniagents.testing.server import Answer, Drop, Pause, ToolCall

DIRECTIVES = frozenset({"stdin", "model", "continues", "not run"})

_blocks = RawFencedCodeBlockLexer(re.compile(r"(?P<language>[^\n]*)\n"))
_comments_above = re.compile(r"(?:<!--(?:(?!-->).)*-->\s*)+\Z", re.DOTALL)
_comment = re.compile(r"<!--\s*(?P<name>[\w ]+?)\s*(?::[ \t]*\n?(?P<argument>.*?))?\s*-->", re.DOTALL)


class PageError(Exception):
    """A page that cannot be checked: a directive that does not exist, output without a program."""


@dataclass(frozen=True)
class Program:
    """One Python block of a page."""

    page: Path
    line: int
    source: str
    promised_output: str | None = None
    directives: Mapping[str, str] = field(default_factory=dict)
    before: "Program | None" = None

    @property
    def model_answers(self) -> list[str | Answer]:
        return [_answer(line.replace("\\n", "\n")) for line in self.directives.get("model", "").splitlines()]

    @property
    def why_not_run(self) -> str | None:
        return self.directives.get("not run")

    def run(self) -> str:
        """Run it, after those that it continues, and return what it printed itself."""
        namespace: dict[str, Any] = {"__name__": "__main__"}
        try:
            return self._run_in(namespace)
        finally:
            defines_classes = any(isinstance(value, type) for value in namespace.values())
            namespace.clear()
            if defines_classes:
                # Classes are in cycles, and classes of one name disturb each other where things are found by it.
                gc.collect()

    def _run_in(self, namespace: dict[str, Any]) -> str:
        if self.before:
            self.before._run_in(namespace)
        # The empty lines make every traceback name the line of the page.
        code = compile("\n" * self.line + self.source, str(self.page), "exec", dont_inherit=True)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), _typed_input(self.directives.get("stdin", "")):
            exec(code, namespace)
        return printed.getvalue()

    def check(self) -> None:
        """Run it and compare what it prints with what the page promises, if it promises something."""
        printed = self.run()
        if self.promised_output is not None and not is_as_promised(printed, self.promised_output):
            raise AssertionError(
                f"{self.page}:{self.line}: the program printed\n\n{printed}\nand the page promises\n\n"
                f"{self.promised_output}"
            )


def read_programs(page: Path) -> list[Program]:
    """Return the programs of a Markdown page, in their order.

    Raises:
        PageError: something on the page would silently not be checked.
    """
    document = Document(page.read_text(encoding="utf-8"), str(page))
    programs: list[Program] = []
    was_shown: Program | None = None
    for block in sorted(_blocks(document), key=lambda block: block.start):
        language = block.lexemes["language"].strip()
        line = document.text.count("\n", 0, block.start) + 1
        if language == "python":
            was_shown = _program(document, block, page, line, programs)
            programs.append(was_shown)
        elif language == "text":
            if was_shown is None:
                raise PageError(f"{page}:{line}: a `text` block must follow the Python block whose output it shows")
            programs[-1] = replace(programs[-1], promised_output=block.lexemes["source"])
            was_shown = None
        elif re.match(r"py|\{?\.?python", language, re.IGNORECASE):
            raise PageError(f"{page}:{line}: ```{language} is not run: write ```python")
    return programs


def _program(document: Document, block: Region, page: Path, line: int, earlier: list[Program]) -> Program:
    directives = dict(_directives_above(document.text[: block.start], f"{page}:{line}"))
    if "continues" in directives and not earlier:
        raise PageError(f"{page}:{line}: there is no program before it that it could continue")
    return Program(
        page=page,
        line=line,
        source=block.lexemes["source"],
        directives=directives,
        before=earlier[-1] if "continues" in directives else None,
    )


def _directives_above(text: str, place: str) -> Iterator[tuple[str, str]]:
    comments = _comments_above.search(text)
    for comment in _comment.finditer(comments.group() if comments else ""):
        name, argument = comment["name"], comment["argument"] or ""
        if name not in DIRECTIVES:
            raise PageError(f"{place}: unknown directive {name!r}: known are {', '.join(sorted(DIRECTIVES))}")
        if name == "not run" and not argument.strip():
            raise PageError(f"{place}: `not run` needs a reason: <!-- not run: the reason -->")
        yield name, argument


def _answer(line: str) -> str | Answer:
    verb, _, rest = line.partition(" ")
    if verb == "calls":
        return Answer([ToolCall(*call.split(" ", 1)) for call in rest.split(" and ")])
    if verb == "slowly":
        return Answer([part for token in rest.split("|") for part in (token, Pause(0.1))])
    if verb == "breaks":
        return Answer([*rest.split("|"), Drop()])
    return line


def is_as_promised(printed: str, promised: str) -> bool:
    """Compare line by line, spaces at the ends of lines aside; a promised line `...` stands for any number of lines."""
    lines = [line.rstrip() for line in promised.strip("\n").rstrip().splitlines()]
    pattern = ""
    for is_gap, group in groupby(lines, key=lambda line: line.strip() == "..."):
        pattern += r"(?:[^\n]*\n)*" if is_gap else "".join(re.escape(line) + "\n" for line in group)
    actual = "".join(line.rstrip() + "\n" for line in printed.strip("\n").rstrip().splitlines())
    return re.fullmatch(pattern, actual) is not None


class _Typed(io.StringIO):
    """Standard input that shows what is typed, as a terminal does."""

    def readline(self, size: int | None = -1, /) -> str:
        line = super().readline(-1 if size is None else size)
        sys.stdout.write(line)
        return line


@contextlib.contextmanager
def _typed_input(text: str) -> Iterator[None]:
    before, sys.stdin = sys.stdin, _Typed(text + "\n" if text and not text.endswith("\n") else text)
    try:
        yield
    finally:
        sys.stdin = before
