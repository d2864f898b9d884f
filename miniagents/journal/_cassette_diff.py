"""What is unlike between a call and the recorded one that comes nearest to it."""

import difflib
import json
import textwrap
from collections.abc import Iterable, Iterator
from typing import Any, cast

from miniagents.journal._cassette_file import RecordedCall
from miniagents.journal._cassette_forms import Json

_WIDTH = 100
_MOST_LINES = 80
_MOST_COMPARED = 300
_MOST_CHARACTERS = 4000
"""So much of a call is looked at to find the nearest one."""


def nearest(asked: RecordedCall, recorded: Iterable[RecordedCall]) -> RecordedCall | None:
    """Give the recorded call that is most like `asked`: one of the same agent, rather one that nobody has got yet."""
    candidates = list(recorded)
    own = [call for call in candidates if call.agent == asked.agent] or candidates
    # Those that were not asked for are what the program meant, mostly.
    own.sort(key=lambda call: call.is_used)
    text = _beginning(asked)
    matcher = difflib.SequenceMatcher(autojunk=False)
    matcher.set_seq2(text)
    best, best_ratio = None, -1.0
    for call in own[:_MOST_COMPARED]:
        matcher.set_seq1(_beginning(call))
        ratio = matcher.quick_ratio()
        if ratio > best_ratio:
            best, best_ratio = call, ratio
    return best


def _beginning(call: RecordedCall) -> str:
    # The last input says most: what stands before it is often the same.
    return "\n".join([*_lines_of_inputs(call.inputs[-1:]), *_lines_of_settings(call.settings)])[:_MOST_CHARACTERS]


def diff_of(asked: RecordedCall, found: RecordedCall, place: str) -> str:
    """Give the difference as `diff -u` shows it, the recorded call first."""
    lines = list(
        difflib.unified_diff(
            list(_lines(found)),
            list(_lines(asked)),
            f"recorded ({place}, line {found.line})",
            "asked for now",
            n=3,
            lineterm="",
        )
    )
    left_out = len(lines) - _MOST_LINES
    return "\n".join([*lines[:_MOST_LINES], *([f"... and {left_out} more lines"] if left_out > 0 else [])])


def _lines(call: RecordedCall) -> Iterator[str]:
    yield f"agent: {call.agent}"
    if call.version:
        yield f"version: {call.version}"
    yield from _lines_of_settings(call.settings)
    yield from _lines_of_inputs(call.inputs)


def _lines_of_settings(settings: dict[str, Any]) -> Iterator[str]:
    for name, value in settings.items():
        yield from _lines_of(f"{name}=", value)


def _lines_of_inputs(inputs: list[Json]) -> Iterator[str]:
    for number, message in enumerate(inputs, start=1):
        fields = cast("dict[str, Any]", message)
        yield f"input {number}: {fields.get('class_', 'Message')}"
        for name, value in fields.items():
            if name != "class_":
                yield from _lines_of(f"    {name}: ", value)


def _lines_of(head: str, value: Json) -> Iterator[str]:
    """Give the lines of one field: texts line by line, long ones cut between words, so that what differs is seen."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    if "\n" not in text and len(head) + len(text) <= _WIDTH:
        yield f"{head}{json.dumps(value, ensure_ascii=False, sort_keys=True)}"
        return
    yield head.rstrip()
    indent = " " * (len(head) - len(head.lstrip()) + 4)
    for line in text.split("\n"):
        parts = textwrap.wrap(line, _WIDTH, drop_whitespace=False, replace_whitespace=False) or [""]
        yield from (f"{indent}{part}" for part in parts)
