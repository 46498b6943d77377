"""The command `cdc`, also as `python -m consumers`: says what to install where its packages are missing."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run `cdc`; exit code 2 where its packages are not installed."""
    try:
        from consumers.cli.main import main as run
    except ModuleNotFoundError as error:
        if error.name not in ("typer", "rich"):
            raise
        print(f"error: {error.name} is not installed\n  → In a checkout: pip install '.[cli]'", file=sys.stderr)
        sys.exit(2)
    run()


if __name__ == "__main__":
    main()
