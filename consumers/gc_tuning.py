"""Collecting: how often Python looks for cycles. Records are trees and are freed without it."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collect_later", "collect_seldom"]

_NEW_CONTAINERS = 100_000
"""How many more containers than before make a collection of the youngest worth while. A batch of 1,000 orders has
60,000; Python's own 700 makes it walk through the batches that shards have in work again and again. Cycles come from
exceptions and clients only: so many containers are some 20 MB at most."""
_YOUNG, _MIDDLE = 20, 100


def collect_seldom() -> None:
    """For a process that does nothing but move records, once all is imported and wired: what stands now is not looked
    through any more, and new containers seldom."""
    gc.freeze()
    gc.set_threshold(_NEW_CONTAINERS, _YOUNG, _MIDDLE)


@contextmanager
def collect_later() -> Iterator[None]:
    """While a process is made ready: what imports make stays, and to look for garbage in it again and again is a tenth
    of a cold start."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
