"""`make core`, `make wheels`: the core as a library for a processor, beside the sources or in a wheel.

For this machine's own processor cargo builds it; for the other one cargo-zigbuild does, with zig as its linker, where
the Rust toolchain has that processor's standard library (`rustup target add aarch64-unknown-linux-gnu`).
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from local.lambda_binaries import Target, machine_architecture

__all__ = ["NoCore", "build_core", "build_wheel"]

ROOT = Path(__file__).parent.parent
ARCHITECTURES = ("arm64", "x86_64")
_GLIBC = "2.28"
"""Older libraries do for what zig links; Debian 10 has this one, and Lambda's runtimes a newer one."""
_OPTIONS = ("--quiet", "--release", "--locked", "--manifest-path", str(ROOT / "core/Cargo.toml"))

_screen = Console()
_errors = Console(stderr=True)
app = typer.Typer(add_completion=False, rich_markup_mode="rich")


class NoCore(Exception):
    """The core can't be built here; the message says why, and what to do."""


def build_core(target: Target) -> Path:
    """Build the core for a processor; the library.

    Raises:
        NoCore: there is no toolchain for it, or it does not build.
    """
    if target.architecture == machine_architecture() and sys.platform == "linux":
        return _build_here()
    _check_toolchain()
    triple = f"{target.processor}-unknown-linux-gnu"
    if not _has_standard_library(triple):
        raise NoCore(f"Rust has no standard library for {triple} here: rustup target add {triple}, then build again")
    zigbuild = [sys.executable, "-m", "uv", "--quiet", "tool", "run", "--from", "cargo-zigbuild", "--with", "ziglang"]
    command = [*zigbuild, "cargo-zigbuild", "zigbuild", *_OPTIONS, "--target", f"{triple}.{_GLIBC}"]
    _run(command, {**os.environ, "RUSTFLAGS": _without_paths(), "PYO3_NO_PYTHON": "1"})
    return ROOT / f"core/target/{triple}/release/lib_core.so"


def _check_toolchain() -> None:
    if shutil.which("cargo") is None:
        raise NoCore("there is no Rust toolchain: install one from https://rustup.rs, then build again")


def _build_here() -> Path:
    """The library for this machine, whatever its system."""
    _check_toolchain()
    _run(["cargo", "build", *_OPTIONS], {**os.environ, "RUSTFLAGS": _without_paths()})
    return ROOT / f"core/target/release/lib_core.{'dylib' if sys.platform == 'darwin' else 'so'}"


def _without_paths() -> str:
    """Flags by which no path of this machine is in the library: the same commit gives the same bytes."""
    home = os.environ.get("CARGO_HOME") or str(Path.home() / ".cargo")
    return f"--remap-path-prefix={home}=cargo --remap-path-prefix={ROOT}=."


def _has_standard_library(triple: str) -> bool:
    command = [os.environ.get("RUSTC", "rustc"), "--print", "target-libdir", "--target", triple]
    asked = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  (the user's own toolchain)
    return asked.returncode == 0 and any(Path(asked.stdout.strip()).glob("libstd-*"))


def _run(command: Sequence[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603  (our own command)
    if done.returncode:
        raise NoCore(f"the core does not build: {done.stderr.strip()[-1500:]}")


def build_wheel(target: Target, out: Path) -> Path:
    """A wheel with the core for a processor, tagged for what is in it: any CPython from 3.11 on.

    Raises:
        NoCore: the core can't be built.
    """
    library = build_core(target)
    system = f"manylinux_{_GLIBC.replace('.', '_')}_{target.processor}"
    if target.architecture == machine_architecture():
        system = f"linux_{target.processor}"  # linked against this machine's own glibc
    with tempfile.TemporaryDirectory() as folder:
        uv = [sys.executable, "-m", "uv", "--quiet"]
        environment = {**os.environ, "CDC_CORE": "off"}
        _run([*uv, "build", "--wheel", "--out-dir", folder, str(ROOT)], environment)
        (pure,) = Path(folder).glob("*.whl")
        wheel = [*uv, "tool", "run", "--from", "wheel", "wheel"]
        _run([*wheel, "unpack", "--dest", folder, str(pure)], environment)
        (tree,) = (path for path in Path(folder).iterdir() if path.is_dir())
        shutil.copyfile(library, tree / "cdc/_core.abi3.so")
        (about,) = tree.glob("*.dist-info/WHEEL")
        lines = [line for line in about.read_text().splitlines() if line and not line.startswith(("Tag:", "Root-Is"))]
        about.write_text("\n".join([*lines, "Root-Is-Purelib: false", f"Tag: cp311-abi3-{system}", ""]))
        out.mkdir(parents=True, exist_ok=True)
        _run([*wheel, "pack", "--dest-dir", str(out), str(tree)], environment)
        return out / f"{pure.name.removesuffix('py3-none-any.whl')}cp311-abi3-{system}.whl"


@app.command()
def main(
    arch: Annotated[list[str] | None, typer.Option(help="A processor: arm64 or x86_64. Both without any.")] = None,
    out: Annotated[Path, typer.Option(help="Where the wheels go.")] = ROOT / "dist",
    here: Annotated[bool, typer.Option(help="No wheel: the core for this machine, beside the sources.")] = False,
) -> None:
    """Wheels with the compiled core.

    [bold]Example[/bold]: python -m local.core_build --arch arm64
    """
    if here:
        try:
            shutil.copyfile(_build_here(), ROOT / "cdc/_core.abi3.so")
        except NoCore as error:
            _errors.print(f"[yellow]NOT BUILT: the compiled core: {error}[/yellow]", highlight=False)
        return
    failed = False
    for architecture in arch or ARCHITECTURES:
        try:
            built = build_wheel(Target(architecture=architecture), out)
        except NoCore as error:
            failed = True
            _errors.print(f"[red]error:[/red] {architecture}: {error}", highlight=False)
        else:
            _screen.print(f"{built.name}  {built.stat().st_size / 1e6:.2f} MB", highlight=False)
    if failed:
        raise typer.Exit(2)


if __name__ == "__main__":
    app()
