"""The contract of a sink as a suite that any sink can be tested with: `sink_contract`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cdc.deadline import Deadline
from cdc.errors import SinkUnavailable
from cdc.outcome import Applied, Deferred, Outcome, Rejected, Skipped, Superseded, settled
from cdc.records.change import Change
from cdc.testing.changes import change

if TYPE_CHECKING:
    from cdc.sinks import Sink

__all__ = ["Claim", "contract_changes", "sink_contract"]

_SECONDS = 30.0
_LETTERS = 300  # of a value in a message: a destination may hold much more than one reads


@dataclass(frozen=True)
class Claim:
    """One claim of the contract; `str` gives its name.

    Call it with `make_sink`, which makes a new sink onto the same destination at each call, and `holds`, which gives
    what a reader finds in the destination now, as any value that `==` compares. The destination is empty at first.
    It raises AssertionError if the sink breaks the claim.
    """

    check: Callable[[_Destination], None]

    def __call__(self, make_sink: Callable[[], Sink], holds: Callable[[], Any]) -> None:
        """Ask the claim of a sink."""
        self.check(_Destination(make_sink, holds))

    def __str__(self) -> str:
        return self.check.__name__.strip("_")

    @property
    def text(self) -> str:
        """The claim in one sentence."""
        return (self.check.__doc__ or "").strip()


def contract_changes() -> list[Change]:
    """The changes that the contract writes: eight, of three items, of which one is removed and one made again."""
    steps: list[tuple[str, Any, Any]] = [
        ("a", None, {"n": 1}),
        ("b", None, {"n": 2}),
        ("a", {"n": 1}, {"n": 3}),
        ("c", None, {"n": 4}),
        ("b", {"n": 2}, None),
        ("a", {"n": 3}, {"n": 5, "tags": {"x", "y"}}),
        ("c", {"n": 4}, None),
        ("c", None, {"n": 12345678901234567890123456789012345678}),
    ]
    return [
        change({"pk": pk}, before, after, sequence=(number + 1) * 10**20)
        for number, (pk, before, after) in enumerate(steps)
    ]


@dataclass(frozen=True)
class _Destination:
    make_sink: Callable[[], Sink]
    holds: Callable[[], Any]

    def written(self, changes: Sequence[Change]) -> list[Outcome]:
        """Write and flush by a sink of its own, as a process does that then ends."""
        sink = self.make_sink()
        outcomes = _write(sink, changes)
        sink.flush(Deadline.after(_SECONDS))
        sink.close()
        return outcomes


def _write(sink: Sink, changes: Sequence[Change]) -> list[Outcome]:
    outcomes = list(sink.write(changes, Deadline.after(_SECONDS)))
    _check(changes, outcomes)
    for position, (one, outcome) in enumerate(zip(changes, outcomes, strict=True)):
        _must(
            settled(outcome),
            f"changes[{position}] ({one.operation} of {one.keys}) can be stored by any sink, and was not settled: "
            f"{_kind(outcome)}: {_cause(outcome)}",
        )
    return outcomes


def _check(changes: Sequence[Change], outcomes: Sequence[Outcome]) -> None:
    _must(len(outcomes) == len(changes), f"{len(changes)} changes have {len(outcomes)} outcomes")
    for position, outcome in enumerate(outcomes):
        known = isinstance(outcome, Applied | Superseded | Skipped | Deferred | Rejected)
        _must(known, f"outcomes[{position}] is no outcome: its type is {_kind(outcome)}")


def _kind(value: object) -> str:
    return type(value).__name__


def _cause(outcome: Outcome) -> str:
    return _short(str(getattr(outcome, "cause", "it names no cause")))


def _short(text: str) -> str:
    return text if len(text) <= _LETTERS else f"{text[:_LETTERS]}…"


def _must(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)


def _same(found: Any, expected: Any) -> None:
    if isinstance(found, dict) and isinstance(expected, dict):  # the equal entries would hide those that differ
        equal = [key for key in found if key in expected and found[key] == expected[key]]
        found, expected = _without(found, equal), _without(expected, equal)
    _must(
        found == expected,
        f"the destination holds\n  {_short(repr(found))}\nand should hold\n  {_short(repr(expected))}",
    )


def _without(entries: dict[Any, Any], keys: Sequence[Any]) -> dict[Any, Any]:
    return {key: value for key, value in entries.items() if key not in keys}


def _stored(destination: _Destination) -> Any:
    held = destination.holds()
    _must(bool(held), "nothing was stored")
    return held


def _a_change_has_one_outcome(destination: _Destination) -> None:
    """`write` returns exactly one outcome for each change, in the order of the changes."""
    for changes in (contract_changes(), contract_changes()[:1]):
        destination.written(changes)


def _no_changes_have_no_outcomes(destination: _Destination) -> None:
    """`write` of no changes returns no outcomes and changes nothing."""
    destination.written(contract_changes())
    before = destination.holds()
    destination.written([])
    _same(destination.holds(), before)


def _repetition_is_harmless(destination: _Destination) -> None:
    """A batch that is written again leaves the destination as it was."""
    destination.written(contract_changes())
    before = _stored(destination)
    destination.written(contract_changes())
    _same(destination.holds(), before)


def _the_cut_makes_no_difference(destination: _Destination) -> None:
    """Batches may be cut anywhere: one by one, all at once, or from the middle on, the result is the same."""
    changes = contract_changes()
    for one in changes:
        destination.written([one])
    one_by_one = destination.holds()
    destination.written(changes)
    destination.written(changes[3:])
    _same(destination.holds(), one_by_one)


def _late_is_never_over_newer(destination: _Destination) -> None:
    """An older change that comes late never replaces a newer state, and never brings a removed item back."""
    changes = contract_changes()
    destination.written(changes)
    newest = destination.holds()
    for one in reversed(changes):
        destination.written([one])
    _same(destination.holds(), newest)


def _a_second_writer_does_no_harm(destination: _Destination) -> None:
    """A sink of a process that was replaced may still write: the newer state stays."""
    stale, current = destination.make_sink(), destination.make_sink()
    changes = contract_changes()
    _write(stale, changes[:2])
    stale.flush(Deadline.after(_SECONDS))
    _write(current, changes)
    current.flush(Deadline.after(_SECONDS))
    newest = destination.holds()
    _write(stale, changes[2:4])
    stale.flush(Deadline.after(_SECONDS))
    stale.close()
    current.close()
    _same(destination.holds(), newest)


def _a_removal_shows(destination: _Destination) -> None:
    """The REMOVE of an item changes what the destination holds."""
    changes = contract_changes()
    destination.written(changes[:4])
    before = destination.holds()
    destination.written(changes[4:5])
    _must(destination.holds() != before, "the removed item is still there")


def _flush_makes_durable(destination: _Destination) -> None:
    """All that was Applied is in the destination when `flush` returns, before the sink is closed."""
    sink = destination.make_sink()
    for one in contract_changes():
        _write(sink, [one])
    sink.flush(Deadline.after(_SECONDS))
    flushed = _stored(destination)
    sink.close()
    _same(destination.holds(), flushed)


def _a_sink_goes_on_after_a_flush(destination: _Destination) -> None:
    """A sink is written to and flushed as often as there are batches, and closed at the end only."""
    changes = contract_changes()
    sink = destination.make_sink()
    for one in changes:
        _write(sink, [one])
        sink.flush(Deadline.after(_SECONDS))
        sink.flush(Deadline.after(_SECONDS))
    sink.close()
    several = destination.holds()
    destination.written(changes)
    _same(destination.holds(), several)


def _what_was_not_flushed_may_come_again(destination: _Destination) -> None:
    """A sink that is closed without a flush loses nothing that comes again."""
    changes = contract_changes()
    lost = destination.make_sink()
    _write(lost, changes[:1])
    lost.close()
    destination.written(changes[:1])
    _stored(destination)


def _a_deadline_that_has_passed_raises_nothing(destination: _Destination) -> None:
    """`write` answers for each change when there is no time left; `flush` answers, or raises SinkUnavailable."""
    sink, changes = destination.make_sink(), contract_changes()
    _check(changes, list(sink.write(changes, Deadline.after(0))))
    try:
        sink.flush(Deadline.after(0))
    except SinkUnavailable:
        sink.flush(Deadline.after(_SECONDS))
    sink.close()
    destination.written(changes)
    newest = destination.holds()
    destination.written(changes)
    _same(destination.holds(), newest)


def _changes_are_left_as_they_are(destination: _Destination) -> None:
    """`write` does not modify the changes: other sinks get the same ones."""
    changes = contract_changes()
    before = [deepcopy((one.raw_keys, one.raw_before, one.raw_after, one.record)) for one in changes]
    destination.written(changes)
    after = [(one.raw_keys, one.raw_before, one.raw_after, one.record) for one in changes]
    _must(after == before and changes == contract_changes(), "the sink has modified a change")


def _closing_twice_is_harmless(destination: _Destination) -> None:
    """`close` may be called twice, and on a sink that was never written to."""
    sink = destination.make_sink()
    sink.close()
    sink.close()
    destination.written(contract_changes())


def _the_name_is_constant(destination: _Destination) -> None:
    """`name` is a text, and every sink onto the destination has the same one: dead letters are found by it."""
    names = {destination.make_sink().name, destination.make_sink().name}
    _must(len(names) == 1 and all(isinstance(name, str) and name for name in names), f"the names are {names}")


sink_contract: tuple[Claim, ...] = tuple(
    Claim(check)
    for check in (
        _a_change_has_one_outcome,
        _no_changes_have_no_outcomes,
        _repetition_is_harmless,
        _the_cut_makes_no_difference,
        _late_is_never_over_newer,
        _a_second_writer_does_no_harm,
        _a_removal_shows,
        _flush_makes_durable,
        _a_sink_goes_on_after_a_flush,
        _what_was_not_flushed_may_come_again,
        _a_deadline_that_has_passed_raises_nothing,
        _changes_are_left_as_they_are,
        _closing_twice_is_harmless,
        _the_name_is_constant,
    )
)
"""The claims of the contract, for `pytest.mark.parametrize("claim", sink_contract, ids=str)`."""
