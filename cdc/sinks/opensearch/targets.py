"""Targets: what a process knows of its indices."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping

__all__ = ["Targets"]


log = logging.getLogger(__name__)


_MOST_LABELS = 100
_LONGEST_LABEL = 100


class Targets:
    """The indices that this process knows: which stand behind an alias, which have shown their versions."""

    def __init__(self, aliased: Mapping[str, bool] | None = None, *, concrete: bool = False) -> None:
        """
        Args:
            concrete: all that nothing else is noted of are concrete indices, and no aliases.
        """
        self._aliased: dict[str, bool] = dict(aliased or {})
        self._unknown_are_aliased = not concrete
        self._verified: set[str] = set()
        self.version_ties: Counter[str] = Counter()
        self._aside: dict[str, set[str]] = {}

    def add(self, index: str, *, aliased: bool) -> None:
        """Note that `index` is there, and whether it is an alias."""
        self._aliased[index] = aliased

    def knows(self, index: str) -> bool:
        """Was it found or made by this process?"""
        return index in self._aliased

    def require_alias(self, index: str) -> bool:
        """Must a write meet an alias? Then a vanished index is an error and never made up on the fly."""
        return self._aliased.get(index, self._unknown_are_aliased)

    def unverified(self, indices: Iterable[str]) -> frozenset[str]:
        """Those that have not yet shown that they honour external versions."""
        return frozenset(indices) - self._verified

    def verified(self, index: str) -> None:
        """It honours external versions."""
        self._verified.add(index)

    def tie(self, index: str) -> None:
        """Two records of one item have equal versions; counted in `version_ties`, said once."""
        if not self.version_ties[index]:
            log.warning("two records of one item have equal versions in %s: applied in the order of arrival", index)
        self.version_ties[index] += 1

    def label_of_aside(self, index: str, name: str) -> tuple[str, bool]:
        """The name that a field which is set aside is counted by, and whether it is new: at most 100 an index."""
        names = self._aside.setdefault(index, set())
        label = name if len(name) <= _LONGEST_LABEL else name[: _LONGEST_LABEL - 1] + "…"
        if label in names:
            return label, False
        if len(names) >= _MOST_LABELS:
            label = "other"
        new = label not in names
        names.add(label)
        return label, new
