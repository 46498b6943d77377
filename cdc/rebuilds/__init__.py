"""Rebuilds: a new index beside the one that is searched, and what it would change before it is made."""
