"""Artifacts by lock file: read exactly, verified, refused when they differ."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path

import pytest

from cdc.errors import ConfigError
from consumers.kcl.java.artifacts import fetch, locked

SUM = sha256(b"jar").hexdigest()


def lock(folder: Path, text: str) -> Path:
    path = folder / "some.lock"
    path.write_text(text)
    return path


def cached(folder: Path, content: bytes) -> None:
    path = folder / "artifacts" / SUM[:16] / "name-1.0-linux.jar"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)


def test_a_lock_file_names_coordinates_and_sums(tmp_path: Path) -> None:
    (artifact,) = locked(lock(tmp_path, f"# made\ngroup:name:1.0:linux:jar {SUM}\n"))
    assert artifact.coordinates == "group:name:1.0:linux:jar"
    assert artifact.filename == "name-1.0-linux.jar"


@pytest.mark.parametrize("line", ["group:name:1.0:jar " + SUM, "group:name:1.0::jar", "group:name:1.0::jar 12"])
def test_a_broken_lock_file_names_the_line(tmp_path: Path, line: str) -> None:
    with pytest.raises(ConfigError, match="line 1"):
        locked(lock(tmp_path, line))


def test_what_is_cached_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_CACHE_DIR", str(tmp_path))
    path = lock(tmp_path, f"group:name:1.0:linux:jar {SUM}\n")
    cached(tmp_path, b"jar")
    assert [file.read_bytes() for file in fetch(path)] == [b"jar"]


def test_another_sum_stops_with_the_remedy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDC_CACHE_DIR", str(tmp_path))
    path = lock(tmp_path, f"group:name:1.0:linux:jar {SUM}\n")
    cached(tmp_path, b"another")
    with pytest.raises(ConfigError, match=rf"expected SHA-256 {SUM}, found .*\n.*Remove .*name-1.0-linux.jar"):
        fetch(path)
