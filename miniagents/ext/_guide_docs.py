"""The project's own documentation, cut into sections and searchable offline; what the guide agent answers from.

The text is read from the installed package (`miniagents/_docs/`) or, in a source tree, from the repository's root. The
index lives in memory (SQLite's FTS5 with `bm25()`): a few hundred sections are indexed in milliseconds, so nothing is
ever written to disk and nothing can be out of date.
"""

import re
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from math import log
from pathlib import Path
from typing import Final

from miniagents.ext._guide_words import WORD, alternatives, meaningful_words

_FENCE: Final = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX_HEADING: Final = re.compile(r" {0,3}(#{1,6})\s+(.*?)(?:\s+#+)?\s*$")
_HTML_COMMENT: Final = re.compile(r"<!--.*?-->[ \t]*\n?", re.DOTALL)
_IMAGE_LINE: Final = re.compile(r"\s*(?:\[?!\[[^\]]*\]\([^)]*\)(?:\]\([^)]*\))?\s*)+")
_HTML_LINE: Final = re.compile(r"\s*</?(?:p|div|img|a|picture|source|br|h\d|details|summary)\b[^>]*>\s*", re.IGNORECASE)
_CAMEL_HUMP: Final = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")


@dataclass(frozen=True, slots=True)
class Section:
    """One headed piece of a documentation file: where it stands, and its Markdown without the heading line."""

    file: str
    heading: tuple[str, ...]
    text: str

    @property
    def place(self) -> str:
        """File and headings, as a reader would look them up: `README.md, section "Agents > Calling one"`."""
        return f'{self.file}, section "{" > ".join(self.heading)}"' if self.heading else self.file


@dataclass(frozen=True, slots=True)
class Found:
    """A section that answers a query; `coverage` is the share (0 to 1) of the query's meaningful words it holds."""

    section: Section
    coverage: float


class DocsIndex:
    """Full-text search over sections; built by the constructor (blocking), then usable from any thread."""

    def __init__(self, sections: Iterable[Section]) -> None:
        # sqlite3 loads when the guide is used: whoever imports the package pays nothing for it.
        import sqlite3

        self.sections: Final[Sequence[Section]] = tuple(sections)
        self._lock = threading.Lock()
        # The worker threads of one pool share the connection; the lock keeps them apart.
        self._db = sqlite3.connect(":memory:", check_same_thread=False)
        # Closed with the index; a connection that is merely dropped is reported as a leak.
        weakref.finalize(self, self._db.close)
        self._db.execute("CREATE VIRTUAL TABLE section USING fts5(heading, body, names, tokenize='porter unicode61')")
        self._db.executemany(
            "INSERT INTO section(rowid, heading, body, names) VALUES (?, ?, ?, ?)",
            [
                (number, " ".join(section.heading), section.text, " ".join(_parts_of_names(section.text)))
                for number, section in enumerate(self.sections)
            ],
        )

    def search(self, question: str, *, min_coverage: float = 0.33) -> list[Found]:
        """Sections that answer `question`, best first; empty if none holds at least `min_coverage` of its words.

        Words weigh by their rarity, so that a question about something else is not answered by a section that merely
        shares a common word with it. A word that occurs nowhere weighs most.
        """
        words = meaningful_words(question)
        if not words or not self.sections:
            return []
        queries = {word: " OR ".join(map(_quoted, alternatives(word))) for word in words}
        with self._lock:
            holders = {word: self._matching(query) for word, query in queries.items()}
            in_heading = {word: self._matching(f"heading : ({query})") for word, query in queries.items()}
            relevances = self._relevances(" OR ".join(queries.values()))
        weights = {word: log(1 + len(self.sections) / (0.5 + len(found))) for word, found in holders.items()}
        total = sum(weights.values())
        answers: list[tuple[float, Found]] = []
        for number, relevance in relevances:
            coverage = sum(weights[word] for word in words if number in holders[word]) / total
            headed = sum(weights[word] for word in words if number in in_heading[word]) / total
            if coverage >= min_coverage:
                # A heading says what a section is about; the rest of its words may be there by the way.
                answers.append((relevance * coverage * (1 + 3 * headed), Found(self.sections[number], coverage)))
        answers.sort(key=lambda answer: -answer[0])
        return [found for _, found in answers]

    def _matching(self, query: str) -> set[int]:
        return {number for (number,) in self._db.execute("SELECT rowid FROM section WHERE section MATCH ?", (query,))}

    def _relevances(self, query: str) -> list[tuple[int, float]]:
        # bm25() is the more negative the better.
        rows = self._db.execute(
            "SELECT rowid, -bm25(section, 6.0, 1.0, 0.5) AS relevance FROM section WHERE section MATCH ? "
            "ORDER BY relevance DESC, rowid LIMIT 50",
            (query,),
        )
        return list(rows)


