"""Refusals: errors that end an errand in order, since something was changed, or is being changed, by others."""

from __future__ import annotations

from cdc.errors import ConfigError

__all__ = ["is_another", "is_told"]

_REFUSALS = (
    "was rebuilt",
    "can't be moved",
    "can't be given up",
    "can't be deleted",
    "being given up",
    "is not being rebuilt",
    "there is nothing to roll back",
    "searches of orders see",
    "a part of another rebuild",
    "at this very moment",
    "not proven",
    "cluster_block_exception",
    "index_not_found_exception",
    "others write to the memory",
    "was aborted",
    "was deleted while it was filled",
    "the mapping has not changed",
    "has changed since the rebuild",
    "stands still",
    "there is no index",
)
"""Told to people who meet the work of others, or an index that somebody has blocked or deleted."""


def is_told(error: ConfigError) -> bool:
    """Does it say that others are at work, or were?"""
    return is_another(error) or _may_pass(error) or _is_too_old(error) or any(text in str(error) for text in _REFUSALS)


def is_another(error: ConfigError) -> bool:
    """Is the table or its stream another than when the load began?"""
    return "was replaced" in error.message or "not on any more" in error.message or "ResourceNotFound" in str(error)


def _is_too_old(error: ConfigError) -> bool:
    """Is it an export of a time, or of a table, that no load may begin with?"""
    return "before its stream began" in error.message or "of an earlier table" in error.message


def _may_pass(error: ConfigError) -> bool:
    """Does it stand still as long as somebody blocks an index?"""
    return any(text in error.message for text in ("stands still", "was aborted", "there is no index"))
