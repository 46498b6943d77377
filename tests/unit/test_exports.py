"""Exports to S3: their manifests, sums, counts and formats, and what may be loaded from them."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec
import pytest

from cdc.errors import ConfigError, SinkUnavailable
from cdc.loads.export import Export, ExportFormat, ExportType, check_export, read_export
from cdc.loads.export_files import items_of_file
from cdc.loads.table import SourceTable
from cdc.records.attributes import Item, RawItem, encode_item
from cdc.records.change import StreamView
from cdc.records.stream import Stream
from cdc.testing.clock import SimulatedClock
from cdc.testing.faults import Always
from cdc.testing.simulated.s3 import SimulatedS3
from tests.exporting import (
    BUCKET,
    FOLDER,
    LOCATION,
    TABLE_ARN,
    TABLE_ID,
    ion_line,
    json_line,
    put_manifest,
    sum_of,
    write_export,
)

ITEM: Item = {
    "pk": "Book 103",
    "authors": frozenset({"Author1", "Author2"}),
    "sizes": frozenset({1, Decimal("2.5")}),
    "hashes": frozenset({b"\x00\xff"}),
    "cover": b"\x01",
    "price": Decimal("12345678901234567890123456789012345678E+80"),
    "weight": Decimal("1E-130"),
    "inPublication": False,
    "nothing": None,
    "list": [1, "x", [], {}],
    "a.b": {"ü": "line\nbreak"},
}


@pytest.fixture
def s3() -> Any:
    return SimulatedS3(SimulatedClock())


def numbered(count: int, first: int = 0) -> list[bytes]:
    return [json_line({"pk": f"k{number}"}) for number in range(first, first + count)]


def items(s3: Any, export: Export) -> list[RawItem]:
    return [item for file in export.files for item in items_of_file(s3, export, file)]


def table(label: str = "2026-01-15T09:30:00.125", **facts: Any) -> SourceTable:
    stream = Stream.dynamodb(f"{TABLE_ARN}/stream/{label}")
    whole = {
        "name": "shop",
        "arn": TABLE_ARN,
        "id": TABLE_ID,
        "keys": ("pk",),
        "key_types": ("S",),
        "item_count": 0,
        "size_bytes": 0,
    }
    return SourceTable(**{**whole, "stream": stream, "view": StreamView.NEW_IMAGE, **facts})


# --- manifests ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("location", [LOCATION, f"{LOCATION}/", f"{LOCATION}/manifest-summary.json"])
@pytest.mark.parametrize("sums", [".md5", ".checksum"])
def test_an_export_is_known_by_its_manifests(s3: Any, location: str, sums: str) -> None:
    write_export(s3, [numbered(2), [], numbered(1, 2)], sums)
    export = read_export(s3, location)
    assert (export.location, export.bucket) == (LOCATION, BUCKET)
    assert (export.table_arn, export.table_id) == (TABLE_ARN, TABLE_ID)
    assert export.time == datetime(2026, 1, 15, 9, 30, 0, 125_000, tzinfo=UTC)
    assert (export.type, export.format, export.since) == (ExportType.FULL, ExportFormat.DYNAMODB_JSON, None)
    assert (export.item_count, [file.item_count for file in export.files]) == (3, [2, 0, 1])
    assert export.files[0].key == f"{FOLDER}/data/file0.gz"
    assert items(s3, export) == [{"pk": {"S": f"k{number}"}} for number in range(3)]


def test_an_export_goes_through_json_whole(s3: Any) -> None:
    write_export(s3, [numbered(2)])
    export = read_export(s3, LOCATION)
    assert msgspec.json.decode(msgspec.json.encode(export), type=Export) == export


def test_a_copied_export_is_read_where_it_lies(s3: Any) -> None:
    write_export(s3, [numbered(2)])
    for key, stored in list(s3.objects.items()):
        copied = key.replace("2026/AWSDynamoDB", "restored/of/shop")
        s3.put_object(Bucket="elsewhere", Key=copied, Body=stored.body)
        s3.delete_object(Bucket=BUCKET, Key=key)
    export = read_export(s3, "s3://elsewhere/" + FOLDER.replace("2026/AWSDynamoDB", "restored/of/shop"))
    assert len(items(s3, export)) == 2


def test_an_incremental_export_is_known_as_one(s3: Any) -> None:
    window = {"exportFromTime": "2026-01-15T09:00:00.000Z", "exportToTime": "2026-01-15T09:30:00.000Z"}
    write_export(s3, [[]], exportType="INCREMENTAL_EXPORT", exportTime=None, **window)
    export = read_export(s3, LOCATION)
    assert (export.type, export.since) == (ExportType.INCREMENTAL, datetime(2026, 1, 15, 9, tzinfo=UTC))
    assert export.time == datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
    with pytest.raises(ConfigError, match=r"is an incremental export: it lacks the items.*\n.*Give a full export"):
        check_export(export, table())
    with pytest.raises(ConfigError, match=r"is an incremental export\n.*Give a full export"):
        items(s3, export)


def without(key: str) -> Callable[[Any], None]:
    return lambda s3: s3.delete_object(Bucket=BUCKET, Key=f"{FOLDER}/{key}")


def with_body(key: str, body: bytes) -> Callable[[Any], None]:
    return lambda s3: s3.put_object(Bucket=BUCKET, Key=f"{FOLDER}/{key}", Body=body)


def with_manifest(name: str, body: bytes) -> Callable[[Any], None]:
    return lambda s3: put_manifest(s3, name, body)


def with_facts(**facts: Any) -> Callable[[Any], None]:
    return lambda s3: write_export(s3, [numbered(2)], **facts)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (
            without("manifest-summary.json"),
            "is not finished: manifest-summary.json is not there yet\n.*describe-export",
        ),
        (without("manifest-files.json"), "manifest-files.json is not there\n"),
        (without("manifest-summary.md5"), "manifest-summary.json is broken: its sum manifest-summary.md5 is not there"),
        (with_body("manifest-summary.json", b"{}"), "manifest-summary.json is broken: it does not match its sum"),
        (with_body("manifest-files.md5", b"?\xff"), "manifest-files.json is broken: it does not match its sum"),
        (with_manifest("manifest-summary", b"{"), "manifest-summary.json is broken: Input data was truncated"),
        (with_manifest("manifest-summary", b"{}"), "manifest-summary.json is broken: .*missing required field"),
        (with_manifest("manifest-files", b'{"itemCount":"2"}\n'), "manifest-files.json is broken: line 1: Expected"),
        (with_manifest("manifest-files", b"\xff\n"), "manifest-files.json is broken: line 1: "),
        (with_facts(itemCount=3), "itemCount is 3, and the files of manifest-files.json have 2"),
        (with_facts(exportTime=None), "manifest-summary.json is broken: exportTime is missing"),
        (with_facts(outputFormat="CSV"), "outputFormat is 'CSV', which is not known here\n.*DYNAMODB_JSON or ION"),
        (with_facts(exportType="NEW"), "exportType is 'NEW', which is not known here\n"),
    ],
)
def test_a_broken_manifest_is_refused_by_its_name(s3: Any, broken: Callable[[Any], None], message: str) -> None:
    write_export(s3, [numbered(2)])
    broken(s3)
    with pytest.raises(ConfigError, match=message) as refused:
        read_export(s3, LOCATION)
    assert LOCATION in refused.value.message
    assert refused.value.remedy


def test_where_no_export_is_or_was_begun_the_folder_is_named(s3: Any) -> None:
    with pytest.raises(ConfigError, match=r"s3://exports/x holds no export.*\n.*list-exports"):
        read_export(s3, "s3://exports/x")


@pytest.mark.parametrize("location", ["", "exports/x", "s3://exports", "s3://exports/", "https://s3/x"])
def test_a_location_that_is_none_is_refused(s3: Any, location: str) -> None:
    with pytest.raises(ConfigError, match=r"is not the location of an export\n.*s3://bucket/prefix/AWSDynamoDB/<id>"):
        read_export(s3, location)


class Refusing(SimulatedS3):
    """Refuses to give objects whose name ends so."""

    def __init__(self, code: str, *ends: str) -> None:
        super().__init__(SimulatedClock())
        self.code, self.ends = code, ends

    def get_object(self, *, Bucket: str, Key: str, **options: Any) -> dict[str, Any]:  # noqa: N803
        if Key.endswith(self.ends):
            raise self.exceptions.ClientError({"Error": {"Code": self.code, "Message": "no"}}, "GetObject")
        return super().get_object(Bucket=Bucket, Key=Key, **options)


@pytest.mark.parametrize("ends", [("manifest-summary.json",), (".md5",), (".gz",)])
def test_a_bucket_that_may_not_be_read_names_the_right(ends: tuple[str, ...]) -> None:
    s3: Any = Refusing("AccessDenied", *ends)
    write_export(s3, [numbered(2)])
    with pytest.raises(
        ConfigError, match=r"may not be read: AccessDenied\n.*Allow s3:GetObject and s3:ListBucket on e"
    ):
        items(s3, read_export(s3, LOCATION))


def test_where_absence_may_not_be_known_the_other_name_of_the_sum_is_tried() -> None:
    s3: Any = Refusing("AccessDenied", ".md5")
    write_export(s3, [numbered(2)], ".checksum")
    assert len(items(s3, read_export(s3, LOCATION))) == 2


def test_a_bucket_that_is_not_there_is_a_fault_of_the_settings() -> None:
    elsewhere: Any = Refusing("NoSuchBucket", "json")
    with pytest.raises(ConfigError, match=r"can't be read: NoSuchBucket\n.*Check the bucket's name and AWS_REGION"):
        read_export(elsewhere, LOCATION)


@pytest.mark.parametrize("fault", ["503", "timeout", "no connection"])
def test_while_s3_is_out_of_reach_it_may_be_asked_again(fault: str) -> None:
    s3: Any = SimulatedS3(SimulatedClock(), Always(fault))
    with pytest.raises(SinkUnavailable, match=r"manifest-summary.json can't be read"):
        read_export(s3, LOCATION)


# --- data files --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("form", "line"), [("DYNAMODB_JSON", json_line), ("ION", ion_line)])
def test_items_are_read_exactly_from_both_formats(s3: Any, form: str, line: Callable[[Item], bytes]) -> None:
    write_export(s3, [[line(ITEM), line({})], []], outputFormat=form)
    whole, empty = items(s3, read_export(s3, LOCATION))
    assert {name: sorted_sets(value) for name, value in whole.items()} == {
        **encode_item(ITEM),
        "price": {"N": whole["price"]["N"]},
    }
    assert Decimal(whole["price"]["N"]) == ITEM["price"]
    assert empty == {}


def sorted_sets(value: Any) -> Any:
    ((tag, content),) = value.items()
    return {tag: sorted(content, key=lambda one: Decimal(one) if tag == "NS" else one)} if tag[1:] == "S" else value


def test_the_example_of_the_documentation_is_read(s3: Any) -> None:
    text = (
        '$ion_1_0 {Item:{Authors:$dynamodb_SS::["Author1","Author2"],Id:103.,InPublication:false,PageCount:6d2,'
        'Price:2d3,Title:"Book 103 Title"}}\n'
    )
    write_export(s3, [[text.encode()]], outputFormat="ION")
    assert items(s3, read_export(s3, LOCATION)) == [
        {
            "Authors": {"SS": ["Author1", "Author2"]},
            "Id": {"N": "103"},
            "InPublication": {"BOOL": False},
            "PageCount": {"N": "600"},
            "Price": {"N": "2000"},
            "Title": {"S": "Book 103 Title"},
        }
    ]


def test_items_of_the_greatest_size_are_read_from_ion(s3: Any) -> None:
    large: Item = {"pk": "k", "text": "\x01" * 400_000}
    write_export(s3, [[ion_line(large)] * 3], outputFormat="ION")
    assert items(s3, read_export(s3, LOCATION)) == [encode_item(large)] * 3


def test_where_ion_is_not_installed_the_extra_is_named(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    write_export(s3, [[ion_line(ITEM)]], outputFormat="ION")
    monkeypatch.setitem(sys.modules, "amazon.ion", None)
    with pytest.raises(ConfigError, match=r"needs the package amazon.ion\n.*pip install '.\[ion\]'"):
        items(s3, read_export(s3, LOCATION))


def test_of_a_file_that_does_not_match_its_sum_no_item_is_given(s3: Any) -> None:
    write_export(s3, [numbered(3)])
    export = read_export(s3, LOCATION)
    with_body("data/file0.gz", gzip.compress(b"".join(numbered(3, 1))))(s3)
    with pytest.raises(ConfigError, match=r"file0.gz does not match its sum md5Checksum.*\n.*ask for a new export"):
        next(items_of_file(s3, export, export.files[0]))


def test_a_data_file_that_is_gone_is_named(s3: Any) -> None:
    write_export(s3, [numbered(3)])
    export = read_export(s3, LOCATION)
    without("data/file0.gz")(s3)
    with pytest.raises(ConfigError, match=r"s3://exports/.*/data/file0.gz is not there\n.*ask for a new export"):
        next(items_of_file(s3, export, export.files[0]))


@pytest.mark.parametrize(
    ("wanted", "message"), [(2, "has more items than its itemCount.* says: 2"), (4, "has 3 items, and")]
)
def test_the_last_item_is_given_once_the_count_is_known(s3: Any, wanted: int, message: str) -> None:
    write_export(s3, [numbered(3)])
    export = read_export(s3, LOCATION)
    file = msgspec.structs.replace(export.files[0], item_count=wanted)
    given = items_of_file(s3, export, file)
    assert len(list(islice(given, wanted - 1 if wanted < 3 else 2))) < 3
    with pytest.raises(ConfigError, match=message):
        next(given)


@pytest.mark.parametrize(
    ("form", "content", "message"),
    [
        ("DYNAMODB_JSON", b'{"Item":', "holds no item of an export behind item 1: a line that is no JSON"),
        ("DYNAMODB_JSON", b"[]\n", "behind item 1: an entry without Item"),
        ("DYNAMODB_JSON", b'{"Item":[]}\n', "behind item 1: an entry without Item"),
        ("ION", b"$ion_1_0 {Item:{a:\n", "behind item 1: not readable as Ion text"),
        ("ION", b"$ion_1_0 7\n", "behind item 1: an entry without Item"),
        ("ION", b"$ion_1_0 {Item:{a:2026-01-15}}\n", "behind item 1: an attribute is no timestamp"),
        ("ION", b"$ion_1_0 {Item:{a:1e0}}\n", "behind item 1: an attribute is no float"),
        ("ION", b"$ion_1_0 {Item:{a:secret}}\n", "behind item 1: an attribute is no symbol"),
        ("ION", b"$ion_1_0 {Item:{a:null.string}}\n", "behind item 1: an attribute is no null.string"),
        ("ION", b"$ion_1_0 {Item:{a:x::1.}}\n", "behind item 1: an attribute is no annotated decimal"),
        ("ION", b"$ion_1_0 {Item:x::{}}\n", "behind item 1: an item is a struct, not annotated struct"),
        ("ION", b"$ion_1_0 {Item:{a:$dynamodb_SS::[1.]}}\n", "behind item 1: a set SS with a member that is no S"),
        ("ION", b"$ion_1_0 {Item:{a:x::[1.]}}\n", "behind item 1: a list with annotations other than"),
    ],
)
def test_a_file_of_something_else_is_refused_and_not_quoted(s3: Any, form: str, content: bytes, message: str) -> None:
    line = json_line if form == "DYNAMODB_JSON" else ion_line
    write_export(s3, [[line({"pk": "k"}), content]], outputFormat=form)
    with pytest.raises(ConfigError, match=message) as refused:
        items(s3, read_export(s3, LOCATION))
    assert "secret" not in str(refused.value)


def test_a_file_that_is_not_compressed_is_refused(s3: Any) -> None:
    write_export(s3, [numbered(1)])
    body = b"".join(numbered(1))
    with_body("data/file0.gz", body)(s3)
    entry = {"itemCount": 1, "md5Checksum": sum_of(body), "dataFileS3Key": f"{FOLDER}/data/file0.gz"}
    put_manifest(s3, "manifest-files", json.dumps(entry).encode())
    with pytest.raises(ConfigError, match=r"file0.gz can't be decompressed behind item 0: BadGzipFile"):
        items(s3, read_export(s3, LOCATION))


def test_a_full_disk_is_told(s3: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, *_: Any) -> None: ...
        def __enter__(self) -> Full:
            return self

        def __exit__(self, *_: object) -> None: ...
        def write(self, _chunk: bytes) -> int:
            raise OSError(28, "No space left on device")

    write_export(s3, [numbered(1)])
    monkeypatch.setattr("cdc.loads.export_files.SpooledTemporaryFile", Full)
    with pytest.raises(ConfigError, match=r"the temporary folder: No space left on device\n.*set TMPDIR"):
        items(s3, read_export(s3, LOCATION))


# --- law 2: a read begins after its stream ------------------------------------------------------------------------


@pytest.fixture
def export(s3: Any) -> Export:
    write_export(s3, [numbered(1)])
    return read_export(s3, LOCATION)


def test_an_export_taken_once_the_stream_was_on_may_be_loaded(export: Export) -> None:
    check_export(export, table())
    check_export(export, table(id=""))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (table(arn=f"{TABLE_ARN}2"), "is an export of another table: of .*table/shop, not of .*table/shop2\n"),
        (table(id="another"), f"is an export of an earlier table shop: of {TABLE_ID}, not of another\n.*made anew"),
        (
            table("2026-01-15T09:30:00.126"),
            "at 2026-01-15T09:30:00.125Z, before its stream began at .*00.126Z.*\n.*--export-now",
        ),
    ],
)
def test_an_export_of_another_table_or_from_before_the_stream_is_refused(
    export: Export, other: SourceTable, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        check_export(export, other)


def test_through_kinesis_only_the_caller_knows_since_when(export: Export) -> None:
    followed = table(stream=None, view=None)
    check_export(export, followed)
    check_export(export, followed, not_before=export.time)
    with pytest.raises(ConfigError, match="before its stream began"):
        check_export(export, followed, not_before=export.time + timedelta(milliseconds=1))
