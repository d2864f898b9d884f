"""Thoughts and tools in the dialog of `miniagents chat`, and the questions that are asked about them."""

import asyncio
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are a thing of POSIX", allow_module_level=True)

from miniagents.testing.server import Answer, Gate, ProtocolServer, Thinking, ToolCall
from tests.support.delays import Delays
from tests.unit.cli.test_chat_dialog import CTRL_C, leave, say, server
from tests.unit.ext.terminal import Terminal, in_terminal, run_piped

__all__ = ["server"]

_PROGRAM = """\
import asyncio, os
from miniagents.cli.conversation import hold_dialog
from miniagents.cli.model_choice import ModelChoice
from miniagents.cli.terminal import Look
from miniagents.ext.llms.model_agents import model_agent


async def add(a: int, b: int) -> str:
    return f"{a + b}\\nand\\nmore"


async def break_it() -> str:
    raise ValueError("it is broken")


async def wait() -> None:
    try:
        await asyncio.Event().wait()
    finally:
        open("stopped.txt", "w").close()


async def never_end() -> None:
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass


async def delete(path: str) -> str:
    open(path, "w").close()
    return "deleted"


provider, model = os.environ["TEST_MODEL"].split(":")
hold_dialog(
    ModelChoice(provider, "the test says so", model),
    look=Look.chosen(os.environ, no_color=False),
    system=None,
    history_file=None,
    assistant=model_agent(f"{provider}:{model}", tools=[add, break_it, wait, never_end, delete], requires_approval={"delete"}),
)
"""


@pytest.fixture(params=["openai:gpt-x", "anthropic:claude-x"])
def talk(
    request: pytest.FixtureRequest, tmp_path: Path, environment: dict[str, str], server: ProtocolServer
) -> Iterator[Callable[[], Terminal]]:
    with ExitStack() as terminals:
        yield lambda: terminals.enter_context(
            in_terminal(
                _PROGRAM,
                tmp_path,
                NO_COLOR="1",
                TEST_MODEL=request.param,
                XDG_STATE_HOME=environment["XDG_STATE_HOME"],
                **server.environment,
            )
        )


def test_thoughts_calls_and_results_stand_on_lines_of_their_own(talk, server: ProtocolServer) -> None:
    gate = Gate()
    calls = [ToolCall("add", ['{"a": 1, ', '"b": 2}']), ToolCall("break_it", "{}")]
    server.script(Answer([Thinking("Let me see.\n\n", signature="s"), *calls]), Answer(["The sum is ", gate, "**3**."]))
    terminal = talk()
    say(terminal, "1 + 2?")
    terminal.wait_for("The sum is")
    gate.open()
    terminal.wait_for("The sum is 3.\n")
    leave(terminal, prompts=2)

    shown = terminal.text.partition("> 1 + 2?\n\n")[2].removesuffix("\n\n>")
    thought = "∴ Let me see.\n\n"
    assert shown.removeprefix(thought) == (
        '→ add({"a": 1, "b": 2})\n→ break_it({})\n'
        "← add: 3 (+2 lines)\n✗ break_it: The tool `break_it` failed: ValueError: it is broken\n\n"
        "The sum is 3."
    )
    # OpenAI's protocol has no thoughts.
    assert shown.startswith(thought) is (server.requests[0].protocol != "openai")


def test_a_call_can_be_approved_or_refused_with_a_reason(talk, server: ProtocolServer, tmp_path: Path) -> None:
    server.script(Answer([ToolCall("delete", {"path": "first"}), ToolCall("delete", {"path": "second"})]), "I see.")
    terminal = talk()
    say(terminal, "Delete them")
    terminal.wait_for("Run it? (yes / no)")
    terminal.type("perhaps\r")
    terminal.wait_for("Run it? (yes / no)", times=2)
    terminal.type("yes\r")
    terminal.wait_for("Run it? (yes / no)", times=3)
    terminal.type("no I need it\r")
    terminal.wait_for("\n\nI see.\n")
    leave(terminal, prompts=2)

    assert terminal.text.count("wants to call `delete` with") == 2
    assert (tmp_path / "first").exists()
    assert not (tmp_path / "second").exists()
    assert "I need it" in str(server.requests[1].body)


@pytest.mark.parametrize("tool", ["delete", "wait"], ids=["at a question", "while a tool runs"])
def test_ctrl_c_stops_the_turn_and_the_dialog_goes_on(talk, server: ProtocolServer, tmp_path: Path, tool: str) -> None:
    server.script(Answer([ToolCall(tool, {"path": "it"} if tool == "delete" else "{}")]), "Never mind.")
    terminal = talk()
    say(terminal, "Do it")
    terminal.wait_for("Run it? (yes / no)" if tool == "delete" else "wait is at work")
    terminal.type(CTRL_C)
    terminal.wait_for(f"✗ {tool}: (not carried out)\n(stopped)")
    say(terminal, "What now?", prompts=2)
    terminal.wait_for("Never mind.")
    leave(terminal, prompts=3)

    assert not (tmp_path / "it").exists()
    assert (tmp_path / "stopped.txt").exists() is (tool == "wait")
    assert "This call was not carried out." in str(server.requests[1].body)


def test_ctrl_c_while_arguments_stream_closes_the_connection(talk, server: ProtocolServer) -> None:
    server.script(Answer(["Well. ", ToolCall("add", ['{"a": 1, ', '"b": 2}']), Gate(), "x"]))
    terminal = talk()
    say(terminal, "1 + 2?")
    terminal.wait_for("→ add({")
    delays, pressed_at = Delays(), time.monotonic()
    delays.start()
    terminal.type(CTRL_C)
    terminal.wait_for("(stopped)")

    assert asyncio.run(server.requests[0].ended()) == "closed by the client"
    ended_at = server.requests[0].ended_at or 1e9
    assert ended_at - pressed_at - delays.until(ended_at) < 0.3
    leave(terminal, prompts=2)
    assert len(server.requests) == 1


def test_in_a_pipe_the_answer_alone_goes_to_standard_output(
    server: ProtocolServer, tmp_path: Path, environment: dict[str, str]
) -> None:
    server.script(
        Answer([Thinking("Hm.", signature="s"), "Let me see.", ToolCall("add", {"a": 1, "b": 2})]), "It is **3**."
    )
    program = _PROGRAM.replace("import hold_dialog", "import answer_once").replace(
        'hold_dialog(\n    ModelChoice(provider, "the test says so", model),', "answer_once("
    )
    program = program.replace("answer_once(", "answer_once(question='1 + 2?',")
    result = run_piped(
        program,
        tmp_path,
        "",
        TEST_MODEL="anthropic:claude-x",
        XDG_STATE_HOME=environment["XDG_STATE_HOME"],
        **server.environment,
    )

    assert result.stdout == "Let me see.\n\nIt is **3**.\n", result.stderr
    assert result.stderr == '→ add({"a": 1, "b": 2})\n← add: 3 (+2 lines)\n'


def test_a_tool_that_cannot_be_stopped_keeps_nobody_in_the_dialog(talk, server: ProtocolServer, tmp_path: Path) -> None:
    server.script(Answer([ToolCall("never_end", "{}")]))
    terminal = talk()
    say(terminal, "Do it")
    terminal.wait_for("never_end is at work")
    terminal.type(CTRL_C)
    terminal.wait_for("(stopped)")

    leave(terminal, prompts=2)
