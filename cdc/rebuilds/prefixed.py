"""Prefixed(objects): named bytes below a prefix of other objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cdc.loads.jobs import Objects

__all__ = ["Prefixed"]


@dataclass(frozen=True)
class Prefixed:
    """The objects whose names begin so, named without that."""

    objects: Objects
    prefix: str

    def read(self, name: str) -> bytes | None:
        """See `Objects.read`."""
        return self.objects.read(self.prefix + name)

    def write(self, name: str, body: bytes) -> None:
        """See `Objects.write`."""
        self.objects.write(self.prefix + name, body)

    def names(self, prefix: str) -> Iterator[str]:
        """See `Objects.names`."""
        return (name[len(self.prefix) :] for name in self.objects.names(self.prefix + prefix))
