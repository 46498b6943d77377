"""One point of the backfill case's growth, in a process of its own: `python -m benchmarks.growing_loads DIMENSION SIZE
QUICK`, as `benchmarks.growing`.

Tables and indices of any size are made as they are read, page by page. A load makes the lines of its bulk requests and
drops them; a verification reads both sides, spools and compares them, each with one worker, so that the time of
reading can be taken off.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson

from benchmarks.growing import Dimension, Encoding, measure
from benchmarks.loading import LoadAlone
from benchmarks.shapes import STREAM
from cdc.loads.backfill import LoadOptions
from cdc.loads.changes import change_of_item
from cdc.loads.deployment import Deployment
from cdc.loads.jobs import FolderObjects, Jobs
from cdc.loads.table import Page, SourceTable
from cdc.mappings.compiled import CompiledMapping, compile_mapping
from cdc.mappings.files import parse_mapping
from cdc.mappings.writes import Put
from cdc.records.attributes import RawItem
from cdc.records.change import StreamView
from cdc.records.stream import Stream
from cdc.records.versions import version_before_stream
from cdc.sinks.opensearch.documents import FoundDocument
from cdc.sinks.opensearch.provenance import RememberedSource
from cdc.verification.verify import verify

__all__ = ["DIMENSIONS"]

_PAGE = 250
"""Items of a page, however large the table: a segment of the smallest has more, so that its pages are no smaller."""
_NUMBER = b"00000000"
_ITEM = {
    "pk": {"S": f"ORDER#{_NUMBER.decode()}"},
    "status": {"S": "open"},
    "total": {"N": "4250"},
    "paid": {"BOOL": False},
    "note": {"S": "leave it at the door, ring twice"},
}
_TEMPLATE = orjson.dumps(_ITEM)


def _segment(size: int, segment: int, segments: int) -> tuple[int, int]:
    return size * segment // segments, size * (segment + 1) // segments


class _Table:
    """A table of `size` items."""

    def __init__(self, size: int) -> None:
        self._size = size

    def describe(self, table: str) -> SourceTable:
        """The table; its size is that of its items."""
        return SourceTable(
            name=table,
            arn=STREAM.arn.partition("/stream/")[0],
            id="one",
            keys=("pk",),
            key_types=("S",),
            item_count=self._size,
            size_bytes=self._size * len(_TEMPLATE),
            stream=STREAM,
            view=StreamView.NEW_AND_OLD_IMAGES,
        )

    def page(
        self,
        table: str,
        segment: int,
        segments: int,
        after: RawItem | None,
        *,
        consistent: bool = False,
        limit: int = 0,
    ) -> Page:
        """Items as they are parsed from an answer."""
        begin, end = _segment(self._size, segment, segments)
        if after is not None:
            begin = int(after["pk"]["S"].rpartition("#")[2]) + 1
        until = min(end, begin + (limit or _PAGE))
        items = orjson.loads(
            b"[%b]" % b",".join(_TEMPLATE.replace(_NUMBER, b"%08d" % one) for one in range(begin, until))
        )
        return Page(items, {"pk": items[-1]["pk"]} if until < end else None, 1.0, int(time.time() * 1_000_000))


class _Documents:
    """The documents of that table's items, as a load has written them."""

    def __init__(self, size: int, compiled: CompiledMapping) -> None:
        version = version_before_stream(STREAM.minute or 0)
        change = change_of_item(_ITEM, {"pk": _ITEM["pk"]}, STREAM, version=version)
        (put,) = compiled.writes(change)
        if not isinstance(put, Put):
            raise TypeError("the item makes no document")
        self._size, self._id, self._source, self._version = size, put.id, bytes(put.source), put.version

    def pages(
        self, index: str, *, slice_: int = 0, slices: int = 1, with_source: bool
    ) -> Iterator[Sequence[FoundDocument]]:
        """The documents of a slice, page by page."""
        begin, end = _segment(self._size, slice_, slices)
        for start in range(begin, end, _PAGE):
            yield [self._document(one, with_source=with_source) for one in range(start, min(end, start + _PAGE))]

    def _document(self, number: int, *, with_source: bool) -> FoundDocument:
        text = f"{number:08d}"
        source = self._source.replace(_NUMBER, text.encode()) if with_source else None
        return FoundDocument(self._id.replace(_NUMBER.decode(), text), self._version, None, source)

    def get(self, index: str, wanted: Sequence[tuple[str, str | None]]) -> Sequence[FoundDocument | None]:
        """Nobody asks where nothing differs."""
        raise RuntimeError("a document differs")

    def count(self, index: str) -> int:
        """All of them."""
        return self._size

    def sample(self, index: str, size: int, seed: int) -> Sequence[FoundDocument]:
        """The first."""
        return [self._document(number, with_source=True) for number in range(size)]

    def sources(self, index: str) -> Mapping[str, Sequence[RememberedSource]]:
        """Nothing is remembered."""
        return {}


def _deployment(size: int) -> Deployment:
    compiled = compile_mapping(
        parse_mapping(f"table: {STREAM.table}\ndocuments: [{{index: orders}}]", source="shop.yml"), STREAM.table
    )

    def prepare(stream: Stream, keys: Sequence[str], view: StreamView | None = None) -> CompiledMapping:
        return compiled

    nobody: Any = None
    return Deployment(
        pages=_Table(size),
        items=nobody,
        prepare=prepare,
        index=lambda _mapping_of: Encoding(compiled),
        load_sink=lambda sink: sink,
        documents=_Documents(size, compiled),
    )


def _load(size: int, quick: bool) -> int:
    """Does as `cdc backfill --no-verify`, as if its ghosts were closed already."""
    with TemporaryDirectory() as folder:
        load = LoadAlone(_deployment(size), Jobs(FolderObjects(Path(folder))), LoadOptions(workers=4))
        plan, units = load.planner.of_table(STREAM.table)
        load.begin(plan, units)
        loaded = load.run(STREAM.table, plan.job, verify=False).loaded
    if loaded.items != size:
        raise RuntimeError("not all items were loaded")
    return 0


def _verification(size: int, quick: bool) -> int:
    """Does as `cdc verify`."""
    findings = verify(_deployment(size), STREAM.table, workers=1, segments=1)
    if findings.equal != size or findings.differences:
        raise RuntimeError(findings.verdict)
    return 0


def _reading(size: int, quick: bool) -> int:
    """The pages and documents of such a verification, made and dropped."""
    deployment = _deployment(size)
    after: RawItem | None = None
    while True:
        page = deployment.pages.page(STREAM.table, 0, 1, after)
        if page.after is None:
            break
        after = page.after
    for _ in deployment.documents.pages("orders", with_source=True):
        pass
    return 0


_SIZES, _QUICK_SIZES = (10_000, 100_000, 1_000_000), (2_000, 4_000)
DIMENSIONS = {
    "load": Dimension("items of a table that is loaded", _SIZES, _QUICK_SIZES, _load, True),
    "verification": Dimension("items of a table that is verified", _SIZES, _QUICK_SIZES, _verification, True),
    "reading": Dimension("items read for a verification", _SIZES, _QUICK_SIZES, _reading, True),
}


if __name__ == "__main__":
    measure(DIMENSIONS, sys.argv[1:])
