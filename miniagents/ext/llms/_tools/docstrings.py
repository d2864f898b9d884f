"""What a docstring says about a function and about each of its parameters, in Google's, NumPy's or Sphinx's style."""

import inspect
import re
import textwrap
from collections.abc import Callable

_OF_PARAMETERS = frozenset(
    ["args", "arguments", "parameters", "params", "keyword args", "keyword arguments", "other parameters", "attributes"]
)
_OF_OTHERS = frozenset(["returns", "return", "yields", "yield", "raises", "warns", "example", "examples", "see also"])

_GOOGLE_ENTRY = re.compile(r"\*{0,2}(?P<names>\w+)\s*(?:\(.*?\))?\s*:\s*(?P<text>.*)")
_NUMPY_ENTRY = re.compile(r"(?P<names>\*{0,2}\w+(?:\s*,\s*\*{0,2}\w+)*)\s*(?::.*)?$(?P<text>)")
_SPHINX_FIELD = re.compile(r":(?P<kind>\w+)(?P<names>[^:]*):\s*(?P<text>.*)")
_OF_SPHINX_PARAMETERS = frozenset(["param", "parameter", "arg", "argument", "key", "keyword"])


def read_docstring(docstring: str | None) -> tuple[str, dict[str, str]]:
    """Give the text that tells what it does, and what is said about each parameter, by its name.

    Sections about results, errors and examples are left out.
    """
    lines = inspect.cleandoc(docstring or "").splitlines()
    text: list[str] = []
    parameters: dict[str, str] = {}
    at = 0
    while at < len(lines):
        end = _end_of_section(lines, at)
        if end is None:
            text.append(lines[at])
            at += 1
        else:
            parameters.update(_parameters_in(lines[at:end]))
            at = end
    return "\n".join(text).strip(), parameters


def _end_of_section(lines: list[str], at: int) -> int | None:
    """Give where the section that begins at line `at` ends; None if none begins there."""
    if _SPHINX_FIELD.match(lines[at]):
        return _next_line(lines, at + 1, lambda line: not line or not line[0].isspace())
    if _section_name(lines[at]) is None:
        return None
    if _is_underlined(lines, at):
        following = (number for number in range(at + 2, len(lines)) if _is_underlined(lines, number))
        return next(following, len(lines))
    if lines[at].rstrip().endswith(":"):
        return _next_line(lines, at + 1, lambda line: bool(line) and not line[0].isspace())
    return None


def _section_name(line: str) -> str | None:
    name = line.strip().removesuffix(":").lower()
    return name if name in _OF_PARAMETERS | _OF_OTHERS and not line[0].isspace() else None


def _is_underlined(lines: list[str], at: int) -> bool:
    return bool(lines[at].strip()) and at + 1 < len(lines) and re.fullmatch(r"-{3,}\s*", lines[at + 1]) is not None


def _next_line(lines: list[str], start: int, ends: Callable[[str], bool]) -> int:
    return next((number for number in range(start, len(lines)) if ends(lines[number])), len(lines))


def _parameters_in(section: list[str]) -> dict[str, str]:
    if field := _SPHINX_FIELD.match(section[0]):
        # The type may stand before the name: `:param int days: ...`.
        names = field["names"].split()
        if field["kind"] not in _OF_SPHINX_PARAMETERS or not names:
            return {}
        return {names[-1].lstrip("*"): _joined([field["text"], *section[1:]])}
    if _section_name(section[0]) not in _OF_PARAMETERS:
        return {}
    is_numpy = _is_underlined(section, 0)
    body = textwrap.dedent("\n".join(section[2 if is_numpy else 1 :])).splitlines()
    return _entries(body, _NUMPY_ENTRY if is_numpy else _GOOGLE_ENTRY)


def _entries(body: list[str], entry: re.Pattern[str]) -> dict[str, str]:
    texts: dict[str, list[str]] = {}
    current: list[str] = []
    for line in body:
        if line and not line[0].isspace():
            found = entry.match(line)
            current = []
            if found:
                current.append(found["text"])
                for name in found["names"].split(","):
                    texts[name.strip().lstrip("*")] = current
        else:
            current.append(line)
    return {name: _joined(lines) for name, lines in texts.items()}


def _joined(lines: list[str]) -> str:
    return " ".join(" ".join(lines).split())
