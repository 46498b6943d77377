"""Trial: documents written to a scratch index, and what OpenSearch refuses of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import msgspec

from cdc.causes import CauseKind
from cdc.deadline import Deadline
from cdc.errors import SinkUnavailable
from cdc.loads.deployment import Deployment
from cdc.mappings.model import TableMapping
from cdc.mappings.writes import Put
from cdc.outcome import Applied, Deferred, Outcome, Rejected
from cdc.rebuilds.mapping_diff import Refusal
from cdc.records.change import Change
from cdc.sinks.opensearch.sink import OpenSearchSink
from cdc.sinks.opensearch.targets import Targets
from cdc.verification.patience import patiently

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

__all__ = ["Trial"]

_SECONDS = 60.0
"""For one request and those that it leads to."""

Becomes = Literal["set aside", "dead letter"]


class _QuietTargets(Targets):
    """Indices of which nobody needs to be told on the way: the report says it."""

    def label_of_aside(self, index: str, name: str) -> tuple[str, bool]:
        return name, False


@dataclass(frozen=True)
class _Writer:
    """Gives each change the document that was made of it already."""

    mapping: TableMapping
    puts: dict[int, Put]

    def writes(self, change: Change) -> Sequence[Put]:
        return (self.puts[id(change)],)


@dataclass
class Trial:
    """Writes documents to the index `scratch`, and counts what is refused."""

    deployment: Deployment
    client: OpenSearch
    mapping: TableMapping
    scratch: str
    taken_again: int = 0
    """Documents that are taken whole, with fields set aside in the index of today."""
    refused_ids: list[str] = field(default_factory=list)
    _refused: Counter[tuple[str, Becomes]] = field(default_factory=Counter)
    _new: Counter[tuple[str, Becomes]] = field(default_factory=Counter)

    def write(self, documents: Sequence[tuple[Change, Put, bool | None]]) -> int:
        """Write documents; how many of them the index takes, be it with fields set aside.

        Args:
            documents: each with the change that it was made of, and whether fields of it are set aside in the index of
                today; None: it has no such document.

        Raises:
            SinkUnavailable: OpenSearch has been out of reach for ten minutes.
        """
        whole = [
            (change, msgspec.structs.replace(put, index=self.scratch, may_set_aside=False))
            for change, put, _ in documents
        ]
        outcomes = self._sent(whole)
        again = [
            position
            for position, outcome in enumerate(outcomes)
            if isinstance(outcome, Rejected)
            and outcome.cause.kind is CauseKind.DOCUMENT_REFUSED
            and documents[position][1].may_set_aside
        ]
        parts = [(whole[at][0], msgspec.structs.replace(whole[at][1], may_set_aside=True)) for at in again]
        aside = {at for at, outcome in zip(again, self._sent(parts), strict=True) if isinstance(outcome, Applied)}
        taken = 0
        for position, ((_, put, today), outcome) in enumerate(zip(documents, outcomes, strict=True)):
            if not isinstance(outcome, Rejected):
                taken += 1
                self.taken_again += today is True
                continue
            taken += position in aside
            becomes: Becomes = "set aside" if position in aside else "dead letter"
            is_new = today is False or (today is True and becomes == "dead letter")
            self.refuse(outcome, becomes, put.id, is_new=is_new)
        return taken

    def refuse(self, outcome: Rejected, becomes: Becomes, identifier: str, *, is_new: bool) -> None:
        """Count a refusal."""
        reason = outcome.problem or outcome.cause.text, becomes
        self._refused[reason] += 1
        self._new[reason] += is_new
        self.refused_ids.append(identifier)

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """The reasons, the most frequent first."""
        return tuple(
            Refusal(problem, becomes, count, self._new[problem, becomes])
            for (problem, becomes), count in self._refused.most_common()
        )

    def _sent(self, writes: Sequence[tuple[Change, Put]]) -> Sequence[Outcome]:
        puts = {id(change): put for change, put in writes}
        writer = _Writer(self.mapping, puts)
        sink = OpenSearchSink(
            self.client, lambda _table: writer, _QuietTargets({self.scratch: False}), accept_milliseconds=True
        )

        def send() -> Sequence[Outcome]:
            deadline = Deadline.after(_SECONDS, clock=self.deployment.clock)
            outcomes = sink.write([change for change, _ in writes], deadline)
            deferred = next((one for one in outcomes if isinstance(one, Deferred)), None)
            if deferred is not None:
                raise SinkUnavailable(
                    "opensearch", deferred.cause.text, remedy=deferred.cause.remedy, kind=deferred.cause.kind
                )
            return [_without_others(outcome) for outcome in outcomes]

        return patiently(self.deployment, send) if writes else ()


def _without_others(outcome: Outcome) -> Outcome:
    return replace(outcome, others=()) if isinstance(outcome, Rejected) else outcome