@cache
def docs_index(folder: Path | None = None) -> DocsIndex:
    """The index of the documentation in `folder`, by default the project's own; built at the first call (blocking)."""
    root = _docs_root() if folder is None else folder
    return DocsIndex(section for name, text in documentation_files(root) for section in split_sections(name, text))


def documentation_files(root: Traversable | None) -> list[tuple[str, str]]:
    """Name and text of `README.md` and of every Markdown file in `docs/` below `root`, in this order."""
    if root is None:
        return []
    pages = [("README.md", root / "README.md"), *_markdown_below(root / "docs", "docs/")]
    return [(name, page.read_bytes().decode("utf-8", "replace")) for name, page in pages if page.is_file()]


def split_sections(file: str, markdown: str) -> Iterator[Section]:
    """Cut a Markdown file at its headings (those in fenced code do not count); sections without text are left out.

    Comments and lines that hold nothing but a picture, a badge or an HTML tag are no text.

    The outermost heading names the file, which every section names already: it is kept only where it is the only one.
    """
    heading: list[tuple[int, str]] = []
    lines: list[str] = []
    fence: str | None = None
    for line in _HTML_COMMENT.sub("", markdown).splitlines():
        fence = _fence_after(line, fence)
        match = _ATX_HEADING.match(line) if fence is None else None
        if match is None:
            if fence is not None or not _is_layout(line):
                lines.append(line)
            continue
        yield from _section(file, heading, lines)
        level = len(match[1])
        heading = [*(above for above in heading if above[0] < level), (level, match[2])]
        lines = []
    yield from _section(file, heading, lines)


def _section(file: str, heading: Sequence[tuple[int, str]], lines: Sequence[str]) -> Iterator[Section]:
    text = "\n".join(lines).strip("\n")
    if text.strip():
        titles = tuple(_plain(title) for _, title in heading)
        yield Section(file, titles[1:] or titles, text)


def _fence_after(line: str, fence: str | None) -> str | None:
    """The code fence that is open after `line`; a fence is closed by one of its own kind, at least as long."""
    match = _FENCE.match(line)
    if match is None:
        return fence
    if fence is None:
        return match[1]
    closes = match[1].startswith(fence) and line.strip() == match[1]
    return None if closes else fence


def _is_layout(line: str) -> bool:
    return bool(_IMAGE_LINE.fullmatch(line) or _HTML_LINE.fullmatch(line))


def _plain(title: str) -> str:
    """A heading without its Markdown: links become their text, code and emphasis lose their marks."""
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", title).replace("`", "").replace("**", "").strip()


def _quoted(word: str) -> str:
    # In quotes FTS5 takes a word as text, never as an operator; `start_asap` becomes the phrase "start asap".
    return '"' + word.replace('"', '""') + '"'


def _parts_of_names(text: str) -> Iterator[str]:
    """The words inside names such as `MarkdownHistoryAgent`, so that "markdown history" finds them."""
    for name in dict.fromkeys(WORD.findall(text)):
        parts = _CAMEL_HUMP.findall(name)
        if len(parts) > 1:
            yield from parts


def _markdown_below(folder: Traversable, prefix: str) -> Iterator[tuple[str, Traversable]]:
    if not folder.is_dir():
        return
    for child in sorted(folder.iterdir(), key=lambda child: child.name):
        if child.is_dir():
            yield from _markdown_below(child, f"{prefix}{child.name}/")
        elif child.name.endswith(".md"):
            yield f"{prefix}{child.name}", child


def _docs_root() -> Traversable | None:
    packaged = files("miniagents") / "_docs"
    if packaged.is_dir():
        return packaged
    source_tree = Path(__file__).resolve().parents[2]
    # Without this check the README of whatever else is installed beside the package would be taken for ours.
    return source_tree if (source_tree / "pyproject.toml").is_file() else None
