"""What `docker compose` runs beside the consumer: the demo's set-up, its traffic, and a word on where to look."""
