"""Bulk requests of the simulated OpenSearch: read as a whole, then applied one by one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from json import JSONDecodeError
from typing import Any

import orjson

from cdc.testing.simulated._index import Held, SimulatedIndex, Written, exact
from cdc.testing.simulated._refusals import refused
from cdc.testing.simulated._shapes import ShapeRefused, grown

__all__ = ["Operation", "Writer", "failed", "operations"]

_MAX_VERSION = 2**63 - 1
_MAX_ID_BYTES = 512


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation of a bulk request."""

    action: str
    index: str
    id: str
    version: int | None
    require_alias: bool
    routing: str | None
    text: bytes


def operations(body: bytes) -> list[Operation]:
    """Read a bulk request.

    Raises:
        RequestError: one operation is malformed, so none is done: an unknown action, a version beyond 2^63-1, an id of
            more than 512 bytes.
    """
    found: list[Operation] = []
    lines = iter(body.split(b"\n"))
    for number, line in enumerate(lines):
        if line:
            found.append(_operation(line, lines, number + 1))
    if not found:
        raise _invalid("no requests added")
    return found


def _operation(line: bytes, lines: Iterator[bytes], number: int) -> Operation:
    try:
        ((action, about),) = orjson.loads(line).items()
    except (orjson.JSONDecodeError, AttributeError, ValueError):
        raise refused(400, "illegal_argument_exception", f"Malformed action/metadata line [{number}]") from None
    if action not in ("index", "delete"):
        reason = f"Malformed action/metadata line [{number}], expected one of [delete, index] but found [{action}]"
        raise refused(400, "illegal_argument_exception", reason)
    identifier, version = about["_id"], about.get("version")
    if version is not None:
        if not isinstance(version, int) or version > _MAX_VERSION:
            raise refused(400, "input_coercion_exception", f"Numeric value ({version}) out of range of long")
        if about.get("version_type") != "external_gte":
            raise refused(400, "illegal_argument_exception", "only version_type external_gte is simulated")
    text = b""
    if action == "index":
        text = next(lines, b"")
        if len(identifier) * 4 > _MAX_ID_BYTES and len(identifier.encode()) > _MAX_ID_BYTES:
            raise _invalid(f"id [{identifier}] is too long, must be no longer than {_MAX_ID_BYTES} bytes")
    return Operation(
        action, about["_index"], identifier, version, about.get("require_alias") is True, about.get("routing"), text
    )


def _invalid(problem: str) -> Exception:
    return refused(400, "action_request_validation_exception", f"Validation Failed: 1: {problem};")


def failed(operation: Operation, status: int, kind: str, reason: str, index: str | None = None) -> dict[str, Any]:
    """The answer to an operation that was not done."""
    return {
        operation.action: {
            "_index": index or operation.index,
            "_id": operation.id,
            "status": status,
            "error": {"type": kind, "reason": reason},
        }
    }


@dataclass(frozen=True)
class Writer:
    """Applies operations as measured on OpenSearch 3.6.

    `target` gives the index that a write to a name lands in, if there is one, and whether the name is an alias;
    `make` makes an index; `refuses` gives the error type of a document that can't be stored.
    """

    target: Callable[[str], tuple[Sequence[SimulatedIndex], bool]]
    make: Callable[[str], SimulatedIndex]
    refuses: Callable[[Mapping[str, Any]], str | None]
    written: Written

    def make_missing(self, asked: Sequence[Operation]) -> None:
        """Make the indices that are not there, before the first operation of a request is done.

        A delete without a version makes none. Deletes don't heed `require_alias`; but where one index operation of the
        request asks for it, no operation of the request makes that index.
        """
        needed: dict[str, bool] = {}
        for operation in asked:
            if operation.action == "index" or operation.version is not None:
                required = operation.require_alias and operation.action == "index"
                needed[operation.index] = required or needed.get(operation.index, False)
        for name, required in needed.items():
            if not required and not self.target(name)[0]:
                self._make(name)

    def _make(self, name: str) -> None:
        from opensearchpy.exceptions import RequestError

        try:
            self.make(name)
        except RequestError:
            return  # each operation will be answered that there is no such index

    def apply(self, operation: Operation, now: float) -> dict[str, Any]:
        """Do one operation and answer it."""
        indices, is_alias = self.target(operation.index)
        if operation.require_alias and not is_alias and operation.action == "index":
            reason = f"no such index [{operation.index}] and [require_alias] request flag is [true]"
            return failed(operation, 404, "index_not_found_exception", f"{reason} and it is not an alias")
        if not indices:
            return failed(operation, 404, "index_not_found_exception", f"no such index [{operation.index}]")
        if len(indices) > 1:
            reason = f"no write index is defined for alias [{operation.index}]"
            return failed(operation, 400, "illegal_argument_exception", reason)
        index = indices[0]
        if index.closed:
            return failed(operation, 400, "index_closed_exception", "closed")
        if (block := index.blocked) is not None:
            return failed(operation, block[0], "cluster_block_exception", block[1], index.name)
        return self._write(operation, index, now)

    def _write(self, operation: Operation, index: SimulatedIndex, now: float) -> dict[str, Any]:
        source: dict[str, Any] | None = None
        if operation.action == "index":
            try:
                source = self._parsed(operation, index)
            except ShapeRefused as error:
                return failed(operation, 400, error.kind, error.reason, index.name)
        old = index.held(operation.id, now)
        version = operation.version
        if version is None:
            version = 1 if old is None else old[0] + 1
        elif old is not None and version < old[0]:
            reason = (
                f"[{operation.id}]: version conflict, current version [{old[0]}] is higher than the one provided "
                f"[{version}]"
            )
            return failed(operation, 409, "version_conflict_engine_exception", reason, index.name)
        if source is not None:
            fresh = old is None or old[1] is None
            index.put(operation.id, Held(version, source, operation.text, operation.routing))
            status, result = (201, "created") if fresh else (200, "updated")
        else:
            there = index.remove(operation.id, version, now)
            status, result = (200, "deleted") if there else (404, "not_found")
        self.written(index.name, operation.id, old, (version, source))
        answer = {"_index": index.name, "_id": operation.id, "_version": version, "result": result, "status": status}
        return {operation.action: answer}

    def _parsed(self, operation: Operation, index: SimulatedIndex) -> dict[str, Any]:
        """The source, by which the index mapping has grown.

        Raises:
            ShapeRefused: the index does not take it.
        """
        try:
            source = exact(operation.text)
        except (JSONDecodeError, UnicodeDecodeError):
            source = None
        if not isinstance(source, dict):
            raise ShapeRefused("mapper_parsing_exception", "failed to parse")
        if not operation.id:
            raise ShapeRefused("illegal_argument_exception", "if _id is specified it must not be empty")
        if (kind := self.refuses(source)) is not None:
            raise ShapeRefused(kind, "failed to parse")
        index.mappings = grown(index.mappings, index.settings, source) or index.mappings
        return source
