"""Plans of loads: into how many segments a table is cut."""

from __future__ import annotations

import pytest

from cdc.loads.plan import segments_of
from cdc.loads.table import SourceTable

MB = 1_000_000


@pytest.mark.parametrize(
    ("size_bytes", "segments"),
    [(0, 16), (10 * MB, 16), (19 * MB, 20), (60 * MB, 64), (1_000 * MB, 64), (10_000 * MB, 299)],
)
def test_segments_are_many_more_than_workers_and_of_small_tables_a_page_each(size_bytes: int, segments: int) -> None:
    table = SourceTable("shop", "arn", "one", ("pk",), ("S",), 1, size_bytes, None, None)
    assert segments_of(table, workers=4) == segments
