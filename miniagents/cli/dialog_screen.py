"""What a person sees while a reply comes: its messages as they stream, a sign of life, questions about tools."""

import asyncio
import contextlib
import sys
import textwrap
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, Final, TextIO

from miniagents.cli.terminal import FRAME_S, Look, Spinner, columns_of, harmless, is_terminal
from miniagents.ext._received import Trouble, pieces_and_troubles, tokens_without_errors
from miniagents.ext.llms.llm_messages import ThinkingMessage, ToolCallMessage, ToolResultMessage
from miniagents.ext.llms.tools import ApprovalMessage, console_approval_agent
from miniagents.message_sequence import MessageSequencePromise
from miniagents.messages import Message, MessagePromise
from miniagents.miniagents import InterceptedCall, MiniAgents

if TYPE_CHECKING:
    from rich.console import Console

    from miniagents.cli.reply_writers import Writer

_IDLE_S: Final = 0.15
# Between two lines of an answer, nothing is told of a short wait.
_PATIENCE_IN_MESSAGE_S: Final = 1.0
# Written without rich, which takes longer to load than a person should wait for the first prompt.
_CODES: Final = {"dim": "2", "bold": "1", "red": "31"}
# A call is asked about when it stands on the screen; one that never will be is asked about all the same.
_UNTIL_CALL_IS_SHOWN_S: Final = 0.3


def _fitted(text: str, stream: TextIO) -> str:
    """Break lines between words where they are too long for the terminal."""
    if not is_terminal(stream) or len(text) < (width := columns_of(stream)):
        return text
    return "\n".join(
        textwrap.fill(line, width, subsequent_indent=" " * (len(line) - len(line.lstrip())), replace_whitespace=False)
        for line in text.split("\n")
    )


