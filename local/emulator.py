"""Lambda's own runtime on this machine: its runtime interface client, run under its runtime interface emulator."""

from __future__ import annotations

import http.client
import json
import platform
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from cdc.errors import CdcError, ConfigError
from consumers.kcl.java.artifacts import cache_folder
from local.environments import Progress, install_environment, uv
from local.process import ServerProcess, free_port, start

__all__ = [
    "UNREACHABLE",
    "FunctionFailed",
    "LambdaFunction",
    "LambdaRuntime",
    "Report",
    "install_emulator",
    "invoke",
    "launch_function",
]

_EMULATOR = Path(__file__).with_name("lambda-emulator.txt")
_RUNTIME = Path(__file__).with_name("lambda-runtime.txt")
_BINARIES = {"x86_64": "aws-lambda-rie-x86_64", "aarch64": "aws-lambda-rie-arm64", "arm64": "aws-lambda-rie-arm64"}
_PATH = "/2015-03-31/functions/function/invocations"
UNREACHABLE = "Emulator.Unreachable"
"""The kind of failure that is the emulator's own."""
_INIT_SECONDS = 10.0  # "Lambda execution environment": the init phase's limit
_INIT = re.compile(r"INIT REPORT\(durationMs: ([\d.]+)\)")
_DONE = re.compile(r"INVOKE RTDONE\(status: \w+, produced bytes: \d+, duration: ([\d.]+)ms\)")


class FunctionFailed(CdcError):
    """The function raised, ended, could not be loaded, or ran out of time: what an event source mapping retries."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind
        """The error's type, as Lambda names it: an exception's class, `Sandbox.Timedout`, `Runtime.ExitError`."""


@dataclass(frozen=True, slots=True)
class LambdaRuntime:
    """The runtime of a function. Its Python has the runtime interface client, the SDK, and nothing of this project."""

    emulator: Path
    python: Path
    version: str
    """The version of its Python, such as `3.13`: what a package must be built for."""


@dataclass(frozen=True, slots=True)
class Report:
    """The emulator's measurements of a function's life so far."""

    inits: tuple[float, ...]
    """Seconds of each init phase: starting Python and importing the handler's module."""
    invocations: tuple[float, ...]
    """Seconds of each invocation that was answered."""


@dataclass(frozen=True)
class LambdaFunction:
    """A function under the emulator. One invocation at a time; the first, and one after a time-out, is cold."""

    url: str
    timeout_seconds: float
    process: ServerProcess

    def invoke(self, event: Any) -> Any:
        """The handler's answer.

        Raises:
            FunctionFailed: it answers with an error, or not within its time.
        """
        return invoke(self.url, event, self.timeout_seconds)

    def report(self) -> Report:
        """The times of its init phases and invocations."""
        text = self.process.log_path.read_text(encoding="utf-8", errors="replace")
        return Report(_seconds(_INIT, text), _seconds(_DONE, text))

    def log(self) -> str:
        """The lines that the function and the emulator have printed."""
        return self.process.log_path.read_text(encoding="utf-8", errors="replace")

    def stop(self) -> None:
        """End it, and what it started."""
        self.process.stop()


def invoke(url: str, event: Any, timeout_seconds: float) -> Any:
    """The answer of the function whose emulator is at `url`; `timeout_seconds` are the function's own.

    Raises:
        FunctionFailed: it answers with an error, or not within its time, or there is no emulator.
    """
    address = url.removeprefix("http://").partition("/")[0]
    connection = http.client.HTTPConnection(address, timeout=timeout_seconds + _INIT_SECONDS + 20)
    try:
        connection.request("POST", _PATH, json.dumps(event).encode(), {"Content-Type": "application/json"})
        answer = connection.getresponse().read().decode()
    except (OSError, http.client.HTTPException) as error:
        raise FunctionFailed(UNREACHABLE, f"the emulator does not answer: {error}") from error
    finally:
        connection.close()
    return _result(answer)


def _result(answer: str) -> Any:
    try:
        result = json.loads(answer)
    except ValueError:
        kind = "Sandbox.Timedout" if answer.startswith("Task timed out") else "Runtime.ExitError"
        raise FunctionFailed(kind, answer.strip() or "no answer") from None
    if isinstance(result, dict) and "errorMessage" in result and "errorType" in result:
        raise FunctionFailed(str(result["errorType"]), str(result["errorMessage"]))
    return result


