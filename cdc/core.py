"""The compiled core, where this installation has it: faster, and never anything else than the reference says.

It reads a record from its bytes once, for all sinks. What it does not take, a fault or a rare form, the reference
takes: `cdc.records.decoding`, `cdc.mappings.compiled`, `cdc.archive`.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cdc._core import Exclude, Facts

__all__ = ["Core", "excluding", "load_core"]


class Core(Protocol):
    """The functions of the core that read records; `cdc._core`."""

    def read(self, payloads: list[bytes], wire: str) -> list[Facts | None]:
        """The facts of each record of a batch; None: the reference is to read it."""
        ...


@cache
def load_core() -> Core | None:
    """The core; None in an installation without it, which has the same results."""
    try:
        from cdc import _core
    except ImportError:
        return None
    core: Core = _core
    return core


@cache
def excluding(paths: Sequence[tuple[str, ...]]) -> Exclude:
    """The attributes that the core leaves out of the archive's lines."""
    from cdc._core import Exclude

    return Exclude(paths)
