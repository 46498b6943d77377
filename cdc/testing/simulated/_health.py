"""The `cluster` of the simulated OpenSearch's client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cdc.testing.simulated._cluster import Cluster
from cdc.testing.simulated._refusals import index_not_found

__all__ = ["SimulatedHealth"]


class SimulatedHealth:
    """Stands in for `opensearchpy.OpenSearch.cluster`: an index that is there has all its shards."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def health(self, *, index: str, params: Mapping[str, Any] | None = None, **_options: Any) -> dict[str, Any]:
        """The health of an index."""
        self._cluster.look()
        if not self._cluster.resolve(index):
            raise index_not_found(index)
        return {"status": "green", "timed_out": False}
