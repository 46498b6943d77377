"""The command line: clear errors, exit codes, output for people and machines."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from cdc._version import __version__
from cdc.core import load_core

ROOT = Path(__file__).parents[2]
DYNAMODB_JSON = (
    '{"pk": {"S": "C#1"}, "sk": {"S": "ORDER#1"}, "total": {"N": "12345678901234567890123456789012345678"},'
    ' "list": {"L": [{"N": "1"}, {"S": "a"}, {"NULL": true}]}}'
)
GROUPS = [[], ["mappings"], ["archive"], ["tombstones"], ["leases"], ["dead-letters"]]


def cdc(*arguments: str, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("CDC_", "AWS_"))}
    return subprocess.run(
        [sys.executable, "-m", "consumers.cli.main", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**clean, "PYTHONPATH": str(ROOT), **environment},
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
    assert all(line.startswith(f"{bad}:") for line in done.stderr.splitlines())
    assert len(json.loads(cdc("mappings", "check", str(bad), "--json").stdout)["problems"]) == 4
    good = cdc("mappings", "check", "mappings")
    assert (good.returncode, good.stdout) == (0, "1 mapping file: no problem\n")


@pytest.mark.parametrize(
    "item",
    [
        '{"pk": "C#1", "sk": "ORDER#1", "total": 12345678901234567890123456789012345678, "list": [1, "a", null]}',
        DYNAMODB_JSON,
        f'{{"Item": {DYNAMODB_JSON}, "ConsumedCapacity": {{"TableName": "shop"}}}}',
    ],
    ids=["plain JSON", "DynamoDB JSON", "as get-item prints it"],
)
def test_mappings_try_shows_the_documents_of_an_item(tmp_path: Path, item: str) -> None:
    path = tmp_path / "item.json"
    path.write_text(item)
    (document,) = json.loads(cdc("mappings", "try", "mappings/shop.yml", "--item", str(path), "--json").stdout)
    assert (document["index"], document["id"], document["routing"]) == ("orders", "C#1|ORDER#1", "C#1")
    assert '"total_amount":12345678901234567890123456789012345678' in document["source"]
    assert '"list":[1,"a",null]' in document["source"]


@pytest.mark.parametrize(
    ("text", "arguments", "message"),
    [
        (None, [], "there is no file item.json"),
        ("", [], "item.json: is empty"),
        ("{", [], "item.json:1: is no JSON"),
        ("[1]", [], "item.json: holds no item"),
        (
            '{"Item": {"id": {"S": "1"}, "age": {"N": "5"}}}',
            [],
            "the item lacks the key attribute 'pk'; it has age, id\n  → --keys names the table's key attributes, "
            "and is pk,sk now",
        ),
        ('{"id": {"S": "1"}}', ["--keys", "email"], "lacks the key attribute 'email'; it has id"),
        ('{"Items": [{}, {}], "Count": 2}', [], "holds 2 items, as scan and query print them\n  → Take one: jq"),
    ],
    ids=["not there", "empty", "no JSON", "a list", "keys not named", "wrong keys", "a scan"],
)
def test_an_item_that_cannot_be_tried_is_told_with_what_to_do(
    tmp_path: Path, text: str | None, arguments: list[str], message: str
) -> None:
    if text is not None:
        (tmp_path / "item.json").write_text(text)
    done = cdc("mappings", "try", str(ROOT / "mappings/shop.yml"), "--item", "item.json", *arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "  → " in done.stderr


def test_without_a_folder_of_mappings_it_is_said_what_to_name(tmp_path: Path) -> None:
    for named, place in (("", "mappings"), ("nowhere.yml", "nowhere.yml")):
        done = cdc("mappings", "check", cwd=tmp_path, CDC_MAPPINGS=named)
        assert done.returncode == 2
        assert f"there is no file or folder '{place}' here" in done.stderr
        assert "CDC_MAPPINGS" in done.stderr
    assert cdc("mappings", "check", cwd=tmp_path, CDC_MAPPINGS=str(ROOT / "mappings")).returncode == 0


def test_a_consumer_without_mappings_is_told_the_setting(tmp_path: Path) -> None:
    done = cdc("run", "--table", "shop", cwd=tmp_path, CDC_OPENSEARCH_ENDPOINT="http://127.0.0.1:9")
    assert done.returncode == 2
    assert done.stderr.startswith("error: mappings: there is no such file or folder\n  → Set CDC_MAPPINGS to ")


@pytest.mark.parametrize("group", GROUPS, ids=[" ".join(["cdc", *group]) for group in GROUPS])
def test_a_group_alone_shows_its_help(group: list[str]) -> None:
    done = cdc(*group)
    assert done.returncode == 0
    assert "Usage: cdc" in done.stdout


def test_the_version_is_printed() -> None:
    done = cdc("--version")
    assert (done.returncode, done.stderr) == (0, "")
    core = "no compiled core" if load_core() is None else "compiled core"
    assert done.stdout == f"dynamodb-cdc {__version__}, {core}, Python {platform.python_version()}\n"


def test_shells_complete_commands() -> None:
    assert "--install-completion" in cdc("--help").stdout
    done = cdc(_CDC_COMPLETE="complete_bash", COMP_WORDS="cdc dead-letters re", COMP_CWORD="2")
    assert done.stdout.split() == ["redrive"]


def test_run_tells_its_exit_codes() -> None:
    assert "Exit codes: 0" in cdc("run", "--help").stdout


def test_the_command_starts_without_the_folders_beside_the_package(tmp_path: Path) -> None:
    """Only `cdc` and `consumers` are installed: the command may need nothing else of the repository."""
    for name in ("cdc", "consumers"):
        (tmp_path / name).symlink_to(ROOT / name)
    done = cdc("--version", cwd=tmp_path, PYTHONPATH="")
    assert done.returncode == 0, done.stderr


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
    done = cdc(*arguments, cwd=ROOT, HOME="/nonexistent", **environment)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
