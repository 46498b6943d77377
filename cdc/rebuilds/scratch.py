"""Scratch: a hidden index that lives as long as a comparison, and shows what OpenSearch makes of a body."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from secrets import token_hex
from typing import TYPE_CHECKING, Any, TypeVar

from cdc.causes import KINDS, CauseKind
from cdc.errors import ConfigError, SinkUnavailable
from cdc.sinks.opensearch.bodies import index_body

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

__all__ = ["asked", "scratch_index"]

log = logging.getLogger(__name__)

_T = TypeVar("_T")


@contextmanager
def scratch_index(
    client: OpenSearch, index: str, body: Mapping[str, Any], *, tombstones: bool, source: str
) -> Iterator[str]:
    """The name of a new index `<index>-diff-…` with this body: hidden, without alias and replicas. It is deleted at the
    end, however that comes.

    Raises:
        ConfigError: OpenSearch refuses the body, or this user may not make such an index.
        SinkUnavailable: OpenSearch is out of reach.
    """
    name = f"{index}-diff-{token_hex(4)}"
    full = index_body(body, tombstones=tombstones)
    full.pop("aliases", None)
    within = {key: value for key, value in full["settings"]["index"].items() if key != "auto_expand_replicas"}
    full["settings"] = {"index": {**within, "hidden": True, "number_of_replicas": 0}}
    try:
        what, remedy = f"the index {name} can't be made", _remedy(index, source)
        asked(what, remedy, lambda: client.indices.create(index=name, body=full))
        asked(what, remedy, lambda: _take_aliases(client, name))
        yield name
    finally:
        _delete(client, name)


def _take_aliases(client: OpenSearch, name: str) -> None:
    """An index template may have given it an alias, and people would find its documents by that."""
    aliases = client.indices.get(index=name)[name]["aliases"]
    if aliases:
        client.indices.delete_alias(index=name, name=",".join(aliases))


def _remedy(index: str, source: str) -> str:
    return f"Check `body` in {source}, and that this user may create, write, read and delete {index}-diff-*."


def _delete(client: OpenSearch, name: str) -> None:
    """Delete it; also where nobody knows whether it was made."""
    from opensearchpy.exceptions import NotFoundError, OpenSearchException

    try:
        client.indices.delete(index=name)
    except NotFoundError:
        return
    except OpenSearchException as error:
        log.warning("the index %s is left over (%s): delete it", name, type(error).__name__)


def asked(what: str, remedy: str, ask: Callable[[], _T]) -> _T:
    """The answer of OpenSearch.

    Raises:
        ConfigError: it refuses; `what` says what can't be done.
        SinkUnavailable: it is out of reach, or overloaded.
    """
    from opensearchpy.exceptions import OpenSearchException

    try:
        return ask()
    except OpenSearchException as error:
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and 400 <= status < 500 and status not in (408, 429):
            raise ConfigError(f"{what}: {status} {error!s:.500}", remedy=remedy) from error
        kind = CauseKind.OVERLOADED if status == 429 else CauseKind.OUT_OF_REACH
        text = f"{what}: {type(error).__name__} {status or ''}".rstrip()
        raise SinkUnavailable("opensearch", text, remedy=KINDS[kind].remedy, kind=kind) from error
