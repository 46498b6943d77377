"""The consumer's HTTP side: metrics for Prometheus, and health."""
