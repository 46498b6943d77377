"""The image: small, nobody's, locked down."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.docker.engine import IMAGE, Composed, docker

BASE = "python:3.13-slim-trixie"
AT_MOST = 350_000_000


@pytest.fixture
def image(system: Composed) -> dict[str, Any]:
    (found,) = json.loads(docker("image", "inspect", IMAGE))
    return dict(found)


def run(*command: str) -> str:
    """In the strictest container there is: nothing writable but what the image itself says, no network, no rights."""
    locked_down = ["--read-only", "--network", "none", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    return docker("run", "--rm", *locked_down, IMAGE, *command)


def test_it_adds_at_most_350_mb_to_its_base(image: dict[str, Any], record_property: Any) -> None:
    (base,) = json.loads(docker("image", "inspect", BASE))
    added = image["Size"] - base["Size"]
    record_property("bytes", added)
    print(f"\nthe image: {image['Size'] / 1e6:.0f} MB, {added / 1e6:.0f} MB of them on top of {BASE}")
    assert added <= AT_MOST


def test_it_runs_without_a_shell_as_nobody_in_particular_and_says_what_it_is(image: dict[str, Any]) -> None:
    config = image["Config"]
    assert config["Cmd"] == ["cdc", "run"]
    assert not config.get("Entrypoint")
    assert config["User"] == "10001:10001"
    assert config["Healthcheck"]["Test"][0] == "CMD"
    assert config["StopSignal"] == "SIGTERM"
    assert {"title", "description", "licenses", "version", "revision", "base.name"} <= {
        label.removeprefix("org.opencontainers.image.") for label in config["Labels"]
    }


LOOK_INSIDE = """
import importlib.util, json, pathlib, shutil
from consumers.kcl.java.artifacts import kcl_jars
print(json.dumps({
    "tools": [tool for tool in ("gcc", "cc", "make", "git", "mvn") if shutil.which(tool)],
    "left over": [path for path in ("/source", "/jars", "/opt/cdc/bin/pip") if pathlib.Path(path).exists()],
    "demo": importlib.util.find_spec("local") is not None,
    "jars": len(kcl_jars()),
}))
"""


def test_it_has_all_the_jars_and_nothing_that_only_its_making_needs() -> None:
    found = json.loads(run("python", "-c", LOOK_INSIDE))
    assert found.pop("jars") > 50
    assert found == {"tools": [], "left over": [], "demo": False}


def test_its_java_starts_where_nothing_can_be_written_but_the_temporary_folder() -> None:
    said = run(
        "python",
        "-c",
        "from consumers.kcl.java.artifacts import kcl_jars\n"
        "from consumers.kcl.java.jvm import start_jvm\n"
        "print(start_jvm(kcl_jars(), '128m').JClass('java.lang.System').getProperty('java.version'))",
    )
    assert int(said.strip().split(".")[0]) >= 21


def test_a_run_that_is_told_nothing_says_so_in_one_line() -> None:
    with pytest.raises(AssertionError, match=r"docker run .*: 2\n") as ended:
        run()
    said = str(ended.value)
    assert "error: " in said
    assert "Traceback" not in said
