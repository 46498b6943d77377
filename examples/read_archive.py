"""Print how often each attribute was changed, from the archive: `python examples/read_archive.py BUCKET TABLE`."""

import sys
from collections import Counter
from typing import Any

from cdc import read_archive


def changed_attributes(client: Any, bucket: str, table: str) -> Counter[str]:
    """Count the attributes that the archived changes of a table changed. Each change is read once."""
    counts: Counter[str] = Counter()
    for archived in read_archive(client, bucket, "cdc", table):
        changed = archived.document["Metadata"].get("ChangedAttributes", {"L": []})
        counts.update(name["S"] for name in changed["L"])
    return counts


if __name__ == "__main__":
    import boto3

    for name, count in changed_attributes(boto3.client("s3"), sys.argv[1], sys.argv[2]).most_common():
        print(count, name)
