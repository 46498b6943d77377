"""New index: the one that a rebuild makes beside the searched one, hidden until it is whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cdc.errors import ConfigError
from cdc.rebuilds.scratch import asked
from cdc.sinks.opensearch.admission import first_memory
from cdc.sinks.opensearch.bodies import index_body
from cdc.sinks.opensearch.memory import Memory, RebuildNote

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

    from cdc.rebuilds.tables import RebuiltTable

__all__ = ["free_name", "make_new", "not_worse", "put_back", "standby_of"]

_HELD_BACK = {"refresh_interval": "-1", "number_of_replicas": 0}
"""A load is faster without: nobody searches the index, and the table has everything that a lost node would take
(OpenSearch documentation, "Tuning for indexing speed")."""
_PUT_BACK = ("refresh_interval", "number_of_replicas", "auto_expand_replicas")
_HEALTH = ("green", "yellow", "red")


def standby_of(index: str) -> str:
    """The hidden alias of the member that gets every change, and is not searched. Who swaps needs it to be there; who
    gives the index up takes it away first. Both do so in the request that asks where searches are: so neither overtakes
    the other."""
    return f"{index}-standby"


def free_name(client: OpenSearch, index: str) -> str:
    """`<index>-v2`, or the next one that is no index yet."""
    number = 2
    while _exists(client, f"{index}-v{number}"):
        number += 1
    return f"{index}-v{number}"


def make_new(client: OpenSearch, note: RebuildNote, index: str, tables: Sequence[RebuiltTable], now: float) -> None:
    """Make the new index by the mapping files' `body`: hidden, without replicas and refreshes, with the memory of its
    tables and of the rebuild.

    Raises:
        ConfigError: OpenSearch refuses the body or the index, or somebody has just made one of that name.
        SinkUnavailable: OpenSearch is out of reach.
    """
    full = _full(index, tables)
    full["aliases"] = {standby_of(index): {"is_hidden": True}}
    within = {name: value for name, value in full["settings"]["index"].items() if name not in _PUT_BACK}
    full["settings"] = {"index": {**within, **_HELD_BACK, "hidden": True}}
    meta = full["mappings"]["_meta"]
    for one in tables:
        told: dict[str, Any] = first_memory(one.compiled, one.stream, index, now)
        parts = ("tables", "documents", "mappings")
        meta["cdc"] |= {**told, **{part: {**meta["cdc"].get(part, {}), **told.get(part, {})} for part in parts}}
    full["mappings"]["_meta"] = Memory(note.new, full["mappings"]).with_members([note.old, note.new], note)
    source = tables[0].compiled.mapping.source
    try:
        asked(
            f"the index {note.new} can't be made",
            f"Check `body` in {source}, and that this user may create {index}-v*.",
            lambda: client.indices.create(index=note.new, body=full),
        )
    except ConfigError as error:
        if "resource_already_exists_exception" not in str(error):
            raise
        raise ConfigError(
            f"somebody has made {note.new} at this very moment",
            remedy=f"If that is a rebuild too, this one goes on with it: cdc rebuild --index {index}",
        ) from error


def put_back(client: OpenSearch, concrete: str, index: str, tables: Sequence[RebuiltTable]) -> None:
    """Give the new index the refreshes and replicas of its `body`, and show it.

    Raises:
        ConfigError: OpenSearch refuses that.
        SinkUnavailable: it is out of reach.
    """
    own = _full(index, tables)["settings"]["index"]
    settings = {name: own.get(name) for name in _PUT_BACK}
    asked(
        f"{concrete} can't be given its replicas",
        f"Allow this user to change the settings of {index}-v*.",
        lambda: client.indices.put_settings(index=concrete, body={"index": {**settings, "hidden": False}}),
    )


def not_worse(client: OpenSearch, new: str, old: str) -> bool:
    """Is the new index allocated as well as the old one: green where that is green?

    Raises:
        ConfigError: this user may not ask for the health.
        SinkUnavailable: OpenSearch is out of reach.
    """
    mine, theirs = (_health(client, concrete) for concrete in (new, old))
    return mine <= theirs


def _health(client: OpenSearch, concrete: str) -> int:
    found: Mapping[str, Any] = asked(
        f"the health of {concrete} can't be read",
        "Allow this user cluster:monitor/health.",
        lambda: client.cluster.health(index=concrete),
    )
    return _HEALTH.index(found["status"])


def _exists(client: OpenSearch, concrete: str) -> bool:
    return bool(asked(f"{concrete} can't be looked up", "Allow it.", lambda: client.indices.exists(index=concrete)))


def _full(index: str, tables: Sequence[RebuiltTable]) -> dict[str, Any]:
    body = tables[0].compiled.bodies[index]
    return index_body(body, tombstones=any(one.is_tombstoned for one in tables))
