"""`cdc dead-letters …`: see what was rejected, and redrive or discard it."""

from __future__ import annotations

import json
import os
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cdc.dead_letters.letter import DeadLetter
from cdc.dead_letters.query import Selection, selected
from cdc.dead_letters.redrive import Redriver, Result, StillDead
from cdc.dead_letters.s3 import S3DeadLetters
from cdc.deadline import Deadline
from cdc.errors import CdcError, ConfigError
from cdc.outcome import Superseded
from consumers.cli.groups import command_group
from consumers.cli.letter_summary import LetterFacts, counts_by_reason, facts_of, kept_lines, print_counts
from consumers.cli.moments import moment_of
from consumers.settings import Settings, load_settings

__all__ = ["dead_letters_app"]

dead_letters_app = command_group("See records that were rejected, and redrive or discard them.")

_TOGETHER = 50
_TOGETHER_SECONDS = 30.0
"""How many letters are redriven together, and how long that may take."""
_LISTED = 50

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
Table = Annotated[str | None, typer.Option(help="Only letters of this table.")]
SinkName = Annotated[str | None, typer.Option("--sink", help="Only of this sink: opensearch, function, archive …")]
Document = Annotated[str | None, typer.Option(help="Only of this index, or of this document: index/id.")]
Reason = Annotated[str | None, typer.Option(help="Only with this in their reason.")]
Since = Annotated[str | None, typer.Option(help="Only kept since: 2026-01-15T09:30, or 2h, 3d (ago).")]
Until = Annotated[str | None, typer.Option(help="Only kept before: as --since.")]
Keys = Annotated[list[str] | None, typer.Argument(help="Keys, as `list` shows them.")]


@dead_letters_app.command("list", epilog="Example: cdc dead-letters list --table shop --since 2d")
def list_letters(
    table: Table = None,
    sink: SinkName = None,
    document: Document = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    as_json: Json = False,
) -> None:
    """Count dead letters by reason, field and index, and list their keys. Shows no value of an item."""
    _, store = _store()
    selection = _selection(table, sink, document, reason, since, until)
    found = _found(store, selection)
    if as_json:
        print(json.dumps({"counts": counts_by_reason(found), "letters": [asdict(facts) for facts in found]}, indent=2))
        return
    print_counts(found)
    for facts in found[:_LISTED]:
        print(facts.key)
    if len(found) > _LISTED:
        print(f"… and {len(found) - _LISTED} more: narrow it down, or take --json", file=sys.stderr)


@dead_letters_app.command("show", epilog="Example: cdc dead-letters show KEY | less")
def show_letter(key: Annotated[str, typer.Argument(help="A key, as `list` shows it.")], as_json: Json = False) -> None:
    """Print one letter whole, WITH the contents of its item: that is what this command is for."""
    _, store = _store()
    letter = _existing(store, _key(store, key))
    if as_json:
        print(json.dumps(json.loads(letter.to_json())))
        return
    sys.stdout.buffer.write(letter.to_json() + b"\n")
    sys.stdout.flush()


@dead_letters_app.command("discard", epilog="Example: cdc dead-letters discard KEY")
def discard_letters(
    keys: Annotated[list[str], typer.Argument(help="Keys, as `list` shows them.")], as_json: Json = False
) -> None:
    """Delete letters for good, without redriving them: their changes are lost to their sink."""
    _, store = _store()
    wanted = [_key(store, key) for key in keys]
    found = [facts_of(key, _existing(store, key)) for key in wanted]  # all are there, or none is deleted
    for key in wanted:
        store.delete(key)
    if as_json:
        print(json.dumps({"discarded": [asdict(facts) for facts in found]}, indent=2))
        return
    for facts in found:
        print(f"discarded: {facts.key} ({facts.reason})")


