"""Small pure functions over agents and messages; nothing with state."""

import re

_WORD_BOUNDARY = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def upper_snake_case(name: str) -> str:
    """Give `name` as an alias: `MyAgent` and `my_agent` become `MY_AGENT`, `HTMLReader` becomes `HTML_READER`."""
    return _WORD_BOUNDARY.sub("_", name).upper()


def collapse_spaces(text: str) -> str:
    """Give `text` with every run of white space as one space, and none at the ends."""
    return " ".join(text.split())
