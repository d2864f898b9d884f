"""A real terminal for a program under test: a pseudo-terminal of its own, typed into and read from by the test."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]

_TAKE_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""
_PATIENCE_S = 15.0


class _Screen:
    """What a person sees of what a program writes: the few escape sequences that a line editor needs."""

    _PIECE = re.compile(r"\x1b\[([0-9;?]*)([@-~])|\x1b\][^\x07]*\x07|\x1b.|(.)", re.DOTALL)

    def __init__(self) -> None:
        self._lines: list[list[str]] = [[]]
        self._row = self._column = 0

    @property
    def text(self) -> str:
        """All lines, without spaces at their ends, and with no empty ones at the end."""
        return "\n".join("".join(line).rstrip() for line in self._lines).rstrip("\n")

    def write(self, text: str) -> "_Screen":
        for match in self._PIECE.finditer(text):
            numbers, command, character = match.groups()
            if command is not None:
                self._obey(command, int(numbers) if numbers.isdigit() else 0)
            elif character is not None:
                self._put(character)
        return self

    def _put(self, character: str) -> None:
        if character == "\n":
            self._go_to(self._row + 1)
        elif character == "\r":
            self._column = 0
        elif character == "\b":
            self._column = max(0, self._column - 1)
        elif character >= " ":
            line = self._lines[self._row]
            line.extend(" " * (self._column + 1 - len(line)))
            line[self._column] = character
            self._column += 1

    def _obey(self, command: str, number: int) -> None:
        if command == "A":
            self._row = max(0, self._row - max(1, number))
        elif command == "B":
            self._go_to(self._row + max(1, number))
        elif command == "C":
            self._column += max(1, number)
        elif command == "D":
            self._column = max(0, self._column - max(1, number))
        elif command == "K":
            del self._lines[self._row][self._column if number == 0 else 0 :]
        elif command == "J":
            del self._lines[self._row][self._column :]
            del self._lines[self._row + 1 :]

    def _go_to(self, row: int) -> None:
        self._lines.extend([] for _ in range(row + 1 - len(self._lines)))
        self._row = row


class Terminal:
    """A program in its terminal."""

    def __init__(self, program: Path, env: Mapping[str, str]) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 100, 0, 0))
        # The kernel is told that this is the program's controlling terminal, so that Ctrl+C becomes a signal.
        command = [sys.executable, "-c", _TAKE_TERMINAL, sys.executable, str(program)]
        self._process = subprocess.Popen(
            command, cwd=program.parent, env=env, stdin=slave, stdout=slave, stderr=slave, start_new_session=True
        )
        os.close(slave)
        self._raw = ""

    @property
    def raw(self) -> str:
        """All that was written, with its escape sequences."""
        return self._raw

    @property
    def text(self) -> str:
        """What a person sees, scrolled back to the start: no spaces at the ends of lines, no empty lines at the end."""
        return _Screen().write(self._raw).text

    def type(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def interrupt(self) -> None:
        """Send what Ctrl+C sends, also while the terminal would hand it over as a key."""
        self._process.send_signal(signal.SIGINT)

    def wait_for(self, text: str, *, times: int = 1) -> None:
        """Read until `text` stands on the screen so many times."""
        deadline = time.monotonic() + _PATIENCE_S
        while self.text.count(text) < times:
            assert self._read_until(deadline), f"{text!r} is not there {times} times; the screen:\n{self.text}"

    def wait_until_it_sleeps(self) -> None:
        """Wait until the program has really begun to wait for what is typed, which it shows nothing of.

        A signal that comes between Python's last look and the system call is noticed after that call only.
        """
        status = Path(f"/proc/{self._process.pid}/stat")
        deadline = time.monotonic() + _PATIENCE_S
        while status.exists() and status.read_text().rpartition(")")[2].split()[0] != "S":
            assert time.monotonic() < deadline, "the program is still busy"
            time.sleep(0.01)

    def exit_code(self) -> int:
        """Read to the end, and say how the program ended."""
        deadline = time.monotonic() + _PATIENCE_S
        while self._read_until(deadline):
            pass
        return self._process.wait(max(0.1, deadline - time.monotonic()))

    def _read_until(self, deadline: float) -> bool:
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        try:
            data = os.read(self._master, 65536) if ready else b""
        except OSError:  # Linux says so when the program has closed its end.
            data = b""
        self._raw += data.decode(errors="replace")
        return bool(data)

    def close(self) -> None:
        """Leave nothing behind."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        os.close(self._master)


@contextmanager
def in_terminal(program: str, folder: Path, **more_env: str) -> Iterator[Terminal]:
    """Run the text of a program in a terminal, with `folder` as its working directory."""
    file = folder / "program_in_terminal.py"
    file.write_text(program, encoding="utf-8")
    terminal = Terminal(file, environment(TERM="xterm-256color", PROMPT_TOOLKIT_NO_CPR="1", **more_env))
    try:
        yield terminal
    finally:
        terminal.close()


def run_piped(program: str, folder: Path, standard_input: str, **more_env: str) -> subprocess.CompletedProcess[str]:
    """Run the text of a program with its standard streams in pipes."""
    file = folder / "program_in_pipe.py"
    file.write_text(program, encoding="utf-8")
    return subprocess.run(
        [sys.executable, "-W", "error", str(file)],
        cwd=folder,
        env=environment(**more_env),
        input=standard_input,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=_PATIENCE_S,
        check=False,
    )


def environment(**more: str) -> dict[str, str]:
    """The test's environment without keys of providers or wishes about colours, and with the package importable."""
    unwanted = ("NO_COLOR", "FORCE_COLOR", "PROMPT_TOOLKIT_COLOR_DEPTH")
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in unwanted and not name.startswith(("OPENAI_", "ANTHROPIC_"))
    }
    return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONIOENCODING": "utf-8", **more}
