"""The `indices` of the simulated OpenSearch's client."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from cdc.testing.simulated._cluster import Cluster
from cdc.testing.simulated._index import SimulatedIndex, flat_settings
from cdc.testing.simulated._refusals import index_closed, refused

__all__ = ["SimulatedIndices"]

Body = Mapping[str, Any]
_DONE = {"acknowledged": True}
_READ_ONLY = "index.blocks.read_only"


class SimulatedIndices:
    """Stands in for `opensearchpy.OpenSearch.indices`; mappings have the fields of documents too."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def exists(self, *, index: str, **_options: Any) -> bool:
        """Is there an index or an alias of this name?"""
        self._cluster.look()
        return bool(self._cluster.target(index)[0])

    def exists_alias(self, *, name: str, index: str | None = None, **_options: Any) -> bool:
        """Is there an alias of this name?"""
        self._cluster.look()
        return any(name in found.aliases for found in self._among(index))

    def create(self, *, index: str, body: Body | None = None, **_options: Any) -> dict[str, Any]:
        """Make an index, its aliases with it."""
        self._cluster.look()
        if index in self._cluster.indices:
            _admit(self._cluster.indices[index].metadata_blocked())
        self._cluster.make(index, body)
        return {**_DONE, "shards_acknowledged": True, "index": index}

    def get(self, *, index: str, params: Body | None = None, **options: Any) -> dict[str, Any]:
        """Aliases, mappings and settings."""
        flat = _asks({**(params or {}), **options}, "flat_settings")
        return {
            found.name: {
                "aliases": copy.deepcopy(found.aliases),
                "mappings": copy.deepcopy(found.mappings),
                "settings": _settings(found, flat=flat),
            }
            for found in self._found(index)
        }

    def get_settings(self, *, index: str, params: Body | None = None, **options: Any) -> dict[str, Any]:
        """Settings."""
        flat = _asks({**(params or {}), **options}, "flat_settings")
        return {found.name: {"settings": _settings(found, flat=flat)} for found in self._found(index)}

    def get_mapping(self, *, index: str, params: Body | None = None, **options: Any) -> dict[str, Any]:
        """Mappings."""
        may_be_gone = _asks({**(params or {}), **options}, "ignore_unavailable")
        found = self._found(index, may_be_gone=may_be_gone)
        return {one.name: {"mappings": copy.deepcopy(one.mappings)} for one in found}

    def get_alias(self, *, name: str | None = None, index: str | None = None, **_options: Any) -> dict[str, Any]:
        """The indices behind an alias, or the aliases of an index."""
        self._cluster.look()
        found = [behind for behind in self._among(index) if name is None or name in behind.aliases]
        if name is not None and not found:
            from opensearchpy.exceptions import NotFoundError

            reason = f"alias [{name}] missing"
            raise NotFoundError(404, reason, {"error": reason, "status": 404})
        return {
            behind.name: {
                "aliases": {
                    alias: copy.deepcopy(about) for alias, about in behind.aliases.items() if name in (None, alias)
                }
            }
            for behind in found
        }

    def put_alias(self, *, index: str, name: str, body: Body | None = None, **_options: Any) -> dict[str, Any]:
        """Put indices behind an alias."""
        for found in self._changeable(index):
            self._cluster.add_alias(found, name, body)
        return dict(_DONE)

    def delete_alias(self, *, index: str, name: str, **_options: Any) -> dict[str, Any]:
        """Take an alias away; its indices stay."""
        behind = [found for found in self._changeable(index) if name in found.aliases]
        if not behind:
            raise refused(404, "aliases_not_found_exception", f"aliases [{name}] missing")
        for found in behind:
            del found.aliases[name]
        return dict(_DONE)

    def update_aliases(self, *, body: Body, **_options: Any) -> dict[str, Any]:
        """Put indices behind aliases (`add`), take aliases away (`remove`), delete indices (`remove_index`): all of it
        or nothing. A `remove` with `must_exist` of an alias that is not there refuses all."""
        self._cluster.look()
        steps = [next(iter(action.items())) for action in body["actions"]]
        for kind, about in steps:
            behind = self._changeable_now(about["index"])
            missing = kind == "remove" and not any(about["alias"] in one.aliases for one in behind)
            if missing and about.get("must_exist"):
                raise refused(404, "aliases_not_found_exception", f"aliases [{about['alias']}] missing")
        for kind, about in steps:
            for one in self._cluster.resolve(about["index"]):
                if kind == "remove_index":
                    self._cluster.remove(one.name)
                elif kind == "add":
                    kept = {name: value for name, value in about.items() if name not in ("index", "alias")}
                    self._cluster.add_alias(one, about["alias"], kept)
                else:
                    one.aliases.pop(about["alias"], None)
        return dict(_DONE)

    def put_mapping(self, *, index: str, body: Body, **_options: Any) -> dict[str, Any]:
        """Add properties; everything else that is given, `_meta` too, takes the place of what was there. A field that
        is given another type or `null_value` refuses it all."""
        every = self._changeable(index)
        merged = [_with_properties(found.mappings.get("properties", {}), body.get("properties", {})) for found in every]
        for found, properties in zip(every, merged, strict=True):
            found.mappings.update(copy.deepcopy({**body, "properties": properties}))
        return dict(_DONE)

    def put_settings(self, *, index: str, body: Body, **_options: Any) -> dict[str, Any]:
        """Change settings; None takes one back to its default."""
        changed = flat_settings(body)
        if not changed:
            raise refused(400, "action_request_validation_exception", "Validation Failed: 1: no settings to update;")
        unblocks = len(changed) == 1 and changed.keys() <= {_READ_ONLY, f"{_READ_ONLY}_allow_delete"}
        for found in self._found(index) if unblocks else self._changeable(index):
            found.settings = {name: value for name, value in {**found.settings, **changed}.items() if value is not None}
        return dict(_DONE)

    def refresh(self, *, index: str, **_options: Any) -> dict[str, Any]:
        """Searches see every write at once here."""
        for found in self._found(index):
            if found.closed:
                raise index_closed(found.name)
        return {"_shards": {"total": 1, "successful": 1, "failed": 0}}

    def delete(self, *, index: str, **_options: Any) -> dict[str, Any]:
        """Delete indices, by their own names only."""
        found = self._found(index)
        if "*" not in index and (alias := next((name for name in index.split(",") if self._is_alias(name)), None)):
            reason = f"The provided expression [{alias}] matches an alias, specify the corresponding concrete indices"
            raise refused(400, "illegal_argument_exception", f"{reason} instead.")
        for one in found:
            _admit(one.metadata_blocked(delete=True))
        for one in found:
            self._cluster.remove(one.name)
        return dict(_DONE)

    def close(self, *, index: str, **_options: Any) -> dict[str, Any]:
        """Close indices: what they remember of deleted documents is gone."""
        for found in self._changeable(index):
            found.closed = True
            found.forget_deletes()
        return {**_DONE, "shards_acknowledged": True}

    def open(self, *, index: str, **_options: Any) -> dict[str, Any]:
        """Open closed indices."""
        for found in self._changeable(index):
            found.closed = False
        return {**_DONE, "shards_acknowledged": True}

    def _is_alias(self, name: str) -> bool:
        return self._cluster.target(name)[1]

    def _found(self, names: str, *, may_be_gone: bool = False) -> list[SimulatedIndex]:
        self._cluster.look()
        return self._cluster.resolve(names, may_be_gone=may_be_gone)

    def _changeable(self, names: str) -> list[SimulatedIndex]:
        """Those found, unless one is blocked."""
        self._cluster.look()
        return self._changeable_now(names)

    def _changeable_now(self, names: str) -> list[SimulatedIndex]:
        found = self._cluster.resolve(names)
        for one in found:
            _admit(one.metadata_blocked())
        return found

    def _among(self, names: str | None) -> list[SimulatedIndex]:
        return list(self._cluster.indices.values()) if names is None else self._cluster.resolve(names)


