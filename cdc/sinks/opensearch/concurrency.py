"""InFlight: several requests at once, so that a server has work while the next one is on its way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

__all__ = ["InFlight"]

_Part = TypeVar("_Part")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True)
class InFlight:
    """Makes calls, up to `most` of them at once; with one, no thread is started."""

    most: int = 1

    def each(self, call: Callable[[_Part], _Answer], parts: Sequence[_Part]) -> list[_Answer]:
        """The answers of `call` to each part, in the order given. None is under way any more when this returns or
        raises: the failure of the first part that has one."""
        if self.most == 1 or len(parts) < 2:
            return [call(part) for part in parts]
        from concurrent.futures import wait

        futures = [self._pool.submit(call, part) for part in parts]
        wait(futures)
        return [future.result() for future in futures]

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(self.most, thread_name_prefix="in-flight")
