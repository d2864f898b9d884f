"""A yes or a no at the beginning of an answer, as models and people write it, and the reason that follows."""

import re
from collections.abc import Collection
from typing import Final, NamedTuple

_FIRST_WORD: Final = r"\W*(\w+)[\s,.:;!*_\u2013\u2014-]*"


class YesOrNo(NamedTuple):
    """What somebody answered.

    Attributes:
        is_yes: which of the two it is.
        reason: what stands behind it, None if nothing does.
    """

    is_yes: bool
    reason: str | None


def read_yes_or_no(text: str, *, yes: Collection[str] = ("yes",), no: Collection[str] = ("no",)) -> YesOrNo | None:
    """Give what `text` answers with its first word, in any case and emphasis; None if that is neither."""
    # Compiled when somebody is asked, which is seldom.
    found = re.match(_FIRST_WORD, text)
    word = "" if found is None else found[1].strip("_").lower()
    if found is None or word not in {*yes, *no}:
        return None
    return YesOrNo(word in yes, text[found.end() :].rstrip("*_ \t\r\n") or None)
