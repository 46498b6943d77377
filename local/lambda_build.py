"""`python -m local.lambda_build`: build the Lambda function's package, and say what is in it."""

from __future__ import annotations

import dataclasses
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cdc.errors import ConfigError
from local.lambda_binaries import Target
from local.lambda_package import ROOT, UNZIPPED_LIMIT, ZIPPED_LIMIT, Built, Package, build

_screen = Console()
_errors = Console(stderr=True)
app = typer.Typer(add_completion=False, rich_markup_mode="rich")


class Architecture(StrEnum):
    """Lambda's processors, as AWS names them."""

    ARM64 = "arm64"
    X86_64 = "x86_64"


@app.command()
def main(
    arch: Annotated[Architecture, typer.Option(help="The function's processor.")] = Architecture.ARM64,
    layer: Annotated[bool, typer.Option(help="A layer: all but the mappings, below python/.")] = False,
    mappings: Annotated[Path, typer.Option(help="The folder that becomes mappings/ of the package.")] = ROOT
    / "mappings",
    add: Annotated[
        list[Path] | None, typer.Option(help="A file or folder of yours, such as a module with your own handler.")
    ] = None,
    target_python: Annotated[str, typer.Option(help="The runtime's Python.")] = "3.13",
    bytecode: Annotated[bool, typer.Option(help="Compile it, if this machine has that Python.")] = True,
    core: Annotated[bool, typer.Option(help="With the compiled core, if this machine can build it for that.")] = True,
    out: Annotated[Path, typer.Option(help="Where the zip goes.")] = ROOT / "build" / "lambda",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """The function as a zip for Lambda: without the SDK, which the runtime has.

    [bold]Example[/bold]: python -m local.lambda_build --arch x86_64 --add my_functions.py
    """
    package = Package(Target(target_python, arch.value), layer, mappings, add or (), bytecode, core)
    try:
        built = build(package, out)
    except ConfigError as error:
        _errors.print(f"[red]error:[/red] {error}", highlight=False)
        raise typer.Exit(2) from None
    if as_json:
        print(json.dumps({**dataclasses.asdict(built), "path": str(built.path)}, indent=2))
        return
    _screen.print(_table(package, built))
    if bytecode and built.bytecode is None:
        _errors.print(
            f"[yellow]warning: no Python {target_python} on this machine, so nothing is compiled, and every cold start "
            f"compiles it again: `.venv/bin/uv python install {target_python}`, then build again[/yellow]"
        )
    if core and built.without_core:
        _errors.print(f"[yellow]warning: without the compiled core: {built.without_core}[/yellow]", highlight=False)


def _table(package: Package, built: Built) -> Table:
    drawn = Table(title=str(_short(built.path)), title_justify="left", show_header=False)
    drawn.add_column()
    drawn.add_column(overflow="fold")
    drawn.add_row("zipped", f"{built.zipped / 1e6:.2f} MB (limit {ZIPPED_LIMIT / 1e6:.0f})")
    drawn.add_row("unzipped", f"{built.unzipped / 1e6:.2f} MB (limit {UNZIPPED_LIMIT / 1e6:.0f}), {built.files} files")
    drawn.add_row("runs on", f"Python {package.target.python}, {package.target.architecture}; every library checked")
    drawn.add_row("compiled core", "no" if built.without_core else "yes")
    drawn.add_row("bytecode", f"by CPython {built.bytecode}" if built.bytecode else "none")
    largest = sorted(built.parts.items(), key=lambda part: -part[1])[:6]
    drawn.add_row("largest", ", ".join(f"{name} {size / 1e6:.1f}" for name, size in largest) + " MB")
    drawn.add_row("sha256", built.sha256)
    drawn.add_row("of the content", built.content_sha256)
    return drawn


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


if __name__ == "__main__":
    app()
