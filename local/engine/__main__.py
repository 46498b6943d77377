"""Starts the engine: `GATEWAY_PORT=4566 python -m local.engine`.

`ENGINE_WITHOUT` names corrections to leave out, separated by commas, or `all`.
"""

from __future__ import annotations

import os

from local.engine.corrections import CORRECTIONS

__all__ = ["main"]


def main() -> None:
    """Apply the corrections, then serve until a signal ends the process."""
    os.environ.setdefault("BIND_HOST", "127.0.0.1")
    left_out = os.environ.get("ENGINE_WITHOUT", "").split(",")
    for name, correct in CORRECTIONS.items():
        if name not in left_out and "all" not in left_out:
            correct()
    from ministack.app import main as serve

    serve()


if __name__ == "__main__":
    main()
