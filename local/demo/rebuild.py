"""The demo's second act: the orders' mapping changes while they are written and searched."""

from __future__ import annotations

import json
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console

from local.demo.commands import Command, said
from local.demo.consumer import MAPPING

__all__ = ["INDEX", "Rebuilt", "Searches", "changed_mapping", "rebuild_and_go_back"]

INDEX = "orders"
_CHANGES = (
    ("rename: {total: total_amount}", "rename: {total: amount}"),
    ('sk: [{prefix: "ORDER#"}]', 'sk: [{prefix: "ORDER#"}]\n      status: [{anything-but: returned}]'),
)
"""Another name for a field, and orders that were returned are no longer wanted."""
_PAUSE_SECONDS = 0.05


@dataclass(frozen=True)
class Rebuilt:
    """How the second act went."""

    old: str
    new: str
    verdict: str
    searches: Searches


@dataclass
class Searches:
    """Somebody who searches all the time, through the alias."""

    url: str
    turns: int = 0
    least: int | None = None
    """The fewest documents that a search has found."""
    failures: list[str] = field(default_factory=list)

    @contextmanager
    def running(self) -> Iterator[None]:
        """They are asked within the block."""
        stop = threading.Event()
        thread = threading.Thread(target=self._run, args=(stop,), daemon=True, name="searches")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def _run(self, stop: threading.Event) -> None:
        while not stop.wait(_PAUSE_SECONDS):
            try:
                found = int(self.ask(f"{INDEX}/_count")["count"])
            except (OSError, ValueError) as error:
                self.failures.append(f"{type(error).__name__}: {error}")
            else:
                self.turns += 1
                self.least = found if self.least is None else min(self.least, found)

    def ask(self, path: str) -> Any:
        """OpenSearch's answer."""
        with urllib.request.urlopen(f"{self.url}/{path}", timeout=10) as answer:  # noqa: S310  (our own server)
            return json.loads(answer.read())

    def __str__(self) -> str:
        found = f"{self.turns:,} searches meanwhile, {len(self.failures)} failed, none found fewer than {self.least:,}"
        return "\n".join([found, *self.failures[:3]])


def changed_mapping(folder: Path) -> Path:
    """The demo's mapping file with the changes, in this folder."""
    text = MAPPING.read_text(encoding="utf-8")
    for before, after in _CHANGES:
        if before not in text:
            raise AssertionError(f"{MAPPING.name} has no {before}")
        text = text.replace(before, after)
    changed = folder / MAPPING.name
    changed.write_text(text, encoding="utf-8")
    return changed


def rebuild_and_go_back(
    out: Console, environment: Mapping[str, str], run: Path, url: str, check: Callable[[], None]
) -> Rebuilt:
    """Show what a changed mapping would change, rebuild the orders by it, and go back.

    Args:
        check: raises when the consumer has ended.

    Raises:
        ServerFailed: a command failed.
    """
    changed = {**environment, "CDC_MAPPINGS": str(changed_mapping(run))}
    searches = Searches(url)
    out.print(f"\n[bold]The mapping of `{INDEX}` changes[/bold], while the table is written to and the index searched:")
    for before, after in _CHANGES:
        out.print(f"  {before}  →  {' '.join(after.split())}", markup=False)
    out.print("\n[bold]cdc mappings diff --table shop --index orders[/bold]")
    told = said(changed, "mappings", "diff", "--table", "shop", "--index", INDEX, codes=(0, 1))
    out.print(told.rstrip(), markup=False, highlight=False, soft_wrap=True)
    _show_search(out, searches, "A search before")
    with searches.running():
        out.print(f"\n[bold]cdc rebuild --index {INDEX}[/bold]")
        command = Command.start(changed, run, "rebuild", "--index", INDEX)
        try:
            ended = command.result(lambda facts: _show_step(out, facts, check))
        finally:
            command.stop()
        (verdict,) = ended["verdicts"]
        out.print(f"  {verdict}", markup=False)
        _show_search(out, searches, "The same search after it")
        out.print(f"\n[bold]cdc rebuild rollback --index {INDEX}[/bold]")
        out.print(f"  {said(changed, 'rebuild', 'rollback', '--index', INDEX).strip()}", markup=False)
        _show_search(out, searches, "And after the rollback")
        check()
    out.print(f"\n{searches}\n", markup=False)
    return Rebuilt(ended["old"], ended["new"], verdict, searches)


def _show_step(out: Console, facts: dict[str, Any], check: Callable[[], None]) -> None:
    check()
    if "step" in facts:
        out.print(f"  {facts['step']} …", markup=False)


def _show_search(out: Console, searches: Searches, text: str) -> None:
    found = searches.ask(f"{INDEX}/_search?q=status:paid&size=1&sort=_doc")["hits"]
    names = sorted(name for name in found["hits"][0]["_source"] if "amount" in name or "total" in name)
    out.print(f"\n[bold]{text}[/bold]: {found['total']['value']} paid orders, each with {', '.join(names)}")