def _seconds(pattern: re.Pattern[str], text: str) -> tuple[float, ...]:
    return tuple(float(milliseconds) / 1000 for milliseconds in pattern.findall(text))


def install_emulator(progress: Progress, python: str = sys.executable) -> LambdaRuntime:
    """The emulator and an environment of `python` with what Lambda's runtime brings; what is there already is kept.

    Raises:
        ConfigError: this machine is none that it runs on, or something can't be installed.
    """
    binary = _BINARIES.get(platform.machine())
    if sys.platform != "linux" or binary is None:
        raise ConfigError(
            f"Lambda's runtime interface emulator runs on Linux on x86_64 and arm64; this is {sys.platform} on "
            f"{platform.machine()}",
            remedy="Use the container image: docker build -f deploy/lambda/Dockerfile .",
        )
    version = _version(python)
    folder = cache_folder() / f"lambda-runtime-{version}"
    sync = ("pip", "sync", "--compile-bytecode", "--require-hashes")  # AWS's own comes compiled, too
    what = f"Lambda's runtime for Python {version}"
    return LambdaRuntime(
        _emulator(binary, progress),
        install_environment(folder, _RUNTIME, what, progress, *sync, python=python),
        version,
    )


def _emulator(binary: str, progress: Progress) -> Path:
    """The emulator's file, of a wheel that is verified by its sum."""
    digest = _EMULATOR.read_text(encoding="utf-8").rpartition(":")[2].strip()
    path = cache_folder() / f"lambda-emulator-{digest[:16]}" / binary
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    progress("Lambda's emulator", 0, 1)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetching-") as scratch:
        install = ("pip", "install", "--no-deps", "--require-hashes", "--target", scratch)
        uv("Lambda's emulator", *install, "--requirement", str(_EMULATOR))
        (found,) = Path(scratch).glob(f"samcli/local/rapid/{binary}")
        found.chmod(0o755)
        found.replace(path)
    progress("Lambda's emulator", 1, 1)
    return path


def _version(python: str) -> str:
    ask = [python, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
    try:
        return subprocess.run(ask, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603  (the user's own Python)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ConfigError(f"{python} is no Python that runs: {error}", remedy="Name another interpreter.") from error


def launch_function(
    run: Path,
    runtime: LambdaRuntime,
    package: Path,
    handler: str,
    environment: Mapping[str, str],
    *,
    timeout_seconds: int = 60,
    memory_mb: int = 1024,
    name: str = "function",
) -> LambdaFunction:
    """Start a function of `package` (a zip, or a folder it is unpacked in) and return when it can be invoked.

    Args:
        run: a folder for its log, `<name>.log`, and the unpacked package.
        handler: such as `consumers.aws_lambda.changes.handler`.
        environment: all that the function sees, beside what Lambda sets itself; nothing of this process's own.
        timeout_seconds: for an invocation; the emulator, unlike AWS, has a cold one's init phase count.

    Raises:
        ServerFailed: the emulator ends, or does not listen in time.
    """
    run.mkdir(parents=True, exist_ok=True)
    task = _unpacked(package, run / f"{name}-task")
    port = free_port()
    variables = {
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "TZ": ":UTC",
        # the package's folder is read-only in Lambda
        "PYTHONDONTWRITEBYTECODE": "1",
        "LAMBDA_TASK_ROOT": str(task),
        "AWS_EXECUTION_ENV": "AWS_Lambda_python",
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_TIMEOUT": str(timeout_seconds),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mb),
        **environment,
    }
    command = [
        shutil.which("env") or "/usr/bin/env",
        "--ignore-environment",
        *(f"{key}={value}" for key, value in variables.items()),
        str(runtime.emulator),
        "--runtime-interface-emulator-address",
        f"127.0.0.1:{port}",
        "--runtime-api-address",
        f"127.0.0.1:{free_port()}",
        str(runtime.python),
        "-m",
        "awslambdaric",
        handler,
    ]
    process = start(name, command, {}, task, run / f"{name}.log")
    process.wait_until(partial(_listens, port), 30)
    return LambdaFunction(f"http://127.0.0.1:{port}{_PATH}", timeout_seconds, process)


def _unpacked(package: Path, folder: Path) -> Path:
    if package.is_dir():
        return package
    shutil.rmtree(folder, ignore_errors=True)
    with zipfile.ZipFile(package) as archive:
        archive.extractall(folder)
    return folder


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False
