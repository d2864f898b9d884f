"""A dialog typed into a real terminal."""

import signal
from pathlib import Path

import pytest

from tests.unit.ext.terminal import in_terminal

_PROGRAM = """\
import asyncio
from miniagents import InteractionContext, Message, MiniAgents, miniagent
from miniagents.ext import MarkdownHistoryAgent, console_user_agent, dialog_loop
from miniagents.messages import MessageTokenAppender


@miniagent
async def parrot(ctx: InteractionContext) -> None:
    text = str((await ctx.message_promises)[-1])
    with MessageTokenAppender() as tokens:
        ctx.reply(Message.promise(message_token_streamer=tokens, role="assistant", agent_alias="PARROT"))
        tokens.append("You said ")
        if text == "wait":
            try:
                await asyncio.Event().wait()
            finally:
                with open("stopped.txt", "w") as file:
                    file.write("stopped")
        if text == "fail":
            raise ValueError("I cannot say that")
        tokens.append(repr(text))


async def main() -> None:
    dialog_loop.kick_off(
        user_agent=console_user_agent.fork(history_agent=MarkdownHistoryAgent), assistant_agent=parrot
    )


MiniAgents().run(main())
"""
_BANNER = """\
YOU ARE NOW IN A CHAT WITH AN AI ASSISTANT
Press Enter to send your message.
Press Ctrl+Space to insert a newline.
Press Ctrl+C (or type "exit") to quit the conversation.
"""


def history(folder: Path) -> str:
    return (folder / "CHAT.md").read_text()


def test_a_conversation_looks_plain_and_exit_ends_it(tmp_path: Path) -> None:
    with in_terminal(_PROGRAM, tmp_path, NO_COLOR="1") as terminal:
        for number, line in enumerate(("hi", "bye", "exit"), start=1):
            terminal.wait_for("USER:", times=number)
            terminal.type(f"{line}\r")

        assert terminal.exit_code() == 0
        assert terminal.text == (
            f"{_BANNER}USER: hi\nPARROT: You said 'hi'\nUSER: bye\nPARROT: You said 'bye'\nUSER: exit"
        )
    assert history(tmp_path) == (
        "## USER\n\nhi\n\n## ASSISTANT (PARROT)\n\nYou said 'hi'\n\n"
        "## USER\n\nbye\n\n## ASSISTANT (PARROT)\n\nYou said 'bye'\n\n"
    )


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["Ctrl+C", "Ctrl+D"])
def test_a_key_at_the_prompt_ends_the_dialog_in_good_order(tmp_path: Path, key: str) -> None:
    with in_terminal(_PROGRAM, tmp_path, NO_COLOR="1") as terminal:
        terminal.wait_for("USER:")
        terminal.type("hi\r")
        terminal.wait_for("USER:", times=2)
        terminal.type(key)

        assert terminal.exit_code() == 0
        assert terminal.text == f"{_BANNER}USER: hi\nPARROT: You said 'hi'\nUSER:"
    assert "You said 'hi'" in history(tmp_path)


def test_an_interrupt_from_elsewhere_at_the_prompt_ends_the_dialog_too(tmp_path: Path) -> None:
    with in_terminal(_PROGRAM, tmp_path) as terminal:
        terminal.wait_for("USER:")
        terminal.interrupt()

        assert terminal.exit_code() == 0
        assert "Traceback" not in terminal.text


def test_ctrl_c_while_tokens_stream_stops_the_assistant_and_keeps_what_it_said(tmp_path: Path) -> None:
    with in_terminal(_PROGRAM, tmp_path, NO_COLOR="1") as terminal:
        terminal.wait_for("USER:")
        terminal.type("wait\r")
        terminal.wait_for("PARROT: You said")
        terminal.type("\x03")

        assert terminal.exit_code() == 0
        assert terminal.text == f"{_BANNER}USER: wait\nPARROT: You said ^C"
    assert history(tmp_path) == "## USER\n\nwait\n\n## ASSISTANT (PARROT, interrupted)\n\nYou said \n\n"
    assert (tmp_path / "stopped.txt").read_text() == "stopped"


def test_ctrl_c_stops_a_model_too_that_writes_in_a_task_of_its_own(tmp_path: Path) -> None:
    program = """\
import asyncio
from miniagents import MiniAgents
from miniagents.ext import MarkdownHistoryAgent, console_user_agent, dialog_loop
from miniagents.ext.llms import Script, ScriptedAgent


async def main() -> None:
    model = ScriptedAgent.fork(script=Script(["I will ", "never ", asyncio.Event(), "end"]))
    dialog_loop.kick_off(user_agent=console_user_agent.fork(history_agent=MarkdownHistoryAgent), assistant_agent=model)


MiniAgents().run(main())
"""
    with in_terminal(program, tmp_path, NO_COLOR="1") as terminal:
        terminal.wait_for("USER:")
        terminal.type("hi\r")
        terminal.wait_for("SCRIPTED_AGENT: I will never")
        terminal.type("\x03")

        assert terminal.exit_code() == 0
        assert terminal.text == f"{_BANNER}USER: hi\nSCRIPTED_AGENT: I will never ^C"
    assert history(tmp_path).endswith("## ASSISTANT (SCRIPTED_AGENT, interrupted)\n\nI will never \n\n")


