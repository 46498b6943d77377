"""Makes the lock files of what is bundled for Lambda, and of its runtime: `python -m local.lambda_lock`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from local.lambda_package import LOCK, ROOT

__all__ = ["main"]

_IN_THE_RUNTIME = ("boto3", "botocore", "s3transfer", "jmespath")
_NEVER_IMPORTED = ("grpcio", "protobuf", "opensearch-protobufs", "typing-extensions")
"""opensearch-py's for gRPC: 20 MB, and no module of it imports them before gRPC is asked for."""


def main() -> None:
    """Write both anew, for every Python and processor that the project supports."""
    left_out = [option for name in _IN_THE_RUNTIME + _NEVER_IMPORTED for option in ("--no-emit-package", name)]
    _compile(ROOT / "setup.cfg", LOCK, *left_out)
    _compile(ROOT / "local/lambda-runtime.in", ROOT / "local/lambda-runtime.txt")
    _compile(ROOT / "local/engine.in", ROOT / "local/engine.txt")


def _compile(source: Path, lock: Path, *options: str) -> None:
    command = [sys.executable, "-m", "uv", "--quiet", "pip", "compile", "--universal", "--python-version", "3.11"]
    command += ["--generate-hashes", "--no-annotate", "--upgrade", "--custom-compile-command", "make lock"]
    subprocess.run(  # noqa: S603  (our own command)
        [*command, *options, "--output-file", str(lock), str(source.relative_to(ROOT))], cwd=ROOT, check=True
    )
    print(f"{lock.relative_to(ROOT)}: {lock.read_text(encoding='utf-8').count('==')} packages")


if __name__ == "__main__":
    main()
