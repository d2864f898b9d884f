"""The file of a cassette: JSON Lines, read, written, and what is in it.

```
{"format": "miniagents cassette", "version": 1}
{"call": "OPENAI_AGENT", "settings": {"model": "gpt-x"}}
{"input": {"content": "What is 2 + 2?"}}
{"reply": {"class_": "OpenAIMessage", "content": "It is 4."}, "tokens": ["It is", " 4."]}
```

What belongs to a call stands behind it: `input`, `reply`, `error`, `usage`. Beside calls there are `once` and
`question`. The `of` of a `once` says for which call: its agent, and short digests of its version and settings and of
its input (`-` where that was still coming); without it, it is for the next call that asks.
"""

import contextlib
import json
import os
import re
import sys
import threading
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from miniagents.journal._cassette_forms import Json
from miniagents.journal.errors import JournalCorruptError, JournalError, JournalVersionError

FORMAT = "miniagents cassette"
VERSION = 1
_LINE_END = "\n"
_CONFLICT = ("<<<<<<<", "=======", ">>>>>>>", "|||||||")
_ESCAPED = re.compile("[\x85\u2028\u2029\ud800-\udfff]")
"""Characters at which an editor may end a line, and those that UTF-8 does not have."""


@dataclass(slots=True, eq=False)
class RecordedReply:
    """One message of an answer."""

    message: Json
    tokens: list[str] | None
    """None: the text, in one."""
    is_other_text: bool = False
    """Whether the tokens make up something else than the text of the message, and are right all the same."""
    line: int = 0


@dataclass(slots=True, eq=False)
class RecordedCall:
    """One call, and what came of it; `line` is where it stands in the file, 0 for a new one."""

    agent: str
    version: str
    settings: Json
    inputs: list[Json] = field(default_factory=list[Json])
    replies: list[RecordedReply] = field(default_factory=list[RecordedReply])
    usage: Json = None
    error: Json = None
    has_ended: bool = False
    line: int = 0
    is_used: bool = False

    @property
    def matched_by(self) -> str:
        """What equal calls have in common."""
        return json.dumps([self.agent, self.version, self.settings, self.inputs], sort_keys=True)

    def lines(self) -> Iterator[Json]:
        """Give what stands in the file for it; nothing where no end of it is known."""
        if self.has_ended:
            version = {"version": self.version} if self.version else {}
            yield {"call": self.agent, **version, "settings": self.settings}
            for message in self.inputs:
                yield {"input": message}
            for reply in self.replies:
                name = "streamed" if reply.is_other_text else "tokens"
                yield {"reply": reply.message, **({} if reply.tokens is None else {name: reply.tokens})}
            if self.error is not None:
                yield {"error": self.error}
            if self.usage:
                yield {"usage": self.usage}


@dataclass(slots=True, eq=False)
class RecordedValue:
    """What came of something that happens once."""

    name: str
    value: Json = None
    is_known: bool = False
    line: int = 0
    of: str | None = None
    """For which call; None: for any."""

    def lines(self) -> Iterator[Json]:
        """Give what stands in the file for it."""
        if self.is_known:
            yield {"once": self.name, **({} if self.of is None else {"of": self.of}), "value": self.value}


@dataclass(slots=True, eq=False)
class RecordedQuestion:
    """A question to a person, and the answer."""

    key: str
    text: str
    answer: Json = None
    line: int = 0

    def lines(self) -> Iterator[Json]:
        """Give what stands in the file for it; nothing for an open question."""
        if self.answer is not None:
            yield {"question": self.key, "text": self.text, "answer": self.answer}


Item = RecordedCall | RecordedValue | RecordedQuestion


def text_of(items: list[Item]) -> str:
    """Give the lines of `items`."""
    return "".join([_line(shown) for item in items for shown in item.lines()])


def joined(before: str, lines: str) -> str:
    """Give the text of a file in which `lines` follow what is there, or the first line where nothing is."""
    text = before if before.strip() else _line({"format": FORMAT, "version": VERSION})
    return f"{text}{'' if text.endswith(_LINE_END) else _LINE_END}{lines}"


