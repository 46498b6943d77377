"""`python -m tests.simulation`: the table of broken rules: which seed found each first, and what the checker said.

Each rule of the promise is broken on purpose (`broken_rules.py`), and seeds are simulated from 0 on until one fails.
Exit code 1: a rule can be broken and no seed of the first 500 finds it.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict

from rich.console import Console
from rich.table import Table

from tests.simulation.broken_rules import BROKEN_RULES
from tests.simulation.search import WITHIN, Found, first_seed_that_finds, remember

__all__ = ["main"]

_WIDTH = 160
"""The width of the table where there is no terminal: people read what is piped on, too."""


def main() -> int:
    """Look for each, in parallel processes, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON, for machines")
    parser.add_argument(
        "--remember", action="store_true", help="write the seeds to found_by.txt, which tests try first"
    )
    options = parser.parse_args()
    # not forked, and so that no broken rule is left for the next: a process each
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(os.cpu_count() or 1, spawn) as pool:
        found = list(pool.map(first_seed_that_finds, BROKEN_RULES))
    if options.remember:
        remember(found)
    if options.json:
        print(json.dumps([asdict(one) for one in found], indent=2))
    else:
        out = Console()
        Console(width=None if out.is_terminal else _WIDTH).print(_table(found))
    return 0 if all(one.seed is not None for one in found) else 1


def _table(found: list[Found]) -> Table:
    table = Table(title="broken rules")
    table.add_column("rule")
    table.add_column("found by seed", justify="right")
    table.add_column("the checker says", overflow="fold")
    for one in found:
        seed = f"none of {WITHIN}" if one.seed is None else str(one.seed)
        table.add_row(one.rule.replace("_", " "), seed, one.violation)
    return table


if __name__ == "__main__":
    sys.exit(main())