@dead_letters_app.command("redrive", epilog="Example: cdc dead-letters redrive --all --table shop --dry-run")
def redrive_letters(
    keys: Keys = None,
    every: Annotated[bool, typer.Option("--all", help="All letters, or all that the filters take.")] = False,
    on_failure: Annotated[
        str | None,
        typer.Option(help="Lambda's OnFailure records instead: a file, a folder or s3://bucket/prefix."),
    ] = None,
    table: Table = None,
    sink: SinkName = None,
    document: Document = None,
    reason: Reason = None,
    since: Since = None,
    until: Until = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be redriven, and write nothing.")] = False,
    from_letter: Annotated[
        bool,
        typer.Option("--from-letter", help="If the table is out of reach, write the letter's own, older image."),
    ] = False,
    functions: Annotated[
        str | None, typer.Option(help="A Python module with on_insert, on_modify, on_remove: for letters of functions.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write rejected changes once more, each to its sink and document only. Done, a letter is deleted.

    The index gets what stands in the table now, so a redrive neither overwrites a newer state nor brings a deleted item
    back. Exit code 1: some letters had to stay.
    """
    selection = _selection(table, sink, document, reason, since, until)
    if sum((bool(keys), every, on_failure is not None)) != 1 or (selection != Selection() and not every):
        raise ConfigError(
            "give keys, or --all (which the filters narrow down), or --on-failure",
            remedy="`cdc dead-letters list` shows the keys.",
        )
    settings, store = _store()
    if on_failure is not None:
        _redrive_failures(settings, on_failure, functions, dry_run=dry_run, from_letter=from_letter, as_json=as_json)
        return
    if keys:
        found = [facts_of(key, _existing(store, key)) for key in dict.fromkeys(_key(store, key) for key in keys)]
    else:
        found = _found(store, selection)
    if dry_run:
        _print_plan(found, as_json=as_json)
        return
    redriver = _redriver(settings, functions, from_letter=from_letter)
    _report(_in_parts(redriver, [facts.key for facts in found]), len(found), as_json=as_json)


def _in_parts(redriver: Redriver, keys: Sequence[str]) -> Iterator[tuple[str, Result]]:
    """Ends where nothing can be written any more: each part would wait in vain."""
    hopeless: StillDead | None = None
    for start in range(0, len(keys), _TOGETHER):
        part = keys[start : start + _TOGETHER]
        if hopeless is not None:
            yield from (
                (key, StillDead(f"not tried, since of those before it none could be: {hopeless.reason}"))
                for key in part
            )
            continue
        stuck: list[StillDead] = []
        for key, result in redriver.redrive(part, Deadline.after(_TOGETHER_SECONDS)):
            if isinstance(result, StillDead) and result.may_pass:
                stuck.append(result)
            yield key, result
        hopeless = stuck[0] if len(stuck) == len(part) else None


def _found(store: S3DeadLetters, selection: Selection) -> list[LetterFacts]:
    from rich.console import Console

    with Console(stderr=True).status("reading letters …"):
        return [facts_of(key, letter) for key, letter in selected(store, selection)]


def _redrive_failures(
    settings: Settings, location: str, functions: str | None, *, dry_run: bool, from_letter: bool, as_json: bool
) -> None:
    from consumers.failure_records import FailureFiles, FailureObjects, FailureRecords, redrive_failure, stream_reader

    records: FailureRecords
    if location.startswith("s3://"):
        import boto3

        bucket, _, prefix = location.removeprefix("s3://").partition("/")
        records = FailureObjects(boto3.client("s3"), bucket, prefix)
    else:
        records = FailureFiles(Path(location))
    names = records.names()
    if dry_run:
        print(json.dumps({"would_redrive": list(names)}, indent=2) if as_json else "\n".join(names))
        return
    redriver, read_back = _redriver(settings, functions, from_letter=from_letter), stream_reader()

    def results() -> Iterator[tuple[str, Result]]:
        for name in names:
            yield name, redrive_failure(records, name, redriver, read_back, Deadline.after(10 * _TOGETHER_SECONDS))

    _report(results(), len(names), as_json=as_json)


def _report(results: Iterator[tuple[str, Result]], total: int, *, as_json: bool) -> None:
    from rich.console import Console
    from rich.progress import Progress

    counts: Counter[str] = Counter(redriven=0, superseded=0, kept=0)
    kept: list[tuple[str, StillDead]] = []
    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("redriving", total=total)
        for key, result in results:
            progress.advance(task)
            match result:
                case StillDead():
                    counts["kept"] += 1
                    kept.append((key, result))
                case Superseded():
                    counts["superseded"] += 1
                case _:
                    counts["redriven"] += 1
    if as_json:
        entries = [{"key": key, "reason": result.reason} for key, result in kept]
        print(json.dumps({**counts, "letters_kept": entries}, indent=2))
    else:
        print(", ".join(f"{count} {name}" for name, count in counts.items()))
        for line in kept_lines(kept):
            print(line, file=sys.stderr)
    if kept:
        raise typer.Exit(1)


def _print_plan(found: Sequence[LetterFacts], *, as_json: bool) -> None:
    if as_json:
        print(
            json.dumps({"would_redrive": [facts.key for facts in found], "counts": counts_by_reason(found)}, indent=2)
        )
        return
    print_counts(found)
    print(f"{len(found)} letters would be redriven; nothing was written")


def _store() -> tuple[Settings, S3DeadLetters]:
    from consumers.clients import open_clients
    from consumers.redriving import NO_BUCKET

    settings = load_settings(os.environ)
    letters = open_clients(settings, indexed=False).letters if settings.dead_letter_bucket else None
    if letters is None:
        raise ConfigError("no dead-letter bucket is configured", remedy=NO_BUCKET)
    return settings, letters


def _redriver(settings: Settings, functions: str | None, *, from_letter: bool) -> Redriver:
    from consumers.own_sinks import load_functions
    from consumers.redriving import make_redriver
    from consumers.runtime import open_runtime

    runtime = open_runtime(settings, own=load_functions(functions) if functions else None)
    return make_redriver(runtime, from_letter=from_letter)


def _key(store: S3DeadLetters, text: str) -> str:
    """A key as `list`, a message or the S3 console shows it."""
    return text.removeprefix(f"s3://{store.bucket}/").removeprefix(store.object_key(""))


def _existing(store: S3DeadLetters, key: str) -> DeadLetter:
    letter = store.read(key)
    if letter is None:
        raise CdcError(f"there is no dead letter {key}", remedy="`cdc dead-letters list` shows the keys.")
    return letter


def _selection(
    table: str | None, sink: str | None, document: str | None, reason: str | None, since: str | None, until: str | None
) -> Selection:
    return Selection(table, sink, document, reason, moment_of(since), moment_of(until))
