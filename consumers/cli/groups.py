"""Groups of commands: without a command they show their help."""

from __future__ import annotations

import typer

__all__ = ["command_group"]


def command_group(help_text: str) -> typer.Typer:
    """A group that shows its help, with exit code 0, where no command is named."""
    group = typer.Typer(help=help_text, add_completion=False)
    group.callback(invoke_without_command=True)(_show_help)
    return group


def _show_help(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())
