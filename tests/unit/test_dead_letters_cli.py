"""`cdc dead-letters`: what people and machines see of letters, without a network."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cdc import Rejected
from cdc.causes import Cause
from cdc.dead_letters.letter import letter_of
from cdc.dead_letters.s3 import S3DeadLetters
from cdc.errors import CdcError, ConfigError
from cdc.testing import change
from consumers import clients
from consumers.cli import dead_letters as dead_letters_cli
from consumers.cli.dead_letters import dead_letters_app
from consumers.settings import describe

SECRET = "4711-secret"
DOCUMENT = (Path(__file__).parents[2] / "docs" / "dead-letters.md").read_text(encoding="utf-8")


class Bucket:
    """S3 in memory, two keys a page."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    def put_object(self, **request: Any) -> None:
        self.objects[request["Key"]] = request["Body"]

    def get_object(self, **request: Any) -> Any:
        from botocore.exceptions import ClientError

        if request["Key"] not in self.objects:
            raise ClientError({"Error": {"Code": "NoSuchKey"}}, "GetObject")
        return {"Body": BytesIO(self.objects[request["Key"]])}

    def delete_object(self, **request: Any) -> None:
        self.objects.pop(request["Key"], None)

    def list_objects_v2(self, **request: Any) -> Any:
        keys = sorted(key for key in self.objects if key.startswith(request["Prefix"]))
        start = int(request.get("ContinuationToken", 0))
        page = {"Contents": [{"Key": key} for key in keys[start : start + 2]], "IsTruncated": start + 2 < len(keys)}
        return {**page, "NextContinuationToken": str(start + 2)} if page["IsTruncated"] else page


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> S3DeadLetters:
    """Five letters: three of one reason, one of another, one of a function."""
    bucket: Any = Bucket()
    letters = S3DeadLetters(bucket, "letters")
    for n in range(5):
        one = change({"pk": f"{SECRET}-{n}"}, None, {"total": SECRET}, sequence=n + 1)
        rejected = Rejected(
            Cause(["no", "no", "no", "[bold]worse", "raised"][n]), SECRET, f"orders/{SECRET}" if n < 4 else ""
        )
        sink = "opensearch" if n < 4 else "function"
        letters.keep(letter_of(one, rejected, sink, datetime(2026, 1, 15, n, tzinfo=UTC)))
    monkeypatch.setattr(clients, "_dead_letters", lambda _settings: letters)
    monkeypatch.setenv("CDC_DEAD_LETTER_BUCKET", "letters")
    return letters


def cdc(*arguments: str) -> Result:
    return CliRunner().invoke(dead_letters_app, list(arguments))


def parsed(*arguments: str) -> Any:
    done = cdc(*arguments, "--json")
    assert done.exit_code == 0
    return json.loads(done.stdout)


@pytest.mark.parametrize("command", ["list", "show", "redrive", "discard"])
def test_every_command_has_help_with_an_example(command: str) -> None:
    done = cdc(command, "--help")
    assert done.exit_code == 0
    assert f"Example: cdc dead-letters {command}" in done.stdout


def test_list_counts_by_reason_and_shows_keys(store: S3DeadLetters) -> None:
    done = cdc("list")
    assert done.exit_code == 0
    assert "no" in done.stdout
    assert set(store.keys()) <= set(done.stdout.split())
    counts = parsed("list")["counts"]
    assert [(count["count"], count["reason"], count["sink"]) for count in counts] == [
        (3, "no", "opensearch"),
        (1, "[bold]worse", "opensearch"),
        (1, "raised", "function"),
    ]
    assert (counts[0]["oldest"][11:13], counts[0]["newest"][11:13]) == ("00", "02")


@pytest.mark.parametrize(
    ("filters", "count"),
    [
        (["--table", "shop"], 5),
        (["--table", "sho"], 0),
        (["--sink", "function"], 1),
        (["--document", "orders"], 4),
        (["--document", f"orders/{SECRET}"], 4),
        (["--reason", "WORSE"], 1),
        (["--since", "2026-01-15T03:00"], 2),
        (["--until", "2026-01-15T03:00:00+00:00"], 3),
        (["--since", "1h"], 0),
    ],
)
@pytest.mark.usefixtures("store")
def test_letters_are_filtered(filters: list[str], count: int) -> None:
    assert len(parsed("list", *filters)["letters"]) == count
    assert len(parsed("redrive", "--all", "--dry-run", *filters)["would_redrive"]) == count


def test_nothing_but_show_shows_the_item(store: S3DeadLetters) -> None:
    key = next(store.keys())
    for arguments in (["list"], ["list", "--json"], ["redrive", "--all", "--dry-run"], ["discard", key]):
        assert SECRET not in cdc(*arguments).output


def test_show_prints_the_letter_whole(store: S3DeadLetters) -> None:
    key = next(store.keys())
    for name in (key, f"dead-letters/{key}", f"s3://letters/dead-letters/{key}"):
        shown = json.loads(cdc("show", name).stdout)
        assert shown == parsed("show", key)
        assert shown["record"]["dynamodb"]["NewImage"]["total"] == {"S": SECRET}


def test_discard_deletes_the_letters_that_are_named(store: S3DeadLetters) -> None:
    first, second, *others = store.keys()
    assert [one["key"] for one in parsed("discard", first, second)["discarded"]] == [first, second]
    assert list(store.keys()) == others


