"""Jobs: plans and how far they are, kept where a killed load is taken up again: in S3, or in a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import get_ident
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec
import tenacity

from cdc.aws_errors import code_of, translated
from cdc.causes import CauseKind
from cdc.errors import ConfigError, SinkUnavailable
from cdc.loads.plan import Cursor, Plan, Unit

if TYPE_CHECKING:
    from mypy_boto3_s3.client import S3Client

__all__ = ["FolderObjects", "Jobs", "Objects", "S3Objects"]

_T = TypeVar("_T")
_PASSING = frozenset({CauseKind.OUT_OF_REACH, CauseKind.OVERLOADED})
_TRIES = 10
"""With growing waits up to 20 seconds: half a minute on average, and two at most."""


class Objects(Protocol):
    """Named bytes."""

    def read(self, name: str) -> bytes | None:
        """The object, or None if there is none."""
        ...

    def write(self, name: str, body: bytes) -> None:
        """Durable when it returns; an object of that name is replaced."""
        ...

    def names(self, prefix: str) -> Iterator[str]:
        """The names that begin so, in their order."""
        ...


@dataclass(frozen=True)
class S3Objects:
    """Objects below a prefix of a bucket. A request that S3 does not answer is sent again for a minute or so: a load of
    hours must not end by one connection that broke."""

    client: S3Client
    bucket: str
    prefix: str
    sleep: Callable[[float], None] = time.sleep

    def read(self, name: str) -> bytes | None:
        """See `Objects.read`.

        Raises:
            SinkUnavailable: S3 is out of reach, or refuses.
        """

        def get() -> bytes:
            return self.client.get_object(Bucket=self.bucket, Key=self.prefix + name)["Body"].read()

        try:
            return self._asked(get, f"{name} can't be read", "Allow s3:GetObject.")
        except SinkUnavailable as error:
            if code_of(error.__cause__) in ("NoSuchKey", "404"):
                return None
            raise

    def write(self, name: str, body: bytes) -> None:
        """See `Objects.write`.

        Raises:
            SinkUnavailable: S3 is out of reach, or refuses.
        """
        put = partial(self.client.put_object, Bucket=self.bucket, Key=self.prefix + name, Body=body)
        self._asked(put, f"{name} can't be written", "Allow s3:PutObject.")

    def names(self, prefix: str) -> Iterator[str]:
        """See `Objects.names`.

        Raises:
            SinkUnavailable: S3 is out of reach, or refuses.
        """

        def found() -> list[str]:
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix
            )
            return [entry["Key"][len(self.prefix) :] for page in pages for entry in page.get("Contents", ())]

        yield from self._asked(found, f"{prefix} can't be listed", "Allow s3:ListBucket.")

    def _asked(self, ask: Callable[[], _T], failed: str, remedy: str) -> _T:
        def once() -> _T:
            with translated("jobs", f"s3://{self.bucket}/{self.prefix}{failed}", remedy):
                return ask()

        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(
                lambda error: isinstance(error, SinkUnavailable) and error.cause.kind in _PASSING
            ),
            wait=tenacity.wait_random_exponential(multiplier=0.1, max=20),
            stop=tenacity.stop_after_attempt(_TRIES),
            sleep=self.sleep,
            reraise=True,
        )(once)


@dataclass(frozen=True)
class FolderObjects:
    """Objects as files of a folder; one is there whole or not at all."""

    folder: Path

    def read(self, name: str) -> bytes | None:
        """See `Objects.read`."""
        try:
            return (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None

    def write(self, name: str, body: bytes) -> None:
        """See `Objects.write`."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}.{get_ident()}")
        with partial.open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)

    def names(self, prefix: str) -> Iterator[str]:
        """See `Objects.names`."""
        found = (path.relative_to(self.folder).as_posix() for path in self.folder.rglob("*") if path.is_file())
        yield from sorted(name for name in found if name.startswith(prefix) and name.rpartition("/")[2][:1] != ".")


