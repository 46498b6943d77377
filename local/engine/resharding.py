"""Kinesis: shards that were split or merged stay, with their records, until their children's readers have passed."""

from __future__ import annotations

import itertools
import json
from typing import Any

from ministack.core.responses import json_response
from ministack.services import kinesis

__all__ = ["keep_parents"]


def keep_parents() -> None:
    """Keep closed parents readable, tell their children, and reshard step by step in UpdateShardCount.

    MiniStack drops a parent and its records. A subscription of enhanced fan-out still does not end with its shard.
    """
    split, merge = _keeping(kinesis._split_shard), _keeping(kinesis._merge_shards)
    describe, records = kinesis._shard_out, kinesis._get_records

    def update_shard_count(asked: Any) -> Any:
        """To as many as asked for, by halving the widest shards or merging the narrowest neighbours."""
        name, stream = kinesis._resolve_stream(asked)
        target, before = int(asked["TargetShardCount"]), len(_open(stream))
        while len(opened := _open(stream)) != target:
            ordered = sorted(opened, key=lambda one: int(opened[one]["starting_hash_key"]))
            if len(opened) < target:
                widest = max(ordered, key=lambda one: _width(opened[one]))
                middle = int(opened[widest]["starting_hash_key"]) + _width(opened[widest]) // 2
                change = {"ShardToSplit": widest, "NewStartingHashKey": str(middle)}
                split({"StreamARN": stream["StreamARN"], **change})
            else:
                pairs = itertools.pairwise(ordered)
                low, high = min(pairs, key=lambda pair: _width(opened[pair[0]]) + _width(opened[pair[1]]))
                merge({"StreamARN": stream["StreamARN"], "ShardToMerge": low, "AdjacentShardToMerge": high})
        counts = {"CurrentShardCount": before, "TargetShardCount": target}
        return json_response({"StreamName": name, "StreamARN": stream["StreamARN"], **counts})

    def shard_out(name: str, shard: Any) -> Any:
        told = describe(name, shard)
        if "ended" in shard:
            told["SequenceNumberRange"]["EndingSequenceNumber"] = shard["ended"]
        return told

    def get_records(asked: Any) -> Any:
        status, headers, body = records(asked)
        state = kinesis._shard_iterators.get(asked.get("ShardIterator"))
        if status != 200 or not state:
            return status, headers, body
        stream, name = kinesis._streams[state["stream"]], state["shard_id"]
        answer = json.loads(body)
        following = kinesis._shard_iterators[answer["NextShardIterator"]]
        shard = stream["shards"][name]
        if "ended" not in shard or following["position"] < len(shard["records"]):
            return status, headers, body
        del answer["NextShardIterator"]
        answer["ChildShards"] = _children(stream, name)
        return json_response(answer)

    def route_to_shard(hash_key: int, stream: Any) -> str:
        for name, shard in _open(stream).items():
            if int(shard["starting_hash_key"]) <= hash_key <= int(shard["ending_hash_key"]):
                return str(name)
        raise LookupError(hash_key)

    kinesis._split_shard, kinesis._merge_shards, kinesis._update_shard_count = split, merge, update_shard_count
    kinesis._shard_out, kinesis._get_records, kinesis._route_to_shard = shard_out, get_records, route_to_shard
    kinesis._max_shard_index = _last_index


def _keeping(operation: Any) -> Any:
    """The operation on the open shards alone; what it removes is kept, and is closed."""

    def run(asked: Any) -> Any:
        stream = kinesis._resolve_stream(asked)[1]
        if not stream:
            return operation(asked)
        before = dict(stream["shards"])
        opened = _open(stream)
        stream["shards"], stream["all"] = dict(opened), before
        answer = operation(asked)
        del stream["all"]
        for name, shard in opened.items():
            if stream["shards"].get(name) is not shard:
                shard["ended"] = kinesis._next_sequence_number()
        stream["shards"] = {**before, **stream["shards"]}
        return answer

    return run


def _open(stream: Any) -> dict[str, Any]:
    return {name: shard for name, shard in stream["shards"].items() if "ended" not in shard}


def _width(shard: Any) -> int:
    return int(shard["ending_hash_key"]) - int(shard["starting_hash_key"]) + 1


def _last_index(stream: Any) -> int:
    return max(int(name.split("-")[1]) for name in {**stream["shards"], **stream.get("all", {})})


def _children(stream: Any, parent: str) -> list[dict[str, Any]]:
    children = []
    for name, shard in stream["shards"].items():
        parents = [one for one in (shard["parent_shard_id"], shard["adjacent_parent_shard_id"]) if one]
        if parent in parents:
            keys = {"StartingHashKey": shard["starting_hash_key"], "EndingHashKey": shard["ending_hash_key"]}
            children.append({"ShardId": name, "ParentShards": parents, "HashKeyRange": keys})
    return children
