"""Markdown inside a line: how much of a growing text can be shown for good, and what it looks like.

`*`, a backtick or `[` may turn out to begin something once more has come. What stands before it can be shown already.
"""

import re
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token
from rich.text import Text

# A mark that is not closed within so many characters is taken for what it is: a character.
_LONGEST_WAIT: Final = 400
# Scripts that put no blanks between words; a line may end behind each of their characters.
WITHOUT_BLANKS: Final = (
    "\u1100-\u115f\u2e80-\ua4cf\uac00-\ud7a3\uf900-\ufaff\ufe30-\ufe4f\uff00-\uff60\U00020000-\U0003fffd"
)
_WITHOUT_BLANKS = re.compile(f"[{WITHOUT_BLANKS}]")

_STYLES: Final = {"strong": "bold", "em": "italic", "s": "strike", "link": "underline"}
_CODE_STYLE: Final = "bold cyan"
_ADDRESS_STYLE: Final = "dim"


def releasable(text: str) -> int:
    """Give how many characters of `text` mean the same whatever follows; they end where a word does, if any does."""
    cut, _ = _scan(text)
    if len(text) - cut > _LONGEST_WAIT:
        cut = max(text.rfind(" "), text.rfind("\n"), cut) or len(text)
    return cut


def is_complete(text: str) -> bool:
    """Whether `text` could be shown as it is, its last word included, though that may go on."""
    _, is_open = _scan(text)
    return not is_open and text[-1:].isalnum()


def _scan(text: str) -> tuple[int, bool]:
    """Give where the last complete word outside of all marks ends, and whether a mark is open at the end."""
    open_marks: list[str] = []
    cut = place = 0
    while place < len(text):
        character = text[place]
        end: int | None = place + 1
        if character.isspace() or _WITHOUT_BLANKS.match(character):
            if not open_marks:
                cut = place if character.isspace() else place + 1
        elif character == "\\":
            end = place + 2
        elif character == "`":
            end = _behind_code(text, place)
        elif character in "*_~":
            end = _behind_mark(text, place, open_marks)
        elif character == "[":
            end = _behind_link(text, place)
        elif character == "<":
            end = _behind_address(text, place)
        if end is None or end > len(text):
            return cut, True
        place = end
    return cut, bool(open_marks)


def _run_end(text: str, place: int) -> int:
    end = place
    while end < len(text) and text[end] == text[place]:
        end += 1
    return end


def _behind_code(text: str, place: int) -> int | None:
    run_end = _run_end(text, place)
    mark = text[place:run_end]
    found = re.compile(f"(?<!`){mark}(?!`)").search(text, run_end)
    # A run at the very end may still grow.
    return None if found is None or (found.end() == len(text)) else found.end()


def _behind_mark(text: str, place: int, open_marks: list[str]) -> int | None:
    end = _run_end(text, place)
    if end == len(text):
        return None
    mark, before, after = text[place], text[place - 1 : place] or " ", text[end]
    if mark == "~" and end - place != 2:
        return end
    if mark == "_" and before.isalnum() and after.isalnum():
        return end
    if not before.isspace() and mark in open_marks:
        for _ in range(min(end - place, open_marks.count(mark))):
            open_marks.remove(mark)
    elif not after.isspace():
        open_marks.extend(text[place:end])
    return end


def _behind_link(text: str, place: int) -> int | None:
    closing = text.find("]", place)
    if closing < 0 or closing + 1 >= len(text):
        return None
    if text[closing + 1] != "(":
        return place + 1
    end = text.find(")", closing)
    return None if end < 0 else end + 1


def _behind_address(text: str, place: int) -> int | None:
    if place + 1 >= len(text):
        return None
    if not (text[place + 1].isalpha() or text[place + 1] in "/!"):
        return place + 1
    end = re.compile(r"[>\s]").search(text, place)
    return None if end is None else end.end() if end.group() == ">" else place + 1


_parser = MarkdownIt("commonmark").enable("strikethrough")


def styled(source: str, style: str = "") -> Text:
    """Give lines of Markdown without their marks, styled; blanks at both ends stay. `style` is for all of it."""
    body = source.strip()
    if not body:
        return Text(source, style)
    start = source.find(body)
    result = Text(source[:start], style)
    for token in _parser.parseInline(body):
        _append(result, token.children or [], style)
    return result.append(source[start + len(body) :], style)


def _append(result: Text, tokens: list[Token], style: str) -> None:
    styles = [style]
    links: list[tuple[str, int]] = []
    for token in tokens:
        kind = token.type
        if kind.endswith("_open"):
            styles.append(_STYLES.get(kind.removesuffix("_open"), ""))
            if kind == "link_open":
                links.append((str(token.attrs.get("href", "")), len(result)))
        elif kind.endswith("_close"):
            styles.pop()
            if kind == "link_close":
                address, began = links.pop()
                if address and result.plain[began:] not in (address, address.removeprefix("mailto:")):
                    result.append(f" ({address})", _ADDRESS_STYLE)
        elif kind == "code_inline":
            result.append(token.content, " ".join([*styles, _CODE_STYLE]).strip())
        elif kind in ("softbreak", "hardbreak"):
            result.append("\n", style)
        elif kind == "image":
            result.append(f"[{token.content}] ({token.attrs.get('src', '')})", _ADDRESS_STYLE)
        else:
            # Tags are shown as they are: nothing that the model said may vanish.
            result.append(token.content, " ".join(styles).strip())
