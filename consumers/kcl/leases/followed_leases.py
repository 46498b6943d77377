"""The lease table as the KCL of this worker sees it: leases of streams that the worker does not follow are hidden.

The KCL assumes that all workers of an application follow the same streams. Its leader gives every lease to any worker,
and every worker reads what it is given. While tables are added or taken away, workers differ for a while. A worker that
does not see a lease neither reads its shard, nor gives it to anyone, nor deletes it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from consumers.kcl.java.jvm import called

__all__ = ["Follows", "seeing_only", "stream_of_item"]

Follows = Callable[[str], bool]
"""Does this worker follow the stream that the KCL calls by this name?"""

_ONE = 1
"""The limit of the KCL's question whether the table is empty: a hidden lease is an answer to that too."""


def seeing_only(jpype: Any, client: Any, table: str, follows: Follows) -> Any:
    """`client`, a DynamoDbAsyncClient, whose answers lack the leases of `table` whose streams are not followed. Keep
    it: Java calls it back."""
    java = jpype.JClass

    @jpype.JImplements("java.util.function.Function")
    class Hide:
        @called
        def apply(self, answer: Any) -> Any:
            seen = java("java.util.ArrayList")()
            for item in answer.items():
                name = stream_of_item({key: item.get(key).s() for key in ("streamName", "leaseKey") if item.get(key)})
                if name is None or follows(name):
                    seen.add(item)
            return answer if seen.size() == answer.items().size() else answer.toBuilder().items(seen).build()

    hide = Hide()

    @jpype.JImplements("java.lang.reflect.InvocationHandler")
    class Handler:
        @called
        def invoke(self, _proxy: Any, method: Any, arguments: Any) -> Any:
            try:
                answer = method.invoke(client, arguments)
            except java("java.lang.reflect.InvocationTargetException") as error:
                raise error.getCause() from None
            if str(method.getName()) not in ("scan", "query") or not _whole_table(arguments, table):
                return answer
            return answer.thenApply(hide)

    interface = java("software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient").class_
    types = jpype.JArray(java("java.lang.Class"))([interface])
    return java("java.lang.reflect.Proxy").newProxyInstance(interface.getClassLoader(), types, Handler())


def _whole_table(arguments: Any, table: str) -> bool:
    """Is it a request for the lease table's items, and not the question whether there is one?"""
    request = arguments[0] if arguments is not None and len(arguments) == 1 else None
    if request is None or not hasattr(request, "tableName") or str(request.tableName()) != table:
        return False
    return request.limit() is None or int(request.limit()) != _ONE


def stream_of_item(item: Mapping[str, Any]) -> str | None:
    """The KCL's name of the stream of a lease, from the lease's strings; None if the item is no lease of a stream. The
    index of owners has the key alone, which is name and shard."""
    if name := item.get("streamName"):
        return str(name)
    name, separator, shard = str(item.get("leaseKey", "")).rpartition(":")
    return name if separator and shard.startswith("shardId-") else None
