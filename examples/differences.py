"""An audit trail: which attribute changed from what to what, as lines of text."""

from collections.abc import Iterator, Mapping
from typing import Any

from cdc import Added, Change, Changed, Removed, changes_from_lambda


def audit_lines(event: Mapping[str, Any]) -> Iterator[str]:
    """A line for each attribute that the changes of a Lambda event touched. The stream's view has both images."""
    for change in changes_from_lambda(event):
        yield from _lines(change)


def _lines(change: Change) -> Iterator[str]:
    key = "/".join(str(value) for value in change.keys.values())
    for path, difference in change.differences().items():
        name = ".".join(map(str, path))
        match difference:
            case Added(after=after):
                yield f"{key}: {name} = {after!r}"
            case Removed(before=before):
                yield f"{key}: {name} removed, was {before!r}"
            case Changed(before=before, after=after):
                yield f"{key}: {name} {before!r} -> {after!r}"
