"""`python -m local.env_example > .env.example`: every setting, by what `cdc settings` says, with its default."""

from __future__ import annotations

import sys
from textwrap import wrap

from consumers.settings import describe

__all__ = ["SECRETS", "env_example", "main"]

SECRETS = ("CDC_OPENSEARCH_PASSWORD",)
"""Named, so that nobody searches for them; their values come from a secret store."""

_HEAD = """\
# Every setting. Copy this to .env, which docker-compose.yml reads, and take the # away before what you change.
# Made by `python -m local.env_example`; AWS credentials, region and endpoints are the SDK's own variables.

# docker-compose.yml's own: ports on this machine, the demo
#OPENSEARCH_PORT=9200
# DynamoDB and its streams; then the rest of AWS, with LocalStack or without.
#ENGINE_PORT=4567
#LOCALSTACK_PORT=4566
#PROMETHEUS_PORT=9090
#GRAFANA_PORT=3000
#TRAFFIC_SECONDS=60
# What the index holds of a table that the engine has forgotten is removed, unless this is set.
#KEEP_OLD_DOCUMENTS=
# Every command without LocalStack, as if each said `--profile engine`.
#COMPOSE_PROFILES=engine
"""


def env_example() -> str:
    """The file's text."""
    parts = [_HEAD]
    for setting in describe():
        meaning = "\n".join(f"# {line}" for line in wrap(setting["meaning"], 110))
        if setting["name"] in SECRETS:
            parts.append(f"{meaning}\n# Never in a file: {setting['name']}\n")
        else:
            parts.append(f"{meaning}\n#{setting['name']}={setting['default']}\n")
    return "\n".join(parts)


def main() -> int:
    """Print it."""
    sys.stdout.write(env_example())
    return 0


if __name__ == "__main__":
    sys.exit(main())
