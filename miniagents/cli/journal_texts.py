"""How the records of a journal look as lines of text."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from miniagents.journal import CallRecord, Question, RunRecord
from miniagents.usage import UsageTotals

_GAP = "  "
_LEAST_COLUMNS = 13
"""So wide the last column may be on any terminal: the beginning of a hash, and that there are more."""


def table(headings: Sequence[str], rows: Iterable[Sequence[str]], columns: int = 0) -> list[str]:
    """Give rows in columns; what is in the last one is cut off where the terminal ends, if that has so many `columns`.

    0: it has no end.
    """
    lines = [list(headings), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings) - 1)]
    rest = max(_LEAST_COLUMNS, columns - sum(widths) - len(_GAP) * len(widths)) if columns else 0
    shown: list[str] = []
    for *cells, last in lines:
        padded = [cell.ljust(width) + _GAP for cell, width in zip(cells, widths, strict=True)]
        shown.append("".join([*padded, _cut(last, rest) if rest else last]).rstrip())
    return shown


def _cut(text: str, columns: int) -> str:
    if len(text) <= columns:
        return text
    shown = text[: columns - 3]
    # Half a hash is of no use.
    whole, space, _ = shown.rpartition(" ")
    return f"{whole} ..." if space and not text[columns - 3].isspace() else f"{shown.rstrip()}..."


def run_line(run: RunRecord) -> list[str]:
    """Give the cells of a run: id, state, beginning, duration, calls, tokens, cost."""
    return [
        _one_line(run.run_id),
        run.state,
        _moment(run.started_at),
        _duration(run.started_at, run.ended_at),
        str(run.calls),
        *_usage(run.usage),
    ]


def call_lines(calls: Sequence[CallRecord]) -> list[list[str]]:
    """Give the cells of calls, each below the one that made it: agent, state, duration, tokens, cost, replies."""
    known = {call.key for call in calls}
    inner: dict[str | None, list[CallRecord]] = {}
    for call in calls:
        inner.setdefault(call.parent if call.parent in known else None, []).append(call)
    lines: list[list[str]] = []
    # A stack instead of recursion: agents may be nested deeper than Python's recursion limit.
    while inner:
        # Where somebody has changed a row, calls may be below themselves, and so below none that stands outermost.
        outermost = None if None in inner else next(iter(inner))
        pending = [(call, 0) for call in reversed(inner.pop(outermost))]
        while pending:
            call, depth = pending.pop()
            lines.append(_call_line(call, depth))
            pending += [(one, depth + 1) for one in reversed(inner.pop(call.key, []))]
    return lines


def _call_line(call: CallRecord, depth: int) -> list[str]:
    attempts = f" (attempt {call.attempts})" if call.attempts > 1 else ""
    told = " ".join(one[:10] for one in call.replies)
    if call.error is not None:
        told = f"{call.error.type.removeprefix('builtins.')}: {_one_line(call.error.text)}"
    return [
        "  " * depth + _one_line(call.agent),
        call.state + attempts,
        _duration(call.started_at, call.ended_at),
        *_usage(call.usage),
        told,
    ]


def question_line(question: Question) -> list[str]:
    """Give the cells of a question: run, key, moment, text."""
    return [_one_line(question.run_id), _one_line(question.key), _moment(question.asked_at), _one_line(question.text)]


def _usage(usage: UsageTotals | None) -> tuple[str, str]:
    if usage is None:
        return "-", "-"
    return str(usage.total_tokens), f"{usage.cost:f}" if usage.cost else "-"


def _moment(time: datetime) -> str:
    return time.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _duration(began: datetime, ended: datetime | None) -> str:
    return "-" if ended is None else f"{max(0.0, (ended - began).total_seconds()):.1f} s"


def _one_line(text: str) -> str:
    """Give text without line breaks and control characters, which could write anywhere on a terminal."""
    shown = "".join(character if character.isprintable() else " " for character in text)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."
