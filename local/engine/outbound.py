"""Clients of the servers that the engine writes to by itself: its own address, unless told otherwise."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from botocore.config import Config
from botocore.session import Session

__all__ = ["client_of"]


@cache
def client_of(service: str, region: str) -> Any:
    """A client of `service` at `ENGINE_<SERVICE>_URL`, by default this engine."""
    own = f"http://127.0.0.1:{os.environ.get('GATEWAY_PORT', '4566')}"
    return Session().create_client(
        service,
        region_name=region,
        endpoint_url=os.environ.get(f"ENGINE_{service.upper()}_URL") or own,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # noqa: S106  (any will do)
        config=Config(s3={"addressing_style": "path"}, retries={"mode": "standard", "total_max_attempts": 5}),
    )
