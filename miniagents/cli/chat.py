"""`miniagents chat`: a conversation with a model, or with the built-in guide when there is none."""

import io
import os
import sys
from pathlib import Path

import click

from miniagents.cli.model_choice import ModelChoice, choose_model
from miniagents.cli.terminal import Look, is_terminal
from miniagents.errors import MiniAgentsError
from miniagents.promising._wording import text_of

_INTERRUPTED = 130  # what shells report of a command that Ctrl+C has ended

_EPILOG = """\
\b
The model, unless --model names it, is the first of these that is there:
  MINIAGENTS_MODEL   PROVIDER:MODEL as for --model, or the name of another
                     model than the default one
  OPENAI_API_KEY     a model of OpenAI (also at OPENAI_BASE_URL)
  ANTHROPIC_API_KEY  a model of Anthropic
  a server           that answers on this machine: Ollama (OLLAMA_HOST), LM
                     Studio, llama.cpp, vLLM, or the one at OPENAI_BASE_URL.
                     You are asked before the first use. Nothing is looked for
                     if CI or MINIAGENTS_OFFLINE=1 is set.
  the guide          built in, offline, no LLM: it quotes the documentation of
                     miniagents and shows agents at work.
\b
What --model takes:
  openai:MODEL       anthropic:MODEL       (or without :MODEL, the default one)
  gemini:MODEL       bedrock:MODEL         or any other prefix of model_agent()
  local              local:MODEL           a server on this machine
  URL                URL#MODEL             that server, on this machine
  guide              echo                  repeats what it is told
  script:FILE        replays what the assistant says in FILE, reply by reply
\b
The FILE of script:FILE and of --history is Markdown of this form:
  ## USER
  Hello!
  ## ASSISTANT
  Hello, what can I do for you?
\b
What is shown to a person is Markdown in colours; NO_COLOR or --no-color turns
colours off. Into a pipe or a file goes plain text, unless FORCE_COLOR is set.
\b
Exit code: 0 if the answer is complete or the dialog was left, 1 if there is
no answer, 130 if Ctrl+C has cut it off.
"""


@click.command(epilog=_EPILOG)
@click.option("--model", metavar="PROVIDER:MODEL", help="The model to talk to; see below.")
@click.option("--system", metavar="TEXT", help="Instructions to the model, ahead of the conversation.")
@click.option(
    "--history",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Keep the conversation in this Markdown file, and go on from what it holds.",
)
@click.option("--no-color", is_flag=True, help="No colours, as with the variable NO_COLOR.")
@click.argument("message", required=False)
def chat(*, model: str | None, system: str | None, history: Path | None, no_color: bool, message: str | None) -> None:
    """Talk to a model.

    With MESSAGE, or with text on standard input (or both: the text follows the MESSAGE), the answer goes to standard
    output and the command ends. Without, it is a dialog at the terminal: Enter sends, /help lists the commands, Ctrl+C
    stops an answer and at the prompt ends the dialog, as Ctrl+D and "exit" do.
    """
    _survive_what_models_say()
    at_terminal = is_terminal(sys.stdin)
    look = Look.chosen(os.environ, no_color=no_color)
    try:
        choice = choose_model(model, os.environ, ask=_ask if at_terminal else None)
        _announce(choice, system)
        if at_terminal and message is None:
            _dialog(choice, look, system, history)
        else:
            _one_answer(choice, _question(message, at_terminal=at_terminal), look, system, history)
    except MiniAgentsError as error:
        raise click.ClickException(_sentence(error)) from error


def _dialog(choice: ModelChoice, look: Look, system: str | None, history: Path | None) -> None:
    from miniagents.cli.conversation import hold_dialog

    try:
        hold_dialog(choice, look=look, system=system, history_file=history)
    except KeyboardInterrupt:
        # The first Ctrl+C stops an answer; this is a second one, of somebody who would not wait.
        sys.exit(_INTERRUPTED)


def _one_answer(choice: ModelChoice, question: str, look: Look, system: str | None, history: Path | None) -> None:
    from miniagents.cli.conversation import answer_once
    from miniagents.cli.model_agents import agent_for

    agent = agent_for(choice)
    try:
        outcome = answer_once(agent, question, look=look, system=system, history_file=history)
    except KeyboardInterrupt:
        outcome = "interrupted"
    except (BrokenPipeError, MiniAgentsError):
        raise  # The reader of standard output has gone, which click knows how to take; or a sentence of ours.
    except Exception as error:
        # Whatever a provider's package raises: an answer that failed is no bug of ours, and needs no traceback.
        raise click.ClickException(_sentence(error)) from error
    if outcome == "interrupted":
        sys.exit(_INTERRUPTED)


def _announce(choice: ModelChoice, system: str | None) -> None:
    click.echo(choice.sentence, err=True)
    if choice.provider == "guide":
        click.echo("It is an offline guide, not an LLM. Ask about miniagents, or try /demo, /help, /connect.", err=True)
    if system and choice.provider in ("guide", "echo", "script"):
        click.echo(f"`--system` has no effect on {choice.provider}.", err=True)


def _question(message: str | None, *, at_terminal: bool) -> str:
    piped = "" if at_terminal else _read_standard_input()
    question = "\n\n".join(part for part in (message, piped) if part and part.strip())
    if not question:
        raise click.ClickException("There is nothing to answer: MESSAGE and standard input are empty.")
    try:
        question.encode("utf-8")
    except UnicodeEncodeError as error:
        raise click.ClickException(
            f"MESSAGE is no text in UTF-8 (at its character {error.start + 1}): give it through standard input."
        ) from error
    return question


def _read_standard_input() -> str:
    if sys.stdin is None:  # closed by whoever started the process
        return ""
    data = sys.stdin.buffer.read()
    try:
        return data.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise click.ClickException(
            f"Standard input is no text in UTF-8 (byte {data[error.start]:#04x} at position {error.start}): convert it "
            "first, with `iconv` for example."
        ) from error


def _ask(question: str, /) -> bool:
    return click.confirm(question, default=True, err=True)


def _survive_what_models_say() -> None:
    """Let characters that the terminal's encoding does not have come out as escapes instead of ending the answer."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _sentence(error: BaseException) -> str:
    text = " ".join(text_of(error).split())
    if isinstance(error, MiniAgentsError) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
