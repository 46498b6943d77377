"""Time to live: expired items are deleted within seconds, and the stream has a record of each."""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from ministack.core import responses
from ministack.services import dynamodb, dynamodb_streams

__all__ = ["expire_items"]

_SERVICE = {"PrincipalId": "dynamodb.amazonaws.com", "Type": "Service"}
_REAPER = "dynamodb-ttl-reaper"
"""MiniStack's own thread, which runs from the import on: it has nothing left to do."""


def expire_items() -> None:
    """Delete expired items, with a record whose `userIdentity` is DynamoDB's, every `ENGINE_TTL_SECONDS` (2).

    MiniStack deletes them once a minute, from a thread, and writes no record. Here it happens before a request is
    answered, so that nothing else changes a table meanwhile.
    """
    every = float(os.environ.get("ENGINE_TTL_SECONDS", "2"))
    due = time.monotonic()
    expiring = False
    build = dynamodb._build_change_record

    def build_change_record(*arguments: Any) -> Any:
        record = build(*arguments)
        if expiring:
            record["userIdentity"] = dict(_SERVICE)
        return record

    def expire() -> None:
        nonlocal due, expiring
        if time.monotonic() < due:
            return
        due, expiring = time.monotonic() + every, True
        account, region = responses.get_account_id(), responses.get_region()
        try:
            for (owner, place, table), setting in list(dynamodb._ttl_settings.all_items()):
                if setting.get("TimeToLiveStatus") == "ENABLED" and setting.get("AttributeName"):
                    responses._request_account_id.set(owner)
                    responses._request_region.set(place)
                    _expire(table, setting["AttributeName"], time.time())
        finally:
            responses._request_account_id.set(account)
            responses._request_region.set(region)
            expiring = False

    remove = dynamodb._remove_item

    def remove_item(*arguments: Any) -> Any:
        if threading.current_thread().name == _REAPER:
            return None
        return remove(*arguments)

    dynamodb._build_change_record, dynamodb._remove_item = build_change_record, remove_item
    for service in (dynamodb, dynamodb_streams):
        _before_each_request(service, expire)


def _before_each_request(service: Any, act: Any) -> None:
    handle = service.handle_request

    async def handle_request(*arguments: Any) -> Any:
        act()
        return await handle(*arguments)

    service.handle_request = handle_request


def _expire(name: str, attribute: str, now: float) -> None:
    table = dynamodb._tables.get(name)
    for partition, held in list(table["items"].items()) if table else ():
        for sort, item in list(held.items()):
            until = item.get(attribute, {}).get("N")
            if until is not None and float(until) <= now:
                old = dynamodb._remove_item(table, partition, sort)
                dynamodb._emit_stream_event(name, "REMOVE", old, None)
