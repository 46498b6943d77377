"""AWS's own command line takes the template, and finds what `make lambda` builds."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml

from local.sam import Sam, install_sam

ROOT = Path(__file__).parents[2]
LAMBDA = ROOT / "deploy" / "lambda"


@pytest.fixture(scope="module")
def sam() -> Sam:
    return install_sam(lambda _text, _done, _total: None)


def test_sam_takes_the_template(sam: Sam) -> None:
    code, text = sam.run("validate", "--lint", "--template", "template.yaml", folder=LAMBDA)
    assert code == 0, text
    assert "valid SAM Template" in text


def test_sam_builds_with_the_package_that_is_there(sam: Sam, tmp_path: Path) -> None:
    folder, package = tmp_path / "deploy" / "lambda", tmp_path / "build" / "lambda" / "dynamodb-cdc-arm64.zip"
    folder.mkdir(parents=True)
    package.parent.mkdir(parents=True)
    with zipfile.ZipFile(package, "w") as file:
        file.writestr("consumers/aws_lambda/entry_changes.py", "def handler(event, context): ...")
    for name in ("template.yaml", "samconfig.yaml"):
        shutil.copy(LAMBDA / name, folder / name)
    code, text = sam.run("build", folder=folder)
    assert code == 0, text
    built = folder / ".aws-sam" / "build"
    uris = [line.split()[1] for line in (built / "template.yaml").read_text().splitlines() if "CodeUri:" in line]
    assert [(built / uri).resolve() for uri in uris] == [package] * 3  # changes, redrive, audit


def test_sam_reads_the_five_answers_and_the_filters_as_they_stand(sam: Sam, tmp_path: Path) -> None:
    config = yaml.safe_load((LAMBDA / "samconfig.yaml").read_text(encoding="utf-8"))
    (answers,) = config["default"]["deploy"]["parameters"]["parameter_overrides"]
    filters = tmp_path / "filters.yaml"
    filters.write_text('{"FilterPattern1": "{\\"eventName\\":[\\"INSERT\\"]}", "FilterPattern2": ""}')
    code = (
        "import json, sys; from samcli.cli.types import CfnParameterOverridesType as T; "
        "print(json.dumps(T().convert(json.loads(sys.argv[1]), None, None)))"
    )
    python = sam.program.parent / "python"
    done = subprocess.run(
        [str(python), "-c", code, json.dumps([answers, f"file://{filters}"])],
        capture_output=True,
        text=True,
        check=True,
    )
    read = json.loads(done.stdout)
    assert read == {**answers, "FilterPattern1": '{"eventName":["INSERT"]}', "FilterPattern2": ""}
