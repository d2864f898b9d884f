"""Record `docs/dialog.svg`: a real run of `miniagents chat` in a real terminal, as an animated picture.

    python scripts/record_dialog.py

The program runs in a terminal of its own (tmux, which must be installed) and is typed to as a person would. It talks to
the built-in guide; stop the model servers on this machine before, or it will ask whether to talk to one of them.

What the screen shows is noted many times a second; each line of it becomes text in the SVG, visible for as long as it
stood there. The picture ends on the last screen, which is also what a viewer without animation shows.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.ansi import AnsiDecoder
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from rich.terminal_theme import MONOKAI
from rich.text import Text

ROOT: Final = Path(__file__).resolve().parents[1]
PICTURE: Final = ROOT / "docs" / "dialog.svg"

COLUMNS: Final = 122
ROWS: Final = 30
SECONDS_BETWEEN_LOOKS: Final = 0.09
# A pause in which nothing changes is shown no longer than this.
LONGEST_PAUSE_S: Final = 1.2
LAST_SCREEN_S: Final = 8.0

# What is typed, and the prompt that tells, as the last line on the screen, that the next line can be typed.
DIALOG: Final = (
    ("miniagents chat", ">"),
    ("What happens when the model fails?", ">"),
    ("/demo parallel", ">"),
    ("exit", "$"),
)

# Variables that would make the program choose another model than the guide, or tell it in other words or colours.
_LEFT_OUT: Final = frozenset(
    {
        "OPENAI_API_KEY", "OPENAI_BASE_URL", "ANTHROPIC_API_KEY", "OLLAMA_HOST", "MINIAGENTS_MODEL",
        "MINIAGENTS_OFFLINE", "CI", "NO_COLOR",
    }
)  # fmt: skip

Row = tuple[tuple[str, Style], ...]
"""One line of the screen: its texts, each with its style."""


class Terminal:
    """A terminal in which a shell runs; `looks` grows while it is open: when, and what its screen showed."""

    def __init__(self, folder: Path) -> None:
        self._tmux = ["tmux", "-S", str(folder / "socket"), "-f", "/dev/null"]
        self._closed = threading.Event()
        self.looks: list[tuple[float, str]] = []
        # The name under which the package installs the command, for the sources of this repository.
        command = folder / "miniagents"
        command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m miniagents "$@"\n', encoding="utf-8")
        command.chmod(0o755)
        environment = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
        environment |= {
            "PATH": f"{folder}:{environment['PATH']}",
            "PYTHONPATH": str(ROOT),
            "PS1": "$ ",
            "TERM": "xterm-256color",
            "HOME": str(folder),
        }
        size = ["-x", str(COLUMNS), "-y", str(ROWS)]
        shell = ["bash", "--norc", "--noprofile", "--noediting"]
        subprocess.run([*self._tmux, "new-session", "-d", *size, *shell], env=environment, cwd=folder, check=True)
        self._do("set-option", "-g", "status", "off")
        self._watcher = threading.Thread(target=self._watch, daemon=True)

    def _do(self, *command: str) -> str:
        return subprocess.run([*self._tmux, *command], check=True, capture_output=True, text=True).stdout

    def _watch(self) -> None:
        while not self._closed.wait(SECONDS_BETWEEN_LOOKS):
            self.looks.append((time.monotonic(), self._do("capture-pane", "-e", "-p")))

    def start_watching(self) -> None:
        """Note from now on what the screen shows."""
        self._watcher.start()

    def type(self, text: str) -> None:
        """Type a line, not faster than a person does."""
        for character in text:
            self._do("send-keys", "-l", character)
            time.sleep(0.06)
        time.sleep(0.4)
        self._do("send-keys", "Enter")

    def wait_for(self, prompt: str, timeout_s: float = 30.0) -> None:
        """Wait until `prompt` is all of the last line, but for the toolbar, of a screen that stands still."""
        ends_at = time.monotonic() + timeout_s
        before = ""
        while time.monotonic() < ends_at:
            time.sleep(0.5)
            screen = self._do("capture-pane", "-p").rstrip()
            if screen == before and prompt in screen.split("\n")[-2:]:
                return
            before = screen
        raise TimeoutError(f"{prompt!r} did not come; the screen shows:\n{before}")

    def close(self) -> None:
        """End the shell and what runs in it."""
        self._closed.set()
        if self._watcher.is_alive():
            self._watcher.join()
        self._do("kill-server")


@contextmanager
def terminal() -> Iterator[Terminal]:
    """Open a terminal, and close it whatever happens."""
    if shutil.which("tmux") is None:
        raise SystemExit("tmux is the terminal of the recording, and it is not installed: install it and try again.")
    # The shell may still be writing its history into it.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        opened = Terminal(Path(folder))
        try:
            yield opened
        finally:
            opened.close()


def record() -> list[tuple[float, str]]:
    """Hold the dialog and return the screens, each with the second at which it was first seen."""
    with terminal() as screen:
        screen.wait_for("$")
        screen.start_watching()
        for typed, next_prompt in DIALOG:
            time.sleep(0.8)
            screen.type(typed)
            screen.wait_for(next_prompt)
        return without_long_pauses(screen.looks)


def without_long_pauses(looks: Sequence[tuple[float, str]]) -> list[tuple[float, str]]:
    """Keep the looks at which the screen had changed, on a clock that skips what is too long a pause."""
    kept: list[tuple[float, str]] = []
    shown_at, seen_at = 0.0, 0.0
    for moment, screen in looks:
        if kept and kept[-1][1] == screen:
            continue
        if kept:
            shown_at += min(moment - seen_at, LONGEST_PAUSE_S)
        seen_at = moment
        kept.append((shown_at, screen))
    return kept


# ------------------------------------------------------------------------------------------------- the picture

_CELL_WIDTH: Final = 8.4
_CELL_HEIGHT: Final = 17.5
_FONT_SIZE: Final = 14
_MARGIN: Final = 14
_TITLE_HEIGHT: Final = 34
_BACKGROUND: Final = "#1b1d23"
_FOREGROUND: Final = "#d9dce3"
_PARTS: Final = re.compile(r"\S+(?: \S+)*")


def rows_of(screen: str, console: Console) -> list[Row]:
    """Give the lines of a screen as styled texts."""
    # One decoder for all lines: tmux tells only where the style changes, which may be some lines above.
    lines = list(AnsiDecoder().decode(screen))[:ROWS]
    return [tuple(_styled_texts(line, console)) for line in lines]


def _styled_texts(line: Text, console: Console) -> Iterator[tuple[str, Style]]:
    line.rstrip()
    line.end = ""
    for segment in Segment.simplify(line.render(console)):
        yield segment.text, segment.style or Style()


def draw(screens: Sequence[tuple[float, str]]) -> str:
    """Make the SVG: every distinct line of every row once, with the times at which it is visible."""
    console = Console(width=COLUMNS, color_system="truecolor", force_terminal=True, legacy_windows=False)
    length_s = screens[-1][0] + LAST_SCREEN_S
    appearances: dict[tuple[int, Row], list[tuple[float, float]]] = {}
    for index, (begins_at, screen) in enumerate(screens):
        ends_at = screens[index + 1][0] if index + 1 < len(screens) else length_s
        for number, row in enumerate(rows_of(screen, console)):
            times = appearances.setdefault((number, row), [])
            if times and times[-1][1] == begins_at:
                times[-1] = (times[-1][0], ends_at)
            else:
                times.append((begins_at, ends_at))
    lines: list[str] = []
    rules: list[str] = []
    for (number, row), times in appearances.items():
        if not row:
            continue
        name = f"l{len(lines)}"
        is_last = times[-1][1] == length_s
        if times != [(0.0, length_s)]:
            rules.append(_rule(name, times, length_s))
        lines.append(_line(name, number, row, is_last=is_last))
    return _picture(lines, rules, length_s)


def _rule(name: str, times: Sequence[tuple[float, float]], length_s: float) -> str:
    """Give the keyframes of one line: hidden but for its times."""
    steps: list[str] = [] if times[0][0] == 0 else ["0%{visibility:hidden}"]
    for begins_at, ends_at in times:
        steps.append(f"{100 * begins_at / length_s:.2f}%{{visibility:visible}}")
        if ends_at < length_s:
            steps.append(f"{100 * ends_at / length_s:.2f}%{{visibility:hidden}}")
    return f"@keyframes {name}{{{''.join(steps)}}}.{name}{{animation-name:{name}}}"


def _line(name: str, number: int, row: Row, *, is_last: bool) -> str:
    baseline = _TITLE_HEIGHT + _MARGIN + number * _CELL_HEIGHT + _FONT_SIZE
    texts: list[str] = []
    column = 0
    for text, style in row:
        # Columns stand where they should also in a font of another width: what follows two blanks is placed by itself.
        for part in _PARTS.finditer(text):
            begin = _MARGIN + (column + part.start()) * _CELL_WIDTH
            texts.append(
                f'<text x="{begin:.1f}" y="{baseline:.1f}" textLength="{len(part[0]) * _CELL_WIDTH:.1f}"'
                f"{_attributes(style)}>{_escaped(part[0])}</text>"
            )
        column += len(text)
    return f'<g class="l {name}{"" if is_last else " h"}">{"".join(texts)}</g>'


def _attributes(style: Style) -> str:
    attributes = ""
    if style.color is not None and not style.color.is_default:
        attributes += f' fill="{style.color.get_truecolor(MONOKAI).hex}"'
    if style.bold:
        attributes += ' font-weight="bold"'
    return attributes


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _picture(lines: Sequence[str], rules: Sequence[str], length_s: float) -> str:
    width = 2 * _MARGIN + COLUMNS * _CELL_WIDTH
    height = _TITLE_HEIGHT + 2 * _MARGIN + ROWS * _CELL_HEIGHT
    style = (
        f"text{{font:{_FONT_SIZE}px ui-monospace,'SF Mono',Menlo,Consolas,'DejaVu Sans Mono',monospace}}"
        f".l{{animation-duration:{length_s:.2f}s;animation-timing-function:step-end;animation-iteration-count:infinite}}"
        ".h{visibility:hidden}"
        "@media (prefers-reduced-motion:reduce){.l{animation:none!important}}"
    )
    buttons = "".join(
        f'<circle cx="{22 + 20 * index}" cy="18" r="6" fill="{colour}"/>'
        for index, colour in enumerate(("#ff5f57", "#febc2e", "#28c840"))
    )
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" role="img"',
            f' fill="{_FOREGROUND}">',
            "<title>A dialog with miniagents chat in a terminal</title>",
            f"<style>{style}</style>",
            f"<style>{''.join(rules)}</style>",
            f'<rect width="100%" height="100%" rx="10" fill="{_BACKGROUND}"/>',
            buttons,
            *lines,
            "</svg>\n",
        )
    )


def main() -> None:
    """Record and write the picture."""
    screens = record()
    PICTURE.write_text(draw(screens), encoding="utf-8")
    sys.stdout.write(f"{PICTURE}: {len(screens)} screens, {PICTURE.stat().st_size // 1024} KB\n")


if __name__ == "__main__":
    main()
