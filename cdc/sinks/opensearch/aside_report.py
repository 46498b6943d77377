"""The report of what is set aside: which fields an index refuses, how often, and what would give each a home."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from cdc.errors import ConfigError, SinkUnavailable
from cdc.mappings.fields import METADATA_FIELDS, refused_name
from cdc.mappings.model import ASIDE_FIELD, ASIDE_NAMES_FIELD, RESERVED_FIELDS
from cdc.sinks.opensearch.unfit import mapped_field

if TYPE_CHECKING:
    from opensearchpy import OpenSearch

__all__ = ["AsideReport", "SetAsideField", "report_aside"]


@dataclass(frozen=True, slots=True)
class SetAsideField:
    """A field that is set aside in some documents. `home`: lines of a mapping file, below a document."""

    name: str
    documents: int
    example: str
    """The id of a document that it is set aside in."""
    value: str
    """The kind of its value there, in words."""
    indexed_as: str
    """The type that the index has for it, or empty."""
    home: str


@dataclass(frozen=True, slots=True)
class AsideReport:
    """The fields that are set aside, most often first. `more`: times that fields beyond these are set aside."""

    fields: tuple[SetAsideField, ...]
    more: int


def report_aside(client: OpenSearch, index: str, most: int = 50) -> AsideReport:
    """Look at what is set aside in `index`: an index, or an alias.

    Raises:
        ConfigError: there is no such index.
        SinkUnavailable: OpenSearch does not answer.
    """
    from opensearchpy.exceptions import NotFoundError, OpenSearchException

    try:
        client.indices.refresh(index=index)
        properties: dict[str, Any] = {}
        for state in client.indices.get_mapping(index=index).values():
            properties |= state.get("mappings", {}).get("properties", {})
        counted: Mapping[str, Any] = {"buckets": []}
        if ASIDE_NAMES_FIELD in properties:
            names = {"names": {"terms": {"field": ASIDE_NAMES_FIELD, "size": most}}}
            counted = client.search(index=index, body={"size": 0, "aggs": names})["aggregations"]["names"]
        fields = [_field(client, index, properties, one["key"], one["doc_count"]) for one in counted["buckets"]]
    except NotFoundError as error:
        raise ConfigError(f"there is no index {index}", remedy="`cdc mappings check` shows the indices.") from error
    except OpenSearchException as error:
        raise SinkUnavailable(
            "opensearch",
            f"it does not answer: {type(error).__name__}",
            remedy="Check the endpoint of OpenSearch, and that the cluster is up.",
        ) from error
    return AsideReport(tuple(fields), int(counted.get("sum_other_doc_count", 0)))


def _field(client: OpenSearch, index: str, properties: Mapping[str, Any], name: str, documents: int) -> SetAsideField:
    body = {"size": 1, "query": {"term": {ASIDE_NAMES_FIELD: name}}, "_source": [ASIDE_FIELD]}
    hits = client.search(index=index, body=body)["hits"]["hits"]
    hit: Mapping[str, Any] = hits[0] if hits else {"_id": "", "_source": {}}
    aside = hit["_source"].get(ASIDE_FIELD, {})
    value = (json.loads(aside) if isinstance(aside, str) else aside).get(name)
    mapped = mapped_field(properties, name)
    indexed_as = "" if mapped is None else str(mapped.get("type", "object"))
    return SetAsideField(name, documents, str(hit["_id"]), _kind(value), indexed_as, _home(name, value, indexed_as))


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case dict():
            return "a map"
        case list():
            kinds = sorted({_kind(inner).removeprefix("a ") for inner in value})
            return f"a list of {', '.join(kinds)}" if kinds else "an empty list"
    return type(value).__name__


def _home(name: str, value: Any, indexed_as: str) -> str:
    if name in METADATA_FIELDS | RESERVED_FIELDS or refused_name({name: None}) is not None:
        return f"fields: {{rename: {{{_quoted(name)}: {_quoted(name.strip('._ ') or 'renamed')}}}}}"
    if _has_maps(value) or indexed_as in ("object", "nested"):
        mapping = "{type: object, enabled: false}  # kept whole and not searched"
    else:
        mapping = "{type: keyword, ignore_above: 8191}  # takes any plain value"
    place, _, kept = mapping.partition("  ")
    return f"body: {{mappings: {{properties: {{{_quoted(name)}: {place}}}}}}}  {kept}"


def _has_maps(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and any(map(_has_maps, value)))


def _quoted(name: str) -> str:
    return name if name.isidentifier() and name.isascii() else orjson.dumps(name).decode()