def test_a_dry_run_leaves_everything_as_it_is(store: S3DeadLetters) -> None:
    before = list(store.keys())
    done = cdc("redrive", "--all", "--dry-run")
    assert "5 letters would be redriven; nothing was written" in done.stdout
    assert list(store.keys()) == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["show", "table=shop/none.json"],
        ["discard", "table=shop/none.json"],
        ["redrive", "table=shop/none.json"],
    ],
)
@pytest.mark.usefixtures("store")
def test_a_key_that_is_not_there_is_said_with_what_to_do(arguments: list[str]) -> None:
    error = cdc(*arguments).exception
    assert isinstance(error, CdcError)
    assert "there is no dead letter table=shop/none.json" in error.message
    assert "cdc dead-letters list" in error.remedy


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["redrive"], "give keys, or --all"),
        (["redrive", "--all", "KEY"], "give keys, or --all"),
        (["redrive", "KEY", "--table", "shop"], "give keys, or --all"),
        (["redrive", "--table", "shop"], "give keys, or --all"),
        (["list", "--since", "yesterday"], "'yesterday' is no time"),
        (["redrive", "--on-failure", "/nonexistent"], "there is no file or folder /nonexistent"),
        (["redrive", "--all", "--functions", "no_such_module"], "it can't be imported"),
        (["redrive", "--all", "--functions", "json"], "it has none of on_insert, on_modify, on_remove"),
    ],
)
@pytest.mark.usefixtures("store")
def test_a_wrong_command_says_what_to_do(arguments: list[str], message: str) -> None:
    error = cdc(*arguments).exception
    assert isinstance(error, ConfigError)
    assert message in error.message
    assert error.remedy


def test_without_a_bucket_it_is_said_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDC_DEAD_LETTER_BUCKET", raising=False)
    error = cdc("list").exception
    assert isinstance(error, ConfigError)
    assert error.message == "no dead-letter bucket is configured"
    assert error.remedy.startswith("Set CDC_DEAD_LETTER_BUCKET")


def test_without_letters_that_is_what_is_said(store: S3DeadLetters) -> None:
    for key in list(store.keys()):
        store.delete(key)
    assert cdc("list").stdout == "no dead letters\n"


@pytest.fixture
def functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], str]:
    """Makes a module of functions in the current folder; gives its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CDC_MAPPINGS", "none")

    def make(source: str) -> str:
        name = f"functions_{abs(hash(source))}"
        (tmp_path / f"{name}.py").write_text(source)
        return name

    return make


def test_letters_of_functions_are_redriven_by_a_module(store: S3DeadLetters, functions: Callable[[str], str]) -> None:
    name = functions("def on_insert(change):\n    open('seen', 'a').write(f'{change.redriven} {change.sequence}')\n")
    done = parsed("redrive", "--all", "--sink", "function", "--functions", name)
    assert (done["redriven"], done["superseded"], done["kept"]) == (1, 0, 0)
    assert Path("seen").read_text() == "True 5"
    assert len(list(store.keys())) == 4


def test_a_letter_that_stays_makes_exit_code_1_and_says_why(
    store: S3DeadLetters, functions: Callable[[str], str]
) -> None:
    name = functions("import cdc\n\ndef on_insert(change):\n    raise cdc.Reject('no')\n")
    done = cdc("redrive", "--all", "--sink", "function", "--functions", name)
    assert done.exit_code == 1
    assert "0 redriven, 0 superseded, 1 kept" in done.stdout
    assert "rejected again" in done.stderr
    assert "redrive again, or discard" in done.stderr
    assert len(list(store.keys())) == 5
    as_json = cdc("redrive", "--all", "--sink", "function", "--functions", name, "--json")
    assert as_json.exit_code == 1
    (entry,) = json.loads(as_json.stdout)["letters_kept"]
    assert "rejected again" in entry["reason"]


def test_what_the_document_tells_to_type_can_be_typed(store: S3DeadLetters) -> None:
    lines = [line.partition("#")[0] for line in DOCUMENT.splitlines() if line.startswith("cdc dead-letters ")]
    assert len(lines) >= 7
    key = next(store.keys())
    for line in lines:
        arguments = [key if word == "KEY" else word for word in line.split()[2:]]
        if arguments[0] == "redrive" and "--dry-run" not in arguments:
            arguments.append("--dry-run")
        done = cdc(*arguments)
        assert done.exit_code == 0, line


def test_what_the_document_names_is_there() -> None:
    known = {setting["name"] for setting in describe()}
    assert set(re.findall(r"\bCDC_[A-Z_]+[A-Z]\b", DOCUMENT)) <= known
    (example,) = re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL)
    scope: dict[str, Any] = {}
    exec(example, scope)  # noqa: S102  (the document's own code)
    assert callable(scope["redrive"])


def test_a_redrive_ends_where_nothing_can_be_written(
    store: S3DeadLetters, functions: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dead_letters_cli, "_TOGETHER", 1)
    monkeypatch.setattr(dead_letters_cli, "_TOGETHER_SECONDS", 1.0)
    for n in range(6, 9):
        store.keep(
            letter_of(change({"pk": "a"}, None, {}, sequence=n), Rejected(Cause("no")), "function", datetime.now(UTC))
        )
    name = functions("import cdc\n\ndef on_insert(change):\n    raise cdc.Defer(1000)\n")
    done = cdc("redrive", "--all", "--sink", "function", "--functions", name, "--json")
    assert done.exit_code == 1
    reasons = [entry["reason"] for entry in json.loads(done.stdout)["letters_kept"]]
    assert ["not tried" in reason for reason in reasons] == [False, True, True, True]
