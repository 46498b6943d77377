"""Inference: a mapping file, written from a sample of a table's items, with the evidence beside each choice."""
