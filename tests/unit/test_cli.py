"""The command line: clear errors, exit codes, output for people and machines."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def cdc(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CDC_", "AWS_"))}
    return subprocess.run(
        [sys.executable, "-m", "consumers.cli.main", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**clean, **environment},
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [["run"], ["settings"], ["mappings", "check"], ["mappings", "try"], ["archive", "cat"], ["archive", "count"]],
)
def test_every_command_has_help_with_an_example(command: list[str]) -> None:
    done = cdc(*command, "--help")
    assert done.returncode == 0
    assert "Example: cdc" in done.stdout


def test_mappings_check_names_every_fault_and_exits_with_2(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yml"
    bad.write_text("tabel: shop\ndocuments: [{indx: a}]")
    done = cdc("mappings", "check", str(bad))
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 4
    assert all(line.startswith(f"{bad}: ") for line in done.stderr.splitlines())
    assert len(json.loads(cdc("mappings", "check", str(bad), "--json").stdout)["problems"]) == 4
    good = cdc("mappings", "check", "mappings")
    assert (good.returncode, good.stdout) == (0, "1 mapping file: no problem\n")


@pytest.mark.parametrize(
    "item",
    [
        '{"pk": "C#1", "sk": "ORDER#1", "total": 12345678901234567890123456789012345678, "list": [1, "a", null]}',
        '{"pk": {"S": "C#1"}, "sk": {"S": "ORDER#1"}, "total": {"N": "12345678901234567890123456789012345678"},'
        ' "list": {"L": [{"N": "1"}, {"S": "a"}, {"NULL": true}]}}',
    ],
    ids=["plain JSON", "DynamoDB JSON"],
)
def test_mappings_try_shows_the_documents_of_an_item(tmp_path: Path, item: str) -> None:
    path = tmp_path / "item.json"
    path.write_text(item)
    (document,) = json.loads(cdc("mappings", "try", "mappings/shop.yml", "--item", str(path), "--json").stdout)
    assert (document["index"], document["id"], document["routing"]) == ("orders", "C#1|ORDER#1", "C#1")
    assert '"total_amount":12345678901234567890123456789012345678' in document["source"]
    assert '"list":[1,"a",null]' in document["source"]


def test_settings_are_printed() -> None:
    assert "CDC_ARCHIVE_BUCKET" in cdc("settings", "--json").stdout


@pytest.mark.parametrize(
    ("arguments", "environment", "message"),
    [
        (["run"], {}, "give --table or --stream-arn"),
        (["run", "--table", "shop"], {"CDC_BULK_BYTE": "1"}, "did you mean CDC_BULK_BYTES?"),
        (["run", "--table", "shop"], {"CDC_MAPPINGS": "nowhere"}, "there is no such file or folder"),
        (["run", "--table", "shop"], {}, "Set CDC_OPENSEARCH_ENDPOINT"),
        (
            ["run", "--table", "shop"],
            {
                "CDC_OPENSEARCH_ENDPOINT": "http://127.0.0.1:9",
                "CDC_ARCHIVE_BUCKET": "b",
                "AWS_EC2_METADATA_DISABLED": "true",
            },
            "there are no AWS credentials",
        ),
        (
            ["run", "--stream-arn", "arn:nonsense"],
            {"CDC_OPENSEARCH_ENDPOINT": "http://127.0.0.1:9"},
            "is not the ARN of a DynamoDB stream",
        ),
        (["archive", "count"], {}, "Set CDC_ARCHIVE_BUCKET"),
    ],
)
def test_a_wrong_configuration_is_one_clear_error_and_exit_code_2(
    arguments: list[str], environment: dict[str, str], message: str
) -> None:
    done = cdc(*arguments, HOME="/nonexistent", **environment)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
