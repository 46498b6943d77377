"""The rules of loads, verifications and repairs, each broken on purpose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from cdc.loads import planning
from cdc.loads.backfill import Backfill
from cdc.loads.changes import loaded_version
from cdc.loads.plan import Cursor, Unit
from cdc.loads.table import Page
from cdc.loads.unit import ScanPages, UnitLoader
from cdc.records.change import Change
from cdc.records.stream import Stream
from cdc.records.versions import version_in_stream
from cdc.verification import repair
from cdc.verification.looks import Looks

__all__ = ["BROKEN_RULES_OF_LOADS"]

_FIRST_RECORD = 10**20
_RANKS = (1 << 39) - 1


def a_load_at_the_rank_of_the_first_record(patch: pytest.MonkeyPatch) -> None:
    def ranked(stream: Stream, began_micros: int) -> int:
        if stream.minute is None:
            return loaded_version(stream, began_micros)
        return version_in_stream(stream.minute, _FIRST_RECORD)

    patch.setattr("cdc.loads.unit.loaded_version", ranked)


def a_load_at_the_time_of_the_reads_end(patch: pytest.MonkeyPatch) -> None:
    honest = UnitLoader._changes

    def changes(self: UnitLoader, page: Page) -> list[Change]:
        ended = int(self.deployment.now() * 1_000_000)
        return honest(self, Page(page.items, page.after, page.read_units, ended))

    patch.setattr(UnitLoader, "_changes", changes)


def a_load_without_ghosts_closed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Backfill, "_without_ghosts", lambda *_arguments: 0)
    patch.setattr(Backfill, "_verified", lambda *_arguments: None)


def an_export_from_before_the_stream_is_accepted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(planning, "check_export", lambda *_arguments, **_options: None)


def a_page_is_kept_for_hours_and_written(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ScanPages, "has_aged", lambda _self, _page: False)


def a_unit_is_done_before_its_last_page_is_durable(patch: pytest.MonkeyPatch) -> None:
    honest = UnitLoader._written

    def written(self: UnitLoader, unit: Unit, cursor: Cursor) -> Any:
        self.save(self.pages.beyond(cursor, self.pages.page(unit, cursor)))
        return honest(self, unit, cursor)

    patch.setattr(UnitLoader, "_written", written)


def a_repair_at_a_minted_version(patch: pytest.MonkeyPatch) -> None:
    honest = repair.version_of_repair

    def version_of_repair(*arguments: Any) -> int:
        return honest(*arguments) | _RANKS

    patch.setattr(repair, "version_of_repair", version_of_repair)


def candidates_are_repaired_without_a_second_look(patch: pytest.MonkeyPatch) -> None:
    def again(_self: Looks, first: Sequence[Any]) -> Iterator[tuple[Any, Any]]:
        yield from zip(first, first, strict=True)

    patch.setattr(Looks, "again", again)


BROKEN_RULES_OF_LOADS = (
    a_load_at_the_rank_of_the_first_record,
    a_load_at_the_time_of_the_reads_end,
    a_load_without_ghosts_closed,
    an_export_from_before_the_stream_is_accepted,
    a_page_is_kept_for_hours_and_written,
    a_unit_is_done_before_its_last_page_is_durable,
    a_repair_at_a_minted_version,
    candidates_are_repaired_without_a_second_look,
)
