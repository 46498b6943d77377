"""Laws of exports: every item is read as it was written, in either format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.loads.export import read_export
from cdc.loads.export_files import items_of_file
from cdc.records.attributes import Item, canonical_number, decode_item
from cdc.testing.clock import SimulatedClock
from cdc.testing.simulated.s3 import SimulatedS3
from tests import strategies
from tests.exporting import LOCATION, ion_line, json_line, write_export

LINES = {"DYNAMODB_JSON": json_line, "ION": ion_line}


@pytest.mark.parametrize("form", LINES)
@given(st.lists(st.lists(strategies.items, max_size=3), max_size=3))
def test_items_are_read_as_they_were_written(form: str, files: list[list[Item]]) -> None:
    line: Callable[[Item], bytes] = LINES[form]
    s3: Any = SimulatedS3(SimulatedClock())
    write_export(s3, [[line(item) for item in items] for items in files], outputFormat=form)
    export = read_export(s3, LOCATION)
    read = [[decode_item(item) for item in items_of_file(s3, export, file)] for file in export.files]
    assert read == files


@given(strategies.numbers)
def test_equal_numbers_have_the_one_text_in_ion(number: Any) -> None:
    s3: Any = SimulatedS3(SimulatedClock())
    write_export(s3, [[ion_line({"n": number})]], outputFormat="ION")
    export = read_export(s3, LOCATION)
    (item,) = items_of_file(s3, export, export.files[0])
    assert item == {"n": {"N": canonical_number(str(number))}}
