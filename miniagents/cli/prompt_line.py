"""The line that a person types: keys, completion, what was typed earlier, and what stands below it.

prompt_toolkit, which this file is about, is loaded when a person is asked for the first time.
"""

import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.filters import Condition
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.ansi_escape_sequences import ANSI_SEQUENCES
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.key_binding.key_processor import KeyPress
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth, Output, create_output
from prompt_toolkit.output.vt100 import Vt100_Output
from prompt_toolkit.styles import Style

from miniagents.cli.slash_commands import COMMANDS
from miniagents.ext._interrupts import ctrl_c_calls
from miniagents.ext.llms._tools.approval import typed_approval
from miniagents.ext.llms.tools import ApprovalMessage

if TYPE_CHECKING:
    from miniagents.cli.terminal import Look

PROMPT: Final = "> "
_ROWS: Final = 2  # the line and what stands below it
_QUESTION: Final = "Run it? (yes / no) "
_STYLE: Final = {
    "prompt": "bold ansicyan",
    "bottom-toolbar": "noreverse ansibrightblack",
    "bottom-toolbar.text": "noreverse ansibrightblack",
    "completion-menu": "noreverse bg:default",
    "completion-menu.completion": "noreverse bg:default",
    "completion-menu.completion.current": "reverse",
    "completion-menu.meta.completion": "noreverse bg:default ansibrightblack",
    "completion-menu.meta.completion.current": "reverse",
}

# Shift+Enter, in the two forms in which terminals tell it apart from Enter.
_SHIFT_ENTER: Final = ("\x1b[13;2u", "\x1b[27;2;13~")


