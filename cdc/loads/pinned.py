"""Pinned: a deployment whose loads, repairs and verifications are of one concrete index, by the mapping it carries."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from cdc.errors import ConfigError
from cdc.loads.deployment import Deployment
from cdc.mappings.compiled import CompiledMapping
from cdc.records.change import StreamView
from cdc.records.stream import Stream

__all__ = ["pinned"]


def pinned(deployment: Deployment, compiled: CompiledMapping) -> Deployment:
    """The deployment for the documents of one table in one concrete index: what is written goes there alone, be it a
    member beside others or none yet, and what is read is read there.

    Args:
        compiled: all its rules write to the concrete index; see `compiled_from`.

    Raises:
        ConfigError: the deployment can't write to concrete indices.
    """
    if deployment.concrete is None:
        raise ConfigError("this deployment can't write to a concrete index", remedy="Give it `concrete`.")

    def prepare(stream: Stream, keys: Sequence[str], view: StreamView | None = None) -> CompiledMapping:
        return compiled

    return replace(deployment, prepare=prepare, index=deployment.concrete)
