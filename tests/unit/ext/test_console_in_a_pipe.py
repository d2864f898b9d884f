"""Where standard input is no terminal it is read whole and answered once, and the exit code tells success."""

import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.ext.terminal import environment, run_piped

_PROGRAM = """\
from miniagents import InteractionContext, MiniAgents, Message, miniagent
from miniagents.ext import MarkdownHistoryAgent, console_user_agent, dialog_loop


@miniagent
async def parrot(ctx: InteractionContext) -> None:
    text = str((await ctx.message_promises)[-1])
    {reply}


async def main() -> None:
    dialog_loop.kick_off(
        user_agent=console_user_agent.fork(history_agent=MarkdownHistoryAgent), assistant_agent=parrot
    )


MiniAgents().run(main())
"""
_NEVER_ENDING = """\
async def tokens(_):
        yield "I think"
        await __import__("asyncio").Event().wait()
    ctx.reply(Message.promise(message_token_streamer=tokens))"""
_PARROT = _PROGRAM.format(reply="ctx.reply(repr(text))")
_FAILING = _PROGRAM.format(reply="ctx.reply('I think'); raise ValueError('too\\nheavy')")


def test_all_of_it_is_one_message_answered_once(tmp_path: Path) -> None:
    ended = run_piped(_PARROT, tmp_path, "first line\n\nsecond line: \N{SNOWMAN}\n")

    assert ended.stdout == "PARROT: 'first line\\n\\nsecond line: \N{SNOWMAN}'\n"
    assert (ended.stderr, ended.returncode) == ("", 0)
    assert (tmp_path / "CHAT.md").read_text(encoding="utf-8").startswith("## USER\n\nfirst line\n\nsecond line: ")


def test_a_file_can_be_the_input(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(_PARROT)
    (tmp_path / "question.txt").write_text("hi\n")

    with (tmp_path / "question.txt").open() as question:
        printed = subprocess.run(
            [sys.executable, "program.py"], stdin=question, capture_output=True, text=True, cwd=tmp_path,
            env=environment(), check=True,
        ).stdout  # fmt: skip

    assert printed == "PARROT: 'hi'\n"


def test_a_closed_standard_input_is_no_question(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(_PARROT)

    command = f"exec {shlex.quote(sys.executable)} program.py <&-"
    ended = subprocess.run(["sh", "-c", command], cwd=tmp_path, env=environment(), capture_output=True, check=False)

    assert (ended.stdout, ended.stderr, ended.returncode) == (b"", b"", 0)


# Tells when standard input is being read, which a thread of that name does.
_ANNOUNCER = """
import asyncio, threading

def announce() -> None:
    if any(thread.name == "miniagents-stdin" for thread in threading.enumerate()):
        print("ready", flush=True)
    else:
        asyncio.get_running_loop().call_later(0.005, announce)
"""


def test_an_interrupt_while_standard_input_is_read_is_noticed_at_once(tmp_path: Path) -> None:
    announcing = _PARROT.replace(
        "async def main() -> None:", f"{_ANNOUNCER}\nasync def main() -> None:\n    announce()"
    )
    (tmp_path / "program.py").write_text(announcing)
    with subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)  # While the other end of the pipe stays open.

        assert process.wait(15) == 130


@pytest.mark.parametrize("text", ["", "\n \n", "exit\n"], ids=["nothing", "blank", "exit"])
def test_no_question_is_no_failure(tmp_path: Path, text: str) -> None:
    ended = run_piped(_PARROT, tmp_path, text)

    assert (ended.stdout, ended.stderr, ended.returncode) == ("", "", 0)


def test_a_failing_assistant_is_told_in_one_line_and_by_the_exit_code(tmp_path: Path) -> None:
    ended = run_piped(_FAILING, tmp_path, "hi\n")

    assert ended.stdout == "PARROT: I think\n"
    assert (ended.stderr, ended.returncode) == ("ValueError: too heavy\n", 1)
    assert "I think" in (tmp_path / "CHAT.md").read_text()


def test_an_interrupted_answer_is_no_success_and_is_kept(tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(_PROGRAM.format(reply=_NEVER_ENDING))
    with subprocess.Popen(
        [sys.executable, "program.py"], cwd=tmp_path, env=environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdin.write("hi")
        process.stdin.close()
        printed = process.stdout.read(len("PARROT: I think"))
        process.send_signal(signal.SIGINT)
        printed += process.stdout.read()

        assert (printed, process.stderr.read(), process.wait(15)) == ("PARROT: I think\n", "", 130)
    assert "## ASSISTANT (interrupted)\n\nI think\n" in (tmp_path / "CHAT.md").read_text()


def test_colours_and_control_characters_are_left_alone_in_a_pipe(tmp_path: Path) -> None:
    ended = run_piped(_PROGRAM.format(reply="ctx.reply('\\x1b[1mbold\\x07')"), tmp_path, "hi")

    assert ended.stdout == "PARROT: \x1b[1mbold\x07\n"
