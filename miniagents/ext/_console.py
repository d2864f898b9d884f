"""The terminal of `console_input_agent` and `console_output_agent`: what is shown, and how a line is read.

Loaded when the first of them runs; prompt_toolkit, only when a person is asked.
"""

import asyncio
import codecs
import os
import sys
import threading
from typing import TYPE_CHECKING, TextIO
from weakref import WeakKeyDictionary

from miniagents.ext._dialog import Dialog

if TYPE_CHECKING:
    from prompt_toolkit import PromptSession

GREETING = """\
YOU ARE NOW IN A CHAT WITH AN AI ASSISTANT
Press Enter to send your message.
Press Ctrl+Space to insert a newline.
Press Ctrl+C (or type "exit") to quit the conversation."""

PROMPT = "USER: "
_ERROR_STYLE = "91"
_USER_STYLE = "96;1"

# On a terminal, what a model says must not be able to move the cursor, change the title or fill the clipboard: control
# characters other than newline and tab are shown as the pictures that Unicode has for them.
_VISIBLE_CONTROLS = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys(range(0x80, 0xA0), 0xFFFD),
}

_sessions: "WeakKeyDictionary[Dialog, PromptSession[str]]" = WeakKeyDictionary()


def is_missing(stream: TextIO | None) -> bool:
    """Tell whether the program was started without this stream, or has closed it."""
    return stream is None or stream.closed


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a person is at the other end."""
    return not is_missing(stream) and stream.isatty()


def show(text: str, style: str = "") -> None:
    """Write `text` to standard output at once; styled, and made harmless, if that is a terminal.

    `style` holds the numbers of an ANSI sequence, as in "92;1". Colours are off if `NO_COLOR` is set.
    """
    _write(sys.stdout, text, style)


def show_greeting(text: str) -> None:
    """Write what is meant for the person alone: to standard error if standard output goes elsewhere."""
    _write(sys.stdout if is_terminal(sys.stdout) else sys.stderr, f"{text}\n", "")


def show_error(text: str) -> None:
    """Write a line to standard error."""
    _write(sys.stderr, f"{text}\n", _ERROR_STYLE)


def _write(stream: TextIO, text: str, style: str) -> None:
    if is_terminal(stream):
        text = text.translate(_VISIBLE_CONTROLS)
        if style and text.strip() and not os.environ.get("NO_COLOR"):
            text = f"\x1b[{style}m{text}\x1b[0m"
    stream.write(text)
    stream.flush()


async def read_to_the_end() -> str:
    """Read standard input up to its end, without blocking the event loop; trailing newlines are left out.

    The thread is not waited for: the program may end while whoever writes the other end of the pipe never does.
    """
    loop = asyncio.get_running_loop()
    text: asyncio.Future[str] = loop.create_future()

    def deliver(result: str | Exception) -> None:
        if text.done():
            return
        if isinstance(result, str):
            text.set_result(result)
        else:
            text.set_exception(result)

    def read() -> None:
        try:
            result: str | Exception = _all_of_standard_input()
        except Exception as error:  # noqa: BLE001 - carried over to the reader
            result = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(deliver, result)

    threading.Thread(target=read, name="miniagents-stdin", daemon=True).start()
    return (await text).rstrip("\r\n")


def _all_of_standard_input() -> str:
    if is_missing(sys.stdin):
        return ""
    try:
        descriptor = sys.stdin.fileno()
    except (OSError, ValueError):  # replaced by something in memory
        return sys.stdin.read()
    # Not through `sys.stdin`: a thread that waits there holds its lock, and Python aborts if it has to exit then.
    decoder = codecs.getincrementaldecoder(sys.stdin.encoding)(errors="replace")
    pieces: list[str] = []
    while block := os.read(descriptor, 65536):
        pieces.append(decoder.decode(block))
    pieces.append(decoder.decode(b"", final=True))
    return "".join(pieces).replace("\r\n", "\n")


async def ask_person(dialog: Dialog) -> str:
    """Let the person type a message. Ctrl+C raises `KeyboardInterrupt`, Ctrl+D on an empty line `EOFError`."""
    from prompt_toolkit.formatted_text import ANSI

    session = _sessions.get(dialog)
    if session is None:
        session = _sessions[dialog] = _prompt_session()
    colourless = bool(os.environ.get("NO_COLOR"))
    # SIGINT sent from elsewhere is the dialog's affair; Ctrl+C typed at the prompt is a key here.
    return await session.prompt_async(
        PROMPT if colourless else ANSI(f"\x1b[{_USER_STYLE}m{PROMPT}\x1b[0m"), handle_sigint=False
    )


def _prompt_session() -> "PromptSession[str]":
    """Make what reads one dialog's lines, with the lines typed earlier under the Up key."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
    from prompt_toolkit.output import create_output

    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    @keys.add("c-space")
    @keys.add("escape", "enter")
    @keys.add("c-j")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    return PromptSession(
        multiline=True,
        key_bindings=keys,
        prompt_continuation=" " * len(PROMPT),
        # With standard output in a file, the person is asked on the terminal all the same.
        output=create_output(always_prefer_tty=True),
    )