def _line(shown: Json) -> str:
    text = json.dumps(shown, ensure_ascii=False, allow_nan=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", text) + "\n"


# -------------------------------------------------------------------------------------------------------- reading


def read_text(path: Path) -> str | None:
    """Give the text of a file; None if there is none.

    Raises:
        JournalError: it cannot be read.
        JournalCorruptError: it is no text.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise JournalCorruptError(f"The cassette is no text in UTF-8: {error}", place=str(path)) from error
    except OSError as error:
        raise JournalError(f"The cassette cannot be read: {error}", place=str(path)) from error


def check_is_cassette(text: str, place: str, *, any_version: bool = False) -> None:
    """Refuse a file that is something else; an empty one will do.

    Raises:
        JournalVersionError: it is something else, or of another version.
    """
    if not text.strip():
        return
    first = text.partition("\n")[0]
    try:
        found: Any = json.loads(first)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or cast("dict[str, Any]", found).get("format") != FORMAT:
        raise JournalVersionError(
            f"The file is no cassette: its first line is {first[:80]!r}. A cassette begins with "
            f"{_line({'format': FORMAT, 'version': VERSION}).strip()}; give another path",
            place=place,
            row="line 1",
        )
    version = cast("dict[str, Any]", found).get("version")
    if version != VERSION and not any_version:
        raise JournalVersionError(
            f"The cassette has version {version!r}, and this miniagents reads version {VERSION}. Record it again with "
            '`mode="record"`, or use the miniagents that wrote it',
            place=place,
            row="line 1",
        )


def items_of(text: str, place: str) -> list[Item]:
    """Give what stands in the text of a cassette.

    Raises:
        JournalVersionError: it is something else, or of another version.
        JournalCorruptError: a line cannot be read; it is named.
    """
    check_is_cassette(text, place)
    items: list[Item] = []
    # Not `splitlines()`, which also splits at characters that may be in a text.
    for number, line in enumerate(text.split("\n")[1:], start=2):
        if line.strip():
            try:
                _add(_read(line), number, items)
            except (ValueError, RecursionError) as error:
                why = "it is nested too deep" if isinstance(error, RecursionError) else error
                raise JournalCorruptError(
                    f"Line {number} of the cassette cannot be read: {why}. Mend it, or "
                    'record the cassette again with `mode="record"`',
                    place=place,
                    row=f"line {number}",
                ) from error
    return items


def _read(line: str) -> Any:
    if line.startswith(_CONFLICT):
        raise ValueError(
            f"{line.strip()[:40]!r} is a mark of a merge that has conflicts. Keep the lines of one side and remove the "
            "marks"
        )
    return json.loads(line, parse_constant=_no_number)


def _no_number(name: str) -> float:
    raise ValueError(f"JSON has no {name}")


def _add(shown: Any, number: int, items: list[Item]) -> None:
    if not isinstance(shown, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - what is wrong is the value of the line
    fields = cast("dict[str, Any]", shown)
    if "call" in fields:
        call = RecordedCall(
            _checked(fields, "call", str),
            _checked(fields, "version", str, ""),
            _checked(fields, "settings", dict, {}),
            has_ended=True,
            line=number,
        )
        items.append(call)
    elif "once" in fields:
        if "value" not in fields:
            raise ValueError("`value` is missing")
        of = _checked(fields, "of", str, None)
        items.append(RecordedValue(_checked(fields, "once", str), fields["value"], is_known=True, line=number, of=of))
    elif "question" in fields:
        if fields.get("answer") is None:
            raise ValueError("`answer` is missing")
        question = RecordedQuestion(_checked(fields, "question", str), _checked(fields, "text", str), fields["answer"])
        question.line = number
        items.append(question)
    else:
        _add_to_call(fields, number, items[-1] if items else None)


def _add_to_call(fields: dict[str, Any], number: int, call: Item | None) -> None:
    known = [name for name in ("input", "reply", "error", "usage") if name in fields]
    if not known:
        raise ValueError(
            f"it has {', '.join(f'`{name}`' for name in fields) or 'nothing'}, where `call`, `input`, `reply`, "
            "`error`, `usage`, `once` or `question` is expected"
        )
    if not isinstance(call, RecordedCall):
        raise ValueError(f"`{known[0]}` stands behind no `call`")  # noqa: TRY004 - it is the line that is wrong
    content = _checked(fields, known[0], dict)
    match known[0]:
        case "input":
            call.inputs.append(content)
        case "reply":
            is_other = "streamed" in fields
            tokens = _checked(fields, "streamed" if is_other else "tokens", list, None)
            if tokens is not None and not all(isinstance(token, str) for token in tokens):
                raise ValueError("a token is no string")
            call.replies.append(RecordedReply(content, tokens, is_other, number))
        case "error":
            _checked(content, "type", str)
            _checked(content, "text", str)
            call.error = content
        case _:
            call.usage = content


_NEEDED: Any = object()


def _checked(fields: dict[str, Any], name: str, kind: type[Any], default: Any = _NEEDED) -> Any:
    value = fields.get(name, default)
    if value is _NEEDED:
        raise ValueError(f"`{name}` is missing")
    if value is not default and not isinstance(value, kind):
        raise ValueError(f"`{name}` is {value!r}, not a {kind.__name__}")
    return value


# -------------------------------------------------------------------------------------------------------- writing


_changing = threading.Lock()


def change(path: Path, text_for: Callable[[str | None], str]) -> None:
    """Replace a file by what `text_for` makes of its text, None if there is no file; nobody else does so meanwhile.

    Raises:
        JournalError: it cannot be read, or written.
    """
    with _changing, _locked(path):
        there = read_text(path)
        text = text_for(there)
        if text != there:
            write_text(path, text)


@contextlib.contextmanager
def _locked(path: Path) -> Generator[None]:
    """Lock the folder for other processes, where the system can; it needs no file that would be left behind."""
    folder = None
    try:
        if sys.platform != "win32":
            import fcntl

            # What is wrong with the folder is told by whoever writes.
            with contextlib.suppress(OSError):
                path.parent.mkdir(parents=True, exist_ok=True)
                folder = os.open(path.parent, os.O_RDONLY)
                fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        if folder is not None:
            os.close(folder)


def write_text(path: Path, text: str) -> None:
    """Replace a file as a whole, so that nobody ever sees a part of it.

    Raises:
        JournalError: it cannot be written; what was there is there still.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(text.encode())
        unfinished.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            unfinished.unlink()
        raise JournalError(f"The cassette cannot be written: {error}", place=str(path)) from error
