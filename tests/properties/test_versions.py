"""Laws of versions and identities."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from cdc.mappings.document_id import document_id
from cdc.records.versions import version_at, version_in_stream

minutes = st.integers(0, 2**24 - 1)
sequences = st.integers(0, 10**40 - 1) | st.builds(
    lambda counter, position: counter * 10**20 + position, st.integers(1, 10**7), st.integers(0, 10**20 - 1)
)
minute_of_micros = st.integers(1_577_836_800_000_000, 2_500_000_000_000_000)


@given(minutes, sequences, sequences)
def test_a_version_never_decreases_within_a_stream(minute: int, one: int, other: int) -> None:
    low, high = sorted([one, other])
    assert version_in_stream(minute, low) <= version_in_stream(minute, high)


@given(minutes, minutes, sequences, sequences)
def test_every_record_of_a_later_stream_ranks_higher(one: int, other: int, first: int, second: int) -> None:
    earlier, later = sorted([one, other])
    if earlier < later:
        assert version_in_stream(earlier, first) < version_in_stream(later, second)


@given(minutes, sequences)
def test_versions_fit_a_signed_64_bit_integer(minute: int, sequence: int) -> None:
    assert 0 <= version_in_stream(minute, sequence) < 2**63


@given(minutes, st.integers(1, 2**38 - 2), st.integers(0, 10**20 - 1))
def test_neighbouring_counters_are_told_apart(minute: int, counter: int, position: int) -> None:
    one = counter * 10**20 + position
    assert version_in_stream(minute, one) < version_in_stream(minute, one + 10**20)


@given(minute_of_micros, minute_of_micros)
def test_versions_by_time_are_ordered_as_time_is(one: int, other: int) -> None:
    assert (version_at(one) < version_at(other)) == (one < other)


parts = st.text(st.sampled_from("ab|%7C25é"), min_size=1, max_size=6)


@given(st.tuples(parts, parts), st.tuples(parts, parts))
def test_ids_of_two_parts_are_injective(one: tuple[str, str], other: tuple[str, str]) -> None:
    assert (document_id(one) == document_id(other)) == (one == other)


@given(st.text(min_size=1, max_size=400), st.text(min_size=1, max_size=400))
def test_ids_of_one_part_are_injective(one: str, other: str) -> None:
    if all(ord(letter) < 0xD800 or ord(letter) > 0xDFFF for letter in one + other):
        assert (document_id([one]) == document_id([other])) == (one == other)
        assert len(document_id([one]).encode()) <= 512
