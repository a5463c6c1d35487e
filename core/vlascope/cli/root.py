"""The command line's entry: finds commands by name, turns our errors into one clear message."""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup

from vlascope import __version__, plugins
from vlascope.errors import VlascopeError, unknown_name

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

COMMANDS: Final[dict[str, tuple[str, str]]] = {
    "list": ("vlascope.cli.list", "What is installed: adapters, benchmarks, tasks, ..."),
    "check": ("vlascope.cli.check", "Does an adapter or a benchmark keep its promises?"),
    "describe": ("vlascope.cli.describe", "What a policy is made of: pathways, points, tokens."),
    "new-adapter": ("vlascope.cli.new_adapter", "Write the package of an adapter of your own."),
    "study": ("vlascope.cli.study", "Validate, plan and run a study file."),
    "plan": ("vlascope.cli.plan", "What a study will take: hours, memory, GB."),
    "steer": ("vlascope.cli.steer", "Play one task before and after steering, with a video."),
    "record": ("vlascope.cli.record", "Activations of a policy on episodes recorded before."),
    "export": ("vlascope.cli.export", "Write a run's episodes as a dataset that others read."),
    "video": ("vlascope.cli.video", "Videos of a run's episodes, made afterwards."),
    "serve": ("vlascope.cli.serve", "Serve a policy over a websocket, as openpi does."),
    "compare": ("vlascope.cli.compare", "One battery of questions put to many policies."),
    "report": ("vlascope.cli.report", "Write the report of a finished study."),
    "store": ("vlascope.cli.store", "Look into an activation store, or verify it."),
}
"""First-party commands: the module whose `app` it is, and one line for `--help`."""


class _Commands(TyperGroup):
    """Lists every command by its summary, and imports only the one that is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return [*COMMANDS, *sorted(set(plugins.commands()) - set(COMMANDS))]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """A stand-in that carries the summary; `resolve_command` fetches the real one."""
        if cmd_name in COMMANDS:
            return TyperCommand(cmd_name, help=COMMANDS[cmd_name][1])
        plugin = plugins.commands().get(cmd_name)
        return None if plugin is None else TyperCommand(cmd_name, help=plugin.summary)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The real command, imported now; an unknown one lists near matches."""
        if args and not args[0].startswith("-") and args[0] not in self.list_commands(ctx):
            raise unknown_name("command", args[0], self.list_commands(ctx))
        name, stand_in, rest = super().resolve_command(ctx, args)
        if name is None or stand_in is None:
            return name, stand_in, rest
        if name in COMMANDS:
            target = import_module(COMMANDS[name][0]).app
        else:
            target = plugins.load("commands", name)
        command = typer.main.get_command(target)
        command.name = name
        return name, command, rest


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"vlascope {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[  # noqa: ARG001
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show a traceback where something goes wrong.")
    ] = False,
) -> None:
    """The microscope for vision-language-action policies.

    Record what happens inside a robot policy, change it, and see what the robot does, with
    controls. Start with `vlascope list`.
    """
    if debug:
        os.environ["VLASCOPE_DEBUG"] = "1"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; our own errors end it with one message and exit code 2."""
    try:
        app(args=None if arguments is None else list(arguments), prog_name="vlascope")
    except VlascopeError as error:
        if os.environ.get("VLASCOPE_DEBUG"):
            raise
        from rich.console import Console
        from rich.markup import escape

        message = f"[bold red]error:[/] {escape(str(error))}"
        Console(stderr=True).print(message, highlight=False, soft_wrap=True)
        sys.exit(2)
