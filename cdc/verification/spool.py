"""Spool: both sides of a comparison in temporary files, by hash, so that memory stays flat however many there are.

A file holds the entries of one bucket of one side. A bucket that is too large to be compared in memory is split by
the next byte of the hash, as often as it takes.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from hashlib import blake2b
from itertools import groupby
from pathlib import Path
from struct import Struct
from threading import Lock
from types import TracebackType

__all__ = ["NO_CONTENT", "Entry", "Pair", "Spool", "packed", "place_of"]

NO_CONTENT = bytes(8)
"""The content of a side that was read without contents: it equals any other."""

_PLACE_BYTES = 16
_HEAD = Struct("<16s8sqBHI")
_CONTENT, _VERSION, _FLAG = slice(16, 24), slice(24, 32), 32
"""Where they stand in an entry."""
_BUCKETS = 256
"""One for each value of a byte."""
_BUFFERED = 4096
"""Bytes of a bucket that are written at once: a megabyte waits for that on each side, however much is spooled."""
_LARGEST_BUCKET = 512 * 1024
"""Bytes of one side that are compared in memory: a 256th of some million items. Of more, all are spooled twice."""
_BLOCK = 64 * 1024
"""Bytes of a file that are read at once."""


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
    """The buckets of one side of a spool, by byte `level` of the hash. No file stays open: there may be too many."""

    folder: Path
    name: str
    level: int
    buffers: list[bytearray] = field(default_factory=lambda: [bytearray() for _ in range(_BUCKETS)])
    sizes: list[int] = field(default_factory=lambda: [0] * _BUCKETS)
    """Bytes in files."""
    lock: Lock = field(default_factory=Lock)

    def add(self, entries: Iterable[bytes]) -> None:
        level, buffers = self.level, self.buffers
        with self.lock:
            for entry in entries:
                bucket = entry[level]
                buffer = buffers[bucket]
                buffer += entry
                if len(buffer) >= _BUFFERED:
                    self._write(bucket)

    def _write(self, bucket: int) -> None:
        buffer = self.buffers[bucket]
        with self._path(bucket).open("ab", buffering=0) as file:
            file.write(buffer)
        self.sizes[bucket] += len(buffer)
        buffer.clear()

    def _path(self, bucket: int) -> Path:
        return self.folder / f"{self.name}-{bucket}"

    def size(self, bucket: int) -> int:
        return self.sizes[bucket] + len(self.buffers[bucket])

    def entries(self, bucket: int) -> Iterator[bytes]:
        """The bucket's entries; it is empty behind them."""
        if self.sizes[bucket]:
            yield from self._in_file(self._path(bucket))
            self.sizes[bucket] = 0
        yield from _whole(bytes(self.buffers[bucket]))
        self.buffers[bucket].clear()

    def _in_file(self, path: Path) -> Iterator[bytes]:
        rest = b""
        with path.open("rb") as file:
            while block := file.read(_BLOCK):
                block = rest + block
                done = 0
                for entry in _whole(block):
                    done += len(entry)
                    yield entry
                rest = block[done:]
        path.unlink()


def _whole(block: bytes) -> Iterator[bytes]:
    """The entries that the block holds whole."""
    at, total, head = 0, len(block), _HEAD.size
    unpack = _HEAD.unpack_from
    while at + head <= total:
        end = at + head + unpack(block, at)[-1]
        if end > total:
            return
        yield block[at:end]
        at = end


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
        return _Side(self._folder, f"ours-{name}", level), _Side(self._folder, f"theirs-{name}", level)

    def _compared(
        self, sides: tuple[_Side, _Side], flagged: int, noted: int, name: str = "0", level: int = 0
    ) -> Iterator[Pair]:
        ours, theirs = sides
        for bucket in range(_BUCKETS):
            if max(ours.size(bucket), theirs.size(bucket)) <= self._largest or level >= _DEEPEST:
                yield from self._of_bucket(ours, theirs, bucket, flagged, noted)
                continue
            inner = self._made(f"{name}.{bucket}", level + 1)
            for side, into in zip(sides, inner, strict=True):
                into.add(side.entries(bucket))
            yield from self._compared(inner, flagged, noted, f"{name}.{bucket}", level + 1)

    def _of_bucket(self, ours: _Side, theirs: _Side, bucket: int, flagged: int, noted: int) -> Iterator[Pair]:
        for mine, other in _met(_latest(ours, bucket), _latest(theirs, bucket)):
            self.ours += mine is not None
            self.theirs += other is not None
            if mine is None or other is None or _differ(mine, other, flagged):
                yield Pair(_entry(mine), _entry(other))
            else:
                self.equal += 1
                self.noted += bool(other[_FLAG] & noted)


_DEEPEST = 6


def _latest(side: _Side, bucket: int) -> Iterator[bytes]:
    """The entries of a bucket in the order of their places, of each the one of the highest version, that came last."""
    # sorted they take half the memory of a dictionary
    for _, several in groupby(sorted(side.entries(bucket), key=_place), _place):
        yield max(reversed(list(several)), key=_version)


def _met(ours: Iterator[bytes], theirs: Iterator[bytes]) -> Iterator[tuple[bytes | None, bytes | None]]:
    """Both sides, each in the order of its places, side by side."""
    mine, other = next(ours, None), next(theirs, None)
    while mine is not None or other is not None:
        if other is None or (mine is not None and _place(mine) < _place(other)):
            yield mine, None
            mine = next(ours, None)
        elif mine is None or _place(other) < _place(mine):
            yield None, other
            other = next(theirs, None)
        else:
            yield mine, other
            mine, other = next(ours, None), next(theirs, None)


def _place(entry: bytes) -> bytes:
    return entry[:_PLACE_BYTES]


def _version(entry: bytes) -> int:
    return int.from_bytes(entry[_VERSION], "little", signed=True)


def _differ(mine: bytes, other: bytes, flagged: int) -> bool:
    """Do their contents differ, or does one carry a flag of `flagged`?"""
    content, found = mine[_CONTENT], other[_CONTENT]
    return bool((mine[_FLAG] | other[_FLAG]) & flagged) or (content != found and NO_CONTENT not in (content, found))


def _entry(entry: bytes | None) -> Entry | None:
    if entry is None:
        return None
    place, content, version, flag, index, size = _HEAD.unpack_from(entry)
    return Entry(place, content, version, index, flag, entry[len(entry) - size :])
