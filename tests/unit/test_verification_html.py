"""The page of a verification: whole, safe whatever an item holds, and exact to the digit."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdc.verification.findings import Difference, DifferenceClass, Findings
from cdc.verification.html import html_of
from cdc.verification.sides import cut, sides_of
from cdc.verification.wording import CLASSES, headline, scope, visible
from tests.unit.sample_findings import HOSTILE, IN_STEP, SAMPLE

VOID = {"meta", "br", "img", "input", "link", "hr"}
KNOWN = {"html", "head", "title", "style", "body", "main", "header", "section", "article", "p", "h1", "h2", "h3", "h4"}
KNOWN |= {"small", "code", "ul", "li", "span", "dl", "dt", "dd", "div", "mark", "details", "summary", "time", "meta"}
KNOWN |= {"table", "thead", "tbody", "tr", "th", "td"}


class Page(HTMLParser):
    """A page as a browser takes it: its tags, attributes and text; it fails where tags are not closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self._open: list[str] = []
        self.feed(page)
        self.close()
        assert not self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self._open:
            self.text.append(data)

    @property
    def whole_text(self) -> str:
        return "".join(self.text)


def with_examples(*examples: Difference) -> Findings:
    return msgspec.structs.replace(SAMPLE, examples=examples)


def stale(expected: Any, found: Any, **more: Any) -> Difference:
    return Difference(DifferenceClass.STALE, "orders", "1", expected=expected, found=found, **more)


@pytest.mark.parametrize("findings", [SAMPLE, IN_STEP], ids=["differences", "in step"])
def test_the_page_begins_with_the_verdict_and_shows_every_class_with_its_count(findings: Findings) -> None:
    text = Page(html_of(findings)).whole_text
    assert headline(findings) in text
    for kind, words in CLASSES.items():
        assert f"{kind}{findings.counts.get(kind, 0):,}{words.meaning}" in text
    assert f"equal{findings.equal:,}" in text


def test_a_class_that_is_there_says_what_to_do_and_one_that_is_not_does_not() -> None:
    remedy = CLASSES[DifferenceClass.GHOST].remedy.replace("`", "")
    assert remedy in Page(html_of(SAMPLE)).whole_text
    assert remedy not in Page(html_of(IN_STEP)).whole_text


def test_the_page_tells_price_times_mode_and_extent() -> None:
    text = Page(html_of(SAMPLE)).whole_text
    for told in (
        "1,553,878.5 read units, $0.1942",
        "2026-11-02 09:15:00 UTC",
        "6 min 43 s",
        "ids and contents",
        "the whole table and index",
        "set aside5",
        "unsettled1",
    ):
        assert told in text
    assert "ids only" in Page(html_of(msgspec.structs.replace(SAMPLE, with_content=False))).whole_text


def test_a_repair_is_told_with_what_was_mended_and_what_is_left() -> None:
    repaired = msgspec.structs.replace(SAMPLE, repaired={"missing": 9, "ghost": 4}, left=50)
    text = Page(html_of(repaired)).whole_text
    assert "Mended9 missing, 4 ghost" in text
    assert "Left over50" in text


def test_an_example_shows_its_document_keys_reason_letter_and_both_sides() -> None:
    text = Page(html_of(SAMPLE)).whole_text
    kept = SAMPLE.examples[-1]
    assert kept.letter in text
    assert "C#1042|ORDER#3" in text
    assert '{"pk":{"S":"C#1042"},"sk":{"S":"ORDER#3"}}' in text
    assert "1794300000000000018" in text
    assert "differs in note, weight, status" in text
    assert "12345678901234567890123456789012345678" in text
    assert "12345678901234567890123456789012345000" in text
    assert "13 fields are equal" in text


def test_the_part_of_a_value_that_differs_is_marked() -> None:
    page = html_of(with_examples(stale('{"total": 1299}', '{"total": 1399}')))
    assert '<code class="expected">1<mark>2</mark>99</code>' in page
    assert '<code class="found">1<mark>3</mark>99</code>' in page


def test_the_pages_policy_lets_nothing_but_its_own_style_take_effect() -> None:
    policies = [
        attributes["content"]
        for tag, attributes in Page(html_of(SAMPLE)).tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    assert len(policies) == 1
    assert str(policies[0]).startswith("default-src 'none'; style-src 'unsafe-inline';")


def assert_harmless(page: str) -> None:
    parsed = Page(page)
    assert {tag for tag, _ in parsed.tags} <= KNOWN
    for _, attributes in parsed.tags:
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "href", "srcset", "action")]
    style = re.search(r"<style>(.*?)</style>", page, re.DOTALL)
    assert style is not None
    assert not re.search(r"url\(|@import|https?:|//", style[1])


def test_what_an_item_holds_never_becomes_markup() -> None:
    page = html_of(msgspec.structs.replace(SAMPLE, table=HOSTILE, indices=(HOSTILE,), repaired={HOSTILE: 1}))
    assert_harmless(page)
    assert "<script" not in page
    assert "\x1b" not in page
    assert "\u202e" not in page


