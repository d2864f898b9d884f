"""Values and errors of users in texts of ours: short enough to read, and never themselves a cause of failure.

What an exception says of itself, or a value of itself, is code of somebody else. It may raise, and it may give a
million characters.
"""

from typing import Final

LONGEST_TEXT: Final = 1_000
"""How much of a text is shown where it is one part of another."""


def text_of(error: BaseException) -> str:
    """Give the text of `error`; if it cannot tell, say so."""
    try:
        return str(error)
    except Exception as failure:  # noqa: BLE001 - whatever it is, the error itself must not get lost over it
        return f"<its text cannot be told: `str()` of it raised {type(failure).__name__}>"


def class_and_text(error: BaseException) -> str:
    """Give class and text of `error`."""
    text = text_of(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def shown(value: object) -> str:
    """Give the `repr` of a value, shortened; if it has none, its class."""
    # Else all of a long text would be written out, only to be cut off.
    if isinstance(value, str) and len(value) > LONGEST_TEXT:
        return shortened(repr(value[:LONGEST_TEXT]), len(value))
    try:
        return shortened(repr(value))
    except Exception:  # noqa: BLE001 - whatever it is, what was to be said is more important
        return f"<{type(value).__name__} object>"


def shortened(text: str, length: int | None = None) -> str:
    """Cut a text that is too long, and say how much is missing; `length` is that of the whole, if it is a part."""
    length = len(text) if length is None else length
    if length <= LONGEST_TEXT:
        return text
    return f"{text[:LONGEST_TEXT]}... ({length - LONGEST_TEXT} more characters)"


__all__ = ["LONGEST_TEXT", "class_and_text", "shortened", "shown", "text_of"]
