"""The Lambda package for this machine's own Python and processor: what runs in the emulator here."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from pathlib import Path

from local.lambda_binaries import Target, machine_architecture
from local.lambda_package import ROOT, Package, build

__all__ = ["CHANGES", "REDRIVE", "build_here"]

CHANGES, REDRIVE = "consumers.aws_lambda.entry_changes.handler", "consumers.aws_lambda.entry_redrive.handler"


def build_here(out: Path, mappings: Path = ROOT / "mappings", own: Sequence[Path] = ()) -> Path:
    """Build the zip into the folder `out`; its path. `own`: files of yours that go into it.

    Raises:
        ConfigError: something can't be installed.
    """
    python = ".".join(platform.python_version_tuple()[:2])
    return build(Package(Target(python, machine_architecture()), mappings=mappings, own=own), out).path
