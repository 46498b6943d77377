"""The hits of a search in two indices: ranks, ties, and what can't be compared."""

from __future__ import annotations

import io
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cdc.rebuilds.hits import FoundHits, Hit, MovedHit, RankedHit, SearchCompared, compared, headline_of, without_ids
from cdc.rebuilds.queries_html import html_of_searches
from consumers.cli.searches_screen import print_searches
from tests.unit.test_verification_html import Page

SHOWN = 5
scored = st.lists(st.tuples(st.sampled_from("abcdefghijkl"), st.integers(0, 4)), unique_by=lambda hit: hit[0])


def found(hits: list[tuple[str, int]], asked: int = 8, **facts: Any) -> FoundHits:
    """The answer of OpenSearch: the best hits, as many as were asked for."""
    best = sorted(hits, key=lambda hit: -hit[1])
    return FoundHits(tuple(Hit(name, score) for name, score in best[:asked]), **{"total": len(hits), **facts})


def search(before: FoundHits, after: FoundHits, shown: int = SHOWN, **options: Any) -> SearchCompared:
    return compared("q", before, after, shown, **options)


@given(scored, st.randoms(use_true_random=False))
def test_the_same_hits_are_the_same_in_whatever_order_equal_ones_come(
    hits: list[tuple[str, int]], chance: random.Random
) -> None:
    permuted = chance.sample(hits, len(hits))
    result = search(found(hits), found(permuted), by_id=True)
    assert not result.differs, result
    assert result.verdict == "the same"


@given(scored, scored)
def test_what_is_gained_one_way_is_lost_the_other_way(one: list[tuple[str, int]], other: list[tuple[str, int]]) -> None:
    there, back = search(found(one), found(other)), search(found(other), found(one))
    assert there.gained == back.lost
    assert there.lost == back.gained
    assert {hit.id for hit in there.moved} == {hit.id for hit in back.moved}
    assert (there.before, there.after) == (back.after, back.before)
    assert there.ids_differ == back.ids_differ


@given(scored, scored)
def test_only_hits_of_one_side_are_gained_or_lost_and_only_those_of_both_have_moved(
    one: list[tuple[str, int]], other: list[tuple[str, int]]
) -> None:
    result = search(found(one), found(other), by_id=True)
    gained, lost, moved = ({hit.id for hit in hits} for hits in (result.gained, result.lost, result.moved))
    assert not gained & lost
    assert not (gained | lost) & moved
    assert moved <= dict(one).keys() & dict(other).keys()


@given(scored, scored)
def test_a_search_whose_hits_have_ranks_of_their_own_is_compared_exactly(
    one: list[tuple[str, int]], other: list[tuple[str, int]]
) -> None:
    def apart(hits: list[tuple[str, int]]) -> FoundHits:
        return found([(name, 100 - rank) for rank, (name, _) in enumerate(hits)])

    result = search(apart(one), apart(other), by_id=True)
    first, then = [name for name, _ in one][:SHOWN], [name for name, _ in other][:SHOWN]
    assert [hit.id for hit in result.gained] == [name for name in then if name not in first]
    assert [hit.id for hit in result.lost] == [name for name in first if name not in then]
    common, common_then = [name for name in first if name in then], [name for name in then if name in first]
    assert bool(result.moved) == (common != common_then)


def ranked(names: str) -> FoundHits:
    return found([(name, 100 - rank) for rank, name in enumerate(names)], asked=100)


def test_a_hit_that_comes_in_moves_no_other() -> None:
    result = search(ranked("abc"), ranked("xabc"))
    assert result.gained == (RankedHit(1, "x"),)
    assert result.moved == ()
    assert result.verdict == "+1 hits in all, 1 gained"


def test_a_hit_that_passes_others_has_moved_and_so_have_they() -> None:
    assert search(ranked("abc"), ranked("cab")).moved == (
        MovedHit(1, 2, "a"),
        MovedHit(2, 3, "b"),
        MovedHit(3, 1, "c"),
    )


def test_equal_hits_at_the_last_rank_are_neither_gained_nor_lost() -> None:
    many = [(f"{number:02}", 1) for number in range(50)]
    result = search(found(many[:30], asked=8, total=50), found(many[20:], asked=8, total=50), by_id=True)
    assert not result.differs


def test_a_new_hit_among_equal_ones_is_gained() -> None:
    few = [("b", 1), ("c", 1)]
    assert search(found(few), found([*few, ("a", 1)])).gained == (RankedHit(1, "a"),)


def test_hits_that_one_side_holds_for_equal_have_not_moved() -> None:
    assert not search(found([("a", 1), ("b", 1), ("c", 1)]), ranked("cba")).differs


def test_a_hit_that_equal_ones_may_keep_from_the_last_rank_is_neither_gained_nor_lost() -> None:
    assert not search(ranked("acb"), found([("a", 2), ("b", 1), ("c", 1)]), 2).differs


def test_hits_without_a_common_id_are_not_compared_one_by_one() -> None:
    result = search(ranked("abc"), ranked("xyz"))
    assert (result.ids_differ, result.gained, result.lost) == (True, (), ())
    assert "ids changed: hits can't be compared by id" in result.verdict
    assert headline_of([result]) == "ids changed: the hits of 1 search can't be compared by id"
    assert len(search(ranked("abc"), ranked("xyz"), by_id=True).gained) == 3


@pytest.mark.parametrize(
    ("before", "after", "verdict"),
    [
        (FoundHits(), FoundHits(error="400 e"), "fails after: 400 e"),
        (FoundHits(error="400 e"), FoundHits(), "fails before: 400 e"),
        (FoundHits(error="400 e"), FoundHits(error="400 f"), "fails on both: 400 f"),
        (FoundHits(aggregations={"n": 1}), FoundHits(aggregations={"n": 2}), "other aggregations"),
    ],
)
def test_a_failure_and_other_aggregations_are_findings(before: FoundHits, after: FoundHits, verdict: str) -> None:
    result = search(before, after)
    assert result.differs
    assert result.verdict == verdict


def test_the_screen_and_the_page_show_ids_only_where_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    result = compared("<b>find</b>\x1b", ranked("abc"), ranked("bax"), SHOWN)
    output = io.StringIO()
    console = Console(file=output, width=120)
    print_searches([result], console=console)
    assert "1 gained, 1 lost, 2 moved" in output.getvalue()
    assert "(at" not in output.getvalue()
    print_searches([result], console=console, with_ids=True)
    assert "gained x (at 3)" in output.getvalue()
    assert "\x1b" not in output.getvalue()
    print_searches([result], as_json=True)
    (facts,) = json.loads(capsys.readouterr().out)
    assert facts["gained"] == [{"rank": 3}]
    assert facts["differs"]
    text = Page(html_of_searches([without_ids(result)], "v1", "v2")).whole_text
    assert "<b>find</b>\\u001b" in text
    assert "id" not in [word.strip() for word in text.split("\n")]
    assert "x" in Page(html_of_searches([result], "v1", "v2")).whole_text


def test_searches_that_find_the_same_are_a_good_end() -> None:
    output = io.StringIO()
    print_searches([search(ranked("ab"), ranked("ab"))], console=Console(file=output))
    assert output.getvalue().strip() == "1 search: the same hits"
