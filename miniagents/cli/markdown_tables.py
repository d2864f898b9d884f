"""A table in Markdown as a table of rich."""

import re
from collections.abc import Sequence
from typing import Final, Literal

from rich import box
from rich.table import Table

from miniagents.cli.markdown_inline import styled

_BAR = re.compile(r"(?<!\\)\|")
_HEAD_STYLE: Final = "bold"


def table_of(lines: Sequence[str]) -> Table:
    """Give the table whose head, marks and rows are `lines`; a row may have less cells than the head, or more."""
    head, marks, *rows = map(_cells, lines)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style=_HEAD_STYLE)
    columns = max([len(head), *map(len, rows)])
    for column in range(columns):
        title = head[column] if column < len(head) else ""
        mark = marks[column] if column < len(marks) else ""
        table.add_column(styled(title), justify=_justification(mark), overflow="fold")
    for row in rows:
        table.add_row(*map(styled, row))
    return table


def _cells(line: str) -> list[str]:
    bare = line.strip().removeprefix("|")
    if bare.endswith("|") and not bare.endswith("\\|"):
        bare = bare[:-1]
    return [cell.strip().replace("\\|", "|") for cell in _BAR.split(bare)]


def _justification(mark: str) -> Literal["left", "center", "right"]:
    if not mark.endswith(":"):
        return "left"
    return "center" if mark.startswith(":") else "right"
