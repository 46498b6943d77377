"""Where mapping files come from: files, folders, and S3, whose files can't name code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from cdc.errors import ConfigError, MappingError
from cdc.mappings.locations import load_places, places
from cdc.testing import Always, SimulatedClock, SimulatedS3
from consumers import runtime
from consumers.settings import load_settings

SHOP = "table: shop\ndocuments: [{index: orders}]"
USERS = "table: users\ndocuments: [{index: people}]"
WITH_CODE = "table: shop\ndocuments: [{index: orders, transform: 'shop:order'}]"


def bucket(**objects: str) -> SimulatedS3:
    """Objects by key; `__` stands for `/`, `_` before the ending for a dot."""
    s3 = SimulatedS3(SimulatedClock())
    for name, text in objects.items():
        key = name.replace("__", "/").replace("_yml", ".yml").replace("_yaml", ".yaml")
        s3.put_object(Bucket="b", Key=key, Body=text.encode())
    return s3


def tables(setting: str, s3: Any) -> list[str]:
    return [file.table for file in load_places(setting, lambda: s3).files]


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("mappings", ["mappings"]),
        ("a.yml:b.yml", ["a.yml", "b.yml"]),
        ("s3://b/a.yml", ["s3://b/a.yml"]),
        ("s3://b/a.yml:s3://c/d/", ["s3://b/a.yml", "s3://c/d/"]),
        ("mappings:s3://b/a.yml:/var/task/b.yml", ["mappings", "s3://b/a.yml", "/var/task/b.yml"]),
    ],
)
def test_a_colon_parts_places_but_not_that_of_s3(setting: str, parts: list[str]) -> None:
    assert places(setting) == parts


def test_an_object_is_read_whatever_it_is_called() -> None:
    assert tables("s3://b/deployed/shop", bucket(deployed__shop=SHOP)) == ["shop"]


def test_below_a_prefix_every_mapping_file_is_read_in_the_order_of_names_over_pages() -> None:
    many = {f"m__t{n:02d}_yml": f"table: t{n:02d}\ndocuments: [{{index: i{n}}}]" for n in range(25)}
    s3 = bucket(**many, m__README="no mapping", m__z__users_yaml=USERS, other__shop_yml=SHOP)
    assert tables("s3://b/m/", s3) == [f"t{n:02d}" for n in range(25)] + ["users"]


def test_files_and_objects_are_one_deployment(tmp_path: Path) -> None:
    (tmp_path / "users.yml").write_text(USERS)
    s3 = bucket(shop_yml=SHOP)
    assert tables(f"{tmp_path}:s3://b/shop.yml", s3) == ["users", "shop"]
    (tmp_path / "a.yml").write_text(SHOP)
    with pytest.raises(MappingError, match=r"s3://b/shop.yml:1: table: 'shop' has a mapping in .*a.yml already"):
        tables(f"{tmp_path}:s3://b/shop.yml", s3)


def test_a_file_from_s3_cannot_name_code() -> None:
    with pytest.raises(MappingError) as caught:
        tables("s3://b/m/", bucket(m__shop_yml=WITH_CODE))
    assert caught.value.problems == (
        "s3://b/m/shop.yml:2: documents[0].transform: a file from S3 can't name code; take it out, or put the file and "
        "its module into the package",
    )


def test_a_file_from_s3_can_make_no_object_of_python() -> None:
    with pytest.raises(MappingError, match="could not determine a constructor"):
        tables("s3://b/shop.yml", bucket(shop_yml="table: !!python/object/apply:os.system ['true']"))


def test_faults_of_all_places_are_named_at_once(tmp_path: Path) -> None:
    (tmp_path / "bad.yml").write_text("tabel: x")
    with pytest.raises(MappingError) as caught:
        tables(f"{tmp_path}:s3://b/m/", bucket(m__shop_yml="table: shop\ndocuments: [{indx: a}]"))
    assert any(problem.startswith(f"{tmp_path}/bad.yml:1: ") for problem in caught.value.problems)
    assert any(problem.startswith("s3://b/m/shop.yml:2: ") for problem in caught.value.problems)


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match=r"mappings: s3://b/no.yml can't be read: NoSuchKey\n  → Put it there"):
        tables("s3://b/no.yml", bucket())
    with pytest.raises(ConfigError, match="there is no mapping file below s3://b/m/"):
        tables("s3://b/m/", bucket(m__README="no mapping"))


@pytest.mark.parametrize("url", ["s3://b", "s3://b/", "s3:///key"])
def test_a_place_that_names_no_object_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="names no object"):
        tables(url, bucket(shop_yml=SHOP))


class Denied(SimulatedS3):
    """A bucket that this role may not read."""

    def _draw(self, place: str, kinds: Any) -> str | None:
        raise self._error("AccessDenied", "Access Denied", 403, "GetObject")


@pytest.mark.parametrize(
    ("url", "permission"),
    [
        ("s3://b/shop.yml", r"s3:GetObject on arn:aws:s3:::b/shop.yml"),
        ("s3://b/m/", r"s3:ListBucket on arn:aws:s3:::b\."),
    ],
)
def test_a_denied_read_names_the_action_and_the_resource(url: str, permission: str) -> None:
    with pytest.raises(ConfigError, match=rf"AccessDenied\n  → Allow {permission}"):
        tables(url, Denied(SimulatedClock(), Always("503")))


def test_s3_out_of_reach_is_one_clear_line() -> None:
    s3 = bucket(shop_yml=SHOP)
    s3.faults = Always("no connection")
    with pytest.raises(ConfigError, match=r"s3://b/shop.yml can't be read: EndpointConnectionError"):
        tables("s3://b/shop.yml", s3)


def test_they_are_read_once_when_a_process_is_wired(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []

    def client(service: str, *_: Any) -> SimulatedS3:
        made.append(service)
        return bucket(shop_yml=SHOP)

    monkeypatch.setattr(runtime, "aws_client", client)
    settings = {"CDC_MAPPINGS": "s3://b/shop.yml", "CDC_OPENSEARCH_ENDPOINT": "http://127.0.0.1:9"}
    assert runtime.open_runtime(load_settings(settings)).mappings.of("shop").source == "s3://b/shop.yml"
    assert made == ["s3"]


def test_without_s3_no_client_of_aws_is_imported() -> None:
    code = (
        "import sys\n"
        "from consumers.settings import load_settings\n"
        "from consumers.runtime import open_runtime\n"
        "open_runtime(load_settings({'CDC_MAPPINGS': 'mappings', 'CDC_OPENSEARCH_ENDPOINT': 'http://127.0.0.1:9'}))\n"
        "print('boto3' in sys.modules)"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root, check=True)
    assert done.stdout.strip() == "False"
