"""Java artifacts by lock file: fetched from Maven Central, verified, cached for this user.

A line of a lock file is `group:artifact:version:classifier:packaging sha256`, the classifier often empty. `make lock`
makes lock files of Maven poms.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import file_digest
from pathlib import Path

from cdc.errors import ConfigError

__all__ = ["Artifact", "cache_folder", "fetch", "kcl_jars", "locked"]

Progress = Callable[[str, int, int], None]
"""Called with what is being fetched, how many are done, and how many there are."""


def _silent(_text: str, _done: int, _total: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of Maven Central and its SHA-256."""

    group: str
    name: str
    version: str
    classifier: str
    packaging: str
    sha256: str

    @property
    def coordinates(self) -> str:
        """The name of the artifact in a lock file."""
        return f"{self.group}:{self.name}:{self.version}:{self.classifier}:{self.packaging}"

    @property
    def filename(self) -> str:
        """The name of the file in a Maven repository."""
        classifier = f"-{self.classifier}" if self.classifier else ""
        return f"{self.name}-{self.version}{classifier}.{self.packaging}"


def cache_folder() -> Path:
    """Where this user's artifacts are: `CDC_CACHE_DIR`, else `dynamodb-cdc` in the cache folder of the user."""
    named = os.environ.get("CDC_CACHE_DIR")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "dynamodb-cdc"


def locked(lock: Path) -> tuple[Artifact, ...]:
    """The artifacts of a lock file, in its order.

    Raises:
        ConfigError: it can't be read; names file and line.
    """
    found: list[Artifact] = []
    try:
        lines = lock.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ConfigError(f"the lock file {lock} can't be read: {error}", remedy="`make lock` makes it.") from error
    for number, line in enumerate(lines, 1):
        if not line or line.startswith("#"):
            continue
        coordinates, _, digest = line.partition(" ")
        parts = coordinates.split(":")
        if len(parts) != 5 or len(digest) != 64:
            raise ConfigError(f"{lock}: line {number}: is not group:artifact:version:classifier:packaging sha256")
        found.append(Artifact(parts[0], parts[1], parts[2], parts[3], parts[4], digest))
    return tuple(found)


def fetch(lock: Path, progress: Progress = _silent) -> list[Path]:
    """Every artifact of `lock` as a file that has the locked sum; what the cache lacks is fetched.

    Raises:
        ConfigError: an artifact can't be had, or has another sum.
    """
    artifacts = locked(lock)
    folder = cache_folder() / "artifacts"
    folder.mkdir(parents=True, exist_ok=True)
    done = 0

    def one(artifact: Artifact) -> Path:
        nonlocal done
        path = folder / artifact.sha256[:16] / artifact.filename
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            _download(artifact, path)
        elif (found := _sum(path)) != artifact.sha256:
            raise _wrong_sum(artifact, found, f"Remove {path} and try again.")
        done += 1
        progress(artifact.filename, done, len(artifacts))
        return path

    with ThreadPoolExecutor(8, thread_name_prefix="fetch") as pool:
        return list(pool.map(one, artifacts))


def kcl_jars(progress: Progress = _silent) -> Sequence[Path]:
    """The jars of the KCL and all it needs.

    Raises:
        ConfigError: one can't be had, or has another sum.
    """
    return fetch(Path(__file__).with_name("kcl.lock"), progress)


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return file_digest(file, "sha256").hexdigest()


def _wrong_sum(artifact: Artifact, found: str, remedy: str) -> ConfigError:
    return ConfigError(
        f"{artifact.coordinates} does not match its lock: expected SHA-256 {artifact.sha256}, found {found}",
        remedy=remedy,
    )


def _download(artifact: Artifact, path: Path) -> None:
    """Through a folder of its own, and into place only with the right sum: a half file is never seen."""
    try:
        from jgo.maven import MavenContext, PythonResolver
    except ImportError as error:
        raise ConfigError("jgo is not installed", remedy="In a checkout: pip install '.[kcl]'") from error
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetching-") as scratch:
        try:
            context = MavenContext(resolver=PythonResolver(), repo_cache=Path(scratch), local_repos=[], timeout=60)
            component = context.project(artifact.group, artifact.name).at_version(artifact.version)
            got = component.artifact(artifact.classifier, artifact.packaging).resolve()
        except Exception as error:
            raise ConfigError(
                f"{artifact.coordinates} can't be fetched from Maven Central: {error}",
                remedy="Check the network, or a proxy's settings; what is fetched already stays in the cache.",
            ) from error
        if (found := _sum(Path(got))) != artifact.sha256:
            raise _wrong_sum(artifact, found, "Try again; if it stays, what answers for Maven Central is not genuine.")
        Path(got).replace(path)