def _admit(block: tuple[int, str] | None) -> None:
    if block is not None:
        raise refused(block[0], "cluster_block_exception", block[1])


def _with_properties(known: Body, given: Body, above: str = "") -> dict[str, Any]:
    properties = dict(known)
    for name, field in given.items():
        there = known.get(name)
        for parameter in ("type", "null_value"):
            if there is not None and there.get(parameter) != field.get(parameter):
                change = f"[{parameter}] from [{there.get(parameter)}] to [{field.get(parameter)}]"
                reason = (
                    f"Mapper for [{above}{name}] conflicts with existing mapper:\n\tCannot update parameter {change}"
                )
                raise refused(400, "illegal_argument_exception", reason)
        inside = _with_properties((there or {}).get("properties", {}), field.get("properties", {}), f"{above}{name}.")
        properties[name] = {**field, "properties": inside} if inside else field
    return properties


def _asks(options: Body, name: str) -> bool:
    return str(options.get(name, "false")).lower() == "true"


def _settings(index: SimulatedIndex, *, flat: bool) -> dict[str, Any]:
    if flat:
        return dict(index.settings)
    nested: dict[str, Any] = {}
    for name, value in index.settings.items():
        *parents, last = name.split(".")
        inner = nested
        for parent in parents:
            inner = inner.setdefault(parent, {})
        inner[last] = value
    return nested
