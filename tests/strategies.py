"""Hypothesis strategies for items, changes and outcomes, shared by the properties."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from cdc.causes import Cause
from cdc.outcome import Applied, Deferred, Outcome, Rejected, Skipped, Superseded

names = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=8) | st.sampled_from(
    ["S", "N", "M", "a.b", "ü"]
)
numbers = st.integers(-(10**38) + 1, 10**38 - 1) | st.builds(
    lambda digits, exponent: Decimal(digits).scaleb(exponent), st.integers(-(10**30), 10**30), st.integers(-90, 90)
)
texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=12)
binaries = st.binary(max_size=8)
scalars = texts | numbers | binaries | st.booleans() | st.none()
sets = (
    st.frozensets(texts, min_size=1, max_size=4)
    | st.frozensets(numbers, min_size=1, max_size=4)
    | st.frozensets(binaries, min_size=1, max_size=4)
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars | sets,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=4),
    max_leaves=12,
)
items = st.dictionaries(names, values, max_size=5)

outcomes: st.SearchStrategy[Outcome] = st.sampled_from(
    [
        Applied(),
        Superseded(),
        Skipped("x"),
        Deferred(Cause("later"), 0.0),
        Rejected(Cause("never")),
        Rejected(Cause("never"), kept=True),
    ]
)
