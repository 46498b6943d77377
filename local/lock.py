"""Makes the lock files of their poms, by Maven: `python -m local.lock`. Only those who change a pom need it."""

from __future__ import annotations

import re
import subprocess
import tempfile
from hashlib import file_digest
from pathlib import Path

__all__ = ["main"]

ROOT = Path(__file__).parent.parent
LOCKS = {
    ROOT / "deploy/kcl/pom.xml": ROOT / "consumers/kcl/java/kcl.lock",
    ROOT / "local/poms/opensearch.xml": ROOT / "local/opensearch.lock",
    ROOT / "benchmarks/java/pom.xml": ROOT / "benchmarks/java/compiler.lock",
}
_LINE = re.compile(r"\s+([\w.\-]+):([\w.\-]+):([\w\-]+):(?:([\w.\-]+):)?([\w.\-]+):(?:compile|runtime)\b.*?:(/.*\S)")


def main() -> None:
    """Write every lock file anew."""
    for pom, lock in LOCKS.items():
        with tempfile.NamedTemporaryFile(suffix=".txt") as listing:
            subprocess.run(  # noqa: S603  (fixed arguments)
                [  # noqa: S607  (the developer's own Maven)
                    "mvn",
                    "--batch-mode",
                    "--quiet",
                    f"--file={pom}",
                    "dependency:list",
                    "-DincludeScope=runtime",
                    "-DoutputAbsoluteArtifactFilename=true",
                    f"-DoutputFile={listing.name}",
                ],
                check=True,
            )
            lines = sorted(_locked(Path(listing.name).read_text(encoding="utf-8")))
        head = f"# Made of {pom.relative_to(ROOT)} by `make lock`: group:artifact:version:classifier:packaging sha256"
        lock.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")
        print(f"{lock.relative_to(ROOT)}: {len(lines)} artifacts")


def _locked(listing: str) -> list[str]:
    found = []
    for line in listing.splitlines():
        if match := _LINE.match(re.sub(r"\x1b\[[0-9;]*m", "", line)):
            group, name, packaging, classifier, version, path = match.groups()
            with Path(path).open("rb") as file:
                digest = file_digest(file, "sha256").hexdigest()
            found.append(f"{group}:{name}:{version}:{classifier or ''}:{packaging} {digest}")
    return found


if __name__ == "__main__":
    main()
