"""Runs beside the consumer in `docker compose`: the demo's set-up, its traffic, and a word on where to look."""
