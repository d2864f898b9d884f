"""How each kind of message in a reply looks at the terminal: text, thoughts, calls of tools, their results.

Each writer is fed the tokens of one message as they come, writes them once, and leaves the cursor on an empty line.
"""

from typing import Final, Literal, Protocol, TextIO

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

from miniagents.cli.markdown_writer import Filler, MarkdownWriter
from miniagents.cli.terminal import harmless

__all__ = ["CallWriter", "End", "PlainWriter", "ResultWriter", "TextWriter", "ThoughtWriter", "Writer"]

_DIM: Final = "dim"
_THOUGHT_STYLE: Final = "dim italic"
_CALL_STYLE: Final = "cyan"
_ERROR_STYLE: Final = "red"
_LONGEST_RESULT: Final = 100_000  # characters that are kept until the result is shown, of which a line is

End = Literal["complete", "error", "torn"]
"""How a message has ended: as it should, telling of an error, or cut off."""


class Writer(Protocol):
    """Writes one message."""

    @property
    def is_at_line_start(self) -> bool:
        """Whether the cursor stands on an empty line."""
        ...

    def feed(self, text: str) -> None:
        """Write what `text` adds."""
        ...

    def pause(self) -> None:
        """Write what was held back, as far as that is possible: nothing has come for a while."""
        ...

    def finish(self, end: End = "complete") -> None:
        """Write the rest, and end the line."""
        ...


class TextWriter:
    """What the model says, as Markdown."""

    def __init__(self, console: Console) -> None:
        self._markdown = MarkdownWriter(console)

    @property
    def is_at_line_start(self) -> bool:
        """Whether the cursor stands on an empty line."""
        return self._markdown.is_at_line_start

    def feed(self, text: str) -> None:
        """Write what `text` makes visible."""
        self._markdown.feed(harmless(text))

    def pause(self) -> None:
        """Write the beginning of the last word too."""
        self._markdown.pause()

    def finish(self, end: End = "complete") -> None:
        """Write the rest."""
        self._markdown.finish()


class PlainWriter:
    """What the model says, exactly as it came, for a program to read."""

    is_at_line_start = False

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._last = "\n"

    def feed(self, text: str) -> None:
        """Write `text`."""
        self._stream.write(text)
        self._stream.flush()
        self._last = text or self._last

    def pause(self) -> None:
        """Nothing is ever held back."""

    def finish(self, end: End = "complete") -> None:
        """End the line."""
        if not self._last.endswith("\n"):
            self.feed("\n")


class ThoughtWriter:
    """What the model thinks: plain text, dimmed."""

    def __init__(self, console: Console) -> None:
        self._filler = Filler(console)
        self._filler.begin(Text("∴ ", _DIM), Text("  "))
        self._gap = ""

    @property
    def is_at_line_start(self) -> bool:
        """Whether the cursor stands on an empty line."""
        return self._filler.is_at_line_start

    def feed(self, text: str) -> None:
        """Write `text`; line breaks at its end wait for what comes behind them."""
        text = self._gap + harmless(text)
        body = text.rstrip("\n")
        self._gap = text[len(body) :]
        for number, line in enumerate(body.split("\n")):
            if number:
                self._filler.line_end()
            self._filler.words(Text(line, _THOUGHT_STYLE))

    def pause(self) -> None:
        """Nothing is held back."""

    def finish(self, end: End = "complete") -> None:
        """End the line."""
        self._filler.end_line()


class CallWriter:
    """The call of a tool, on one line: its name at once, its arguments as they come."""

    def __init__(self, console: Console, tool_name: str) -> None:
        self._console = console
        head = f"→ {harmless(tool_name)}("
        self._room = console.width - cell_len(head) - 3
        self._print(Text(head, f"bold {_CALL_STYLE}"))
        self._is_full = False
        self.is_at_line_start = False

    def feed(self, text: str) -> None:
        """Write the arguments up to the end of the line."""
        if self._is_full or not text:
            return
        piece = " ".join(harmless(text).split("\n"))
        if cell_len(piece) > self._room:
            self._is_full = True
            piece = f"{set_cell_size(piece, max(0, self._room))}…"
        self._room -= cell_len(piece)
        self._print(Text(piece, _CALL_STYLE))

    def pause(self) -> None:
        """Nothing is held back."""

    def finish(self, end: End = "complete") -> None:
        """Close the bracket, and end the line."""
        self._print(Text(")\n", f"bold {_CALL_STYLE}"))
        self.is_at_line_start = True

    def _print(self, text: Text) -> None:
        self._console.print(text, end="", soft_wrap=True)


class ResultWriter:
    """What a tool answered: its first line, and how much more there is."""

    is_at_line_start = True

    def __init__(self, console: Console, tool_name: str | None) -> None:
        self._console = console
        self._name = harmless(tool_name or "")
        self._text = ""
        self._line_breaks = 0

    def feed(self, text: str) -> None:
        """Keep `text` until the result is complete."""
        self._line_breaks += text.count("\n")
        if len(self._text) < _LONGEST_RESULT:
            self._text += text

    def pause(self) -> None:
        """A result is shown when it is complete."""

    def finish(self, end: End = "complete") -> None:
        """Write the line."""
        lines = [line for line in harmless(self._text).strip().split("\n") if line.strip()]
        more = self._line_breaks - self._text.count("\n") + len(lines) - 1
        note = f" (+{more} lines)" if more > 1 else " (+1 line)" if more == 1 else ""
        head = f"{'←' if end == 'complete' else '✗'} {self._name}: "
        room = max(10, self._console.width - cell_len(head) - cell_len(note) - 1)
        line = " ".join(lines[0].split()) if lines else "(nothing)" if end == "complete" else "(not carried out)"
        if cell_len(line) > room:
            line = f"{set_cell_size(line, room - 1)}…"
        style = _DIM if end == "complete" else _ERROR_STYLE
        self._console.print(Text.assemble((head, f"bold {style}"), (line, style), (note, _DIM)), soft_wrap=True)
