"""`miniagents runs | log | show | why | ask | prune`: looking into a journal, and what one does with it by hand."""

import asyncio
import contextlib
import errno
import json
import os
import shutil
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from datetime import timedelta
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import click

from miniagents.cli.journal_texts import call_lines, question_line, run_line, table
from miniagents.errors import MiniAgentsError
from miniagents.journal import Journal, JournalCorruptError
from miniagents.journal._time_to_live import parse_age

P = ParamSpec("P")
T = TypeVar("T")


def _with_journal(*, writes: bool = False) -> Callable[..., Callable[..., None]]:
    """Open the journal that `--journal` or MINIAGENTS_JOURNAL names, and run the command with it."""

    def decorate(command: Callable[Concatenate[Journal, P], Awaitable[None]]) -> Callable[..., None]:
        @click.option(
            "--journal",
            "url",
            envvar="MINIAGENTS_JOURNAL",
            show_envvar=True,
            required=True,
            metavar="URL",
            help="The journal: sqlite:///runs.db or postgresql://user@host/database.",
        )
        @wraps(command)
        def run(url: str, *args: P.args, **kwargs: P.kwargs) -> None:
            async def with_journal() -> None:
                is_file = url.startswith("sqlite:")
                # One who looks makes no file, and changes none.
                async with await Journal.open(url, read_only=is_file and not writes, may_be_new=not is_file) as journal:
                    await command(journal, *args, **kwargs)

            try:
                asyncio.run(with_journal())
            except MiniAgentsError as error:
                raise click.ClickException("\n".join([str(error), *getattr(error, "__notes__", ())])) from error
            except OSError as error:
                if error.errno == errno.EPIPE:
                    # Whoever was to read it has seen enough: click ends the command without a word.
                    raise
                _drop_output()
                raise click.ClickException(f"The output cannot be written: {error}") from error

        return run

    return decorate


def _drop_output() -> None:
    """Have Python not try once more, at its end, to write what cannot be written."""
    with contextlib.suppress(OSError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class _NamesWithDashes(click.Command):
    """A command that is given names that may begin with a dash: a run, or an answer that is a number below zero."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        # Without `-h`, which would be found in `-dash`, too.
        settings = {"ignore_unknown_options": True, "help_option_names": ["--help"]}
        super().__init__(*args, context_settings=settings, **kwargs)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, ["--help" if one == "-h" else one for one in args])


@click.command()
@_with_journal()
async def runs(journal: Journal) -> None:
    """List the runs, the one that began last first."""
    async with _readable(journal.runs()) as found:
        rows = [run_line(run) for run in found]
        _write_table(["RUN", "STATE", "BEGAN", "TOOK", "CALLS", "TOKENS", "COST"], rows, "There are no runs.")


@click.command(cls=_NamesWithDashes)
@click.argument("run")
@click.option("--all", "shows_all", is_flag=True, help="All replies of a call, however wide the terminal is.")
@_with_journal()
async def log(journal: Journal, run: str, *, shows_all: bool) -> None:
    """Show the calls of RUN as a tree, with times, tokens and costs."""
    async with _readable(journal.log(run)) as calls:
        headings = ["CALL", "STATE", "TOOK", "TOKENS", "COST", "REPLIES"]
        # Where it goes into a file, or to another program, there is no width.
        columns = 0 if shows_all else shutil.get_terminal_size((0, 0)).columns
        _write_table(headings, call_lines(calls), "There are no calls.", columns)


@click.command(cls=_NamesWithDashes)
@click.argument("hash_prefix", metavar="HASH")
@_with_journal()
async def show(journal: Journal, hash_prefix: str) -> None:
    """Show the message whose hash begins with HASH: its text and its other fields."""
    message = await journal.stored(hash_prefix)
    click.echo(f"{message.class_name} {message.hash}")
    text = message.body.get("content")
    fields = {name: value for name, value in message.body.items() if name not in ("class_", "content")}
    fields = {name: value for name, value in fields.items() if value is not None}
    if fields:
        click.echo(json.dumps(fields, ensure_ascii=False, indent=2))
    if isinstance(text, str):
        click.echo(f"\n{text}")


@click.command(cls=_NamesWithDashes)
@click.argument("hash_prefix", metavar="HASH")
@_with_journal()
async def why(journal: Journal, hash_prefix: str) -> None:
    """Show the calls that the message HASH comes from: the one that made it, those that made its inputs, and so on."""
    async with _readable(journal.why(hash_prefix)) as calls:
        rows = [[call.run_id, call.agent, " ".join(one[:10] for one in call.inputs or ()) or "-",
                 " ".join(one[:10] for one in call.replies)] for call in calls]  # fmt: skip
        _write_table(["RUN", "AGENT", "WAS CALLED WITH", "REPLIED"], rows, "No call has replied with it: it was given.")


@click.command(cls=_NamesWithDashes)
@click.argument("run", required=False)
@click.argument("key", required=False)
@click.argument("answer", required=False)
@_with_journal(writes=True)
async def ask(journal: Journal, run: str | None, key: str | None, answer: str | None) -> None:
    """List the open questions (of RUN), or give the question KEY of RUN its ANSWER."""
    if run is not None and key is not None and answer is not None:
        await journal.answer(run, key, answer)
        click.echo(f"The question {key!r} of the run {run!r} is answered.")
        return
    if key is not None:
        raise click.UsageError("An answer takes three arguments: RUN KEY ANSWER.")
    async with _readable(journal.questions(run)) as questions:
        rows = [question_line(one) for one in questions if one.answered_at is None]
        _write_table(["RUN", "KEY", "ASKED", "QUESTION"], rows, "There are no open questions.")


class _Age(click.ParamType[timedelta]):
    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        if isinstance(value, timedelta):
            return value
        age = parse_age(str(value))
        if age is None:
            self.fail(f"{value!r} is no age: use a number and s, m, h, d or w, such as 30d.", param, ctx)
        return age


@click.command()
@click.option("--older-than", type=_Age(), required=True, metavar="AGE", help="Such as 30d, 12h or 2w.")
@_with_journal(writes=True)
async def prune(journal: Journal, older_than: timedelta) -> None:
    """Remove the runs in which nothing has happened for AGE, and the messages that no other run needs."""
    pruned = await journal.prune(older_than=older_than)
    click.echo(f"Removed {pruned.runs} runs with {pruned.calls} calls, and {pruned.messages} messages.")


@contextlib.asynccontextmanager
async def _readable(records: AsyncIterator[T]) -> AsyncGenerator[list[T], None]:
    """Give all records that can be read, to be shown; then the error is raised that names the one that cannot."""
    found: list[T] = []
    try:
        async for record in records:
            # Not a comprehension: what came before the error is to be shown.
            found.append(record)  # noqa: PERF401
    except JournalCorruptError:
        if found:
            yield found
        raise
    yield found


def _write_table(headings: list[str], rows: list[list[str]], if_empty: str, columns: int = 0) -> None:
    click.echo("\n".join(table(headings, rows, columns)) if rows else if_empty)
