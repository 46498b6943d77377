"""Setting aside: a document that the index refuses for its shape is written all the same, at the same version."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import orjson

from cdc.causes import Cause, CauseKind
from cdc.deadline import Deadline
from cdc.mappings.model import ASIDE_FIELD, ASIDE_NAMES_FIELD, RESERVED_FIELDS
from cdc.mappings.writes import Put, Write
from cdc.observer import Observer, SetAside
from cdc.outcome import Applied, Deferred, Outcome, Rejected
from cdc.sinks.opensearch.bodies import ASIDE_PROPERTIES
from cdc.sinks.opensearch.client import within
from cdc.sinks.opensearch.refusals import refusal_of
from cdc.sinks.opensearch.targets import Targets
from cdc.sinks.opensearch.unfit import Attempt

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

__all__ = ["SettingAside"]

log = logging.getLogger(__name__)

Send = Callable[[Sequence[Write]], Sequence[Outcome]]

_HELD_SECONDS = 300.0
"""How long an index is believed to have the fields for what is set aside."""


@dataclass
class SettingAside:
    """Sends writes, and those again that the index refuses for their shape, with what does not fit set aside."""

    client: OpenSearch
    targets: Targets
    observer: Observer
    timeout_seconds: float
    _holding: dict[str, float] = field(default_factory=dict)

    def sent(self, writes: Sequence[Write], send: Send, deadline: Deadline) -> Sequence[Outcome]:
        """The outcomes of the writes, sent by `send`."""
        unfit = [position for position, write in enumerate(writes) if isinstance(write, Put) and write.unfit]
        outcomes = self._sent_prepared(writes, unfit, send, deadline) if unfit else send(writes)
        refused = [position for position, outcome in enumerate(outcomes) if _is_of_shape(outcome, writes[position])]
        return self._again(writes, list(outcomes), refused, send, deadline) if refused else outcomes

    def _sent_prepared(
        self, writes: Sequence[Write], unfit: Sequence[int], send: Send, deadline: Deadline
    ) -> Sequence[Outcome]:
        """Fields with names that no index takes are set aside before anything is sent."""
        prepared: list[Write] = list(writes)
        known: dict[int, Outcome] = {}
        attempts: dict[int, Attempt] = {}
        for position in unfit:
            write = writes[position]
            if not isinstance(write, Put):
                continue
            holds = write.may_set_aside and self._holds(write.index, deadline)
            if isinstance(holds, Deferred):
                known[position] = holds
            elif holds:
                attempts[position] = Attempt(write, set(write.unfit))
                prepared[position] = attempts[position].put
            elif reserved := sorted(RESERVED_FIELDS.intersection(write.unfit)):
                cause = Cause(f"the document has a field {reserved[0]}, which is reserved", CauseKind.DOCUMENT_REFUSED)
                known[position] = _with_remedy(Rejected(cause, document=f"{write.index}/{write.id}"), write)
        rest = iter(send([write for position, write in enumerate(prepared) if position not in known]))
        outcomes = [known[position] if position in known else next(rest) for position in range(len(writes))]
        self._tell(attempts, outcomes, {})
        return outcomes

    def _again(
        self, writes: Sequence[Write], outcomes: list[Outcome], refused: Sequence[int], send: Send, deadline: Deadline
    ) -> Sequence[Outcome]:
        attempts: dict[int, Attempt] = {}
        first: dict[int, Rejected] = {}
        for position in refused:
            write, outcome = writes[position], outcomes[position]
            if not isinstance(write, Put) or not isinstance(outcome, Rejected):
                continue
            holds = self._holds(write.index, deadline)
            if isinstance(holds, Deferred):
                outcomes[position] = holds
            elif holds:
                attempts[position], first[position] = Attempt(write, set(write.unfit)), outcome
            else:
                outcomes[position] = _with_remedy(outcome, write)
        looked = _Look(self.client, deadline, self.timeout_seconds)
        active = list(attempts)
        while active:
            active = [position for position in active if self._widen(attempts[position], outcomes[position], looked)]
            if not active:
                break
            for position, outcome in zip(active, send([attempts[position].put for position in active]), strict=True):
                outcomes[position] = outcome
            active = [position for position in active if _is_of_shape(outcomes[position], writes[position])]
        self._tell(attempts, outcomes, first)
        for position, rejected in first.items():
            if isinstance(outcomes[position], Rejected):
                outcomes[position] = rejected  # the first refusal says most
        return outcomes

    def _widen(self, attempt: Attempt, outcome: Outcome, looked: _Look) -> bool:
        detail = outcome.detail if isinstance(outcome, Rejected) else ""
        return attempt.widen(detail, lambda: looked.properties(attempt.original.index))

    def _holds(self, index: str, deadline: Deadline) -> bool | Deferred:
        """Has the index the fields for what is set aside? Ours have; into another's none is made."""
        now = deadline.clock()
        if now - self._holding.get(index, -_HELD_SECONDS) < _HELD_SECONDS:
            return True
        from opensearchpy.exceptions import NotFoundError, OpenSearchException

        try:
            found = within(self.client, deadline, self.timeout_seconds).indices.get_mapping(
                index=index,
                params={
                    "filter_path": f"*.mappings.properties.{ASIDE_FIELD},*.mappings.properties.{ASIDE_NAMES_FIELD}"
                },
            )
        except NotFoundError:
            return Deferred(Cause(f"the index {index} has vanished", CauseKind.INDEX_VANISHED))
        except OpenSearchException as error:
            text = f"the mapping of the index {index} can't be read: {type(error).__name__}"
            return Deferred(Cause(text, CauseKind.OUT_OF_REACH))
        properties = [state.get("mappings", {}).get("properties", {}) for state in found.values()]
        holds = bool(properties) and all(
            one.get(ASIDE_FIELD, {}).get("enabled") is False and ASIDE_NAMES_FIELD in one for one in properties
        )
        if holds:
            self._holding[index] = now
        return holds

    def _tell(
        self, attempts: Mapping[int, Attempt], outcomes: Sequence[Outcome], refusals: Mapping[int, Rejected]
    ) -> None:
        for position, attempt in attempts.items():
            if not isinstance(outcomes[position], Applied):
                continue
            index = attempt.original.index
            told = refusal_of(refusals[position].detail) if position in refusals else ""
            for name in sorted(attempt.aside):
                label, new = self.targets.label_of_aside(index, name)
                self.observer(SetAside(index, label))
                if new:
                    log.warning(
                        "%s does not take %r as it comes; it is set aside in %s%s. "
                        "`cdc mappings aside --index %s` shows what would give it a home",
                        index,
                        label,
                        ASIDE_FIELD,
                        f" ({told})" if str(told) else "",
                        index,
                    )