class Screen:
    """The terminal during a dialog: the reply on standard output, everything else on standard error."""

    def __init__(self, look: Look) -> None:
        self.look = look
        self.is_rendered = look.is_rendered(sys.stdout)
        self.on_stop: Callable[[], None] = lambda: None
        """Called when the person presses Ctrl+C at a question."""
        self._spinner = Spinner(sys.stderr, is_shown=is_terminal(sys.stderr))
        self._out: Console | None = None
        self._err: Console | None = None
        self._writer: Writer | None = None
        self._group: str | None = None
        self._has_said = False
        self._fed_at = 0.0
        self._is_paused = True
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._one_question = asyncio.Lock()
        self._shown_calls: dict[str, asyncio.Event] = {}

    # -- lines of our own ----------------------------------------------------------------------------------------

    def say(self, text: str, style: str = "dim") -> None:
        """Write lines that are no part of the dialog, to standard error; `style` is one of `_CODES` or empty."""
        self._spinner.hide()
        text = _fitted(harmless(text), sys.stderr)
        if style and text and self.look.is_rendered(sys.stderr) and (self.look.colours is not False or style != "red"):
            text = f"\x1b[{_CODES[style]}m{text}\x1b[0m"
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()

    def error(self, line: str) -> None:
        """Write one line about what went wrong."""
        self.say(line, "red")

    def markdown(self, text: str) -> None:
        """Write a text that was said earlier."""
        writer = self._text_writer()
        writer.feed(text)
        writer.finish()

    # -- a reply -------------------------------------------------------------------------------------------------

    async def show(self, replies: MessageSequencePromise, parts: list[MessagePromise]) -> None:
        """Write the messages as they arrive, and put each into `parts` before it is read.

        Errors among them are passed over: whoever reads the messages meets them.
        """
        self._group, self._has_said, self._shown_calls = None, False, {}
        self._wait_for("")
        async with self._alive():
            async for promise in pieces_and_troubles(replies):
                if isinstance(promise, Trouble):
                    continue
                parts.append(promise)
                # A program that reads the answer does not want to know how it was found.
                if self.is_rendered or not issubclass(promise.message_class, ThinkingMessage):
                    await self._show_message(promise)

    async def _show_message(self, promise: MessagePromise) -> None:
        known: Any = promise.preliminary_metadata
        kind = promise.message_class
        tool_name: str | None = known.get("tool_name")
        call_id: str | None = known.get("tool_call_id")
        is_result = issubclass(kind, ToolResultMessage)
        self._wait_for(f"{harmless(tool_name)} is at work" if is_result and tool_name else "")
        async for token in tokens_without_errors(promise):
            self._begin(kind, tool_name)
            await self._feed(token)
        if issubclass(kind, ToolCallMessage | ToolResultMessage):
            self._begin(kind, tool_name)
        if self._writer is not None:
            await self._may_write.wait()
            self._spinner.hide()
            outcome: Any = await promise.outcome()
            is_whole = isinstance(outcome, Message)
            self._writer.finish("error" if is_whole and outcome.get("is_error") else "complete" if is_whole else "torn")
            self._writer = None
        if call_id is not None and not is_result:
            self._event_of(call_id).set()
        self._wait_for("")

    async def _feed(self, token: str) -> None:
        assert self._writer is not None
        if not self._may_write.is_set():
            await self._may_write.wait()
        self._spinner.wait_for("", patience_s=_PATIENCE_IN_MESSAGE_S)
        self._writer.feed(token)
        self._fed_at, self._is_paused = time.monotonic(), False

    def _begin(self, kind: type[Any], tool_name: str | None) -> None:
        """Make the writer of a message, when there is something of it to show."""
        if self._writer is not None:
            return
        from miniagents.cli import reply_writers

        self._spinner.hide()
        is_of_tool = issubclass(kind, ToolCallMessage | ToolResultMessage)
        self._gap("tool" if is_of_tool else "thought" if issubclass(kind, ThinkingMessage) else "text")
        if issubclass(kind, ToolCallMessage):
            self._writer = reply_writers.CallWriter(self._notes(), tool_name or "?")
        elif issubclass(kind, ToolResultMessage):
            self._writer = reply_writers.ResultWriter(self._notes(), tool_name)
        elif issubclass(kind, ThinkingMessage):
            self._writer = reply_writers.ThoughtWriter(self._notes())
        else:
            self._writer = self._text_writer()

    def _text_writer(self) -> "Writer":
        from miniagents.cli import reply_writers

        return reply_writers.TextWriter(self._stdout()) if self.is_rendered else reply_writers.PlainWriter(sys.stdout)

    def _gap(self, group: str) -> None:
        """Separate what is said from what is thought and done by an empty line."""
        if not self.is_rendered:
            if group == "text" and self._has_said:
                sys.stdout.write("\n")
        elif self._group is not None and (self._group != group or group == "text"):
            self._stdout().print()
        self._group = group
        self._has_said = self._has_said or group == "text"

    # -- a sign of life ------------------------------------------------------------------------------------------

    def _wait_for(self, what: str) -> None:
        self._spinner.wait_for(what)

    @contextlib.asynccontextmanager
    async def _alive(self) -> AsyncGenerator[None]:
        ticking = asyncio.ensure_future(self._tick())
        try:
            yield
        finally:
            ticking.cancel()
            # Where standard error is closed there is nobody to show anything to; that is no failure of the answer.
            await asyncio.gather(ticking, return_exceptions=True)
            with contextlib.suppress(OSError, ValueError):
                self._spinner.hide()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(FRAME_S)
            if not self._may_write.is_set():
                continue
            writer = self._writer
            if writer is not None and not self._is_paused and time.monotonic() - self._fed_at >= _IDLE_S:
                self._is_paused = True
                self._spinner.hide()
                writer.pause()
            if writer is None or writer.is_at_line_start:
                self._spinner.tick()

    # -- questions about tools -----------------------------------------------------------------------------------

    async def intercept_call(
        self, call: InterceptedCall, proceed: Callable[[], MessageSequencePromise]
    ) -> AsyncIterator[Any]:
        """Ask here in place of `console_approval_agent`, which knows nothing of this screen (a `CallInterceptor`)."""
        if call.agent.alias != console_approval_agent.alias or not is_terminal(sys.stdin):
            async for reply in proceed():
                yield reply
            return
        messages = await call.message_promises
        async with self._one_question:
            yield await self._ask(messages[0])

    async def _ask(self, call: Any) -> ApprovalMessage:
        from miniagents.cli.prompt_line import ask_yes_or_no

        call_id = str(call.get("tool_call_id"))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_UNTIL_CALL_IS_SHOWN_S):
                await self._event_of(call_id).wait()
        self._may_write.clear()
        try:
            if self._writer is not None and not self._writer.is_at_line_start:
                self.say("")
            self.say("")
            who = call.get("agent_alias") or "A model"
            # On one line, so that its line breaks cannot imitate a question of ours.
            arguments = " ".join(str(call).split())
            self.say(f"? {who} wants to call `{call.get('tool_name')}` with {arguments or 'no arguments'}", "bold")
            with MiniAgents.get_current().waits_for_outside("a person at the console"):
                return await ask_yes_or_no(self.look)
        except KeyboardInterrupt:
            self.on_stop()
            return ApprovalMessage(approved=False, reason="the person has stopped the turn")
        finally:
            self._may_write.set()
            self._wait_for("")

    def _event_of(self, call_id: str) -> asyncio.Event:
        return self._shown_calls.setdefault(call_id, asyncio.Event())

    # -- consoles, made when something is written: loading rich takes longer than a prompt may -----------------------

    def _stdout(self) -> "Console":
        if self._out is None:
            self._out = self.look.console(sys.stdout)
        return self._out

    def _notes(self) -> "Console":
        """Where thoughts and tools are shown: beside the text, unless a program reads that."""
        return self._stdout() if self.is_rendered and is_terminal(sys.stdout) else self._status()

    def _status(self) -> "Console":
        if self._err is None:
            self._err = self.look.console(sys.stderr)
        return self._err
