"""The HTTP server of the consumer: `/healthz`, `/readyz` and `/metrics`.

Public are the paths and the names of the metrics (docs/metrics.md); the modules are internal.
"""