@dataclass(frozen=True)
class Jobs:
    """The loads of tables, each with its plan, the cursors of its units, and the steps that it has done.

    A cursor may be written by two runners at once: the one that is behind makes the other's work be done again, which
    does no harm.
    """

    objects: Objects

    def create(self, plan: Plan, units: Sequence[Unit]) -> None:
        """Keep a new plan, as JSON Lines: the plan, then its units."""
        lines = [msgspec.json.encode(plan), *(msgspec.json.encode(unit) for unit in units)]
        self.objects.write(f"{_at(plan)}/plan.jsonl", b"\n".join(lines) + b"\n")

    def plan(self, table: str, job: str) -> tuple[Plan, Sequence[Unit]]:
        """A plan and its units.

        Raises:
            ConfigError: there is none, or it can't be read.
        """
        body = self.objects.read(f"{table}/{job}/plan.jsonl")
        if body is None:
            raise ConfigError(
                f"there is no load {job} of {table}", remedy=f"`cdc backfill status --table {table}` lists them."
            )
        first, *rest = body.splitlines()
        try:
            return msgspec.json.decode(first, type=Plan), [msgspec.json.decode(line, type=Unit) for line in rest]
        except msgspec.DecodeError as error:
            raise ConfigError(
                f"the plan of the load {job} of {table} can't be read: {error}", remedy="Begin a new load."
            ) from error

    def of_table(self, table: str) -> Sequence[str]:
        """The jobs of a table, the newest last."""
        names = self.objects.names(f"{table}/")
        return sorted({name.split("/")[1] for name in names if name.endswith("/plan.jsonl")})

    def unfinished(self, table: str) -> str | None:
        """The newest job that is neither finished nor aborted."""
        open_jobs = [job for job in self.of_table(table) if not {"finished", "aborted"} & self.steps(table, job)]
        return open_jobs[-1] if open_jobs else None

    def given_up(self, plan: Plan) -> Sequence[Plan]:
        """The loads of the table that were given up since the last one that finished before this one began."""
        found: list[Plan] = []
        for job in reversed([job for job in self.of_table(plan.table) if job < plan.job]):
            steps = self.steps(plan.table, job)
            if "finished" in steps:
                break
            if "aborted" in steps:
                found.append(self.plan(plan.table, job)[0])
        return found

    def save(self, plan: Plan, cursor: Cursor) -> None:
        """Record how far a unit is."""
        self.objects.write(f"{_at(plan)}/cursors/{cursor.unit}.json", msgspec.json.encode(cursor))

    def cursor(self, plan: Plan, unit: Unit) -> Cursor:
        """How far a unit is."""
        body = self.objects.read(f"{_at(plan)}/cursors/{unit.name}.json")
        return Cursor(unit.name) if body is None else msgspec.json.decode(body, type=Cursor)

    def cursors(self, table: str, job: str) -> dict[str, Cursor]:
        """How far the units are that were begun, by their names."""
        found: dict[str, Cursor] = {}
        for name in self.objects.names(f"{table}/{job}/cursors/"):
            body = self.objects.read(name)
            if body is not None:
                cursor = msgspec.json.decode(body, type=Cursor)
                found[cursor.unit] = cursor
        return found

    def did(self, plan: Plan, step: str, body: bytes = b"{}") -> None:
        """Record that a step is done: `loaded`, `ghosts_closed`, `verified`, `finished`, or `aborted`."""
        self.objects.write(f"{_at(plan)}/steps/{step}.json", body)

    def steps(self, table: str, job: str) -> frozenset[str]:
        """The steps that are done."""
        return frozenset(_stems(self.objects.names(f"{table}/{job}/steps/")))

    def result(self, table: str, job: str, step: str) -> bytes | None:
        """The bytes that were recorded with a step."""
        return self.objects.read(f"{table}/{job}/steps/{step}.json")


def _stems(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield name.rpartition("/")[2].removesuffix(".json")


def _at(plan: Plan) -> str:
    return f"{plan.table}/{plan.job}"
