"""Laws of coalescing, of the archive's union, and of what is acknowledged."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from cdc.archive import Segment, line_of, unite
from cdc.causes import Cause
from cdc.deadline import Deadline
from cdc.delivery.pipeline import Pipeline
from cdc.mappings.writes import Delete, Put, Write
from cdc.outcome import Applied, Deferred, Outcome, Rejected, Superseded, leading_settled, settled
from cdc.sinks.opensearch.sink import coalesce
from cdc.testing import ScriptedSink, change
from tests import strategies

writes = st.lists(
    st.builds(
        lambda document, version, kind: (
            Put("orders", document, None, version, b"{}") if kind else Delete("orders", document, None, version)
        ),
        st.sampled_from("ab"),
        st.integers(1, 4),
        st.booleans(),
    ),
    max_size=12,
)


class Server:
    """An index with external versions, `external_gte`, that refuses some writes for ever."""

    def __init__(self, refused: frozenset[int]) -> None:
        self.refused = refused
        self.state: dict[str, tuple[int, Write]] = {}

    def send(self, sent: Sequence[Write]) -> Sequence[Outcome]:
        return [self._apply(write) for write in sent]

    def _apply(self, write: Write) -> Outcome:
        if isinstance(write, Put) and write.version in self.refused:
            return Rejected(Cause("refused"))
        if write.id in self.state and self.state[write.id][0] > write.version:
            return Superseded()
        self.state[write.id] = (write.version, write)
        return Applied()


@given(writes, st.frozensets(st.integers(1, 4)))
def test_coalescing_never_changes_the_final_state(sent: list[Write], refused: frozenset[int]) -> None:
    one_by_one, coalesced = Server(refused), Server(refused)
    for write in sent:
        one_by_one.send([write])
    coalesce(sent, coalesced.send)
    assert coalesced.state == one_by_one.state


@given(writes)
def test_all_writes_to_a_deferred_document_are_deferred(sent: list[Write]) -> None:
    found = coalesce(sent, lambda some: [Deferred(Cause("busy"))] * len(some))
    assert found == [Deferred(Cause("busy"))] * len(sent)


@given(st.lists(st.integers(1, 20), max_size=12), st.randoms())
def test_uniting_objects_in_any_order_gives_the_same_set(numbers: list[int], chance: object) -> None:
    lines = [line_of(change({"pk": "a"}, None, {"n": number}, sequence=number)) for number in numbers]
    parts = [Segment.of(lines[:4]), Segment.of(lines[2:8]), Segment.of(lines[6:])]
    chance.shuffle(parts)  # type: ignore[attr-defined]  # Hypothesis' random.Random
    united = Segment.of([])
    for part in parts:
        united = unite(united, part)
    assert united.lines == Segment.of(lines).lines
    assert united.digest == Segment.of(lines).digest


@given(st.lists(strategies.outcomes, max_size=20))
def test_never_more_is_acknowledged_than_the_leading_settled_records(outcomes: list[Outcome]) -> None:
    records = [change({"pk": str(number)}, None, {}, sequence=number + 1) for number in range(len(outcomes))]
    script = dict(zip((str(record.identity) for record in records), outcomes, strict=True))
    sink = ScriptedSink(lambda one: script[str(one.identity)])
    progress = Pipeline(sink, None).process(records, Deadline.after(10))
    assert all(settled(outcome) for outcome in outcomes[: progress.settled])
    assert progress.settled == leading_settled(outcomes)
    assert (progress.resume_at is None) == (progress.settled == len(records))
    if progress.resume_at is not None:
        assert progress.resume_at == records[progress.settled].sequence
    assert sink.flushes == 1