def test_the_page_names_no_other_host() -> None:
    harmless = with_examples(*(one for one in SAMPLE.examples if "evil.example" not in one.id))
    assert "http:" not in html_of(harmless)
    assert "https:" not in html_of(harmless)


@given(st.text(), st.text(), st.sampled_from(DifferenceClass))
def test_any_text_anywhere_leaves_the_page_whole_and_harmless(one: str, other: str, kind: DifferenceClass) -> None:
    example = Difference(
        kind,
        index=one,
        id=other,
        keys={one: {"S": other}},
        version=1,
        expected=json.dumps({one: other, "same": one}),
        found=other,
        reason=one,
        letter=other,
    )
    also = msgspec.structs.replace(example, found=json.dumps({one: one, "same": one}))
    findings = msgspec.structs.replace(with_examples(example, also), table=one)
    assert_harmless(html_of(findings))


def test_many_fields_and_long_values_keep_the_page_small() -> None:
    wide = json.dumps({f"f{number}": number for number in range(5000)})
    long = json.dumps({"text": "x" * 400_000})
    page = html_of(with_examples(stale(wide, "{}"), stale(long, '{"text": "y"}'), stale(long, None)))
    assert len(page) < 60_000
    assert "and 4,940 more fields" in page


def test_the_sentence_says_how_many_of_how_many() -> None:
    one = msgspec.structs.replace(IN_STEP, counts={"ghost": 1}, equal=9)
    assert headline(SAMPLE) == "Not in step: 63 of 12,431,074 items and documents differ; 3 explained by dead letters."
    assert headline(IN_STEP) == "In step: none of 12,431,007 items and documents differs."
    assert headline(one) == "Not in step: 1 of 10 items and documents differs."
    assert "nothing in the table" in headline(msgspec.structs.replace(IN_STEP, equal=0))
    sampled = msgspec.structs.replace(IN_STEP, equal=1000, sampled=True)
    assert headline(sampled).startswith("In step, as far as a sample can tell: none of 1,000 ")
    assert scope(sampled) == "a sample; with 95 % confidence at most 3,000 in a million differ"


def test_the_sentence_says_what_a_repair_did() -> None:
    found = msgspec.structs.replace(IN_STEP, counts={"ghost": 2, "stale": 1}, equal=7)
    mended = msgspec.structs.replace(found, repaired={"ghost": 2, "stale": 1})
    partly = msgspec.structs.replace(found, repaired={"ghost": 2}, left=1)
    assert headline(mended) == "In step again: all 3 differences were mended, of 10 items and documents."
    assert headline(partly) == "Not in step: 2 of 3 differences were mended, and 1 left over."
    assert headline(msgspec.structs.replace(found, left=3)).endswith(
        "3 of 10 items and documents differ, and nothing was mended."
    )


def test_sides_are_compared_by_value_and_shown_digit_by_digit() -> None:
    number = "0.10000000000000000000000000000000000001"
    sides = sides_of(f'{{"a": 1.0, "b": {number}, "c": [1, {{"d": 2}}]}}', '{"a": 1, "b": 0.1, "c": [1, {"d": 3}, 4]}')
    assert [(side.path, side.expected, side.found) for side in sides if side.differs] == [
        ("b", number, "0.1"),
        ("c[1].d", "2", "3"),
        ("c[2]", None, "4"),
    ]
    assert [side.path for side in sides if not side.differs] == ["a", "c[0]"]


def test_a_field_that_was_set_aside_stands_in_its_place() -> None:
    found = '{"a": 1, "_cdc_aside": {"b": "x"}, "_cdc_aside_names": ["b"]}'
    assert [(side.path, side.differs) for side in sides_of('{"a": 1, "b": "x"}', found)] == [("a", False), ("b", False)]


def test_true_is_not_one_and_what_is_no_json_is_shown_as_it_is() -> None:
    assert sides_of('{"a": true}', '{"a": 1}')[0].differs
    assert [(side.path, side.found) for side in sides_of('{"a": 1}', "nonsense")] == [("", "nonsense")]


@given(st.text(), st.text(), st.integers(30, 300))
def test_a_cut_loses_nothing_of_a_short_value_and_shows_where_a_long_one_differs(
    value: str, other: str, most: int
) -> None:
    parts = cut(value, other, most)
    if len(value) <= most:
        assert parts.before + parts.differing + parts.after == value
        assert other.startswith(parts.before)
        assert other.endswith(parts.after)
    assert len(parts.before + parts.differing + parts.after) <= most + 100


@given(st.dictionaries(st.sampled_from("abc"), st.decimals(allow_nan=False, allow_infinity=False)))
def test_a_document_does_not_differ_from_itself_in_another_notation(numbers: dict[str, Decimal]) -> None:
    plain = "{" + ",".join(f'"{name}":{number:f}' for name, number in numbers.items()) + "}"
    turned = "{" + ",".join(f'"{name}":{number:E}' for name, number in reversed(numbers.items())) + "}"
    assert not [side for side in sides_of(plain, turned) if side.differs]


@given(st.text())
def test_text_that_is_shown_is_printable(text: str) -> None:
    assert visible(text).isprintable()
