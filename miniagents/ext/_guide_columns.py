"""Several streams on one plain terminal: each token in its speaker's column, in the order in which the tokens came."""

from collections.abc import Callable, Sequence

_TIME_WIDTH = 7
# Tokens that come closer together than this share a row, as nobody could see which one was first.
_SAME_MOMENT_S = 0.01


class Columns:
    """A table that grows at its end only, as text to be appended: it never rewrites what was shown.

    Each row starts with the time of its first token, in seconds since the table was made by the clock `now`.
    """

    def __init__(self, titles: Sequence[str], *, now: Callable[[], float], width: int = 24) -> None:
        self._titles = titles
        self._now = now
        self._width = width
        self._began_at = now()
        self._row_began_at = self._began_at
        self._column = len(titles)
        self._used = 0

    def head(self) -> str:
        """The line of titles."""
        cells = "".join(title.ljust(self._width) for title in self._titles)
        return f"{'':{_TIME_WIDTH}}{cells.rstrip()}"

    def add(self, column: int, token: str) -> str:
        """The text to append when `token` has arrived in `column`."""
        token = " ".join(token.split(" ")).replace("\n", " ")
        now = self._now()
        start = _TIME_WIDTH + column * self._width
        if column == self._column and self._used + len(token.rstrip()) < start + self._width:
            self._used += len(token)
            return token
        if self._column < column and self._used < start and now - self._row_began_at < _SAME_MOMENT_S:
            lead = " " * (start - self._used)
        else:
            self._row_began_at = now
            time = f"{now - self._began_at:.2f}s".ljust(_TIME_WIDTH)
            lead = f"\n{time}{'':{start - _TIME_WIDTH}}"
        self._column = column
        text = token.lstrip()
        self._used = start + len(text)
        return lead + text
