"""Spool: both sides of a comparison in temporary files, by hash, so that memory stays flat however many there are.

A file holds the entries of one bucket of one side. A bucket that is too large to be compared in memory is split by
the next bits of the hash, as often as it takes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from struct import Struct
from threading import Lock
from types import TracebackType
from typing import BinaryIO

__all__ = ["NO_CONTENT", "Entry", "Pair", "Spool", "packed", "place_of"]

NO_CONTENT = bytes(8)
"""The content of a side that was read without contents: it equals any other."""

_PLACE_BYTES = 16
_HEAD = Struct("<16s8sqBHI")
_BUCKETS = 64
_LARGEST_BUCKET = 16 * 1024 * 1024
"""Bytes of one side that are compared in memory."""

Head = tuple[bytes, bytes, int, int, int, bytes]


def place_of(index: str, identifier: str, routing: str | None) -> bytes:
    """Sixteen bytes that stand for a document: by them both sides meet. With another routing it is another one."""
    text = f"{index}\n{identifier}" if routing is None else f"{index}\n{identifier}\n{routing}\n"
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_PLACE_BYTES).digest()


@dataclass(frozen=True, slots=True)
class Entry:
    """One document of one side."""

    place: bytes
    """See `place_of`."""
    content: bytes
    """The digest of its content, or `NO_CONTENT`."""
    version: int
    index: int
    """The number of its index."""
    flag: int
    """Bits that the side notes of it."""
    about: bytes
    """All that is needed to look at it again."""


def packed(place: bytes, content: bytes, version: int, flag: int, index: int, about: bytes) -> bytes:
    """An entry as it is spooled, for who spools millions."""
    return _HEAD.pack(place, content, version, flag, index, len(about)) + about


@dataclass(frozen=True, slots=True)
class Pair:
    """The two sides of one document; at least one is there."""

    ours: Entry | None
    theirs: Entry | None


@dataclass
class _Side:
    """The files of one side of a spool, one a bucket."""

    folder: Path
    name: str
    shift: int
    locks: list[Lock] = field(default_factory=lambda: [Lock() for _ in range(_BUCKETS)])
    files: dict[int, BinaryIO] = field(default_factory=dict)

    def add(self, entries: Sequence[bytes]) -> None:
        grouped: dict[int, list[bytes]] = {}
        for entry in entries:
            bucket = (int.from_bytes(entry[:8], "big") >> self.shift) % _BUCKETS
            grouped.setdefault(bucket, []).append(entry)
        for bucket, several in grouped.items():
            with self.locks[bucket]:
                self._file(bucket).write(b"".join(several))

    def _file(self, bucket: int) -> BinaryIO:
        if bucket not in self.files:
            self.files[bucket] = self._path(bucket).open("wb", buffering=64 * 1024)
        return self.files[bucket]

    def _path(self, bucket: int) -> Path:
        return self.folder / f"{self.name}-{bucket}"

    def size(self, bucket: int) -> int:
        file = self.files.get(bucket)
        return 0 if file is None else file.tell()

    def blocks(self, bucket: int) -> Iterator[bytes]:
        """The bucket's bytes, each block holding whole entries; the file is removed behind them."""
        if bucket not in self.files:
            return
        self.files.pop(bucket).close()
        path = self._path(bucket)
        with path.open("rb") as file:
            rest = b""
            while block := file.read(_LARGEST_BUCKET // 4):
                whole = rest + block
                end = _end_of_entries(whole)
                rest = whole[end:]
                yield whole[:end]
        path.unlink()

    def close(self) -> None:
        for file in self.files.values():
            file.close()


def _end_of_entries(block: bytes) -> int:
    at, size, head = 0, len(block), _HEAD.size
    while at + head <= size:
        end = at + head + int.from_bytes(block[at + head - 4 : at + head], "little")
        if end > size:
            break
        at = end
    return at


def _heads(block: bytes) -> Iterator[Head]:
    at, head, unpack = 0, _HEAD.size, _HEAD.unpack_from
    while at < len(block):
        place, content, version, flag, index, size = unpack(block, at)
        at += head + size
        yield place, content, version, flag, index, block[at - size : at]


class Spool:
    """Takes entries of both sides from several threads, then gives the documents that are not equal.

    An entry that is given twice, as by a read that was begun anew, counts once: that of the higher version.
    Its files lie in a new folder below `folder` (the system's for temporary files) and are gone when it is closed.
    """

    def __init__(self, folder: str | None = None, *, largest_bucket: int = _LARGEST_BUCKET) -> None:
        self._stack = ExitStack()
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="cdc-verify-", dir=folder)))
        self._largest = largest_bucket
        self._sides = self._made("0", 0)
        self.ours = self.theirs = 0
        self.equal = 0
        self.noted = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Remove all files."""
        for side in self._sides:
            side.close()
        self._stack.close()

    def add_ours(self, entries: Sequence[bytes]) -> None:
        """Take entries (`packed`) of what should be there."""
        self._sides[0].add(entries)

    def add_theirs(self, entries: Sequence[bytes]) -> None:
        """Take entries (`packed`) of what is there."""
        self._sides[1].add(entries)

    def pairs(self, flagged: int = 0, noted: int = 0) -> Iterator[Pair]:
        """Every document that one side lacks, whose contents differ, or that carries a flag of `flagged` on a side.

        Once. Afterwards `ours` and `theirs` say how many there were of each side, `equal` how many were equal, and
        `noted` how many of these carry a flag of `noted`.
        """
        yield from self._compared(self._sides, flagged, noted)

    def _made(self, name: str, level: int) -> tuple[_Side, _Side]:
        shift = 6 * level
        return _Side(self._folder, f"ours-{name}", shift), _Side(self._folder, f"theirs-{name}", shift)

    def _compared(
        self, sides: tuple[_Side, _Side], flagged: int, noted: int, name: str = "0", level: int = 0
    ) -> Iterator[Pair]:
        ours, theirs = sides
        for bucket in range(_BUCKETS):
            if max(ours.size(bucket), theirs.size(bucket)) <= self._largest or level >= _DEEPEST:
                yield from self._of_bucket(ours, theirs, bucket, flagged, noted)
                continue
            inner = self._made(f"{name}.{bucket}", level + 1)
            try:
                for side, into in zip(sides, inner, strict=True):
                    for block in side.blocks(bucket):
                        into.add([packed(*head) for head in _heads(block)])
                yield from self._compared(inner, flagged, noted, f"{name}.{bucket}", level + 1)
            finally:
                for side in inner:
                    side.close()

    def _of_bucket(self, ours: _Side, theirs: _Side, bucket: int, flagged: int, noted: int) -> Iterator[Pair]:
        expected = _by_place(ours, bucket)
        found = _by_place(theirs, bucket)
        self.ours += len(expected)
        self.theirs += len(found)
        for place, mine in expected.items():
            other = found.pop(place, None)
            if other is None:
                yield Pair(_entry(mine), None)
            elif (mine[3] | other[3]) & flagged or (mine[1] != other[1] and NO_CONTENT not in (mine[1], other[1])):
                yield Pair(_entry(mine), _entry(other))
            else:
                self.equal += 1
                self.noted += bool(other[3] & noted)
        for other in found.values():
            yield Pair(None, _entry(other))


_DEEPEST = 6


def _by_place(side: _Side, bucket: int) -> dict[bytes, Head]:
    found: dict[bytes, Head] = {}
    for block in side.blocks(bucket):
        for head in _heads(block):
            known = found.get(head[0])
            if known is None or head[2] >= known[2]:
                found[head[0]] = head
    return found


def _entry(head: Head) -> Entry:
    place, content, version, flag, index, about = head
    return Entry(place, content, version, index, flag, about)
