"""The command `miniagents`: a group whose sub-commands load when they are run, one file each.

`miniagents --help` and `miniagents --version` import none of what the sub-commands need.
"""

from importlib import import_module
from typing import Final

import click

# Name: where the command is, and its line in `miniagents --help` (which must not import the module to ask for it).
_COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "chat": ("miniagents.cli.chat:chat", "Talk to a model, or to the built-in offline guide when there is none."),
    "runs": ("miniagents.cli.journal:runs", "List the runs in a journal."),
    "log": ("miniagents.cli.journal:log", "Show the calls of a run as a tree."),
    "show": ("miniagents.cli.journal:show", "Show a message, by the beginning of its hash."),
    "why": ("miniagents.cli.journal:why", "Show the calls that a message comes from."),
    "ask": ("miniagents.cli.journal:ask", "List open questions, or answer one."),
    "prune": ("miniagents.cli.journal:prune", "Remove old runs from a journal."),
}


class LazyGroup(click.Group):
    """A group that imports a sub-command when it is run or asked for its own help, not when the group lists it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of all sub-commands, sorted."""
        return sorted({*super().list_commands(ctx), *_COMMANDS})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The sub-command, imported now; `None` if there is none of that name."""
        if cmd_name not in _COMMANDS:
            return super().get_command(ctx, cmd_name)
        module_name, _, attribute = _COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module_name), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of sub-commands for `--help`, without importing any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, _COMMANDS[name][1]) for name in self.list_commands(ctx)])


def _print_version(ctx: click.Context, _parameter: click.Parameter, value: bool) -> None:  # noqa: FBT001 - click's form
    if not value or ctx.resilient_parsing:
        return
    # importlib.metadata is not cheap, and only this option needs it.
    from importlib.metadata import PackageNotFoundError, version

    try:
        click.echo(f"miniagents {version('miniagents')}")
    except PackageNotFoundError:
        click.echo("miniagents (run from a folder that was not installed: its version is in `pyproject.toml`)")
    ctx.exit()


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
def main() -> None:
    """Agents that stream: `miniagents chat` starts a conversation at once, with or without a model."""
