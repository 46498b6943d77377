"""The answer comes before the limit, however slow the servers are: over a simulated clock."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdc import Applied, Change, Deadline, Deferred, Outcome, Rejected
from cdc.causes import Cause
from cdc.dead_letters.s3 import S3DeadLetters
from cdc.delivery.dead_lettering import DeadLettering
from cdc.errors import ConfigError, SinkUnavailable
from cdc.item_reader import DynamoDBItems
from cdc.sinks.functions import FunctionSink
from cdc.sinks.opensearch.client import timeout_of, within
from cdc.slowest import Slowest
from cdc.testing import ScriptedSink, SimulatedClock, SimulatedOpenSearch, SimulatedS3, change
from tests.invoking import Deployment, event_of, records, refuses_poison

AWS_SECONDS = 8.0
"""The default of CDC_AWS_TIMEOUT_SECONDS, which bounds every request to S3."""


@dataclass
class Slow:
    """A server whose answers take as long as `delays` say; a request is given up as its client would."""

    server: Any
    clock: SimulatedClock
    delays: Callable[[], float]
    give_up: Callable[[float], Exception]
    timeout_seconds: float = 30.0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.server, name)
        if name in ("indices", "exceptions"):
            return (
                Slow(found, self.clock, self.delays, self.give_up, self.timeout_seconds) if name == "indices" else found
            )
        if not callable(found) or name in ("documents", "restart"):
            return found

        def ask(*args: Any, **facts: Any) -> Any:
            asked = (facts.get("params") or {}).get("request_timeout")
            limit = self.timeout_seconds if asked is None else asked.total
            delay = self.delays()
            self.clock.sleep(min(delay, limit))
            if delay > limit:
                raise self.give_up(limit)
            return found(*args, **facts)

        return ask


def no_answer(seconds: float) -> Exception:
    from opensearchpy.exceptions import ConnectionTimeout

    return ConnectionTimeout("TIMEOUT", "no answer", TimeoutError(seconds))


def no_answer_of_s3(_seconds: float) -> Exception:
    from botocore.exceptions import ReadTimeoutError

    return ReadTimeoutError(endpoint_url="https://s3")


def slow(search: Iterable[float] = (0.0,), s3: Iterable[float] = (0.0,), **facts: Any) -> Deployment:
    """A function whose servers answer with these delays, one after the other and over again."""
    clock = SimulatedClock()
    server = SimulatedOpenSearch(clock, rejects=refuses_poison)
    search_delays, s3_delays = itertools.cycle(search), itertools.cycle(s3)
    return Deployment(
        clock=clock,
        server=Slow(server, clock, lambda: next(search_delays), no_answer),
        s3=Slow(SimulatedS3(clock), clock, lambda: next(s3_delays), no_answer_of_s3, AWS_SECONDS),
        **facts,
    )


def test_opensearch_that_never_answers_leaves_time_for_the_answer() -> None:
    deployment = slow()
    assert deployment.invoke(event_of(*records(1))) == []
    deployment.server.delays = lambda: 1000.0
    assert deployment.invoke(event_of(*records(3))) == ["1"]
    assert deployment.left >= 0


def test_opensearch_that_never_answers_a_new_function_leaves_time_for_the_answer() -> None:
    deployment = slow(search=[1000.0])
    assert deployment.invoke(event_of(*records(3))) == ["1"]
    assert deployment.left >= 0


def test_an_archive_that_never_answers_leaves_time_for_the_answer_and_acknowledges_nothing() -> None:
    deployment = slow(s3=[1000.0])
    assert deployment.invoke(event_of(*records(3))) == ["1"]
    assert deployment.left >= 0


def test_dead_letters_that_take_long_leave_time_for_the_answer() -> None:
    deployment = slow(s3=[7.5], environment={"CDC_ON_MASS_REJECT": "dead_letter"})
    answer = deployment.invoke(event_of(*records(40, *range(1, 41))))
    assert deployment.left >= 0
    assert deployment.kept
    assert answer == [str(len(deployment.kept) + 1)]


def test_unreadable_records_that_take_long_to_keep_leave_time_for_the_answer() -> None:
    deployment = slow(s3=[7.9], environment={"CDC_ARCHIVE_BUCKET": ""})
    unreadable = [{**record, "eventName": "?"} for record in records(40)]
    answer = deployment.invoke(event_of(*unreadable))
    assert deployment.left >= 0
    assert deployment.kept
    assert answer == [str(len(deployment.kept) + 1)]


def test_a_consumer_stores_a_letter_though_what_else_is_held_took_all_the_time() -> None:
    clock = SimulatedClock()
    store = S3DeadLetters(SimulatedS3(clock), "letters")  # type: ignore[arg-type]

    def answer(one: Change) -> Outcome:
        clock.sleep(10)
        return Rejected(Cause("no")) if one.keys["pk"] == "k0" else Deferred(Cause("busy"))

    changes = [change({"pk": f"k{n}"}, None, {}, sequence=n + 1) for n in range(2)]
    outcomes = DeadLettering(ScriptedSink(answer), store).write(changes, Deadline.after(15, clock=clock))
    assert outcomes == [Rejected(Cause("no"), kept=True), Deferred(Cause("busy"))]


@pytest.mark.parametrize("letters", ["letters", ""], ids=["with dead letters", "without"])
def test_the_archive_has_its_share_though_the_index_hangs_to_its_end(letters: str) -> None:
    deployment = slow(environment={"CDC_BULK_COUNT": "2", "CDC_DEAD_LETTER_BUCKET": letters})
    assert deployment.invoke(event_of(*records(1))) == []
    delays = itertools.chain([0.1], itertools.repeat(1000.0))
    deployment.server.delays = lambda: next(delays)
    assert deployment.invoke(event_of(*records(6))) == ["3"]
    assert deployment.left >= 0
    (segment,) = deployment.s3.server.objects.values()
    assert segment.metadata["count"] == "2"


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from([0.0, 0.3, 2.0, 9.0, 29.0, 1000.0]), min_size=1, max_size=12),
    st.lists(st.sampled_from([0.0, 0.3, 2.0, 7.9, 1000.0]), min_size=1, max_size=8),
    st.sets(st.integers(1, 12)),
    st.sampled_from([30.0, 60.0, 300.0]),
    st.sampled_from(["1", "3", "1000"]),
)
def test_however_slow_the_servers_the_answer_comes_in_time_and_tells_the_truth(
    search: list[float], s3: list[float], poison: set[int], seconds: float, bulk: str
) -> None:
    deployment = slow(search, s3, environment={"CDC_BULK_COUNT": bulk, "CDC_ON_MASS_REJECT": "dead_letter"})
    failed = deployment.invoke(event_of(*records(12, *poison)), seconds)
    assert deployment.left >= 0
    acknowledged = set(range(1, int(failed[0]) if failed else 13))
    plain = deployment.server.server
    there = {source["n"] for _, source in plain.documents("orders").values()}
    assert acknowledged - poison <= there
    letters = "".join(key for key in deployment.s3.server.objects if key.startswith("dead-letters/"))
    assert all(f"{number:040d}" in letters or str(number) in letters for number in acknowledged & poison)
    assert not acknowledged or deployment.s3.server.objects


def test_a_function_whose_time_is_all_kept_for_what_comes_after_says_so() -> None:
    with pytest.raises(
        ConfigError, match=r"18 s are kept for the archive and dead letters: nothing could ever be done"
    ):
        Deployment().invoke(event_of(*records(1)), seconds=20)
    deployment = Deployment(environment={"CDC_AWS_TIMEOUT_SECONDS": "3"})
    assert deployment.invoke(event_of(*records(1)), seconds=20) == []


def test_a_request_never_has_more_time_than_is_left() -> None:
    clock = SimulatedClock()
    deadline = Deadline.after(4, clock=clock)
    assert timeout_of(deadline, 30).total == pytest.approx(4)
    assert timeout_of(deadline, 2).total == 2
    clock.sleep(10)
    assert timeout_of(deadline, 30).total == 0.1


def test_what_is_asked_of_a_client_within_a_deadline_ends_with_it() -> None:
    clock = SimulatedClock()
    given_up: list[float] = []

    def give_up(seconds: float) -> Exception:
        given_up.append(seconds)
        return no_answer(seconds)

    server = Slow(SimulatedOpenSearch(clock), clock, lambda: 1000.0, give_up)
    client: Any = within(server, Deadline.after(5, clock=clock), 3.0)  # type: ignore[arg-type]
    for _ in range(3):
        with pytest.raises(Exception, match="ConnectionTimeout"):
            client.indices.exists(index="orders")
    assert given_up == [pytest.approx(3), pytest.approx(2)]


def test_no_call_begins_that_would_take_longer_than_is_left() -> None:
    clock = SimulatedClock()
    deadline, slowest = Deadline.after(10, clock=clock), Slowest()
    assert slowest.allows(deadline)
    clock.sleep(4)
    slowest.took(4)
    assert slowest.allows(deadline)
    clock.sleep(3)
    slowest.took(3)
    assert not slowest.allows(deadline)
    assert not slowest.allows(deadline)
    assert not slowest.allows(Deadline.after(0, clock=clock))


def test_the_first_call_begins_however_slow_those_before_were() -> None:
    clock, slowest = SimulatedClock(), Slowest()
    slowest.took(100)
    deadline = Deadline.after(10, clock=clock)
    assert slowest.allows(deadline)
    assert not slowest.allows(deadline)
    clock.sleep(10)
    assert slowest.allows(Deadline.after(10, clock=clock))


def test_one_slow_call_is_forgotten_by_and_by() -> None:
    clock, slowest = SimulatedClock(), Slowest()
    slowest.took(100)
    for _ in range(30):
        slowest.took(0.1)
    deadline = Deadline.after(10, clock=clock)
    assert all(slowest.allows(deadline) for _ in range(5))


def test_a_function_is_not_called_when_it_would_end_too_late() -> None:
    clock = SimulatedClock()
    called: list[Change] = []

    def function(one: Change) -> None:
        called.append(one)
        clock.sleep(4)

    changes = [change({"pk": f"k{n}"}, None, {}, sequence=n + 1) for n in range(4)]
    outcomes = FunctionSink(on_insert=function).write(changes, Deadline.after(10, clock=clock))
    assert [type(outcome) for outcome in outcomes] == [Applied, Applied, Deferred, Deferred]
    assert len(called) == 2


def test_items_are_not_read_when_a_request_could_end_too_late() -> None:
    clock = SimulatedClock()
    items = DynamoDBItems(None, needs_seconds=8)  # type: ignore[arg-type]  # it is not asked
    with pytest.raises(SinkUnavailable, match="the deadline has passed"):
        items.read("shop", [{"pk": {"S": "a"}}], Deadline.after(7, clock=clock))