class PromptLine:
    """Asks the person at the terminal for the next message.

    `below` gives what stands under the line; `more_commands` are completed beside ours. What was typed is kept in
    `history_file`, if that can be written.
    """

    def __init__(
        self,
        look: "Look",
        *,
        below: Callable[[], str],
        history_file: Path | None,
        more_commands: Callable[[], Iterable[tuple[str, str]]] = tuple,
    ) -> None:
        for sequence in _SHIFT_ENTER:
            ANSI_SEQUENCES[sequence] = Keys.ControlJ
        self._below = below
        self._session: PromptSession[str] = PromptSession(
            multiline=True,
            key_bindings=_keys(),
            prompt_continuation=" " * len(PROMPT),
            completer=_Commands(more_commands),
            complete_while_typing=Condition(self._is_command),
            history=_history(history_file),
            bottom_toolbar=self._toolbar,
            reserve_space_for_menu=6,
            style=Style.from_dict(_STYLE),
            color_depth=_color_depth(look),
            output=_output(),
        )

    async def ask(self, default: str = "") -> str:
        """Give what the person has typed and sent.

        Raises:
            KeyboardInterrupt: Ctrl+C, with nothing typed; or an interrupt came from elsewhere.
            EOFError: Ctrl+D, with nothing typed.
        """
        app = self._session.app

        def leave() -> None:
            if app.is_running and not app.is_done:
                app.exit(exception=KeyboardInterrupt())

        with ctrl_c_calls(leave):
            return await self._session.prompt_async([("class:prompt", PROMPT)], default=default, handle_sigint=False)

    def _is_command(self) -> bool:
        return self._session.default_buffer.text.startswith("/")

    def _toolbar(self) -> StyleAndTextTuples | None:
        # A terminal that is too narrow shows the beginning.
        text = self._below()
        return [("", text)] if text else None


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter")
    def _send(event: KeyPressEvent) -> None:
        # Where a terminal does not mark what is pasted, more keys stand behind an Enter that is part of it.
        is_pasted = any(not _is_no_key(press) for press in event.key_processor.input_queue)
        if is_pasted:
            event.current_buffer.newline(copy_margin=False)
        elif event.current_buffer.text.strip():
            event.current_buffer.validate_and_handle()

    @keys.add("escape", "enter")
    @keys.add("c-j")
    @keys.add("c-space")
    def _new_line(event: KeyPressEvent) -> None:
        event.current_buffer.newline(copy_margin=False)

    @keys.add("tab")
    def _complete(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        wanted = CompleteEvent(completion_requested=True)
        found = list(itertools.islice(buffer.completer.get_completions(buffer.document, wanted), 2))
        if len(found) == 1:
            # At once: the menu, which opens by itself, may not be there yet.
            buffer.apply_completion(found[0])
        elif buffer.complete_state is not None:
            buffer.complete_next()
        else:
            buffer.start_completion(insert_common_part=True)

    @keys.add("c-c")
    def _clear_or_leave(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.text:
            buffer.reset()
        else:
            event.app.exit(exception=KeyboardInterrupt())

    return keys


def _is_no_key(press: KeyPress) -> bool:
    """Whether it is an answer of the terminal, or the sign that an escape sequence is over."""
    return press.key is Keys.CPRResponse or press.data == "_Flush"


def _history(file: Path | None) -> History:
    if file is None:
        return InMemoryHistory()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        # What a person types is nobody else's business.
        file.touch(mode=0o600)
        with file.open("ab"):
            pass
    except OSError:
        return InMemoryHistory()
    return FileHistory(str(file))


def _output() -> Output:
    # With standard output in a file, the person is asked on the terminal all the same.
    output = create_output(always_prefer_tty=True)
    if isinstance(output, Vt100_Output):
        # Else the terminal is asked where the cursor stands, and what is below the line is not shown, or far below it,
        # until it has answered, which some terminals never do.
        output.get_rows_below_cursor_position = lambda: _ROWS
    return output


def _color_depth(look: "Look") -> ColorDepth | None:
    return ColorDepth.DEPTH_1_BIT if look.colours is False else None


class _Commands(Completer):
    """Completes commands, and what they take: files, and prefixes of models."""

    def __init__(self, more_commands: Callable[[], Iterable[tuple[str, str]]]) -> None:
        self._more_commands = more_commands
        self._files = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Give what could stand at the cursor."""
        text = document.text_before_cursor
        if not text.startswith("/") or "\n" in text:
            return
        command, blank, argument = text.partition(" ")
        if not blank:
            known = [(f"/{name}", about.purpose) for name, about in COMMANDS.items()]
            for name, purpose in [*known, *self._more_commands()]:
                if name.startswith(command):
                    yield Completion(name, start_position=-len(text), display_meta=purpose)
        elif command in ("/save", "/load"):
            yield from self._files.get_completions(Document(argument, len(argument)), complete_event)
        elif command == "/model":
            from miniagents.ext.llms.model_agents import known_prefixes

            own = ("local:", "http://127.0.0.1:", "script:", "guide", "echo")
            for prefix in dict.fromkeys([*own, *(f"{known}:" for known in known_prefixes() if known not in own)]):
                if prefix.startswith(argument):
                    yield Completion(prefix, start_position=-len(argument))


async def ask_yes_or_no(look: "Look") -> ApprovalMessage:
    """Ask whether a tool may run, until the person says yes or no; what stands behind that is the reason.

    Keys that were pressed before do not count: they were meant for something else. Ctrl+D is a no.

    Raises:
        KeyboardInterrupt: Ctrl+C.
    """
    session: PromptSession[str] = PromptSession(
        style=Style.from_dict(_STYLE),
        color_depth=_color_depth(look),
        output=_output(),
    )
    _forget_keys()
    while True:
        try:
            answer = await session.prompt_async([("class:prompt", _QUESTION)], handle_sigint=False)
        except EOFError:
            return ApprovalMessage(approved=False, reason="nobody is at the console any more")
        verdict = typed_approval(answer)
        if verdict is not None:
            return verdict


def _forget_keys() -> None:
    import sys

    termios: Any
    try:
        import termios
    except ImportError:
        return
    termios.tcflush(sys.stdin.fileno(), termios.TCIFLUSH)