@dataclass
class _Look:
    """A look at index mappings: each is asked for once."""

    client: OpenSearch
    deadline: Deadline
    timeout_seconds: float
    _found: dict[str, Mapping[str, Any]] = field(default_factory=dict)

    def properties(self, index: str) -> Mapping[str, Any]:
        """The properties of the index mapping; none where it can't be read, which makes all of them unknown."""
        if index not in self._found:
            from opensearchpy.exceptions import OpenSearchException

            try:
                found = within(self.client, self.deadline, self.timeout_seconds).indices.get_mapping(index=index)
            except OpenSearchException:
                found = {}
            states = list(found.values())
            self._found[index] = states[0].get("mappings", {}).get("properties", {}) if states else {}
        return self._found[index]


def _is_of_shape(outcome: Outcome, write: Write) -> bool:
    return (
        isinstance(outcome, Rejected)
        and outcome.cause.kind is CauseKind.DOCUMENT_REFUSED
        and isinstance(write, Put)
        and write.may_set_aside
    )


def _with_remedy(outcome: Rejected, write: Write) -> Rejected:
    lines = orjson.dumps({"properties": ASIDE_PROPERTIES}).decode()
    return replace(
        outcome,
        detail=f"{outcome.detail}\nThe index {write.index} has no fields for what it refuses, so nothing could be set "
        f"aside. Add them: PUT {write.index}/_mapping {lines}",
    )