def test_ctrl_c_ends_the_dialog_while_the_assistant_blocks_the_event_loop(tmp_path: Path) -> None:
    blocking = _PROGRAM.replace(
        "await asyncio.Event().wait()", "print('stuck', flush=True); __import__('time').sleep(1000)"
    )
    with in_terminal(blocking, tmp_path, NO_COLOR="1") as terminal:
        terminal.wait_for("USER:")
        terminal.type("wait\r")
        terminal.wait_for("stuck")
        terminal.wait_until_it_sleeps()
        terminal.type("\x03")

        assert terminal.exit_code() == 0
        assert "Traceback" not in terminal.text
    assert "You said " in history(tmp_path)


def test_a_second_ctrl_c_ends_a_program_whose_assistant_ignores_the_first(tmp_path: Path) -> None:
    stubborn = _PROGRAM.replace(
        "await asyncio.Event().wait()",
        """while True:
                    try:
                        await asyncio.Event().wait()
                    except asyncio.CancelledError:
                        print("no", flush=True)""",
    ).replace("MiniAgents()", "MiniAgents(shutdown_grace_s=0.1)")
    with in_terminal(stubborn, tmp_path, NO_COLOR="1") as terminal:
        terminal.wait_for("USER:")
        terminal.type("wait\r")
        terminal.wait_for("PARROT: You said")
        terminal.type("\x03")
        terminal.wait_for("no")
        terminal.type("\x03")

        assert terminal.exit_code() == -signal.SIGINT


def test_ctrl_space_inserts_a_newline(tmp_path: Path) -> None:
    with in_terminal(_PROGRAM, tmp_path) as terminal:
        terminal.wait_for("USER:")
        terminal.type("one\x00two\r")
        terminal.wait_for("You said 'one\\ntwo'")
        terminal.wait_for("USER:", times=2)
        terminal.type("exit\r")

        assert terminal.exit_code() == 0


def test_an_empty_line_is_not_sent(tmp_path: Path) -> None:
    with in_terminal(_PROGRAM, tmp_path) as terminal:
        terminal.wait_for("USER:")
        terminal.type("\r")
        terminal.wait_for("USER:", times=2)
        terminal.type("hi\r")
        terminal.wait_for("You said 'hi'")
        terminal.type("\x03")
        terminal.exit_code()

    assert history(tmp_path).count("## USER") == 1


def test_a_failing_assistant_is_told_and_the_dialog_goes_on(tmp_path: Path) -> None:
    with in_terminal(_PROGRAM, tmp_path, NO_COLOR="1") as terminal:
        for number, line in enumerate(("fail", "hi", "exit"), start=1):
            terminal.wait_for("USER:", times=number)
            terminal.type(f"{line}\r")

        assert terminal.exit_code() == 0
        assert terminal.text.count("ValueError") == 1
        assert "PARROT: You said\nValueError: I cannot say that\nUSER: hi\nPARROT: You said 'hi'" in terminal.text


def test_names_and_tokens_have_colours_unless_no_color_is_set(tmp_path: Path) -> None:
    for settings, styled in (({}, True), ({"NO_COLOR": "1"}, False)):
        with in_terminal(_PROGRAM, tmp_path, **settings) as terminal:
            terminal.wait_for("USER:")
            terminal.type("hi\r")
            terminal.wait_for("You said 'hi'")
            terminal.type("\x03")
            terminal.exit_code()

            assert ("\x1b[92;1mPARROT: \x1b[0m" in terminal.raw) is styled
            assert terminal.text.startswith(_BANNER)


def test_what_a_model_says_cannot_steer_the_terminal(tmp_path: Path) -> None:
    harmful = _PROGRAM.replace("repr(text)", r"'\x1b]0;title\x07\x1b[2J'")
    with in_terminal(harmful, tmp_path, NO_COLOR="1") as terminal:
        terminal.wait_for("USER:")
        terminal.type("hi\r")
        terminal.wait_for("USER:", times=2)
        terminal.type("\x03")
        terminal.exit_code()

        assert "You said \N{SYMBOL FOR ESCAPE}]0;title\N{SYMBOL FOR BELL}\N{SYMBOL FOR ESCAPE}[2J" in terminal.text
