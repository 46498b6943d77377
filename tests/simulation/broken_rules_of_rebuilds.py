"""The rules of rebuilds and of an index's members, each broken on purpose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from cdc.loads.backfill import Backfill
from cdc.mappings.compiled import CompiledMapping
from cdc.mappings.writes import Delete
from cdc.rebuilds.filling import Filled
from cdc.records.change import Change
from cdc.sinks.opensearch import fresh_members, members
from cdc.sinks.opensearch.carried import CarriedMapping
from cdc.sinks.opensearch.members import Members, Standing
from cdc.verification.findings import Findings

__all__ = ["BROKEN_RULES_OF_REBUILDS"]


def a_swap_before_the_load_and_the_verification(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Backfill, "_load", lambda *_arguments: None)
    _without_verification(patch)


def a_swap_of_a_load_that_was_not_finished(patch: pytest.MonkeyPatch) -> None:
    """Whatever was begun counts as done when the rebuild goes on."""
    honest = Backfill._load

    def load(self: Backfill, plan: Any, *arguments: Any) -> None:
        if not self.jobs.cursors(plan.table, plan.job):
            honest(self, plan, *arguments)

    patch.setattr(Backfill, "_load", load)
    _without_verification(patch)


def _without_verification(patch: pytest.MonkeyPatch) -> None:
    honest: Callable[..., Findings] = Backfill._verified

    def verified(self: Backfill, plan: Any) -> Findings:
        return _all_equal(honest(self, plan))

    patch.setattr(Backfill, "_verified", verified)
    patch.setattr(Filled, "is_proven", True)


def _all_equal(findings: Findings) -> Findings:
    return msgspec.structs.replace(findings, counts={})


def members_are_known_for_ever(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Members, "_age", lambda _self, _known: 0.0)


def deletes_go_to_the_old_index_alone(patch: pytest.MonkeyPatch) -> None:
    honest = CompiledMapping.writes

    def writes(self: CompiledMapping, change: Change) -> Sequence[Any]:
        """A mapping of several members has the searched one first."""
        found, names = list(honest(self, change)), [owner.index for owner in self.owners]
        several = sum(name.startswith("orders") for name in names) > 1
        first = next((name for name in names if name.startswith("orders")), "")
        return [
            one
            for one in found
            if not (several and isinstance(one, Delete) and one.index.startswith("orders") and one.index != first)
        ]

    patch.setattr(CompiledMapping, "writes", writes)


def every_member_is_written_by_the_rules_of_the_process(patch: pytest.MonkeyPatch) -> None:
    def own(self: Standing, _own: CompiledMapping) -> list[CarriedMapping | None]:
        return [None] * max(1, len(self.memories))

    patch.setattr(Standing, "_mappings", own)


def the_searched_index_alone_is_written(patch: pytest.MonkeyPatch) -> None:
    honest = members.standing_of

    def standing_of(client: Any, index: str) -> Standing:
        standing = honest(client, index)
        return replace(standing, memories=standing.memories[:1])

    patch.setattr(members, "standing_of", standing_of)


def a_process_of_the_old_file_goes_on_by_it_after_the_end(patch: pytest.MonkeyPatch) -> None:
    honest = fresh_members._of_members

    def of_members(own: CompiledMapping, standings: Any, *, mended: bool) -> CompiledMapping:
        is_rebuilt = any(len(standing.memories) > 1 for standing in standings.values())
        return honest(own, standings, mended=mended) if is_rebuilt else own

    patch.setattr(fresh_members, "_of_members", of_members)


BROKEN_RULES_OF_REBUILDS = (
    a_swap_before_the_load_and_the_verification,
    a_swap_of_a_load_that_was_not_finished,
    members_are_known_for_ever,
    deletes_go_to_the_old_index_alone,
    every_member_is_written_by_the_rules_of_the_process,
    the_searched_index_alone_is_written,
    a_process_of_the_old_file_goes_on_by_it_after_the_end,
)
