"""JSON in the text of a model, which may put a fenced block, or words, around it."""

import json
import re
from collections.abc import Iterator
from typing import Final

_FENCED: Final = re.compile(r"```[a-zA-Z0-9_-]*[ \t]*\r?\n(.*?)(?:\r?\n)?[ \t]*```", re.DOTALL)
_OPENING: Final = re.compile(r"[{\[]")
_MAX_TRIES: Final = 200
"""So many opening brackets are looked at: a text full of them must not cost a second."""


def json_candidates(text: str) -> Iterator[str]:
    """Give the parts of `text` that may be the JSON that is meant, the likeliest first.

    First the whole, then fenced blocks, then objects and lists that stand among words; of these only whole ones, none
    that are inside of another.
    """
    whole = text.strip()
    yield whole
    for fenced in _FENCED.finditer(text):
        yield fenced[1].strip()
    decoder = json.JSONDecoder()
    position = tries = 0
    while tries < _MAX_TRIES and (opening := _OPENING.search(text, position)) is not None:
        tries += 1
        try:
            _, position = decoder.raw_decode(text, opening.start())
        except (ValueError, RecursionError):
            position = opening.end()
        else:
            found = text[opening.start() : position]
            if found != whole:
                yield found
