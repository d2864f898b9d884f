"""The terminal that `miniagents chat` runs in: colours or none, a sign of life, keys that do not show."""

import os
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TextIO

if TYPE_CHECKING:
    from rich.console import Console

FRAMES: Final = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
FRAME_S: Final = 0.1
_PATIENCE_S: Final = 0.2  # what comes sooner needs no sign of life
_LONGEST_LOG_BYTES: Final = 1_000_000
_HINT: Final = "Ctrl+C stops"

# What a model says must not be able to move the cursor, change the title or fill the clipboard: control characters
# other than newline and tab are shown as the pictures that Unicode has for them.
_VISIBLE_CONTROLS: Final = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t\r"},
    0x0D: None,
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
    # They make text run backwards, so that it reads as something else than it is.
    **dict.fromkeys([*range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0xFFFD),
}


def harmless(text: str) -> str:
    """Give `text` with its control characters made visible; line ends are those of Unix."""
    return text if text.isascii() and text.isprintable() else text.translate(_VISIBLE_CONTROLS)


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a person is at the other end."""
    return stream is not None and not stream.closed and stream.isatty()


@dataclass(frozen=True, slots=True)
class Look:
    """How the chat may look.

    Attributes:
        colours: False: no colours, though bold and dim may be. True: also where the output is no terminal. None: as
            the output is.
    """

    colours: bool | None = None

    @classmethod
    def chosen(cls, environ: Mapping[str, str], *, no_color: bool) -> "Look":
        """Give the look that the option `--no-color` and the variables NO_COLOR and FORCE_COLOR ask for."""
        if no_color or environ.get("NO_COLOR"):
            return cls(colours=False)
        forced = environ.get("FORCE_COLOR", "")
        return cls(colours=True if forced not in ("", "0") else None)

    def is_rendered(self, stream: TextIO) -> bool:
        """Whether what goes to `stream` is laid out for a person, else it is plain text."""
        return self.colours is True or is_terminal(stream)

    def console(self, stream: TextIO) -> "Console":
        """Give what writes to `stream`; rich is loaded now."""
        from rich.console import Console

        options: dict[str, Any] = {"file": stream, "markup": False, "emoji": False, "highlight": False}
        if self.colours is False:
            return Console(no_color=True, force_terminal=is_terminal(stream), **options)
        return Console(force_terminal=True if self.colours else None, **options)


class Spinner:
    """One line on standard error that tells for how long something has been waited for; it leaves no trace.

    It shows nothing where standard error is no terminal. Whoever writes to the terminal hides it before.
    """

    def __init__(self, stream: TextIO, *, is_shown: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._is_shown = is_shown
        self._clock = clock
        self._since = clock()
        self._what = ""
        self._patience_s = _PATIENCE_S
        self._stands = False

    def wait_for(self, what: str, *, patience_s: float = _PATIENCE_S) -> None:
        """Begin to count anew, and show nothing for a while; `what` is told beside the seconds, unless it is empty."""
        self.hide()
        self._since, self._what, self._patience_s = self._clock(), what, patience_s

    def tick(self) -> None:
        """Show the next picture; to be called every `FRAME_S` seconds while the cursor stands on an empty line."""
        waited_s = self._clock() - self._since
        if not self._is_shown or waited_s < self._patience_s:
            return
        frame = FRAMES[int(waited_s / FRAME_S) % len(FRAMES)]
        what = f"{self._what} · " if self._what else ""
        line = f"{frame} {what}{waited_s:.0f} s · {_HINT}"
        self._write(f"\r\x1b[2m{line[: max(1, columns_of(self._stream) - 1)]}\x1b[0m\x1b[K")
        self._stands = True

    def hide(self) -> None:
        """Leave the line as empty as it was."""
        if self._stands:
            self._write("\r\x1b[K")
            self._stands = False

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def columns_of(stream: TextIO) -> int:
    """Give how many columns the terminal at `stream` has now; 80 where that is not known."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or 80
    except (OSError, ValueError):
        return 80


@contextmanager
def quiet_keys() -> Generator[None]:
    """While the block runs, keys that are pressed do not show between the words of an answer.

    They are kept for whoever reads the terminal next. Ctrl+C remains a signal. Where standard input is no terminal of
    POSIX, the block just runs.
    """
    if not is_terminal(sys.stdin) or threading.current_thread() is not threading.main_thread():
        yield
        return
    try:
        import termios
    except ImportError:
        yield
        return
    terminal = sys.stdin.fileno()
    before = termios.tcgetattr(terminal)
    quiet = list(before)
    # ICRNL: Enter stays what it is for the line editor, which reads the keys later.
    quiet[0] &= ~termios.ICRNL
    # NOFLSH: what was typed before Ctrl+C is not lost.
    quiet[3] = (quiet[3] & ~(termios.ECHO | termios.ICANON)) | termios.NOFLSH
    termios.tcsetattr(terminal, termios.TCSANOW, quiet)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSANOW, before)


@contextmanager
def log_goes_to(file: Path) -> Generator[None]:
    """While the block runs, warnings and tracebacks in the log go to `file` instead of between the lines of a dialog.

    A program that has set up its log keeps it. A file that cannot be written takes nothing.
    """
    # Loaded when used: it is slow to import.
    import logging
    from logging.handlers import RotatingFileHandler

    root = logging.getLogger()
    if root.handlers:
        yield
        return
    handler: logging.Handler
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handler = RotatingFileHandler(file, maxBytes=_LONGEST_LOG_BYTES, backupCount=1, encoding="utf-8")
    except OSError:
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root.addHandler(handler)
    try:
        yield
    finally:
        root.removeHandler(handler)
        handler.close()
