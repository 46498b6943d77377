"""Known types: what msgspec knows of a type is made when its module is imported.

msgspec makes it at a type's first use otherwise. Two threads that use one for the first time at once have ended the
process by a segmentation fault (msgspec 0.22).
"""

from __future__ import annotations

import msgspec

__all__ = ["know"]


def know(*kinds: type) -> None:
    """Have msgspec look at these types now, in the thread that imports their module."""
    for kind in kinds:
        msgspec.json.Decoder(kind)
